"""Masked-token decoding of MaskGIT (Chang et al. 2022): many tokens at a time, the doubtful ones again, in a few steps.

Of n unknown places, at step t of T, with r = (t + 1) / T: every unknown place is drawn from its probabilities p, and of these

    max(1, min(unknown - 1, floor(n cos(pi r / 2))))

are unknown again, those of the least log p + temperature (1 - r) Gumbel noise. What is known is never touched. The last step
keeps all that it drew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from stages.ground.checks import Number, check
from stages.ground.errors import InputError

UNKNOWN = -1
"""Stands where a token is not known."""
STEPS = 11
TEMPERATURE = 4.5


def n_masked_again(n_unknown: int, n_unknown_first: int, step: int, steps: int = STEPS) -> int:
    """Places that are unknown again after a step.

    >>> [n_masked_again(256, 256, step) for step in (0, 4, 10)]
    [253, 193, 1]

    Parameters
    ----------
    n_unknown : int
        Unknown before the step.
    n_unknown_first : int
        Unknown in the beginning.
    step : int
        From 0.
    steps : int
    """
    planned = math.floor(n_unknown_first * math.cos((step + 1) / steps * math.pi / 2))
    return max(1, min(n_unknown - 1, planned))


def complete(
    scores: Callable[[Tensor], Tensor],
    start: Tensor,
    generator: torch.Generator,
    *,
    mask_token: int,
    steps: int = STEPS,
    temperature: float = TEMPERATURE,
    seen: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """Complete the tokens of one picture.

    >>> likes_three = torch.zeros(4, 8)
    >>> likes_three[:, 3] = 100
    >>> start = torch.tensor([UNKNOWN, 5, UNKNOWN, UNKNOWN])
    >>> complete(lambda tokens: likes_three, start, torch.Generator().manual_seed(0), mask_token=8).tolist()
    [3, 5, 3, 3]

    Pictures are completed one by one: rounding, which differs between batches, may turn one token into another, and with it
    all that follow.

    Parameters
    ----------
    scores : callable
        ``scores(tokens)``: of tokens (n_places,), those of every code (n_places, n_codes), before the softmax.
    start : int tensor of shape (n_places,)
        Codes, or `UNKNOWN`, on the device that computes.
    generator : torch.Generator
        On the CPU.
    mask_token : int
        What the network reads where a token is not known.
    steps : int
    temperature : float
        Of the noise in the confidence. With 0 the surest of what was drawn is kept.
    seen : callable, optional
        ``seen(tokens)`` is called after each step with the tokens (n_places,), `mask_token` where they are unknown again; for
        tests, and people who look.

    Returns
    -------
    tokens : int tensor of shape (n_places,)
    """
    check("steps", steps, Number(1, whole=True, example=STEPS))
    check("temperature", temperature, Number(0, example=TEMPERATURE))
    if start.ndim != 1 or start.is_floating_point():
        raise InputError(
            f"The tokens to complete have shape {tuple(start.shape)} and type {start.dtype}; expected whole numbers of shape "
            f"(n_places,), {UNKNOWN} where nothing is known."
        )
    unknown = start == UNKNOWN
    n_first = n_unknown = int(unknown.sum())
    if not n_first:
        return start.clone()
    tokens = torch.where(unknown, mask_token, start)
    for step in range(steps):
        log_p = torch.log_softmax(scores(tokens).float(), dim=-1)
        drawn = (log_p + _gumbel(log_p.shape, generator, log_p.device)).argmax(dim=-1)
        tokens = torch.where(unknown, drawn, tokens)
        if step == steps - 1:
            break
        confidence = log_p.gather(-1, tokens[:, None])[:, 0]
        noise = _gumbel(confidence.shape, generator, confidence.device)
        confidence = confidence + temperature * (1 - (step + 1) / steps) * noise
        confidence = torch.where(unknown, confidence, torch.inf)
        n_unknown = n_masked_again(n_unknown, n_first, step, steps)
        unknown = torch.zeros_like(unknown).scatter(0, confidence.argsort(stable=True)[:n_unknown], True)
        if seen is not None:
            seen(torch.where(unknown, mask_token, tokens))
        tokens = torch.where(unknown, mask_token, tokens)
    return tokens


def masked_share(draw: float, least: float = 0.5) -> float:
    """Share of the places that a training step masks: max(cos(pi u / 2), least), u from 0 to 1.

    >>> masked_share(0.0), masked_share(0.9)
    (1.0, 0.5)
    """
    return max(math.cos(draw * math.pi / 2), least)


def masked_to_learn(
    tokens: Tensor, mask_token: int, generator: torch.Generator, least: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Mask tokens for a training step: one share for the batch, floor(share * n_places) places of each picture.

    >>> tokens, is_masked = masked_to_learn(torch.zeros(3, 10, dtype=torch.long), 7, torch.Generator().manual_seed(0))
    >>> bool(((tokens == 7) == is_masked).all()), len(set(is_masked.sum(dim=1).tolist()))
    (True, 1)

    Parameters
    ----------
    tokens : int tensor of shape (n, n_places)
    mask_token : int
    generator : torch.Generator
        On the CPU.
    least : float
        Of the share, see `masked_share`.

    Returns
    -------
    masked : int tensor of shape (n, n_places)
    is_masked : bool tensor of shape (n, n_places)
    """
    # On the CPU, whatever torch's own choice is: in outlines it is a device without values.
    share = masked_share(float(torch.rand((), generator=generator, device="cpu")), least)
    n_masked = math.floor(share * tokens.shape[1])
    order = torch.rand(tokens.shape, generator=generator, device="cpu").argsort(dim=1).to(tokens.device)
    is_masked = torch.zeros_like(tokens, dtype=torch.bool).scatter(1, order[:, :n_masked], True)
    return torch.where(is_masked, mask_token, tokens), is_masked


def _gumbel(shape: Sequence[int], generator: torch.Generator, device: torch.device) -> Tensor:
    """Standard Gumbel noise: its argmax beside log p is a draw from p."""
    uniform = torch.rand(tuple(shape), generator=generator).clamp(1e-20, 1 - 6e-8)
    return -torch.log(-torch.log(uniform)).to(device)
