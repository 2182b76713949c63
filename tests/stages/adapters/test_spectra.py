"""Spectra of rows: NumPy's, there and back again, of any length, and with gradients where there is nothing."""

import numpy as np
import pytest
import torch

from stages.adapters.spectra import amplitude, n_kept, spectrum, with_mixed_amplitudes
from stages.ground.errors import InputError

BOTH_LENGTHS = pytest.mark.parametrize("n_values", [16, 17])


def rows(n_values, seed=0):
    return torch.randn(5, n_values, generator=torch.Generator().manual_seed(seed))


@BOTH_LENGTHS
def test_they_vs_numpy(n_values):
    u = rows(n_values)
    np.testing.assert_allclose(spectrum(u), np.fft.rfft(u.numpy()), atol=1e-5)
    np.testing.assert_allclose(amplitude(spectrum(u)), np.abs(np.fft.rfft(u.numpy())), atol=1e-4)


@BOTH_LENGTHS
def test_a_share_of_nothing_gives_the_rows_back(n_values):
    u, v = rows(n_values), rows(n_values, 1)
    torch.testing.assert_close(with_mixed_amplitudes(u, v, torch.zeros(5)), u)


@BOTH_LENGTHS
def test_all_of_the_own_amplitudes_gives_the_rows_back(n_values):
    u = rows(n_values)
    torch.testing.assert_close(with_mixed_amplitudes(u, u, torch.ones(5)), u)


@BOTH_LENGTHS
def test_mixed_rows_vs_the_formula(n_values):
    u, v, share = rows(n_values), rows(n_values, 1), np.linspace(0, 1, 5)
    one, other = (np.fft.rfft(values.double().numpy()) for values in (u, v))
    size = (1 - share[:, None]) * np.abs(one) + share[:, None] * np.abs(other)
    expected = np.fft.irfft(size * np.exp(1j * np.angle(one)), n=n_values)
    np.testing.assert_allclose(with_mixed_amplitudes(u, v, torch.from_numpy(share)), expected, atol=1e-5)


@BOTH_LENGTHS
def test_above_a_low_pass_nothing_is_mixed(n_values):
    u, v = rows(n_values), rows(n_values, 1)
    mixed = spectrum(with_mixed_amplitudes(u, v, torch.ones(5), low_pass=0.5))
    kept = n_kept(n_values, 0.5)
    torch.testing.assert_close(mixed[:, kept:], spectrum(u)[:, kept:])
    torch.testing.assert_close(mixed[:, :kept].abs(), spectrum(v)[:, :kept].abs())


def test_they_depend_on_the_order_of_the_features():
    # It is the network's own order: nothing is claimed of a frequency.
    u, v, order = rows(16), rows(16, 1), torch.randperm(16, generator=torch.Generator().manual_seed(2))
    mixed = with_mixed_amplitudes(u, v, torch.ones(5))
    reordered = with_mixed_amplitudes(u[:, order], v[:, order], torch.ones(5))
    assert (mixed[:, order] - reordered).abs().max() > 0.1


@BOTH_LENGTHS
def test_rows_of_zeros_have_finite_gradients(n_values):
    u, v = torch.zeros(2, n_values, requires_grad=True), rows(n_values)[:2]
    with_mixed_amplitudes(u, v, torch.full((2,), 0.5)).square().sum().backward()
    assert u.grad.isfinite().all()


@pytest.mark.parametrize("low_pass", [0, -0.1, 1.5, float("nan")])
def test_a_low_pass_that_is_no_share(low_pass):
    with pytest.raises(InputError, match="low_pass is"):
        spectrum(torch.zeros(1, 4), low_pass)
