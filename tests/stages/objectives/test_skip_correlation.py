"""The correlation of paths with what stands beside them: Pearson's r, what it pulls at, and what stays after it is gone."""

import numpy as np
import pytest
import torch

from stages.ground.errors import InputError
from stages.objectives.skip_correlation import SkipCorrelation, absolute_correlation


def outputs(beside, skips):
    return {"beside_skips": beside, "skips": skips}


def test_it_is_the_mean_of_absolute_correlations():
    torch.manual_seed(0)
    beside, skips = torch.randn(3, 2, 40), torch.randn(3, 2, 40)
    each = [abs(np.corrcoef(one, other)[0, 1]) for one, other in zip(beside.flatten(0, 1), skips.flatten(0, 1))]
    loss, parts = SkipCorrelation(weight=1.5)(outputs(beside, skips), {}, 0)
    np.testing.assert_allclose(float(loss), 1.5 * np.mean(each), rtol=1e-5)
    np.testing.assert_allclose(float(parts["correlation of skips"]), np.mean(each), rtol=1e-5)


@pytest.mark.parametrize("scale", [3.0, -0.2])
def test_one_for_the_same_values_on_any_scale_and_zero_for_orthogonal_ones(scale):
    rows = torch.randn(4, 30)
    torch.testing.assert_close(absolute_correlation(rows, scale * rows + 2), torch.ones(4))
    one, other = torch.linalg.qr(torch.cat([torch.ones(30, 1), torch.randn(30, 2)], 1)).Q.T[1:]
    assert absolute_correlation(one, other) < 1e-6


def test_a_path_that_gives_nothing_correlates_with_nothing():
    skips = torch.zeros(2, 1, 9, requires_grad=True)
    loss, _ = SkipCorrelation()(outputs(torch.randn(2, 1, 9), skips), {}, 0)
    loss.backward()
    assert float(loss.detach()) == 0 and not skips.grad.any()


def test_alone_it_takes_away_what_is_shared():
    torch.manual_seed(0)
    beside, skips = torch.randn(5, 1, 50), torch.nn.Parameter(torch.randn(5, 1, 50))
    with torch.no_grad():
        skips += 2 * beside
    judge, optimiser = SkipCorrelation(), torch.optim.Adam([skips], lr=0.01)
    first = float(judge(outputs(beside, skips), {}, 0)[0])
    for _ in range(600):
        optimiser.zero_grad()
        loss, _ = judge(outputs(beside, skips), {}, 0)
        loss.backward()
        optimiser.step()
    assert first > 1 and float(loss) < 0.05


def test_what_it_pulls_at():
    for reaches, expected in (("both", (True, True)), ("skips", (False, True)), ("neither", (False, False))):
        pair = [torch.randn(3, 2, 9, requires_grad=True) for _ in range(2)]
        loss, _ = SkipCorrelation(reaches=reaches)(outputs(*pair), {}, 0)
        if loss.requires_grad:
            loss.backward()
        assert tuple(one.grad is not None and bool(one.grad.any()) for one in pair) == expected, reaches


@pytest.mark.parametrize("changed, said", [({"weight": -1}, "weight is -1"), ({"reaches": "all"}, "reaches is 'all'")])
def test_what_cannot_be_is_refused(changed, said):
    with pytest.raises(InputError, match=said):
        SkipCorrelation(**changed)
