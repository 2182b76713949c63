"""The network of a diffusion prior over one vector: a brain vector and a noisy vector in, the clean one out.

The prior network of DALL-E 2 (Ramesh et al. 2022) as DALLE2-pytorch has it, which Scotti et al. (2023), "Reconstructing the
mind's eye", train for pooled CLIP embeddings with a brain vector where that of a text stood. Names of parameters are those of
the published weights. Sizes are those of DALLE2-pytorch's example configuration: with CLIP beside it, such a network fills the
file that Scotti et al. begin from.
"""

from __future__ import annotations

import torch
from torch import nn

from stages.checkpoints.published_weights import read_weights, weights_file
from stages.checkpoints.strict_loading import check_tensors
from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from stages.networks.prior_transformer import PriorTransformer, replaced

# Of a whole diffusion prior's weights, those of its network.
_PREFIX = "net."
# Learned for what training leaves out; the published file was written before the network had them.
_SPARE = ("null_text_encodings", "null_text_embeds", "null_image_embed")


class VectorPrior(nn.Module):
    """A clean vector from a noisy one, a time, and a brain vector that says what was seen.

    Tokens stand in a row: learned ones in the place of a text's, the brain vector, the time, the noisy vector, and a query.
    Each attends to those before it, and what comes out at the query is the clean vector.

    >>> network = VectorPrior(width=8, depth=1, n_heads=2, head_width=4, n_times=10, n_text=3)
    >>> network(torch.zeros(2, 8), torch.tensor([0, 9]), torch.zeros(2, 8)).shape
    torch.Size([2, 8])

    Parameters
    ----------
    width : int
        Values of a vector.
    depth : int
        Blocks of attention and feed-forward layers.
    n_heads : int
        Of the queries.
    head_width : int
    n_times : int
        Steps of the noise process, each with a learned vector.
    n_text : int
        Learned tokens where a text's would be.
    """

    def __init__(self, width=768, depth=12, n_heads=12, head_width=64, n_times=1000, n_text=256):
        super().__init__()
        for name, value in (("width", width), ("depth", depth), ("n_heads", n_heads), ("n_times", n_times)):
            check(name, value, Number(1, whole=True))
        check("n_text", n_text, Number(0, whole=True))
        if head_width < 2 or head_width % 2:
            raise InputError(f"head_width is {head_width}; expected an even number, 2 or more.")
        self.width, self.n_times = width, n_times
        self.learned_query = nn.Parameter(torch.randn(width))
        self.null_text_encodings = nn.Parameter(torch.randn(1, n_text, width))
        self.null_text_embeds = nn.Parameter(torch.randn(1, 1, width))
        self.null_image_embed = nn.Parameter(torch.randn(1, width))
        # The published network rearranges what comes out of the table; the table is the first of two.
        self.to_time_embeds = nn.Sequential(nn.Embedding(n_times, width))
        self.causal_transformer = PriorTransformer(width, depth, n_heads, head_width, causal=True, gain_inside=True)

    def forward(self, noisy, times, brain, without_brain=None, without_image=None):
        """Find the clean vectors.

        Parameters
        ----------
        noisy : tensor of shape (n, width)
        times : int tensor of shape (n,)
            Steps of the noise process, from 0.
        brain : tensor of shape (n, width)
        without_brain, without_image : bool tensors of shape (n,), optional
            Samples whose brain vector, or noisy vector, is replaced by a learned one, as training does to some.

        Returns
        -------
        clean : tensor of shape (n, width)
        """
        brain = replaced(brain[:, None], self.null_text_embeds[0], without_brain)
        noisy = replaced(noisy[:, None], self.null_image_embed, without_image)
        time = self.to_time_embeds(times)[:, None].to(noisy)
        text, query = (
            learned.to(noisy).expand(len(noisy), -1, -1)
            for learned in (self.null_text_encodings, self.learned_query[None, None])
        )
        return self.causal_transformer(torch.cat([text, brain, time, noisy, query], dim=1))[:, -1]


def begin_from_texts(network, folder):
    """Put in the weights of a prior that was trained on captions' embeddings, from which training on responses begins.

    Parameters
    ----------
    network : VectorPrior
        Keeps its own `null_text_encodings`, `null_text_embeds` and `null_image_embed`, unless the file has them.
    folder : path
        Holds one file of weights, safetensors or a pickle of tensors alone, whose names begin with ``net.``; others are left.

    Raises
    ------
    CheckpointError
        The file is absent or damaged, or a tensor missing, unexpected or misshapen.
    """
    path = weights_file(folder)
    stored = {
        name.removeprefix(_PREFIX): tensor for name, tensor in read_weights(path).items() if name.startswith(_PREFIX)
    }
    own = network.state_dict()
    expected = {name: tensor for name, tensor in own.items() if name in stored or name not in _SPARE}
    check_tensors(type(network).__name__, path, stored, expected)
    network.load_state_dict(own | stored)
