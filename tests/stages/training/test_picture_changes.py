"""Pictures that change from step to step: what torchvision does with the same seed, as often as is said, for each by itself."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from stages.ground.errors import InputError
from stages.training.batches import sample_seed
from stages.training.picture_changes import PictureChanges, Solarise

TEACHER = dict(size=40, scale=(0.5, 1.0), cropped=1.0, mirrored=0.0, jittered=0.8, grey=0.2, solarised=0.2, blurred=0.1)
NOTHING = dict(size=24, cropped=0.0, mirrored=0.0, jittered=0.0, grey=0.0)


def pictures(n=6, side=30):
    return np.random.default_rng(1).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def by_torchvision(picture, seed, step, row, cropped):
    """What is published for CLIP, written with torchvision's parts and the global generator."""
    parts = [
        v2.RandomResizedCrop(24, scale=(0.6, 1.0), antialias=False)
        if cropped
        else v2.Resize((24, 24), antialias=False),
        v2.RandomHorizontalFlip(0.5),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.3),
        v2.RandomGrayscale(0.3),
    ]
    with torch.random.fork_rng():
        torch.manual_seed(sample_seed(seed, step, row))
        values = torch.from_numpy(picture).permute(2, 0, 1) / 255
        for part in parts:
            values = part(values)
    return np.rint(255 * values.clamp(0, 1).permute(1, 2, 0).numpy()).astype(np.uint8)


def test_they_are_what_torchvision_makes_with_the_same_seed():
    changes, given = PictureChanges(size=24, seed=5), pictures()
    seen = set()
    for step in range(40):
        changed, cropped = changes(given, step), changes.is_cropped(step)
        seen.add(cropped)
        for row, picture in enumerate(given):
            np.testing.assert_array_equal(changed[row], by_torchvision(picture, 5, step, row, cropped))
    assert seen == {True, False}


def test_a_picture_depends_on_the_seed_the_step_and_its_place_alone():
    changes, given = PictureChanges(size=24, seed=5), pictures()
    whole = changes(given, 3)
    for n in (1, 4):
        np.testing.assert_array_equal(changes(given[:n], 3), whole[:n])
    same = changes(np.repeat(given[:1], 6, axis=0), 3)
    assert len(np.unique(same.reshape(6, -1), axis=0)) > 2
    assert not np.array_equal(changes(given, 4), whole)
    assert not np.array_equal(PictureChanges(size=24, seed=6)(given, 3), whole)


def test_the_global_generators_are_left_alone_and_not_looked_at():
    changes, given = PictureChanges(size=24), pictures(2)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = changes(given, 0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    np.random.seed(3)
    np.testing.assert_array_equal(changes(given, 0), first)


def shares(changes, is_changed, n_steps=40, n=25):
    """Share of the pictures that a test finds changed; a ramp in three colours, so that every change shows."""
    ramp = np.linspace(0, 1, 24)
    picture = np.stack(
        [255 * ramp[None, :] * np.ones((24, 1)), 200 * ramp[:, None] * np.ones((1, 24)), np.full((24, 24), 90)], -1
    )
    given = np.repeat(picture.astype(np.uint8)[None], n, axis=0)
    return np.mean([is_changed(one, given[0]) for step in range(n_steps) for one in changes(given, step)])


def is_mirrored(changed, given):
    return changed[0, 0, 0] > changed[0, -1, 0]


def is_grey(changed, given):
    return bool((changed[..., 0] == changed[..., 1]).all() and (changed[..., 0] == changed[..., 2]).all())


def is_other(changed, given):
    return not np.array_equal(changed, given)


@pytest.mark.parametrize(
    ("name", "share", "is_changed"),
    [
        ("mirrored", 0.5, is_mirrored),
        ("jittered", 0.3, is_other),
        ("grey", 0.3, is_grey),
        ("solarised", 0.2, is_other),
        ("blurred", 0.1, is_other),
    ],
)
def test_each_change_happens_as_often_as_is_said(name, share, is_changed):
    found = shares(PictureChanges(**NOTHING | {name: share}), is_changed)
    # 1,000 draws: four standard deviations.
    assert abs(found - share) < 4 * np.sqrt(share * (1 - share) / 1000)


def test_nothing_happens_if_nothing_is_asked_for():
    given = pictures(3, 24)
    np.testing.assert_array_equal(PictureChanges(**NOTHING)(given, 0), given)


def test_a_batch_is_cropped_whole_or_not_at_all_in_the_share_that_is_said():
    changes = PictureChanges(**NOTHING | {"cropped": 0.3})
    cropped = np.array([changes.is_cropped(step) for step in range(2000)])
    assert abs(cropped.mean() - 0.3) < 4 * np.sqrt(0.21 / 2000)
    given = pictures(5, 24)
    for step in range(20):
        same = [np.array_equal(one, other) for one, other in zip(changes(given, step), given)]
        assert all(same) if not cropped[step] else not all(same)


def test_a_crop_keeps_the_share_of_the_picture_that_is_said():
    # Of a ramp, what remains of its range tells the width of the crop.
    ramp = np.repeat(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 256, axis=0), 3, axis=2)
    across, down = np.repeat(ramp[None], 50, axis=0), np.repeat(ramp.transpose(1, 0, 2)[None], 50, axis=0)
    changes = PictureChanges(**NOTHING | {"cropped": 1.0, "size": 64})
    wide, high = (np.ptp(changes(given, 0).astype(float), axis=(1, 2, 3)) / 255 for given in (across, down))
    areas = wide * high
    # A pixel of 64 on each side is lost to the interpolation.
    assert areas.min() > 0.6 - 0.05 and areas.max() <= 1.0 and areas.std() > 0.05
    ratios = wide / high
    assert ratios.min() > 0.7 and ratios.max() < 1.4


