"""The layout of ocd against files that are written from its description."""

import numpy as np
import pytest
from ocd_files import Objects

from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.datasets.dataset import dataset_of
from brainrecon.datasets.inventory import describe, summary
from brainrecon.datasets.ocd.times import read_window
from brainrecon.runs.record import in_split
from stages.ground.errors import InputError

of_several_sizes = pytest.mark.parametrize("objects", [3, 4, 5], indirect=True)


@pytest.fixture
def objects(request, tmp_path):
    seed = getattr(request, "param", 3)
    rng = np.random.default_rng(seed)
    return Objects(
        tmp_path / "ocd",
        seed,
        n_train=int(rng.integers(15, 30)),
        n_test=int(rng.integers(5, 9)),
        n_repeats=int(rng.integers(2, 4)),
        n_voxels=int(rng.integers(6, 15)),
    )


def id_of(name):
    """Folders are parts of the id of a picture file."""
    return name.removesuffix(".png").replace("/", "_")


def rows(content, split):
    return np.flatnonzero(content["split"] == split)


@of_several_sizes
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("compressed", [False, True])
def test_trials_are_those_that_were_written(objects, number, compressed):
    objects.write(compressed=compressed)
    content = objects.content[number]
    by_id = {id_of(name): (own, objects.pictures[name]) for name, own in objects.class_of.items()}
    subject = load(f"ocd:{objects.root}", subject=f"sub-0{number}")
    for split in ("train", "test"):
        own, found = rows(content, split), subject.splits[split]
        # Seconds 2, 4, 6 of 0, 2, 4, 6, 8: all voxels of the first, then of the second.
        expected = np.concatenate([content["x"][own, 1], content["x"][own, 2], content["x"][own, 3]], axis=1)
        np.testing.assert_array_equal(found.betas[:], expected)
        assert found.trial_stimulus_ids.tolist() == [id_of(name) for name in content["stim_file"][own]]
        np.testing.assert_array_equal(found.runs, content["run"][own])
        assert [own_class[0] for own_class in found.categories] == [by_id[name][0] for name in found.stimulus_ids]
        np.testing.assert_array_equal(found.images[:], [by_id[name][1] for name in found.stimulus_ids])
    assert subject.details["times_s"] == [2, 4, 6] and subject.roi == "all"


@pytest.mark.parametrize(
    ("window", "places"),
    [("2-6", [1, 2, 3]), ("4", [2]), (6, [3]), ("all", [0, 1, 2, 3, 4]), ("1.5-4.0", [1, 2]), ("6-99", [3, 4])],
)
@pytest.mark.parametrize("times", ["each", "mean"])
def test_a_window_is_a_span_of_seconds(objects, window, places, times):
    objects.write()
    content = objects.content[1]
    found = load(f"ocd:{objects.root}", window=window, times=times)
    own = content["x"][rows(content, "test")][:, places].astype(np.float64)
    expected = own.mean(axis=1) if times == "mean" else own.reshape(len(own), -1)
    np.testing.assert_allclose(found.test.betas[:], expected, rtol=1e-6, atol=1e-7)


@of_several_sizes
def test_regions_and_times_can_be_joined(objects):
    objects.write()
    content, n_voxels = objects.content[1], objects.content[1]["x"].shape[2]
    whole = load(f"ocd:{objects.root}")
    assert list(whole.rois) == ["HVC", "LVC", "2s", "4s", "6s"]
    higher = content["roi_HVC"].astype(bool)
    part = load(f"ocd:{objects.root}", roi="HVC & 6s")
    np.testing.assert_array_equal(part.train.betas[:], content["x"][rows(content, "train")][:, 3][:, higher])
    both = load(f"ocd:{objects.root}", roi="HVC")
    expected = content["x"][rows(content, "train")][:, 1:4][:, :, higher].reshape(-1, 3 * higher.sum())
    np.testing.assert_array_equal(both.train.betas[:], expected)
    # The one time of a window, and a mean, have no region of their own.
    assert (
        list(load(f"ocd:{objects.root}", window=6).rois)
        == list(load(f"ocd:{objects.root}", times="mean").rois)
        == ["HVC", "LVC"]
    )
    mask = np.arange(n_voxels) % 3 == 0
    own = load(f"ocd:{objects.root}", mask=mask)
    np.testing.assert_array_equal(own.test.betas[:], whole.test.betas[:][:, np.tile(mask, 3)])


def test_peak_alone_is_the_last_part_of_the_sequence(objects):
    objects.write()
    sequence, peak = load(f"ocd:{objects.root}"), load(f"ocd:{objects.root}", window=6)
    np.testing.assert_array_equal(sequence.test.betas[:][:, -peak.n_voxels :], peak.test.betas[:])
    assert sequence.fingerprint == peak.fingerprint


@of_several_sizes
def test_runs_may_be_tested(objects):
    """Pictures of the file's test are shown in several runs, so that a person whose pictures are each shown once is written."""
    n = len(objects.content[1]["run"])
    names = np.array([f"{kind}/{row}.png" for row, kind in enumerate(objects.content[1]["y"])])
    objects.write(pictures=False, stim_file=names)
    runs = objects.content[1]["run"]
    for asked, tested in (("2,4", [2, 4]), (3, [3]), ([1, 2], [1, 2])):
        subject = load(f"ocd:{objects.root}", test_runs=asked)
        assert subject.test.runs.tolist() == runs[np.isin(runs, tested)].tolist()
        assert (
            set(subject.train.runs) == set(runs) - set(tested) and subject.train.n_trials + subject.test.n_trials == n
        )
        assert subject.details["test_runs"] == tested
        assert not any("have trials of both" in note for note in subject.notes)


