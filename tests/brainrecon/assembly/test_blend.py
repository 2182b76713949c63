"""The step that blends pictures: shares, sizes, absent parts, and what is refused."""

import numpy as np
import pytest

from brainrecon.assembly.blend import Blend
from brainrecon.assembly.values import ABSENT, Item
from stages.ground.errors import InputError

ITEMS = [Item("subj01", "nsd00001"), Item("subj01", "nsd00002")]


def pictures(seed, size):
    return np.random.default_rng(seed).integers(0, 256, (2, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize("shares", [(0.75, 0.25), (0.8, 0.2), (1.0, 0.0)])
def test_pixels_are_averaged_by_their_shares(shares):
    refined, blurry = pictures(0, 8), pictures(1, 8)
    step = Blend({"refined": shares[0], "blurry": shares[1]})
    found = step.run(ITEMS, {"refined": refined, "blurry": blurry})["picture"]
    expected = shares[0] * refined.astype(float) + shares[1] * blurry
    assert np.abs(np.stack(found) - expected).max() <= 0.5 and found[0].dtype == np.uint8
    assert (step.reads, step.optional, step.medium("picture")) == (("refined",), ("blurry",), "picture")


def test_pictures_of_another_size_become_as_large_as_the_first_or_as_is_asked_for():
    import torch

    refined, blurry = pictures(0, 8), pictures(1, 7)
    found = Blend({"refined": 0.75, "blurry": 0.25}).run(ITEMS, {"refined": refined, "blurry": list(blurry)})["picture"]
    enlarged = torch.nn.functional.interpolate(
        torch.from_numpy(blurry).permute(0, 3, 1, 2).double(), (8, 8), mode="bilinear", align_corners=False
    )
    expected = 0.75 * refined + 0.25 * enlarged.permute(0, 2, 3, 1).numpy()
    assert np.abs(np.stack(found) - expected).max() <= 0.51
    asked = Blend({"refined": 0.75, "blurry": 0.25}, gives="blended", size=4)
    assert asked.run(ITEMS, {"refined": refined, "blurry": blurry})["blended"][0].shape == (4, 4, 3)


def test_what_is_absent_leaves_its_share_to_the_others():
    refined = pictures(0, 8)
    step = Blend({"refined": 0.6, "blurry": 0.2, "small": 0.2})
    alone = step.run(ITEMS, {"refined": refined, "blurry": ABSENT, "small": ABSENT})["picture"]
    np.testing.assert_array_equal(np.stack(alone), refined)
    both = step.run(ITEMS, {"refined": refined, "blurry": ABSENT, "small": refined})["picture"]
    np.testing.assert_array_equal(np.stack(both), refined)


def test_rows_do_not_depend_on_each_other():
    values = {"refined": pictures(0, 8), "blurry": pictures(1, 5)}
    step = Blend({"refined": 0.75, "blurry": 0.25})
    together = step.run(ITEMS, values)["picture"]
    alone = step.run(ITEMS[1:], {name: value[1:] for name, value in values.items()})["picture"]
    np.testing.assert_array_equal(alone[0], together[1])


@pytest.mark.parametrize(
    "weights",
    [{"a": 0.75, "b": 0.2}, {"a": 1.25, "b": -0.25}, {"a": float("nan"), "b": 0.25}, {}, {"a": 0.0, "b": 1.0}],
)
def test_shares_that_do_not_add_up_are_refused(weights):
    with pytest.raises(InputError, match="expected shares of 0 or more that add up to 1"):
        Blend(weights)
