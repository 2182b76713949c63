"""Files of ocd that cannot be used, each in one sentence, and nothing is written."""

import numpy as np
import pytest
from damage import cut
from ocd_files import Objects

from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from stages.ground.errors import InputError


def changed(**new):
    """The first person's file with other arrays, made of what they were."""

    def spoil(objects):
        content = objects.content[1]
        objects.write(**{name: None if make is None else make(content.get(name)) for name, make in new.items()})

    return spoil


def with_value(place, value):
    def change(old):
        new = old.astype(object) if isinstance(value, str) else old.copy()
        new[place] = value
        return new.astype(str) if isinstance(value, str) else new

    return change


def cut_file(objects):
    cut(objects.root / "sub-01.npz")


def damaged(objects):
    place = objects.root / "sub-01.npz"
    content = bytearray(place.read_bytes())
    content[300:340] = b"\xff" * 40
    place.write_bytes(content)


def no_archive(objects):
    (objects.root / "sub-01.npz").write_text("no data")


def no_person(objects):
    for number in (1, 2):
        (objects.root / f"sub-0{number}.npz").unlink()


def a_folder(objects):
    (objects.root / "sub-01.npz").unlink()
    (objects.root / "sub-01.npz").mkdir()


def lose_a_picture(objects):
    (objects.root / "stimuli" / next(iter(objects.pictures))).unlink()


def spoil_a_picture(objects):
    (objects.root / "stimuli" / next(iter(objects.pictures))).write_bytes(b"no picture")


def rename_a_picture(objects):
    place = objects.root / "stimuli" / next(iter(objects.pictures))
    place.rename(place.with_name(place.name.upper()))


def same_in_both(objects):
    content = objects.content[1]
    split = content["split"].copy()
    name = content["stim_file"][np.flatnonzero(split == "test")[0]]
    split[np.flatnonzero(content["stim_file"] == name)[0]] = "train"
    objects.write(split=split)


def two_classes(objects):
    content = objects.content[1]
    y = content["y"].copy()
    name = content["stim_file"][np.flatnonzero(content["split"] == "test")[0]]
    y[np.flatnonzero(content["stim_file"] == name)[1]] = "tree"
    objects.write(y=y)


def latin(old):
    return np.char.encode(old.astype(str), "latin-1")


