"""Tokens drawn by their probabilities, and sentences one at a time or together."""

import pytest
import torch
from random_optimus import LATENT, decoder_sizes, optimus

from stages.generators.language.latent_sentences import drawn, sentences

BEGIN, END = decoder_sizes()["vocabulary"] - 2, decoder_sizes()["vocabulary"] - 1


@pytest.fixture(scope="module")
def decoder():
    return optimus().decoder


def latents(n=8):
    return torch.randn(n, LATENT, generator=torch.Generator().manual_seed(0))


def generators(n):
    return [torch.Generator().manual_seed(number) for number in range(n)]


def test_tokens_are_drawn_by_their_probabilities():
    scores = torch.tensor([[0.0, 1.0, -1.0, 0.5]], dtype=torch.float64)
    n = 3000
    counts = drawn(scores.expand(n, 4), generators(n)).bincount(minlength=4).double()
    expected = scores.softmax(dim=1)[0]
    assert ((counts / n - expected).abs() < 4 * (expected * (1 - expected) / n) ** 0.5).all()


@torch.no_grad()
def test_by_lot_each_token_is_the_one_that_its_number_falls_on(decoder):
    """Written out without anything kept: the whole sentence is scored again for each token."""
    found = sentences(decoder, latents(), (BEGIN, END), generators(8), temperature=3.0)
    for row, random in enumerate(generators(8)):
        tokens = [BEGIN]
        while len(tokens) < 29:
            scores = decoder(torch.tensor([tokens]), latents()[row : row + 1])[0][0, -1].double() / 3.0
            number, token = torch.rand(1, generator=random, dtype=torch.float64), 0
            while scores.softmax(0)[: token + 1].sum() <= number:
                token += 1
            if token == END:
                break
            tokens.append(token)
        assert found[row] == tokens[1:]
    assert len({len(one) for one in found}) > 1


def test_a_sentence_is_the_same_alone_and_among_others(decoder):
    together = sentences(decoder, latents(), (BEGIN, END), generators(8))
    for row in range(8):
        assert sentences(decoder, latents()[row : row + 1], (BEGIN, END), generators(8)[row : row + 1]) == [
            together[row]
        ]


def test_what_is_not_finite_is_none_and_the_others_are_there(decoder):
    expected, spoilt = sentences(decoder, latents(), (BEGIN, END)), latents()
    spoilt[2, 3], spoilt[5] = torch.nan, torch.finfo(torch.float32).max
    found = sentences(decoder, spoilt, (BEGIN, END))
    assert found[2] is None and found[5] is None
    assert [one for row, one in enumerate(found) if row not in (2, 5)] == [
        one for row, one in enumerate(expected) if row not in (2, 5)
    ]
