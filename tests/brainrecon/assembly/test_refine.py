"""A prior sampled within a chain: led by each row, with noise of each item's own, whoever else is there."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from brainrecon.assembly.refine import Refine
from brainrecon.assembly.values import Item
from stages.networks.token_prior import TokenPrior
from stages.priors.diffusion import DiffusionPrior
from stages.priors.noise_process import NoiseProcess

SHAPE = (3, 8)
ITEMS = [Item("subj01", name, sample) for name in "abc" for sample in (0, 1)]


@pytest.fixture(scope="module")
def learned():
    torch.manual_seed(0)
    net = TokenPrior(*SHAPE, depth=1, n_heads=2, head_width=8).eval()
    network = torch.nn.Module()
    network.network = torch.nn.Module()
    network.network.net = net
    return SimpleNamespace(decoder=SimpleNamespace(network=network, gives={"clip_rough": SHAPE}))


def prior_of(network):
    return DiffusionPrior(network.net, NoiseProcess(6))


ROWS = np.random.default_rng(0).standard_normal((6, 24)).astype(np.float32)


def refined(learned, items=ITEMS, rows=ROWS, seed=0, **options):
    step = Refine(learned, prior_of, "clip_rough", "clip_image", source=None, **options)
    return step.run(items, {"clip_rough": list(rows)}, seed=seed)["clip_image"]


def test_what_it_is(learned):
    step = Refine(learned, prior_of, "clip_rough", "clip_image", source="its target")
    assert (step.reads, step.gives, step.by_lot, step.is_learned) == (("clip_rough",), ("clip_image",), True, False)
    assert step.targets == {"clip_image": "its target"}


def test_a_row_does_not_depend_on_the_others(learned):
    together = refined(learned)
    assert together.shape == (6, 24) and together.dtype == np.float32
    for row in range(6):
        alone = refined(learned, ITEMS[row : row + 1], ROWS[row : row + 1])
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)
    np.testing.assert_allclose(refined(learned, ITEMS[::-1], ROWS[::-1])[::-1], together, atol=1e-5)
    # Many rows take several turns.
    many = refined(learned, ITEMS * 4, np.tile(ROWS, (4, 1)))
    np.testing.assert_allclose(many, np.tile(together, (4, 1)), atol=1e-5)


def test_the_lot_follows_from_seed_stimulus_and_sample(learned):
    same = np.tile(ROWS[:1], (6, 1))
    usual = refined(learned, rows=same)
    differences = [np.abs(one - other).max() for i, one in enumerate(usual) for other in usual[:i]]
    assert min(differences) > 1e-3
    assert np.abs(refined(learned, rows=same, seed=1) - usual).max(axis=1).min() > 1e-3
    other = [Item("subj02", one.stimulus_id, one.sample) for one in ITEMS]
    np.testing.assert_array_equal(refined(learned, other, same), usual)


def test_the_first_token_has_unit_length_and_the_others_keep_their_share(learned):
    plain = refined(learned, unit_token=False).reshape(6, *SHAPE)
    unit = refined(learned).reshape(6, *SHAPE)
    lengths = np.linalg.norm(plain[:, :1], axis=-1, keepdims=True)
    assert np.abs(lengths - 1).max() > 0.05
    np.testing.assert_allclose(unit, plain / (lengths + 1e-6), rtol=1e-5)


def test_it_is_the_prior_that_is_sampled(learned):
    prior = prior_of(learned.decoder.network.network)
    from stages.ground.item_seeds import named_generator

    generator = named_generator("7/b/1/clip_image")
    expected = prior.sample(torch.from_numpy(ROWS[3:4]).reshape(1, *SHAPE), [generator], 3).numpy()
    found = refined(learned, [Item("", "b", 1)], ROWS[3:4], seed=7, n_evaluations=3, unit_token=False)
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-6)


def test_a_prior_may_be_guided(learned):
    usual, led = refined(learned), refined(learned, guidance=2.0)
    np.testing.assert_array_equal(refined(learned, guidance=1.0), usual)
    assert np.abs(led - usual).max() > 1e-3
    told = [
        Refine(learned, prior_of, "clip_rough", "clip_image", None, guidance=scale).told(frozenset())
        for scale in (1, 2)
    ]
    assert told == [{"prior evaluations": "every step"}, {"prior evaluations": "every step", "prior guidance": 2}]
