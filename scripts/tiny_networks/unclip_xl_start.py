"""The embedded SDXL unCLIP's weights before training: what of the embedded generator reads pictures.

The generator has a transformer per context wherever this network has one. Its image transformers and everything around them
are taken over. Two things differ, and training makes up for them: there are no codes of the place, and tokens are read before
CLIP's projection instead of behind it, without the class token.
"""

import numpy as np
import torch
from diffusers import UNet2DConditionModel

from stages.networks.dual_context_unet import DualContextUNet2DConditionModel
from tiny_networks.stable_diffusion_start import regression

IMAGE = ".transformers.0."


def initialised(config, generator_folder, patches, tokens):
    """Build the network as it starts.

    Parameters
    ----------
    config : dict
        Arguments of ``UNet2DConditionModel``; as the generator's, except for what is read.
    generator_folder : path
        The embedded generator.
    patches : float32 array of shape (n, n_patches, cross_attention_dim)
        What the new network reads of some pictures.
    tokens : float32 array of shape (n, 1 + n_patches, width)
        What the generator reads of the same pictures, the class token first.

    Returns
    -------
    diffusers.UNet2DConditionModel
        Of sizes it takes no notice yet.
    """
    torch.manual_seed(0)  # diffusers' constructors take no generator.
    model = UNet2DConditionModel(**config)
    old = DualContextUNet2DConditionModel.from_pretrained(generator_folder / "unet")
    known = {
        name.replace(IMAGE, "."): value for name, value in old.state_dict().items() if ".transformers.1." not in name
    }
    places = known["token_position"][1 : tokens.shape[1]].numpy()
    reading = torch.from_numpy(regression(patches, tokens[:, 1:] + places))
    state = {}
    for name, value in model.state_dict().items():
        if name.startswith("class_embedding."):
            # Its last layer gives nothing at first.
            state[name] = torch.zeros_like(value) if ".linear_2." in name else value
            continue
        given = known[name]
        if ".attn2.to_k." in name or ".attn2.to_v." in name:
            given = given @ reading.T
        state[name] = given.clone()
    state["conv_in.bias"] = state["conv_in.bias"] + known["conv_in.position"].mean(dim=(1, 2))
    model.load_state_dict(state)
    return model


def explained(patches, tokens, places):
    """Share of the variance of what the generator reads that `regression` finds in patches, a number below 1."""
    wanted = (tokens[:, 1:] + places).reshape(-1, tokens.shape[-1])
    found = patches.reshape(len(wanted), -1) @ regression(patches, wanted)
    return float(1 - np.square(wanted - found).mean() / np.square(wanted - wanted.mean(axis=0)).mean())
