"""Files of Generic Object Decoding that cannot be used, each in one sentence."""

import numpy as np
import pytest
from damage import cut
from kamitani_files import rewrite

from brainrecon.datasets.kamitani import god
from stages.ground.errors import InputError


def spoil_value(god):
    god.voxels[1][np.array(god.types[1]) == 2, 0] = np.nan
    god.regions[1]["VC"][0] = True
    god.write(1)


def overlap(god):
    codes = [
        code if kind != 2 else next(iter(god.train.values()))
        for kind, code in zip(god.types[1], [(god.train | god.test | god.imagined)[name] for name in god.shown[1]])
    ]
    god.write(1, codes=codes)


def lose_pictures(god):
    god.draw_pictures()
    (god.root / "images/test" / f"{next(iter(god.test))}.JPEG").unlink()


def spoil_picture(god):
    god.draw_pictures()
    (god.root / "images/training" / f"{next(iter(god.train))}.JPEG").write_bytes(b"no picture")


def move(god):
    god.root.rename(god.root.parent / "moved")


def unlink_all(god):
    for number in (1, 2):
        god.file(number).unlink()


GOD_CASES = {
    "no folder": (move, {}, "There is no folder .*god; give the folder that holds Subject1.h5"),
    "empty folder": (unlink_all, {}, "god holds no Subject1.h5 or other subject"),
    "unknown subject": (None, dict(subject="subj07"), "holds no subj07 but subj01, subj02"),
    "truncated": (lambda god: cut(god.file()), {}, "Subject1.h5 cannot be read as HDF5"),
    "no hdf5": (lambda god: god.file().write_text("no" * 2000), {}, "Subject1.h5 cannot be read as HDF5"),
    "no dataset": (lambda god: rewrite(god.file(), "dataset"), {}, "Subject1.h5 holds metadata; expected /dataset"),
    "other width": (
        lambda god: rewrite(god.file(), "metadata/value", np.ones((12, 9))),
        {},
        "has 24 columns .* describe 9 columns",
    ),
    "no DataType": (lambda god: god.write(1, drop=("DataType",)), {}, "expected DataType and stimulus_id"),
    "no stimulus_id": (lambda god: god.write(1, drop=("stimulus_id",)), {}, "expected DataType and stimulus_id"),
    "no test samples": (
        lambda god: god.write(1, types=[1 if kind == 2 else kind for kind in god.types[1]]),
        {},
        r"has samples of DataType 1, 3; expected 1 \(train\) and 2 \(test\)",
    ),
    "unknown DataType": (lambda god: god.write(1, types=[9] * len(god.types[1])), {}, "has samples of DataType 9;"),
    "no codes": (lambda god: god.write(1, codes=[np.nan] * len(god.types[1])), {}, "has no sample for the split train"),
    "coarse codes": (lambda god: god.write(1, dtype="<f4"), {}, "stores float32 numbers, too coarse"),
    "a picture in both splits": (overlap, {}, "1 stimuli are in both train and test"),
    "unknown roi": (None, dict(roi="V9"), "Subject1.h5 has no roi 'V9'; it has V1, V2, LOC, VC, FFA"),
    "roi without voxels": (None, dict(roi="FFA"), "The roi 'FFA' has no voxel in .*Subject1.h5; choose among ROI_V1"),
    "roi of no voxel": (None, dict(roi="Run"), "The roi 'Run' has no voxel"),
    "bad expression": (None, dict(roi="V1 + ("), r"The roi 'V1 \+ \(' cannot be read"),
    "nan": (spoil_value, {}, r"1 of \d+ voxels hold NaN or infinite betas in .*Subject1.h5"),
    "no such picture folder": (None, dict(images="/nowhere/at/all"), "There is no folder /nowhere/at/all"),
    "missing pictures": (lose_pictures, {}, r"images has no picture for 1 of 4 test stimuli, the first is n\d{8}_\d+"),
    "no pictures at all": (lambda god: (god.root / "images").mkdir(), {}, "images has no picture for 12 of 12 train"),
    "unreadable picture": (spoil_picture, {}, r"n\d{8}_\d+.JPEG cannot be read as a picture"),
    "bad size": (lambda god: god.draw_pictures() and None, dict(image_size="big"), "image_size is 'big'; expected"),
}


@pytest.mark.parametrize("case", GOD_CASES)
def test_god_tells_what_is_wrong_in_one_sentence(small, case):
    spoil, asked, told = GOD_CASES[case]
    if spoil:
        spoil(small)
    with pytest.raises(InputError, match=told) as caught:
        subject = god.load(small.root, **asked)
        subject.train.patterns, subject.test.patterns
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "options, told",
    [
        ({"images": 3}, "images is 3; expected the path of a folder"),
        ({"images": ["a"]}, "expected the path of a folder"),
        ({"image_size": 100_000}, "expected a whole number from 1 to 4,096 or None: pass --option image_size=224"),
        ({"image_size": 0}, "image_size is 0; expected a whole number from 1"),
        ({"image_size": True}, "image_size is True; expected a whole number from 1"),
    ],
)
def test_options_of_another_type(small, options, told):
    small.draw_pictures()
    with pytest.raises(InputError, match=told):
        god.load(small.root, **options)
