"""A BData file of one's own, under any name and with any keys, against what was written."""

import numpy as np
import pytest
from damage import cut
from kamitani_files import rewrite
from own_bdata_files import OwnBData

from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.datasets.dataset import dataset_of
from brainrecon.datasets.noise_ceiling import measured_noise_ceiling
from stages.ground.errors import InputError

ASKED = {"stimulus": "picture", "split": "part", "train": "fit", "test": "check"}


@pytest.fixture
def mine(tmp_path):
    return OwnBData(tmp_path / "mine")


def read(mine, **options):
    return load(f"bdata:{mine.file}", **(ASKED | options))


@pytest.mark.parametrize("seed", range(4))
def test_samples_come_back_by_the_keys_that_are_named(tmp_path, seed):
    mine = OwnBData(
        tmp_path / "mine", seed, ("a.h5", "SUBJECT-12.hdf5", "mine.h5", "sub3.h5")[seed], order="<>"[seed % 2]
    )
    mine.draw_pictures()
    subject = read(mine)
    assert subject.name == ("subj01", "subj12", "subj01", "subj03")[seed] and subject.roi == "VC"
    inside = mine.regions["VC"]
    for name, part in (("train", "fit"), ("test", "check")):
        split, rows = subject.splits[name], mine.rows(part)
        assert split.trial_stimulus_ids.tolist() == [mine.shown[row] for row in rows]
        np.testing.assert_array_equal(split.betas[:], mine.voxels[rows][:, inside].astype(np.float32))
        assert split.runs.tolist() == mine.runs[rows].tolist() and split.standardized == "no"
        np.testing.assert_array_equal(split.images[:], [mine.pictures[one] for one in split.stimulus_ids])
    assert any("2 samples with another part were left out" in note for note in subject.notes)
    np.testing.assert_array_equal(subject.rois["V1"], mine.regions["V1"][inside])
    assert subject.source == f"bdata:{mine.file}" and subject.details["split"] == "part"


def test_repeats_give_a_noise_ceiling(mine):
    subject = read(mine)
    assert (subject.test.repeats == 3).all() and measured_noise_ceiling(subject).shape == (subject.n_voxels,)


def test_numbers_without_labels_are_values_and_names(tmp_path):
    mine = OwnBData(tmp_path / "mine", labelled=False)
    subject = read(mine, train=5, test="7")
    shown = [f"stimulus_{mine.numbers[mine.shown[row]]}" for row in mine.rows("check")]
    assert subject.test.trial_stimulus_ids.tolist() == shown
    with pytest.raises(
        InputError, match="No sample of .* has 1 or train or training as part, .* it has .*7.*train=VALUE"
    ):
        read(mine, train=None)
    with pytest.raises(InputError, match="train and test are the same value of part"):
        read(mine, train=7, test=7)


def test_a_second_file_is_tested(mine, tmp_path):
    mine.write(rows=mine.rows("fit"), drop=("part",))
    other = mine.write(tmp_path / "test day.h5", rows=mine.rows("check"), drop=("part",))
    asked = {"stimulus": "picture", "test_file": str(other)}
    subject = load(f"bdata:{mine.file}", **asked)
    inside = mine.regions["VC"]
    np.testing.assert_array_equal(subject.train.betas[:], mine.voxels[mine.rows("fit")][:, inside].astype(np.float32))
    np.testing.assert_array_equal(subject.test.betas[:], mine.voxels[mine.rows("check")][:, inside].astype(np.float32))
    assert subject.details["files"] == sorted([mine.file.name, other.name])
    listed = [file.path for file in dataset_of("bdata").files(mine.file, test_file=str(other))]
    assert listed[:2] == [mine.file, other]
    for more, told in (
        ({"split": "Run"}, "Both test_file and a split"),
        ({"test_file": 3}, "expected the path of a BData"),
    ):
        with pytest.raises(InputError, match=told):
            load(f"bdata:{mine.file}", **(asked | more))
    with pytest.raises(InputError, match="There is no file .*nowhere.h5"):
        load(f"bdata:{mine.file}", stimulus="picture", test_file=tmp_path / "nowhere.h5")


def test_without_a_split_stimuli_are_tested_in_folds(mine):
    mine.write(drop=("part",))
    with pytest.raises(InputError, match="has no key DataType .* --option split=KEY of Run, picture, a second file"):
        load(f"bdata:{mine.file}", stimulus="picture")
    tested = [load(f"bdata:{mine.file}", stimulus="picture", fold=(k, 4)).test.stimulus_ids.tolist() for k in range(4)]
    assert sorted(sum(tested, [])) == sorted([*mine.train, *mine.test])


def test_responses_may_be_z_scored_before_or_when_read(mine):
    subject = read(mine, standardized="session")
    assert {split.standardized for split in subject.splits.values()} == {"session"}
    assert subject.train.betas.columns([1]).standardized == "session"
    zscored = read(mine, zscore=True)
    rows = mine.rows("fit")
    values = mine.voxels[rows][:, mine.regions["VC"]]
    expected = np.empty_like(values)
    for run in np.unique(mine.runs[rows]):
        own = mine.runs[rows] == run
        expected[own] = (values[own] - values[own].mean(axis=0)) / values[own].std(axis=0)
    np.testing.assert_allclose(zscored.train.betas[:], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="Both standardized=session and zscore=true"):
        read(mine, standardized="session", zscore=True)
    with pytest.raises(InputError, match="standardized in the option for .* is 'yes'"):
        read(mine, standardized="yes")


