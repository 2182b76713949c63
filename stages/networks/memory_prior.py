"""The network of a diffusion prior that looks at brain tokens as a memory, of which training hides most.

After Liu et al. (AAAI 2025), "See Through Their Minds": PyTorch's transformer decoder over a time and noisy tokens, which attend
to brain tokens. In training a random subset of these is left, in their order; in use all of them are.
"""

from __future__ import annotations

import torch
from torch import nn

from stages.ground.checks import Number, check
from stages.ground.devices import sent_to
from stages.ground.errors import InputError
from stages.networks.prior_transformer import replaced
from stages.networks.token_prior import TimeLayers, Waves


class MemoryPrior(nn.Module):
    """Clean tokens from noisy ones and a time, which look at brain tokens.

    >>> prior = MemoryPrior(n_tokens=20, width=8, depth=1, n_heads=2, feed_forward=16)
    >>> tokens = torch.zeros(3, 20, 8)
    >>> prior(tokens, torch.tensor([0, 50, 99]), tokens).shape
    torch.Size([3, 20, 8])
    >>> prior.fewest_hidden, prior.most_hidden
    (12, 13)

    Parameters
    ----------
    n_tokens, width : int
        Of an embedding, and of what the brain says of it. Published: 257 and 768.
    depth, n_heads, feed_forward : int
        Of the decoder. Published: 6, 12 and 3072.
    hidden : tuple of two floats
        Smallest and largest share of the brain tokens that training hides from a sample; each whole number of tokens between
        is as likely as the others. Published: 0.6 and 0.65, and so 154 to 167 of 257; for the transfer to another dataset 0.55
        and 0.6. (0, 0) hides none.
    """

    def __init__(self, n_tokens=257, width=768, depth=6, n_heads=12, feed_forward=3072, hidden=(0.6, 0.65)):
        super().__init__()
        count = Number(1, whole=True)
        for name, value in (("n_tokens", n_tokens), ("depth", depth), ("n_heads", n_heads)):
            check(name, value, count)
        check("feed_forward", feed_forward, count)
        if width < 4 or width % 2 or width % n_heads:
            raise InputError(
                f"width is {width} and n_heads {n_heads}; expected an even multiple of n_heads, 4 or more."
            )
        check_hidden(hidden)
        self.n_tokens, self.width = n_tokens, width
        self.fewest_hidden, self.most_hidden = (int(share * n_tokens) for share in hidden)
        self.learned_query = nn.Parameter(torch.randn(n_tokens, width) * width**-0.5)
        self.learned_query_brain = nn.Parameter(torch.randn(n_tokens, width) * width**-0.5)
        self.null_brain_embeds = nn.Parameter(torch.randn(n_tokens, width))
        self.null_image_embed = nn.Parameter(torch.randn(n_tokens, width))
        self.to_time_embeds = nn.Sequential(nn.Sequential(Waves(width), TimeLayers(width)))
        layer = nn.TransformerDecoderLayer(
            width, n_heads, feed_forward, dropout=0.0, activation="gelu", batch_first=True, norm_first=False
        )
        self.decoder = nn.TransformerDecoder(layer, depth)

    def forward(self, noisy, times, brain, without_brain=None, without_image=None):
        """Find the clean tokens.

        Parameters
        ----------
        noisy : tensor of shape (n, n_tokens, width)
        times : int tensor of shape (n,)
            Steps of the noise process.
        brain : tensor of shape (n, n_tokens, width)
        without_brain, without_image : bool tensors of shape (n,), optional
            Samples whose brain tokens, or noisy tokens, are replaced by learned ones, as training does to some.

        Returns
        -------
        clean : tensor of shape (n, n_tokens, width)
        """
        memory = replaced(brain, self.null_brain_embeds, without_brain) + self.learned_query_brain.to(brain)
        noisy = replaced(noisy, self.null_image_embed, without_image) + self.learned_query.to(noisy)
        time = self.to_time_embeds(times.to(noisy.dtype))[:, None]
        hidden = None
        if self.training and self.most_hidden:
            hidden = sent_to(memory.device, self.draw_hidden(len(memory)))
        # What is hidden has no weight in attention: the same as if the others alone were there, one behind the other.
        found = self.decoder(torch.cat([time, noisy], dim=1), memory, memory_key_padding_mask=hidden)
        return found[:, -self.n_tokens :]

    def draw_hidden(self, n):
        """Draw which brain tokens are hidden from each of n samples, bool tensor (n, n_tokens), from torch's global generator."""
        # On the CPU, so that a step draws the same numbers on every device.
        counts = torch.randint(self.fewest_hidden, self.most_hidden + 1, (n, 1))
        ranks = torch.rand(n, self.n_tokens).argsort(dim=1).argsort(dim=1)
        return ranks < counts


def check_hidden(hidden):
    """Refuse shares of brain tokens that cannot be hidden.

    >>> check_hidden((0.55, 0.6))
    """
    fewest, most = hidden if len(hidden) == 2 else (1, 0)
    if not 0 <= fewest <= most < 1:
        raise InputError(
            f"hidden is {list(hidden)}; expected the smallest and the largest share of the brain tokens that training hides, "
            "each from 0 to below 1, for example [0.6, 0.65]."
        )
