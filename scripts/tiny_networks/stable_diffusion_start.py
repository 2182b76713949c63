"""The embedded Stable Diffusion's weights before training: what of the embedded generator reads text.

The generator has a transformer per context wherever Stable Diffusion has one. Its text transformers and everything around
them are taken over. Three things differ, and training makes up for them: there are no codes of the place, fewer channels on
the small map, and the text is read before CLIP's projection instead of behind it.
"""

import numpy as np
import torch
from diffusers import UNet2DConditionModel

from stages.networks.dual_context_unet import DualContextUNet2DConditionModel

TEXT = ".transformers.1."


def initialised(config, generator_folder, states, tokens):
    """Build the network as it starts.

    Parameters
    ----------
    config : dict
        Arguments of ``UNet2DConditionModel``; as the generator's, except for the width of a text token and for fewer
        channels, in fewer heads, on the small map.
    generator_folder : path
        The embedded generator.
    states : float32 array of shape (n, n_tokens, cross_attention_dim)
        What the new network reads of some captions.
    tokens : float32 array of shape (n, n_tokens, width)
        What the generator reads of the same captions.

    Returns
    -------
    diffusers.UNet2DConditionModel
    """
    torch.manual_seed(0)  # diffusers' constructors take no generator.
    model = UNet2DConditionModel(**config)
    old = DualContextUNet2DConditionModel.from_pretrained(generator_folder / "unet")
    known = {
        name.replace(TEXT, "."): value for name, value in old.state_dict().items() if ".transformers.0." not in name
    }
    tokens = tokens + known["token_position"][-tokens.shape[1] :].numpy()
    reading = torch.from_numpy(regression(states, tokens))
    narrow = Narrowing(old.config.block_out_channels, config["block_out_channels"], old.config.norm_num_groups)
    state = {}
    for name, value in model.state_dict().items():
        given = known[name]
        if ".attn2.to_k." in name or ".attn2.to_v." in name:
            given = given @ reading.T
        state[name] = narrow(name, given, value.shape)
    state["conv_in.bias"] += known["conv_in.position"].mean(dim=(1, 2))
    model.load_state_dict(state)
    return model


def regression(states, tokens, penalty=1e-3):
    """Weights (states' width, tokens' width) by which states tell tokens, by ridge regression."""
    states, tokens = states.reshape(-1, states.shape[-1]), tokens.reshape(-1, tokens.shape[-1])
    gram = states.T @ states
    gram[np.diag_indices_from(gram)] += penalty * np.trace(gram) / len(gram)
    return np.linalg.solve(gram, states.T @ tokens).astype(np.float32)


class Narrowing:
    """Chooses which channels of a trained network a narrower one takes over.

    On a map of fewer channels, the first of each group of the group normalisations; of attention, the first heads; of a
    feed-forward layer, the first hidden values.

    Parameters
    ----------
    wide, narrow : tuple of two int
        Channels of the large and of the small map; the large one's are the same.
    n_groups : int
    """

    def __init__(self, wide, narrow, n_groups):
        (outer, before), (_, after) = wide, narrow
        inner = torch.arange(before).reshape(n_groups, -1)[:, : after // n_groups].flatten()
        self._channels = {
            (before, after): inner,
            # Upwards, what came down lies behind what comes from below.
            (2 * before, 2 * after): torch.cat([inner, before + inner]),
            (before + outer, after + outer): torch.cat([inner, before + torch.arange(outer)]),
            (4 * before, 4 * after): torch.arange(4 * after),
            # Values, then their gates.
            (8 * before, 8 * after): torch.cat([torch.arange(4 * after), 4 * before + torch.arange(4 * after)]),
        }
        self._heads = {(before, after): torch.arange(after)}

    def __call__(self, name, value, shape):
        """Cut a tensor to a shape, each axis by what it is.

        Parameters
        ----------
        name : str
            Of the tensor; it tells what belongs to attention.
        value : tensor
        shape : sequence of int

        Returns
        -------
        tensor
        """
        for axis, (before, after) in enumerate(zip(value.shape, shape)):
            if before != after:
                within = axis == (1 if ".to_out." in name else 0) and ".attn" in name and not name.endswith(".bias")
                chosen = (self._heads if within else self._channels)[before, after]
                value = value.index_select(axis, chosen)
        return value.clone()
