"""An adapter of few parameters: nothing at first, a convolution after, and no more parameters than it says."""

import numpy as np
import pytest
import torch
from scipy.stats import gamma

from stages.adapters.response_adapter import ResponseAdapter, haemodynamic_kernel
from stages.ground.errors import InputError

ROWS = torch.randn(4, 30, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["convolution", "film"])
def test_at_first_rows_pass_as_they_are(kind):
    assert torch.equal(ResponseAdapter(30, kind)(ROWS), ROWS)


def test_the_haemodynamic_kernel_is_no_identity():
    assert (ResponseAdapter(30, kernel="haemodynamic")(ROWS) - ROWS).abs().max() > 0.1


@pytest.mark.parametrize("length", [1, 5, 7, 9])
def test_it_vs_numpy(length):
    adapter, random = ResponseAdapter(30, length=length), np.random.default_rng(1)
    kernel, gain, offset = random.standard_normal(length), random.standard_normal(30), random.standard_normal(30)
    with torch.no_grad():
        for name, values in {"kernel": kernel, "gain": gain, "offset": offset}.items():
            getattr(adapter, name).copy_(torch.from_numpy(values))
    expected = [gain * np.convolve(row, kernel, "same") + offset for row in ROWS.numpy()]
    np.testing.assert_allclose(adapter(ROWS).detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("length", [3, 5, 7, 9])
def test_the_kernel_vs_the_gamma_density(length):
    seconds = np.arange(length) * 5 / (length // 2)
    expected = gamma(6).pdf(seconds)
    np.testing.assert_allclose(haemodynamic_kernel(length), expected / expected.sum(), rtol=1e-5)


def test_it_has_few_parameters():
    names = {name: one.numel() for name, one in ResponseAdapter(8192).named_parameters()}
    assert names == {"gain": 8192, "offset": 8192, "kernel": 7}
    assert {name for name, _ in ResponseAdapter(8192, "film").named_parameters()} == {"gain", "offset"}


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({"n_values": 0}, "n_values is 0"),
        ({"n_values": 4, "kind": "dilated"}, "kind is 'dilated'"),
        ({"n_values": 4, "kernel": "boxcar"}, "kernel is 'boxcar'"),
        ({"n_values": 4, "length": 6}, "length is 6, so that the kernel has no middle; .* example 7"),
        ({"n_values": 4, "length": -1}, "length is -1"),
    ],
)
def test_what_cannot_be_made(arguments, said):
    with pytest.raises(InputError, match=said):
        ResponseAdapter(**arguments)