def test_other_readers_tell_where_such_a_file_is_read(mine):
    with pytest.raises(InputError, match=f"is a BData file, which is read as bdata:{mine.file}"):
        load(f"arrays:{mine.file}")
    with pytest.raises(InputError, match="or give a file of another name as bdata:FILE"):
        load(f"god:{mine.root}")


def drop_vmap(mine):
    import h5py

    with h5py.File(mine.file, "r+") as file:
        del file["vmap/picture/5"]


def not_finite(mine):
    mine.voxels[int(mine.rows("fit")[0]), np.flatnonzero(mine.regions["VC"])[0]] = np.nan
    mine.write()


DAMAGE = {
    "nothing there": (lambda mine: mine.file.unlink(), {}, "There is no file .*visit_sub-04_day2.h5"),
    "a folder": (
        lambda mine: None,
        {"path": "root"},
        "is a folder; give one file, as bdata:.*day2.h5, of 1 that are there",
    ),
    "cut": (lambda mine: cut(mine.file), {}, "day2.h5 cannot be read as HDF5"),
    "empty": (lambda mine: mine.file.write_bytes(b""), {}, "day2.h5 cannot be read as HDF5"),
    "text": (lambda mine: mine.file.write_text("voxels"), {}, "day2.h5 cannot be read as HDF5"),
    "an old MATLAB file": (
        lambda mine: mine.file.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(500)),
        {},
        "save it with '-v7.3'",
    ),
    "no metadata": (lambda mine: rewrite(mine.file, "metadata"), {}, "expected /dataset and /metadata of a BData file"),
    "other metadata": (
        lambda mine: rewrite(mine.file, "metadata/value", np.ones((2, 3))),
        {},
        "but its metadata describe 3 columns and 2 keys",
    ),
    "texts for voxels": (
        lambda mine: rewrite(mine.file, "dataset", np.array([[b"a"]])),
        {},
        "expected numbers in rows and columns",
    ),
    "NaN": (not_finite, {}, "1 of .* voxels hold NaN or infinite betas in .*day2.h5"),
    "a label is missing": (drop_vmap, {}, "labels for 12 numbers of picture but none for 5"),
    "no such stimulus key": (
        lambda mine: None,
        {"stimulus": "pictures"},
        "has no key 'pictures'; it has .*did you mean",
    ),
    "no stimulus key": (
        lambda mine: None,
        {"stimulus": None},
        "has none of the keys stimulus_name.*stimulus=KEY of Run, part, picture",
    ),
    "a stimulus that is no key": (lambda mine: None, {"stimulus": 4}, "stimulus is 4; expected the name of a key"),
    "no such split key": (lambda mine: None, {"split": "DataType"}, "has no key 'DataType'"),
    "voxels for a split": (lambda mine: None, {"split": "VoxelData"}, "has 25 columns; expected one"),
    "no such value": (
        lambda mine: None,
        {"test": "exam"},
        "has exam as part, which would be the split test; it has .*check",
    ),
    "trained and tested": (lambda mine: None, {"train": "pilot", "test": "fit"}, "stimuli are in both train and test"),
    "another subject": (lambda mine: None, {"subject": "subj05"}, "has no subject 'subj05'; it has subj04"),
    "an unknown region": (lambda mine: None, {"roi": "V9"}, "has no roi 'V9'; it has V1"),
    "pictures are missing": (
        lambda mine: (mine.draw_pictures(), (mine.root / "images" / "cup03.png").unlink()),
        {},
        "has no picture for 1 of 9 train stimuli, the first is cup03",
    ),
    "a folder of pictures that is not there": (lambda mine: None, {"images": "nowhere"}, "There is no folder nowhere"),
    "runs are missing": (lambda mine: mine.write(drop=("Run",)), {"zscore": True}, "does not tell the runs"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_one_sentence(case, mine, tmp_path, capsys):
    spoil, asked, told = DAMAGE[case]
    spoil(mine)
    asked = ASKED | asked
    path = mine.root if asked.pop("path", None) else mine.file
    asked = {name: value for name, value in asked.items() if value is not None}
    with pytest.raises(InputError, match=told) as caught:
        load(f"bdata:{path}", **asked).train.patterns
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    line = ["data", "prepare", f"bdata:{path}", "--out", str(tmp_path / "made")]
    for name, value in asked.items():
        line += (
            [f"--{name}", value]
            if name in ("subject", "roi")
            else ["--option", f"{name}={str(value).lower() if value is True else value}"]
        )
    assert run_command(line) == 2 and not (tmp_path / "made").exists()
    assert capsys.readouterr().err.splitlines()[-1].endswith(".")


def test_without_pictures_the_note_says_where_they_go(mine):
    subject = read(mine)
    assert subject.test.images is None
    assert any(f"no pictures: put them into {mine.root / 'images'}, named after" in note for note in subject.notes)
