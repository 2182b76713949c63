"""Two pictures in one: the shares, the size, and what there is of one alone."""

import numpy as np
import pytest
import torch

from brainrecon.assembly.blend import Blend
from brainrecon.assembly.values import ABSENT, Item
from stages.ground.errors import InputError

RANDOM = np.random.default_rng(0)
ITEMS = [Item("subj01", "a"), Item("subj01", "b")]


def pictures(size, n=2):
    return list(RANDOM.integers(0, 256, (n, size, size, 3), dtype=np.uint8))


def test_pictures_of_one_size_vs_the_formula():
    refined, blurry = pictures(16), pictures(16)
    step = Blend("refined", "blurry", 0.25, 16)
    found = step.run(ITEMS, {"refined": refined, "blurry": blurry})["picture"]
    for row in range(2):
        expected = 0.75 * refined[row].astype(float) + 0.25 * blurry[row].astype(float)
        np.testing.assert_array_equal(found[row], np.rint(expected).astype(np.uint8))


def test_other_sizes_are_resized_as_torchvision_did_then():
    """Bilinear without a filter: of 768 pixels every third stays, and 224 are interpolated."""
    refined, blurry = pictures(48), pictures(14)
    found = Blend("refined", "blurry", 0.25, 16).run(ITEMS, {"refined": refined, "blurry": blurry})["picture"]
    for row in range(2):
        small = refined[row][1::3, 1::3].astype(np.float32)
        large = torch.from_numpy(blurry[row]).permute(2, 0, 1)[None].float()
        large = torch.nn.functional.interpolate(large, (16, 16), mode="bilinear")[0].permute(1, 2, 0).numpy()
        np.testing.assert_allclose(found[row], 0.75 * small + 0.25 * large, atol=0.5001)


def test_without_the_other_picture_there_is_the_first_alone():
    refined = pictures(16)
    found = Blend("refined", "blurry", 0.25, 16).run(ITEMS, {"refined": refined, "blurry": ABSENT})["picture"]
    np.testing.assert_array_equal(np.stack(found), np.stack(refined))


def test_a_run_records_the_share():
    step = Blend("refined", "blurry", 0.25, 16)
    assert step.told(frozenset({"refined", "blurry"})) == {"blurry share": 0.25}
    assert step.told(frozenset({"refined"})) == {"blurry share": 0}


def test_shares_and_sizes_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="share is 1.5"):
        Blend("refined", "blurry", 1.5, 16)
    with pytest.raises(InputError, match="size is 0"):
        Blend("refined", "blurry", 0.25, 0)
