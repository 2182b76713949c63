"""Changes of colours one by one: their formulas in NumPy, how often each happens, and nothing of the others."""

import numpy as np
import pytest
import torch

from stages.ground.errors import InputError
from stages.training.separate_colours import PUBLISHED, OneColour, SeparateColours

GREYS = np.random.default_rng(0).random((3, 5, 5)).astype(np.float32)


def changed_by(name, seed):
    """A picture after one change, and the numbers that it drew."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        changed = OneColour(name)(torch.from_numpy(GREYS)).numpy()
        torch.manual_seed(seed)
        drawn = [name, "gain"] if name == "gamma" else [name]
        numbers = [torch.empty(()).uniform_(*PUBLISHED[one]).item() for one in drawn]
    return changed, numbers


FORMULAS = {
    "brightness": lambda number: GREYS + number - 1,
    "contrast": lambda number: GREYS * number,
    "gamma": lambda number, gain: gain * GREYS**number,
    "saturation": lambda number: (
        number * GREYS + (1 - number) * np.einsum("c,chw->hw", np.float32([0.2989, 0.587, 0.114]), GREYS)
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_changes_equal_their_formulas(name):
    for seed in range(5):
        changed, numbers = changed_by(name, seed)
        np.testing.assert_allclose(changed, FORMULAS[name](*numbers).clip(0, 1), atol=1e-5)
        assert np.abs(changed - GREYS).max() > 0


def test_hue_and_sharpness_change_what_they_should():
    turned, _ = changed_by("hue", 1)
    # The value of a colour, its largest part, stays.
    np.testing.assert_allclose(turned.max(axis=0), GREYS.max(axis=0), atol=1e-5)
    assert np.abs(turned - GREYS).max() > 0.01
    sharp, (number,) = changed_by("sharpness", 1)
    # Borders stay, inside it goes away from a mean of neighbours.
    np.testing.assert_allclose(sharp[:, 0], GREYS[:, 0], atol=1e-6)
    assert abs(number - 1) > 1e-3 and np.abs(sharp - GREYS)[:, 1:-1, 1:-1].max() > 1e-4


def test_each_happens_by_its_own_lot_as_often_as_published():
    changes = SeparateColours(size=4, cropped=0.0, seed=3)
    colours = changes._colours
    assert [getattr(one, "p", None) for one in colours] == [0.2] * 7
    assert (SeparateColours().scale, SeparateColours().cropped) == ((0.8, 1.0), 0.3)
    picture = np.full((1, 4, 4, 3), (200, 100, 50), np.uint8)
    same = np.mean([np.array_equal(changes(picture, step)[0], picture[0]) for step in range(400)])
    # Sharpness changes nothing of a plain picture: six of the seven do.
    assert abs(same - 0.8**6) < 4 * np.sqrt(0.8**6 * (1 - 0.8**6) / 400)
    assert np.array_equal(SeparateColours(size=4, cropped=0.0, each=0.0)(picture, 0), picture)


def test_a_share_that_cannot_be_is_refused():
    with pytest.raises(InputError, match="each is 1.5"):
        SeparateColours(each=1.5)
