"""A brain-led latent diffusion model whose tokens are held to what a picture means, by a head of their own."""

from __future__ import annotations

from torch import nn
from torch.nn.functional import silu

from stages.networks.brain_diffusion import BrainDiffusion

ATTRIBUTES = "attributes"
_CHANNELS = 4
_FULL = 5


class AttributeHead(nn.Module):
    """Tokens to a vector: two convolutions over tokens, then five full layers, as CMVDM has it (Zeng et al., AAAI 2024).

    The convolutions have no activation; SiLU follows every full layer, the last one too, so that no value is below -0.28.

    >>> import torch
    >>> head = AttributeHead(n_tokens=77, width=512, values=512)
    >>> head(torch.zeros(2, 77, 512)).shape
    torch.Size([2, 512])

    Parameters
    ----------
    n_tokens, width : int
        Of the tokens.
    values : int
        Of the vector.
    channels, hidden : int
        Tokens after the first convolution, and values of the layers between.
    """

    def __init__(self, n_tokens, width, values, channels=64, hidden=1024):
        super().__init__()
        self.first, self.second = (
            nn.Conv1d(n_tokens, channels, 3, padding=1),
            nn.Conv1d(channels, _CHANNELS, 3, padding=1),
        )
        sizes = [_CHANNELS * width, *[hidden] * (_FULL - 1), values]
        self.full = nn.ModuleList(nn.Linear(before, after) for before, after in zip(sizes, sizes[1:]))

    def forward(self, tokens):
        """Make vectors (n, values) of tokens (n, n_tokens, width)."""
        hidden = self.second(self.first(tokens)).flatten(1)
        for layer in self.full:
            hidden = silu(layer(hidden))
        return hidden


class AlignedBrainDiffusion(BrainDiffusion):
    r"""A `BrainDiffusion` with an `AttributeHead` on its tokens; the head is part of no value, and trained with the rest.

    >>> import torch
    >>> unet = {
    ...     "sample_size": 8, "in_channels": 3, "out_channels": 3, "block_out_channels": [8], "norm_num_groups": 4,
    ...     "down_block_types": ["CrossAttnDownBlock2D"], "up_block_types": ["CrossAttnUpBlock2D"], "layers_per_block": 1,
    ...     "cross_attention_dim": 12, "attention_head_dim": 2, "class_embed_type": "identity",
    ... }
    >>> own = {"encoder": {"patch_size": 4, "width": 16, "depth": 1, "n_heads": 2}, "unet": unet, "tuned": [r".*\.attn2\..*"]}
    >>> network = AlignedBrainDiffusion(30, {"brain_tokens": (7, 12)}, **own, head={"values": 9})
    >>> {name: tuple(values.shape) for name, values in network(torch.zeros(5, 30)).items()}
    {'brain_tokens': (5, 7, 12), 'attributes': (5, 9)}

    Parameters
    ----------
    n_voxels, gives, encoder, unet, tuned, pooled, times
        As of `BrainDiffusion`.
    head : dict
        See `AttributeHead`.
    """

    def __init__(self, n_voxels, gives, encoder, unet, tuned, pooled=False, times=True, *, head):
        super().__init__(n_voxels, gives, encoder, unet, tuned, pooled, times)
        self.attribute_head = AttributeHead(*gives[self.name], **head)

    def take_tuned(self, network):
        """Begin with the tensors of a tuned `BrainDiffusion`; returns the names of those that it does not have: the head's."""
        missing, unexpected = self.load_state_dict(network.state_dict(), strict=False)
        assert not unexpected, unexpected
        self.denoiser.unet.take_base(network.denoiser.unet.base)
        return list(missing)

    def forward(self, patterns):
        """Make tokens of patterns (n, n_voxels), by their name, and what the head makes of them."""
        found = super().forward(patterns)
        return found | {ATTRIBUTES: self.attribute_head(found[self.name])}
