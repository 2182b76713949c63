"""Masked-token decoding against its formula written out, oracles, and what may never change."""

import math

import numpy as np
import pytest
import torch

from stages.ground.errors import InputError
from stages.networks.masked_tokens import MaskedTokens, MaskedTokensConfig
from stages.priors.masked_tokens import UNKNOWN, complete, masked_share, masked_to_learn, n_masked_again
from stages.priors.token_learning import masked_loss

N_PLACES, N_CODES = 256, 64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def fixed(scores):
    return lambda tokens: scores


def nothing(n=N_PLACES):
    return torch.full((n,), UNKNOWN)


@pytest.fixture
def scores():
    return torch.randn(N_PLACES, N_CODES, generator=generator(5))


def test_an_oracle_gives_exactly_its_tokens():
    true = torch.randint(N_CODES, (N_PLACES,), generator=generator(1))
    sure = torch.full((N_PLACES, N_CODES), -torch.inf).scatter(1, true[:, None], 0.0)
    assert torch.equal(complete(fixed(sure), nothing(), generator(), mask_token=N_CODES), true)


@pytest.mark.parametrize("n_given", [0, 100])
def test_fewer_and_fewer_are_masked_by_the_formula_and_none_that_was_kept(scores, n_given):
    start = nothing()
    start[:n_given] = torch.arange(n_given) % N_CODES
    seen = []
    found = complete(fixed(scores), start, generator(), mask_token=N_CODES, seen=seen.append)
    n = N_PLACES - n_given
    masked = [(tokens == N_CODES).numpy() for tokens in seen]
    wanted, before = [], n
    for step in range(10):
        before = max(1, min(before - 1, math.floor(n * math.cos((step + 1) / 11 * math.pi / 2))))
        wanted.append(before)
    assert [one.sum() for one in masked] == wanted
    assert (np.diff(wanted) < 0).all() and (found < N_CODES).all()
    for one, later in zip(masked, masked[1:]):
        assert not (later & ~one).any()
    for tokens, one in zip(seen, masked):
        # What a step has kept is in the result.
        assert torch.equal(tokens[~torch.from_numpy(one)], found[~torch.from_numpy(one)])
    assert torch.equal(found[:n_given], start[:n_given])


def test_at_the_published_size_the_plan_is_the_cosine():
    planned = [math.floor(256 * math.cos((step + 1) / 11 * math.pi / 2)) for step in range(11)]
    unknown, counted = 256, []
    for step in range(11):
        unknown = n_masked_again(unknown, 256, step)
        counted.append(unknown)
    assert counted == [*planned[:-1], 1] and planned[-1] == 0


def test_without_temperature_the_surest_of_what_was_drawn_are_kept(scores):
    seen = []
    complete(fixed(scores), nothing(), generator(), mask_token=N_CODES, temperature=0.0, steps=2, seen=seen.append)
    (tokens,) = seen
    # The same draws again, written out.
    noise = generator()
    uniform = torch.rand(N_PLACES, N_CODES, generator=noise).clamp(1e-20, 1 - 6e-8)
    log_p = scores.log_softmax(dim=1)
    drawn = (log_p - torch.log(-torch.log(uniform))).argmax(dim=1)
    confidence = log_p[torch.arange(N_PLACES), drawn]
    kept = confidence.argsort()[math.floor(N_PLACES * math.cos(math.pi / 4)) :].sort().values
    assert torch.equal((tokens != N_CODES).nonzero()[:, 0], kept) and torch.equal(tokens[kept], drawn[kept])


def test_draws_are_those_of_the_probabilities():
    probabilities = torch.tensor([0.6, 0.3, 0.1])
    found = complete(fixed(probabilities.log().expand(20000, 3)), nothing(20000), generator(), mask_token=3, steps=1)
    shares = torch.bincount(found, minlength=3) / 20000
    assert (shares - probabilities).abs().max() < 4 * math.sqrt(0.25 / 20000)


def test_all_given_are_given_back_and_a_seed_is_a_picture(scores):
    given = torch.randint(N_CODES, (N_PLACES,), generator=generator(2))
    assert torch.equal(complete(None, given, generator(), mask_token=N_CODES), given)
    one, same, other = (complete(fixed(scores), nothing(), generator(seed), mask_token=N_CODES) for seed in (3, 3, 4))
    assert torch.equal(one, same) and not torch.equal(one, other)
    before = torch.get_rng_state()
    complete(fixed(scores), nothing(), generator(), mask_token=N_CODES)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("steps", [1, 3, 40])
def test_any_number_of_steps_finds_all(scores, steps):
    start = nothing(20)
    start[0] = 7
    found = complete(fixed(scores[:20]), start, generator(), mask_token=N_CODES, steps=steps)
    assert (found >= 0).all() and (found < N_CODES).all() and found[0] == 7


@pytest.mark.parametrize(
    ("start", "options", "said"),
    [
        (torch.zeros(4), {}, "torch.float32; expected whole numbers of shape"),
        (torch.zeros(2, 4, dtype=torch.long), {}, "shape (2, 4)"),
        (torch.full((4,), -1), {"steps": 0}, "steps is 0"),
        (torch.full((4,), -1), {"temperature": -1.0}, "temperature is -1.0"),
        (torch.full((4,), -1), {"temperature": math.nan}, "temperature is nan"),
    ],
)
def test_what_cannot_be_completed_is_refused(start, options, said):
    with pytest.raises(InputError) as error:
        complete(fixed(torch.zeros(4, 3)), start, generator(), mask_token=3, **options)
    assert said in str(error.value)


def test_a_third_of_the_steps_mask_exactly_the_least_share():
    shares = np.array([masked_share(draw) for draw in np.linspace(0, 1, 30001)])
    assert (shares == 0.5).mean() == pytest.approx(1 / 3, abs=1e-3) and shares.min() == 0.5 and shares.max() == 1.0
    tokens, n_masked = torch.zeros(4, 50, dtype=torch.long), []
    for seed in range(300):
        masked, is_masked = masked_to_learn(tokens, 9, generator(seed))
        assert torch.equal(masked == 9, is_masked) and len(set(is_masked.sum(dim=1).tolist())) == 1
        draw = torch.rand((), generator=generator(seed)).item()
        assert is_masked[0].sum() == math.floor(masked_share(draw) * 50)
        n_masked.append(int(is_masked[0].sum()))
    assert abs(np.mean(np.array(n_masked) == 25) - 1 / 3) < 4 * math.sqrt(2 / 9 / 300) + 0.02


def test_the_loss_is_torchs_own_over_masked_places():
    torch.manual_seed(0)
    network = MaskedTokens(MaskedTokensConfig(12, 3, n_places=20, context=4, width=16, depth=1, n_heads=2)).eval()
    tokens, context = torch.randint(12, (5, 20)), torch.randn(5, 4)
    loss, parts = masked_loss(network, tokens, context, generator())
    masked, is_masked = masked_to_learn(tokens, network.config.mask_token, generator())
    scores = network(masked, context)
    own = torch.nn.CrossEntropyLoss(label_smoothing=0.1)(scores[is_masked], tokens[is_masked])
    torch.testing.assert_close(loss, own)
    right = (scores[is_masked].argmax(dim=1) == tokens[is_masked]).float().mean()
    torch.testing.assert_close(parts["tokens right"], right)
    # What is known has no part in it.
    scores_of_known = torch.autograd.grad(loss, network.mlps_bias)[0]
    assert scores_of_known[12:].abs().max() == 0
