"""Sentences that a decoder writes from latents, token after token, by lot or by the most probable one."""

from __future__ import annotations

import torch

from stages.ground.not_finite import finite_rows


@torch.inference_mode()
def sentences(decoder, latents, ends, random=None, temperature=1.0, max_length=30):
    """Write a sentence from each latent.

    >>> from stages.networks.optimus_decoder import OptimusDecoder
    >>> decoder = OptimusDecoder(vocabulary=11, latent=6, width=8, n_layers=1, n_heads=2, n_positions=16)
    >>> written = sentences(decoder, torch.ones(2, 6), ends=(9, 10), max_length=5)
    >>> len(written), written[0] == written[1], len(written[0]) <= 3
    (2, True, True)

    Parameters
    ----------
    decoder : stages.networks.optimus_decoder.OptimusDecoder
    latents : tensor of shape (n, latent), float32
    ends : (int, int)
        Numbers of the tokens that a sentence begins and ends with.
    random : sequence of n torch.Generator, optional
        Each draws the tokens of its own sentence, one number for each; without them the most probable token is taken.
    temperature : float
        What scores are divided by before tokens are drawn; above 0.
    max_length : int
        Tokens of a sentence with its beginning and its end.

    Returns
    -------
    tokens : list of n lists of int, or of None
        Between beginning and end, which are left out; None for a sentence whose latent or scores are not finite.
    """
    begin, end = ends
    finite, past = finite_rows(latents), None
    said, ended = [[] for _ in finite], [not one for one in finite]
    tokens = torch.full((len(latents), 1), begin, device=latents.device)
    latents = latents.nan_to_num()
    # The last place is the end's.
    for _ in range(max_length - 2):
        scores, past = decoder(tokens, latents, past)
        scores = scores[:, -1].double().cpu() / temperature
        chosen = scores.argmax(dim=1) if random is None else drawn(scores, random)
        for row, (token, is_finite) in enumerate(zip(chosen.tolist(), finite_rows(scores))):
            finite[row] &= ended[row] or is_finite
            ended[row] |= token == end or not finite[row]
            if not ended[row]:
                said[row].append(token)
        if all(ended):
            break
        tokens = chosen[:, None].to(latents.device)
    return [one if is_finite else None for one, is_finite in zip(said, finite)]


def drawn(scores, random):
    """Draw a token for each row, token k with probability softmax(scores)_k.

    >>> scores = torch.tensor([[0.0, 50.0, 0.0]], dtype=torch.float64)
    >>> drawn(scores, [torch.Generator().manual_seed(0)])
    tensor([1])

    Parameters
    ----------
    scores : tensor of shape (n, vocabulary), float64
        On the CPU, so that a token is the same whatever device scored it, but for rounding.
    random : sequence of n torch.Generator
        Each gives one number in 0..1: the token is the first whose cumulative probability exceeds it.
    """
    numbers = torch.stack([torch.rand(1, generator=one, dtype=torch.float64) for one in random])
    cumulative = scores.nan_to_num().softmax(dim=1).cumsum(dim=1)
    # What rounding leaves below 1 belongs to the last.
    return torch.searchsorted(cumulative, numbers, right=True)[:, 0].clamp(max=scores.shape[1] - 1)
