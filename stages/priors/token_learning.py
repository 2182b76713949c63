"""How a network over tokens learns to complete pictures: from some of their tokens, the others."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from stages.networks.masked_tokens import MaskedTokens
from stages.priors.masked_tokens import masked_to_learn

_IGNORED = -100


def masked_loss(
    network: MaskedTokens,
    tokens: Tensor,
    context: Tensor | None,
    generator: torch.Generator,
    least: float = 0.5,
    smoothing: float = 0.1,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The cross-entropy of masked tokens, labels smoothed; known tokens have no part in it.

    Parameters
    ----------
    network : stages.networks.masked_tokens.MaskedTokens
    tokens : int tensor of shape (n, n_places)
    context : tensor of shape (n, context), optional
        Rows of NaN stand for none.
    generator : torch.Generator
        On the CPU, of the masks.
    least : float
        Of the share that is masked, see `stages.priors.masked_tokens.masked_share`.
    smoothing : float
        Of the labels.

    Returns
    -------
    loss : tensor without dimensions
    parts : dict of str to tensor without dimensions
        The loss, and the share of masked tokens that are right.
    """
    masked, is_masked = masked_to_learn(tokens, network.config.mask_token, generator, least)
    scores = network(masked, context).float()
    # Not picked out by the mask: how many these are would have to be asked of the device.
    wanted = torch.where(is_masked, tokens, _IGNORED)
    loss = cross_entropy(scores.flatten(0, 1), wanted.flatten(), ignore_index=_IGNORED, label_smoothing=smoothing)
    right = (scores.detach().argmax(dim=-1) == wanted).sum() / is_masked.sum()
    return loss, {"tokens": loss.detach(), "tokens right": right}


class TokenLearner(nn.Module):
    """A network over tokens with its loss, `stages.training.loop.Learner`; of `tokens`, `context` if there is one, and `step`.

    >>> from stages.networks.masked_tokens import MaskedTokensConfig
    >>> network = MaskedTokens(MaskedTokensConfig(8, 0, n_places=4, context=0, width=16, depth=1, n_heads=2))
    >>> loss, parts = TokenLearner(network)({"tokens": torch.zeros(3, 4), "step": 0})
    >>> loss.shape, list(parts)
    (torch.Size([]), ['tokens', 'tokens right'])

    Parameters
    ----------
    network : stages.networks.masked_tokens.MaskedTokens
    seed : int
        Masks of a step depend on it and on the step alone.
    least, smoothing : float
        See `masked_loss`.
    """

    def __init__(self, network: MaskedTokens, seed: int = 0, least: float = 0.5, smoothing: float = 0.1) -> None:
        super().__init__()
        self.network, self.seed, self.least, self.smoothing = network, seed, least, smoothing

    def forward(self, batch: dict) -> tuple[Tensor, dict[str, Tensor]]:
        generator = torch.Generator(device="cpu").manual_seed(self.seed * 1_000_003 + batch["step"])
        tokens, context = batch["tokens"].long(), batch.get("context")
        return masked_loss(self.network, tokens, context, generator, self.least, self.smoothing)
