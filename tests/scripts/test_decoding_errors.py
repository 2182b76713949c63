"""Tokens that look like decoded ones: compared with what a ridge regression makes of noisy responses."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.decoders.ridge.ridge import RidgeDecoder

SHAPE = (4, 10)
SPREADS = 2.0 ** -np.arange(40)  # standard deviations of the components, halving


@pytest.fixture
def errors(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "scripts")
    return importlib.import_module("tiny_networks.decoding_errors")


@pytest.fixture
def basis():
    return np.linalg.qr(np.random.default_rng(0).standard_normal((40, 40)))[0]


def some_tokens(basis, n, seed):
    coefficients = SPREADS * np.random.default_rng(seed).standard_normal((n, 40))
    return torch.from_numpy(5 + coefficients @ basis.T).float().unflatten(1, SHAPE)


def component_correlations(basis, tokens, others, n=8):
    true, other = (np.asarray(each.flatten(1)) @ basis for each in (tokens, others))
    return np.array([np.corrcoef(true[:, k], other[:, k])[0, 1] for k in range(n)])


def test_components_are_lost_as_ridge_loses_them(errors, basis, monkeypatch):
    """Voxels are random mixtures of the tokens with independent noise; ridge knows nothing of components."""
    random = np.random.default_rng(1)
    train, test = some_tokens(basis, 3000, 2), some_tokens(basis, 3000, 3)
    mixing, noise = np.linalg.qr(random.standard_normal((40, 40)))[0], 0.2

    def responses(tokens):
        deviations = np.asarray(tokens.flatten(1), float) - 5
        return deviations @ mixing + noise * random.standard_normal(deviations.shape)

    ridge = RidgeDecoder().fit(responses(train), np.asarray(train.flatten(1)))
    decoded = component_correlations(basis, test, torch.from_numpy(ridge.predict(responses(test))))

    for name, value in {"DISTURBED_ROWS": 1.0, "NOISE": (noise**2,) * 2, "BEST_RELIABILITY": (1.0, 1.0)}.items():
        monkeypatch.setattr(errors, name, value)
    disturbed = errors.DecodingErrors(train)(test, torch.Generator().manual_seed(0))
    imitated = component_correlations(basis, test, disturbed)
    assert decoded[0] > 0.95 and decoded[-1] < 0.2
    # Ridge standardises voxels, which turns its components a little against those of the tokens.
    np.testing.assert_allclose(imitated, decoded, atol=0.1)


def test_mean_and_spread_are_kept(errors, basis):
    tokens = some_tokens(basis, 4000, 4)
    changed = errors.DecodingErrors(tokens)(tokens, torch.Generator().manual_seed(0))
    touched = (changed - tokens).abs().amax((1, 2)) > 0
    assert touched.float().mean().item() == pytest.approx(errors.DISTURBED_ROWS, abs=0.03)
    spread = tokens.std(0)
    assert ((changed[touched].mean(0) - tokens.mean(0)).abs() / spread).max() < 0.1
    torch.testing.assert_close(changed[touched].std(0), spread, rtol=0.06, atol=0)


def test_draws_come_from_the_generator_alone(errors, basis):
    tokens = some_tokens(basis, 50, 5)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first, second = (errors.DecodingErrors(tokens)(tokens, torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.rand(1), expected)


def test_more_noise_leaves_less(errors, basis, monkeypatch):
    tokens = some_tokens(basis, 2000, 6)
    disturb, kept = errors.DecodingErrors(tokens), []
    monkeypatch.setattr(errors, "DISTURBED_ROWS", 1.0)
    for noise in (1e-4, 1e-2, 1.0):
        monkeypatch.setattr(errors, "NOISE", (noise, noise))
        kept.append(component_correlations(basis, tokens, disturb(tokens, torch.Generator().manual_seed(0)), 4))
    assert (np.diff(kept, axis=0) < 0).all()