def test_each_picture_may_be_cropped_by_its_own_lot():
    changes = PictureChanges(**NOTHING | {"cropped": 0.5, "cropped_of": "pictures"})
    cropped = np.array([[changes.is_cropped(step, row) for row in range(4)] for step in range(500)])
    assert abs(cropped.mean() - 0.5) < 4 * np.sqrt(0.25 / cropped.size)
    # Half of all batches would be all alike by one lot; by four lots it is one of eight.
    assert 0.05 < np.mean(cropped.all(axis=1) | ~cropped.any(axis=1)) < 0.25
    given = pictures(4, 24)
    for step in range(10):
        kept = [np.array_equal(one, other) for one, other in zip(changes(given, step), given)]
        assert kept == (~cropped[step]).tolist()


def test_a_crop_of_one_size_is_a_square_of_so_many_pixels():
    changes = PictureChanges(
        **NOTHING | {"size": 205, "cropped": 1.0, "scale": ((205 / 256) ** 2,) * 2, "ratio": (1, 1)}
    )
    given = pictures(3, 256)
    for one, picture in zip(changes(given, 0), given):
        windows = np.lib.stride_tricks.sliding_window_view(picture[..., 0], (205, 205))
        begins = np.argwhere(windows[:, :, 0, 0] == one[0, 0, 0])
        assert any(np.array_equal(windows[row, column], one[..., 0]) for row, column in begins)


def test_the_teacher_sees_pictures_that_are_cropped_last():
    changes = PictureChanges(**TEACHER, crop_last=True, seed=2)
    names = [type(one).__name__ for one in changes.change(0).transforms]
    assert names == ["Resize", "RandomApply", "RandomGrayscale", "RandomApply", "RandomApply", "RandomResizedCrop"]
    assert changes(pictures(3, 30), 0).shape == (3, 40, 40, 3)


def test_solarising_is_the_formula():
    picture = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    params = {"threshold": 0.45, "added": 0.07}
    added = (picture + 0.07).clamp(0, 1)
    expected = torch.where(added >= 0.45, 1 - added, added)
    torch.testing.assert_close(Solarise().transform(picture, params), expected)
    torch.testing.assert_close(functional.solarize(added, 0.45), expected)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [Solarise().make_params([]) for _ in range(500)]
    assert all(0.4 <= one["threshold"] <= 0.6 and -0.1 <= one["added"] <= 0.1 for one in drawn)
    assert np.std([one["threshold"] for one in drawn]) > 0.05 and np.std([one["added"] for one in drawn]) > 0.05


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"size": 0}, "size is 0"),
        ({"mirrored": 1.5}, "mirrored is 1.5"),
        ({"scale": (0.9, 0.5)}, r"scale is \(0.9, 0.5\); expected two shares in order"),
        ({"scale": (0.0, 0.5)}, "above 0"),
        ({"ratio": (2.0, 1.0)}, r"ratio is \(2.0, 1.0\); expected two numbers in order"),
        ({"cropped_of": "picture"}, "cropped_of is 'picture'"),
    ],
)
def test_changes_that_cannot_be_are_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        PictureChanges(**wrong)


def test_other_pictures_are_refused():
    with pytest.raises(InputError, match="a change of pictures takes uint8"):
        PictureChanges()(pictures().astype(np.float32), 0)
