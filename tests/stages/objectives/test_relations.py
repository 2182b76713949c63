"""Relations of samples: the paper's formulas written out, what changes nothing of them, and rows that are equal."""

from itertools import product

import numpy as np
import pytest
import torch

from stages.ground.errors import InputError
from stages.objectives.relations import RelationalDistance, angles, distances

N = 6


def rows(seed=0):
    return torch.randn(N, 8, generator=torch.Generator().manual_seed(seed))


def huber(x):
    return np.where(np.abs(x) < 1, 0.5 * x**2, np.abs(x) - 0.5).mean()


def written_out(values):
    values = values.double().numpy()
    apart = np.array([[np.linalg.norm(one - other) for other in values] for one in values])
    apart /= apart[~np.eye(N, dtype=bool)].mean()
    turned = np.zeros((N, N, N))
    for j, i, k in product(range(N), repeat=3):
        if j not in (i, k):
            one, other = values[i] - values[j], values[k] - values[j]
            turned[j, i, k] = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    return apart, turned


def test_they_vs_the_formulas_written_out():
    u, v = rows(), rows(1)
    (apart, turned), (theirs, their_angles) = written_out(u), written_out(v)
    np.testing.assert_allclose(distances(u), apart, atol=1e-5)
    np.testing.assert_allclose(angles(u), turned, atol=1e-5)
    objective = RelationalDistance("features", distance_weight=3.0, angle_weight=0.5, weight=2.0)
    loss, _ = objective({"features": u}, {"features": v}, step=0)
    assert loss.item() == pytest.approx(2 * (3 * huber(apart - theirs) + 0.5 * huber(turned - their_angles)), rel=1e-4)


def test_turned_shifted_and_scaled_features_have_the_same_relations():
    u, turn = rows(), torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(4)))[0]
    loss, _ = RelationalDistance("features")({"features": u}, {"features": 5 * u @ turn + 2}, step=0)
    assert loss.item() < 1e-9
    assert RelationalDistance("features")({"features": u}, {"features": rows(1)}, step=0)[0] > 0.01


@pytest.mark.parametrize("values", [torch.zeros(N, 8), torch.cat([rows()[:3], rows()[:3]]), rows()[:1]])
def test_rows_that_are_equal_have_finite_gradients(values):
    student = values.clone().requires_grad_()
    loss, _ = RelationalDistance("features")({"features": student}, {"features": rows(1)[: len(values)]}, step=0)
    loss.backward()
    assert loss.isfinite() and student.grad.isfinite().all()


def test_it_is_of_whole_batches_and_of_a_teacher():
    assert RelationalDistance("features").compares and RelationalDistance("features").if_known


@pytest.mark.parametrize("name", ["distance_weight", "angle_weight", "weight"])
def test_weights_below_nothing(name):
    with pytest.raises(InputError, match=f"{name} is -1"):
        RelationalDistance("features", **{name: -1})