def test_runs_that_share_a_picture_with_others_are_refused(objects):
    objects.write()
    with pytest.raises(InputError, match="stimuli are in both train and test"):
        load(f"ocd:{objects.root}", test_runs="1,2")


def test_a_file_without_a_split_needs_runs(objects):
    names = np.array([f"{row}.png" for row in range(len(objects.content[1]["run"]))])
    objects.write(pictures=False, split=None, stim_file=names)
    with pytest.raises(InputError, match="has no split; add it, or say which runs are tested, for example test_runs=4"):
        load(f"ocd:{objects.root}")
    assert set(load(f"ocd:{objects.root}", test_runs=4).test.runs) == {4}


def test_further_splits_are_kept(objects):
    split = objects.content[1]["split"].copy()
    train = rows(objects.content[1], "train")
    split[train[:3]] = "rest"
    objects.write(split=split)
    subject = load(f"ocd:{objects.root}")
    assert list(subject.splits) == ["train", "test", "rest"] and subject.splits["rest"].n_trials == 3
    assert in_split(subject, "rest").test.n_trials == 3


def test_notes_say_how_close_trials_are(objects):
    objects.write()
    notes = " ".join(load(f"ocd:{objects.root}").notes)
    assert (
        "4 of 4 runs have trials of both train and test" in notes
        and "by 8 s at least, so that their responses overlap" in notes
    )
    assert "no file of the authors was opened" in notes
    objects.write(onset_s=objects.content[1]["onset_s"] * 2)
    assert "overlap;" in " ".join(load(f"ocd:{objects.root}").notes) and "at least" not in " ".join(
        load(f"ocd:{objects.root}").notes
    )
    objects.write(onset_s=None)
    assert any("is not said (onset_s)" in note for note in load(f"ocd:{objects.root}").notes)


@pytest.mark.parametrize("kind", [">f8", "<f2", ">i2", "fortran"])
def test_numbers_of_any_type(objects, kind):
    x = np.round(objects.content[1]["x"] * 8)
    stored = np.asfortranarray(x) if kind == "fortran" else x.astype(kind)
    objects.write(x=stored, time_s=objects.times.astype(">i4"), run=objects.content[1]["run"].astype(">f4"))
    content = objects.content[1]
    expected = x[rows(content, "test")][:, 1:4].reshape(-1, 3 * x.shape[2])
    np.testing.assert_array_equal(load(f"ocd:{objects.root}").test.betas[:], expected)


def test_classes_may_be_numbers_and_texts_bytes(objects):
    kinds = sorted(set(objects.class_of.values()))
    content = objects.content[1]
    objects.write(
        y=np.array([kinds.index(kind) for kind in content["y"]]), stim_file=content["stim_file"].astype("S20")
    )
    subject = load(f"ocd:{objects.root}")
    assert [own[0] for own in subject.train.categories] == [
        str(kinds.index(name.partition("_")[0])) for name in subject.train.stimulus_ids
    ]
    assert in_split(subject, "category:3").test.n_stimuli > 0


def test_z_scores_are_said_by_the_file(objects):
    objects.write(standardized=np.array("session"))
    assert load(f"ocd:{objects.root}").train.standardized == "session"
    assert load(f"ocd:{objects.root}", subject="sub-02").train.standardized == "no"


def test_without_pictures_trials_are_loaded(objects):
    objects.write(pictures=False)
    subject = load(f"ocd:{objects.root}")
    assert subject.train.images is None and any("put them into" in note for note in subject.notes)


def test_pictures_of_different_sizes_are_brought_to_one(objects):
    first = next(iter(objects.pictures))
    objects.pictures[first] = objects.pictures[first][:-2]
    objects.write()
    with pytest.raises(InputError, match="pass image_size=20"):
        load(f"ocd:{objects.root}")
    assert load(f"ocd:{objects.root}", image_size=16).train.images.shape[1:] == (16, 16, 3)


def test_a_subject_may_be_named_otherwise(objects):
    objects.write()
    for name in ("subj02", "2", "sub-02", "Subject2"):
        assert load(f"ocd:{objects.root}", subject=name).name == "sub-02"


def test_files_of_an_empty_folder_are_those_to_bring(tmp_path):
    files = dataset_of("ocd").files(tmp_path, "subj03")
    assert [(file.path.name, file.optional) for file in files] == [("sub-03.npz", False), ("stimuli", True)]


def test_it_cannot_be_fetched(tmp_path, capsys):
    assert run_command(["data", "download", f"ocd:{tmp_path}", "--agree"]) == 2
    assert "cannot be fetched from here" in capsys.readouterr().err


def test_the_summary_says_what_there_is(objects):
    objects.write()
    text = "\n".join(summary(describe(load(f"ocd:{objects.root}"))))
    assert "subjects: sub-01, sub-02; this is sub-01" in text and "noise ceiling: median" in text


@pytest.mark.parametrize("given", ["", "2-", "6-2", "2 to 6", None, True, "-2", "1e3", "２-６x", "nan"])
def test_a_window_that_cannot_be_read(given):
    with pytest.raises(InputError, match="window is .*write window=2-6"):
        read_window(given)


def test_two_pictures_of_one_id_are_refused(objects):
    shown = objects.content[1]["stim_file"].astype("U40")
    repeated = shown[objects.content[1]["split"] == "test"][0]
    shown[np.flatnonzero(shown == repeated)[-1:]] = repeated.replace("/", "_")
    objects.write(stim_file=shown)
    with pytest.raises(InputError, match="would both have the id"):
        load(f"ocd:{objects.root}")