NAN = with_value((4, 2, 1), np.nan)
CASES = {
    "no folder": (
        lambda objects: objects.root.rename(objects.root.parent / "moved"),
        {},
        "is no folder; give the folder with a file",
    ),
    "nobody": (no_person, {}, "holds no subject; give the folder with a file sub-01.npz"),
    "a folder for a file": (a_folder, {"subject": "sub-01"}, "has no subject 'sub-01'; it has sub-02"),
    "truncated": (cut_file, {}, "sub-01.npz cannot be read as a .npz archive"),
    "damaged": (damaged, {}, "sub-01.npz cannot be read as"),
    "no archive": (no_archive, {}, "sub-01.npz cannot be read as a .npz archive"),
    "unknown subject": (None, {"subject": "sub-07"}, "has no subject 'sub-07'; it has sub-01, sub-02"),
    "no responses": (changed(x=None), {}, "but no x; write the file again as docs/datasets/ocd.md describes"),
    "no times": (changed(time_s=None), {}, "but no time_s"),
    "no classes": (changed(y=None), {}, "but no y"),
    "no runs": (changed(run=None), {}, "but no run"),
    "no pictures": (changed(stim_file=None), {}, "but no stim_file"),
    "two axes": (
        changed(x=lambda old: old[:, 0]),
        {},
        r"x in .* is float32 \(30, 12\); expected numbers \(n_trials, n_times",
    ),
    "empty": (changed(x=lambda old: old[:0]), {}, r"x in .* is float32 \(0, 5, 12\); expected"),
    "complex": (changed(x=lambda old: old.astype(complex)), {}, "x in .* is complex128"),
    "pickled": (changed(y=lambda old: old.astype(object)), {}, "pickled Python objects"),
    "NaN": (changed(x=NAN), {}, "1 of 36 voxels hold NaN or infinite betas in x of .*; take these voxels out"),
    "infinite": (changed(x=with_value((0, 3, 0), np.inf)), {}, "1 of 36 voxels hold NaN or infinite"),
    "fewer times": (changed(time_s=lambda old: old[1:]), {}, r"time_s in .* is float64 \(4,\) for the 5 times of x"),
    "times in another order": (
        changed(time_s=lambda old: old[::-1]),
        {},
        "is 8s, 6s, 4s, 2s, 0s; expected times that increase",
    ),
    "a time twice": (changed(time_s=lambda old: old // 4), {}, "expected times that increase"),
    "times that are NaN": (changed(time_s=lambda old: old * np.nan), {}, "expected seconds after the picture"),
    "fewer classes": (changed(y=lambda old: old[1:]), {}, r"y in .* is \(29,\) but x has 30 trials"),
    "fewer runs": (changed(run=lambda old: old[1:]), {}, r"run in .* is \(29,\) but x has 30 trials"),
    "a run by half": (changed(run=lambda old: old + 0.5), {}, "run in .* is float64 and not all whole numbers"),
    "runs from 0": (changed(run=lambda old: old - 1), {}, "run in .* has the number 0; expected numbers from 1 on"),
    "runs in words": (changed(run=lambda old: old.astype(str)), {}, "run in .* is <U21 and not all whole"),
    "a class that is NaN": (
        changed(y=lambda old: np.full(len(old), np.nan)),
        {},
        "y in .* is float64; expected texts or whole",
    ),
    "a class without a name": (changed(y=with_value(3, " ")), {}, "y in .* is empty for trial 4"),
    "two classes of a picture": (two_classes, {}, "gives .*png the class .* and, on trial .*, tree"),
    "a name that leads outside": (
        changed(stim_file=with_value(0, "../secret.png")),
        {},
        r"'\.\./secret\.png', which is no file below",
    ),
    "a name from the root": (
        changed(stim_file=with_value(0, "/etc/passwd")),
        {},
        "'/etc/passwd', which is no file below stimuli/",
    ),
    "names that are not UTF-8": (
        changed(stim_file=lambda old: latin(np.char.replace(old.astype(str), "bird", "v\u00f6gel"))),
        {},
        "sub-01.npz cannot be read as a .npz archive .*utf-8",
    ),
    "no test trial": (
        changed(split=lambda old: np.full(len(old), "train")),
        {},
        "No trial of .* is for test but for train",
    ),
    "no split": (changed(split=None), {}, "has no split; add it, or say which runs are tested"),
    "an empty split": (changed(split=with_value(2, "")), {}, "split in .* is empty for trial 3"),
    "a split that cannot be a folder": (
        changed(split=with_value(2, "../up")),
        {},
        "a split called '../up', which cannot name a folder",
    ),
    "a picture in both": (same_in_both, {}, "1 stimuli are in both train and test"),
    "a region of another width": (
        changed(roi_LVC=lambda old: old[1:]),
        {},
        "roi_LVC in .* has 11 entries but x has 12 voxels",
    ),
    "a region of numbers": (changed(roi_LVC=lambda old: old * 7), {}, "roi_LVC in .* holds 7 beside 0 and 1"),
    "a region called as a time": (
        changed(roi_6s=lambda old: np.ones(12, bool)),
        {},
        "has a region roi_6s, which is how a time is called",
    ),
    "onsets of another length": (changed(onset_s=lambda old: old[1:]), {}, "onset_s in .* but x has 30 trials"),
    "onsets that are NaN": (changed(onset_s=lambda old: old * np.nan), {}, "onset_s in .* not all finite"),
    "z-scored how": (
        changed(standardized=lambda old: np.array("yes")),
        {},
        "standardized in .* is 'yes'; write 'session'",
    ),
    "a picture is lost": (
        lose_a_picture,
        {},
        "stimuli has no picture for 1 of 20 train stimuli, the first is bird/000.png",
    ),
    "a picture in capitals": (
        rename_a_picture,
        {},
        "has no picture for 1 of 20 train stimuli, the first is bird/000.png",
    ),
    "a picture is none": (spoil_a_picture, {}, "000.png cannot be read as a picture"),
    "no window": (None, {"window": "6-2"}, "window is '6-2', which ends before it begins"),
    "a window beside the times": (
        None,
        {"window": "20-30"},
        "No time of .* lies in the window 20-30; it has 0s, 2s, 4s, 6s, 8s",
    ),
    "no such times": (None, {"times": "sum"}, "times is 'sum'; expected each or mean"),
    "no such run": (None, {"test_runs": "9"}, "has no run 9; it has 1, 2, 3, 4"),
    "no runs that can be read": (None, {"test_runs": "last"}, "test_runs is 'last'; expected numbers of runs"),
    "all runs": (None, {"test_runs": "1,2,3,4"}, "No trial of .* is for train but for test"),
    "a size": (None, {"image_size": 0}, "image_size is 0; expected a whole number from 1 to"),
    "an unknown roi": (None, {"roi": "V9"}, "has no roi 'V9'; it has HVC, LVC, 2s, 4s, 6s, all"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_one_sentence_and_nothing_is_written(case, tmp_path, capsys):
    spoil, asked, told = CASES[case]
    objects = Objects(tmp_path / "ocd").write()
    if spoil:
        spoil(objects)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=told) as caught:
        subject = load(f"ocd:{objects.root}", **asked)
        subject.train.images[:]
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    line = ["run", "mean-image", f"ocd:{objects.root}", "--out", str(tmp_path / "run")]
    for name, value in asked.items():
        line += [f"--{name}", str(value)] if name in ("subject", "roi") else ["--option", f"{name}={value}"]
    assert run_command(line) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert set(tmp_path.rglob("*")) == before


def test_a_file_is_no_folder(tmp_path):
    objects = Objects(tmp_path / "ocd").write()
    with pytest.raises(
        InputError, match="sub-01.npz is a file; give the folder with a file sub-01.npz for each person"
    ):
        load(f"ocd:{objects.root / 'sub-01.npz'}")


def test_a_test_set_that_is_changed_changes_no_training_response(tmp_path):
    objects = Objects(tmp_path / "ocd").write()
    there = load(f"ocd:{objects.root}").train.betas[:]
    content = objects.content[1]
    content["x"][content["split"] == "test"] *= 1000
    objects.write()
    np.testing.assert_array_equal(load(f"ocd:{objects.root}").train.betas[:], there)
