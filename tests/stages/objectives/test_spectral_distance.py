"""Distances of spectra: their formulas, what changes nothing of them, and gradients where there is nothing."""

import numpy as np
import pytest
import torch

from stages.ground.errors import InputError
from stages.objectives.spectral_distance import (
    COMPARED,
    SpectralDistance,
    amplitude_distance,
    phase_distance,
    value_distance,
)

DISTANCES = {"amplitude": amplitude_distance, "phase": phase_distance, "values": value_distance}


def pair(n_values=17):
    return torch.randn(2, 6, n_values, generator=torch.Generator().manual_seed(3)).unbind()


@pytest.mark.parametrize("n_values", [16, 17])
def test_they_vs_numpy(n_values):
    u, v = pair(n_values)
    one, other = (np.fft.rfft(values.double().numpy()) for values in (u, v))
    expected = {
        "amplitude": np.abs(np.abs(one) - np.abs(other)).mean(),
        "phase": (1 - np.cos(np.angle(one) - np.angle(other))).mean(),
        "values": ((u - v).double().numpy() ** 2).mean(),
    }
    found = {name: distance(u, v).item() for name, distance in DISTANCES.items()}
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", COMPARED)
def test_equal_features_have_none(kind):
    u, _ = pair()
    assert DISTANCES[kind](u, u).item() == pytest.approx(0, abs=1e-10)


def test_amplitudes_are_blind_to_circular_shifts_and_not_to_scale():
    u, v = pair()
    assert amplitude_distance(u.roll(5, dims=1), v).item() == pytest.approx(amplitude_distance(u, v).item(), rel=1e-5)
    assert amplitude_distance(u.roll(5, dims=1), u).item() < 1e-4
    assert abs(amplitude_distance(2 * u, v) - amplitude_distance(u, v)) > 0.5


def test_phases_are_blind_to_scale_and_not_to_circular_shifts():
    u, v = pair()
    assert phase_distance(2 * u, v).item() == pytest.approx(phase_distance(u, v).item(), rel=1e-5)
    assert phase_distance(u.roll(5, dims=1), u) > 0.5


def test_amplitudes_depend_on_the_order_of_the_features():
    u, v = pair()
    order = torch.randperm(17, generator=torch.Generator().manual_seed(2))
    assert abs(amplitude_distance(u[:, order], v[:, order]) - amplitude_distance(u, v)) > 0.01
    # The values themselves have none.
    torch.testing.assert_close(value_distance(u[:, order], v[:, order]), value_distance(u, v))


@pytest.mark.parametrize("kind", COMPARED)
def test_a_low_pass_looks_at_the_lowest_alone(kind):
    u, v = pair()
    high = torch.fft.rfft(v)
    high[:, :5] = torch.fft.rfft(u)[:, :5]
    same_below = torch.fft.irfft(high, n=17)
    assert DISTANCES[kind](u, same_below, 0.5).item() == pytest.approx(0, abs=1e-5)
    assert DISTANCES[kind](u, same_below) > 0.1


@pytest.mark.parametrize("kind", COMPARED)
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-6])
def test_gradients_are_finite_where_there_is_nothing(kind, size):
    u, v = pair()
    student = (size * u).requires_grad_()
    DISTANCES[kind](student, v).backward()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("kind", COMPARED)
def test_the_objective_is_the_distance_weighted(kind):
    u, v = pair()
    objective = SpectralDistance("features", kind, 0.5, weight=0.2)
    loss, parts = objective({"features": u}, {"features": v}, step=0)
    torch.testing.assert_close(loss, 0.2 * DISTANCES[kind](u, v, 0.5))
    assert objective.if_known and list(parts) == [f"features {kind}"] and not getattr(objective, "compares", False)


def test_a_teacher_of_another_network():
    with pytest.raises(InputError, match=r"features of shape \(2, 4\) and its teacher \(2, 5\)"):
        SpectralDistance("features")({"features": torch.zeros(2, 4)}, {"features": torch.zeros(2, 5)}, step=0)


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({"compares": "power"}, "compares is 'power'"),
        ({"low_pass": 0}, "low_pass is 0"),
        ({"weight": -1}, "weight is -1"),
    ],
)
def test_what_cannot_be_asked_for(arguments, said):
    with pytest.raises(InputError, match=said):
        SpectralDistance("features", **arguments)
