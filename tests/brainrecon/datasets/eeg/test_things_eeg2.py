"""THINGS-EEG2 against files that are written from its published description."""

import os
import pickle
import zipfile

import numpy as np
import pytest
from damage import cut
from eeg_files import ThingsEeg2, save_object

from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.datasets.dataset import dataset_of
from brainrecon.datasets.eeg import things_eeg2_download
from stages.ground.errors import InputError
from stages.ground.listing import visible

AFTER = slice(5, None)
"""Samples of the copies from the onset on."""


@pytest.fixture
def study(tmp_path):
    return ThingsEeg2(tmp_path / "things-eeg2")


def load_from(study, **options):
    return load(f"things-eeg2:{study.root}", **options)


LAYOUTS = [
    dict(protocol=3),
    dict(protocol=4, order="repeats", dtype=">f8"),
    dict(protocol=4, order="F", header=False),
    dict(protocol=5, order="repeats", dtype="<f4"),
    dict(protocol=2, order="F", dtype=">f4"),
]


@pytest.mark.parametrize("seed, layout", enumerate(LAYOUTS))
def test_trials_are_those_that_were_written(tmp_path, seed, layout):
    study = ThingsEeg2(tmp_path / "copy", seed=seed, repeats=(1 + seed % 3, 4), n_times=20 + seed, **layout)
    for name in ("sub-01", "sub-03"):
        subject = load_from(study, subject=name)
        assert subject.name == name and set(subject.splits) == {"train", "test"} and subject.pictures == "photographs"
        for split in ("train", "test"):
            found, n_repeats = subject.splits[split], study.epochs[name, split].shape[1]
            np.testing.assert_array_equal(found.betas[:], study.rows(name, split, samples=AFTER))
            assert found.stimulus_ids.tolist() == study.ids(split) and (found.repeats == n_repeats).all()
            assert found.trial_stimulus_ids.tolist() == [one for one in study.ids(split) for _ in range(n_repeats)]
            expected = study.epochs[name, split][..., AFTER].astype(np.float64).mean(axis=1)
            np.testing.assert_allclose(found.patterns, expected.reshape(found.n_stimuli, -1), rtol=1e-5, atol=1e-6)
            assert found.categories == [[concept[6:]] for concept, _ in study.shown[split]]
            assert found.sessions is None and found.runs is None and found.standardized == "no"


def test_pictures_are_those_of_the_conditions(study):
    for split, found in load_from(study).splits.items():
        for (_, file), picture in zip(study.shown[split], found.images[:]):
            assert np.abs(picture.astype(int) - study.pictures[file]).mean() < 12  # of JPEG
    assert load_from(study, image_size=8).test.images.shape == (4, 8, 8, 3)


def test_pictures_lie_elsewhere_or_nowhere(study, tmp_path):
    for place in ("images", "image_set", "../elsewhere"):
        folder = study.root / place
        folder.mkdir()
        for name in study.folders.values():
            (study.root / name).rename(folder / name)
        options = {"images": folder} if place[0] == "." else {}
        assert load_from(study, **options).train.images is not None
        if options:
            subject = load_from(study)
            assert subject.train.images is None and any("training_images.zip" in note for note in subject.notes)
        for name in study.folders.values():
            (folder / name).rename(study.root / name)


def test_values_are_channels_at_times(study):
    subject = load_from(study)
    channels, times = subject.space.channel_of, subject.space.time_of
    assert channels.tolist() == [name for name in study.CHANNELS for _ in range(20)]
    np.testing.assert_allclose(times, np.tile(study.times[AFTER], 6), atol=1e-6)
    assert subject.unit == "values" and subject.details["space"] == "6 channels x 20 samples from 0.000 s to 0.760 s"
    whole = study.epochs["sub-01", "test"].reshape(-1, 6, 25).astype(np.float32)
    for roi, channel, inside in (
        ("Oz", [5], study.times >= -1e-9),
        ("O* + PO8", [3, 4, 5], study.times >= -1e-9),
        ("occipital", [3, 4, 5], study.times >= -1e-9),
        ("parietal & 100-200ms", [0, 1, 2], (study.times > 0.099) & (study.times < 0.199)),
        ("Pz & (0-100ms + 300-400ms)", [2], np.isin(np.arange(25), [5, 6, 7, 13, 14])),
    ):
        part = load_from(study, roi=roi)
        np.testing.assert_array_equal(part.test.betas[:], whole[:, channel][:, :, inside].reshape(len(whole), -1))
        assert len(part.space) == part.n_voxels and set(part.space.channel_of) == {study.CHANNELS[c] for c in channel}


@pytest.mark.parametrize(
    ("window", "begin", "end"),
    [
        ("whole", 0, 25),
        ("-0.2-0.8", 0, 25),
        ("0-0.8", 5, 25),
        ("0.04 to 0.12", 6, 8),
        ((0.1, 0.2), 8, 10),
        ("-.1:.1", 3, 8),
        ("0.2-0.24", 10, 11),
    ],
)
def test_a_window_holds_its_begin_and_not_its_end(study, window, begin, end):
    """Samples every 40 ms from -0.2 s on."""
    found = load_from(study, window=window)
    np.testing.assert_array_equal(
        found.train.betas[:], study.rows("sub-01", "train", samples=slice(begin, end)), strict=True
    )
    assert ("baseline" in found.rois) == (begin < 5)


def test_training_concepts_may_validate(study):
    subject = load_from(study, validation=2)
    concepts = list(dict.fromkeys(concept for concept, _ in study.shown["train"]))
    for split, inside in (("validation", {concepts[0], concepts[-1]}), ("train", set(concepts[1:-1]))):
        rows = [row for row, (concept, _) in enumerate(study.shown["train"]) if concept in inside]
        found = subject.splits[split]
        assert found.stimulus_ids.tolist() == [study.ids("train")[row] for row in rows]
        expected = study.epochs["sub-01", "train"][rows][..., AFTER].astype(np.float32)
        np.testing.assert_array_equal(found.betas[:], expected.reshape(len(rows) * 2, -1))
        np.testing.assert_array_equal(found.images[0], load_from(study).train.images[rows[0]])
        assert [names[0] for names in found.categories] == [study.shown["train"][row][0][6:] for row in rows]


def test_nothing_is_read_before_it_is_asked_for(study):
    """A value that is not finite is found when its trial is read, and is no mistake in others."""
    study.epochs["sub-01", "train"][1, 1, 2, 7] = np.nan
    study.save_epochs("sub-01", "train")
    subject = load_from(study)
    assert np.isfinite(subject.train.betas[:3]).all() and np.isfinite(load_from(study, roi="Oz").train.betas[:]).all()
    with pytest.raises(InputError, match="1 of 120 voxels hold NaN .* in .*training.npy; copy the file again"):
        subject.train.betas[3]


def test_whitening_by_test_trials_is_said(study):
    assert "whitened" in load_from(study).notes[0] and "test trials did" in load_from(study).notes[0]


def test_a_prepared_copy_is_the_same(study, tmp_path, capsys):
    line = ["data", "prepare", f"things-eeg2:{study.root}", "--out", str(tmp_path / "plain")]
    assert run_command(line) == 0, capsys.readouterr().err
    one, other = load_from(study), load(f"arrays:{tmp_path / 'plain'}")
    assert one.fingerprint == other.fingerprint and other.rois.keys() == one.rois.keys() and other.unit == "values"
    np.testing.assert_array_equal(other.space.channel_of, one.space.channel_of)
    np.testing.assert_array_equal(other.space.time_of, one.space.time_of)
    for name, split in one.splits.items():
        np.testing.assert_array_equal(split.betas[:], other.splits[name].betas[:])
        np.testing.assert_array_equal(split.images[:], other.splits[name].images[:])
    part = load(f"arrays:{tmp_path / 'plain'}", roi="Oz & 0-100ms")
    assert part.space.channel_of.tolist() == ["Oz"] * 3 and len(part.space.time_of) == 3
    assert run_command(["data", "info", f"arrays:{tmp_path / 'plain'}"]) == 0
    assert "values: 120 of all" in capsys.readouterr().out


# Damage


class Runs:
    def __reduce__(self):
        return os.system, ("true",)


def change(split="test", **values):
    return lambda study: study.save_epochs("sub-01", split, **values)


def lists(**values):
    return lambda study: study.save_metadata(**values)


def fewer(study):
    study.epochs["sub-01", "test"] = study.epochs["sub-01", "test"][1:]
    study.save_epochs("sub-01", "test")


def twice(study):
    files = [file for _, file in study.shown["train"]]
    study.save_metadata(train_img_files=[files[1], *files[1:]])


def both_sides(study):
    files = [file for _, file in study.shown["test"]]
    study.save_metadata(test_img_files=[study.shown["train"][0][1], *files[1:]])
    (study.root / "test_images").rename(study.root / "no_images")


def lose_a_picture(study):
    concept, file = study.shown["test"][2]
    (study.root / "test_images" / concept / file).unlink()


def no_subjects(study):
    for name in ("sub-01", "sub-03"):
        (study.root / name).rename(study.root / f"no-{name}")


def folder_for_file(study):
    study.file("sub-01", "test").unlink()
    study.file("sub-01", "test").mkdir()


DAMAGE = {
    "no metadata": (
        lambda study: (study.root / "image_metadata.npy").unlink(),
        "There is no file .*image_metadata.npy",
    ),
    "no epochs": (lambda study: study.file("sub-01", "test").unlink(), "There is no file .*eeg_test.npy"),
    "a folder": (folder_for_file, "eeg_test.npy is a folder"),
    "empty": (lambda study: study.file("sub-01", "test").write_bytes(b""), "it is empty"),
    "cut": (lambda study: cut(study.file("sub-01", "train")), "eeg_training.npy cannot be read .*too early"),
    "zeros": (lambda study: study.file("sub-01", "test").write_bytes(bytes(900)), "filled with zeros"),
    "runs something": (lambda study: save_object(study.file("sub-01", "test"), Runs()), r"asks for \w+.system"),
    "runs something inside": (change(times=Runs()), r"asks for \w+.system"),
    "a plain array": (lambda study: np.save(study.file("sub-01", "test"), np.eye(3)), "is a plain array"),
    "a list": (lambda study: save_object(study.file("sub-01", "test"), [1, 2]), "has no preprocessed_eeg_data"),
    "no array": (change(preprocessed_eeg_data=None), "no preprocessed_eeg_data .* but a NoneType"),
    "another shape": (change(preprocessed_eeg_data=np.zeros((4, 6, 25))), r"but float64 \(4, 6, 25\)"),
    "whole numbers": (change(preprocessed_eeg_data=np.zeros((4, 3, 6, 25), int)), "but int64"),
    "no values": (change(preprocessed_eeg_data=np.zeros((4, 0, 6, 25))), r"\(4, 0, 6, 25\)"),
    "too few names": (change(ch_names=["Oz", "O1"]), "epochs of 6 channels but no ch_names"),
    "a name twice": (change(ch_names=["Oz"] * 6), "no ch_names that name each"),
    "names are numbers": (change(ch_names=[1, 2, 3, 4, 5, 6]), "no ch_names that name each"),
    "no times": (change(times=None), "epochs of 25 samples but times"),
    "too few times": (change(times=np.arange(24.0)), r"times float64 \(24,\)"),
    "times go back": (change(times=np.arange(25.0)[::-1]), "increasing"),
    "times without value": (change(times=np.full(25, np.nan)), "increasing"),
    "other channels": (change(ch_names=["A", "B", "C", "D", "E", "F"]), "differ in channels or times"),
    "other times": (change(times=np.arange(25.0)), "differ in channels or times"),
    "fewer pictures": (fewer, "epochs of 3 pictures but image_metadata.npy names 4 test pictures"),
    "no list": (lists(test_img_files="name.jpg"), "no list of texts test_img_files"),
    "names without text": (lists(test_img_files=[1, 2, 3, 4]), "no list of texts test_img_files"),
    "an empty list": (lists(train_img_concepts=[]), "no list of texts train_img_concepts"),
    "other numbers of names": (lists(test_img_concepts=["00001_a"]), "has 1 concepts and 4 different files for 4 test"),
    "a file twice": (twice, "different files for"),
    "a picture on both sides": (both_sides, "1 stimuli are in both train and test"),
    "out of the folder": (lists(test_img_concepts=["../../etc"] * 4), "names a picture '../../etc'"),
    "an absolute path": (lists(test_img_files=[f"/tmp/{n}.jpg" for n in range(4)]), "names a picture '/tmp/0.jpg'"),
    "a lost picture": (lose_a_picture, "test_images lacks 1 of 4 test pictures, the first is"),
    "no subjects": (no_subjects, "holds no subject; give the folder of THINGS-EEG2"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_one_sentence_and_nothing_is_written(study, name, tmp_path, capsys):
    spoil, said = DAMAGE[name]
    spoil(study)
    with pytest.raises(InputError, match=said) as caught:
        load_from(study)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    before = sorted(tmp_path.rglob("*"))
    assert run_command(["run", "ridge-to-pixels", f"things-eeg2:{study.root}", "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err.strip()
    assert told.count("\n") == 0 and told.endswith(".") and sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": "soon"}, "window is 'soon'; expected seconds from when to when"),
        ({"window": "0"}, "window is '0'"),
        ({"window": (0.1,)}, "window is"),
        ({"window": "0.8-0"}, "No sample of .* lies in the window 0.8 to 0 s; they go from -0.200 to 0.760 s"),
        ({"window": "2-3"}, "No sample of"),
        ({"roi": "Cz"}, "no roi 'Cz'; it has P7, P3"),
        ({"roi": "Oz & P7"}, "leaves no voxel"),
        ({"validation": 7}, "validation is 7 but there are 7 training concepts"),
        ({"validation": -1}, "validation is -1"),
        ({"image_size": 0}, "image_size is 0"),
        ({"images": "/nowhere"}, "There is no folder /nowhere"),
        ({"subject": "sub-02"}, "no subject 'sub-02'; it has sub-01, sub-03"),
    ],
)
def test_options_are_checked(study, options, said):
    with pytest.raises(InputError, match=said) as caught:
        load_from(study, **options)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_a_value_that_is_not_finite_stops_a_run(study, tmp_path, capsys):
    study.epochs["sub-01", "train"][0, 0, 0, 9] = np.inf
    study.save_epochs("sub-01", "train")
    out = tmp_path / "run"
    assert run_command(["run", "ridge-to-pixels", f"things-eeg2:{study.root}", "--out", str(out)]) == 2
    assert "NaN or infinite" in capsys.readouterr().err


# Downloads


def remotes_of(study, folder):
    """OSF's answers and files, in a folder in place of the network."""
    folder.mkdir()
    for name in ("sub-01", "sub-03"):
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            for file in study.root.glob(f"{name}/*.npy"):
                archive.write(file, f"{name}/{file.name}" if name == "sub-01" else file.name)
            archive.writestr(f"__MACOSX/{name}/._preprocessed_eeg_test.npy", "no data")
    for name in study.folders.values():
        with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for file in visible(study.root / name, "*/*.jpg"):
                archive.write(file, file.relative_to(study.root))
            archive.writestr(f"__MACOSX/{name}/a/._b.jpg", "no data")
    (folder / "image_metadata.npy").write_bytes((study.root / "image_metadata.npy").read_bytes())
    (folder / "README.txt").write_text("read me")
    return folder


@pytest.fixture
def osf(study, tmp_path, monkeypatch):
    from brainrecon.datasets.download import Remote

    folder = remotes_of(study, tmp_path / "osf")
    fetched = []

    def listed(project, path):
        subjects = project == things_eeg2_download.PREPROCESSED
        return [
            Remote(f"https://osf/{file.name}", path / file.name, size=file.stat().st_size)
            for file in visible(folder)
            if file.name.startswith("sub-") == subjects
        ]

    def fetch_all(remotes, path, less, progress):
        for remote in remotes:
            if not remote.path.exists():
                fetched.append(remote.path.name)
                remote.path.parent.mkdir(parents=True, exist_ok=True)
                remote.path.write_bytes((folder / remote.path.name).read_bytes())

    monkeypatch.setattr(things_eeg2_download, "osf_files", listed)
    monkeypatch.setattr(things_eeg2_download, "fetch_all", fetch_all)
    return folder, fetched


def test_one_subject_is_fetched_and_unpacked(study, osf, tmp_path):
    _, fetched = osf
    copy = tmp_path / "copy"
    dataset_of("things-eeg2").download(copy, "sub-03")
    assert fetched == ["sub-03.zip", "image_metadata.npy", "test_images.zip", "training_images.zip"]
    there, here = load_from(study, subject="sub-03"), load(f"things-eeg2:{copy}")
    assert here.name == "sub-03" and here.fingerprint == there.fingerprint
    np.testing.assert_array_equal(here.test.betas[:], there.test.betas[:])
    expected = {file.relative_to(study.root) for file in study.root.rglob("*.*") if "sub-01" not in file.parts}
    assert {file.relative_to(copy) for file in copy.rglob("*.*") if file.is_file()} == {
        file for file in expected if (study.root / file).is_file()
    }
    dataset_of("things-eeg2").download(copy, "sub-03")
    assert len(fetched) == 4


def test_an_archive_leads_nowhere_else(study, osf, tmp_path):
    folder, _ = osf
    for member in (
        "../../preprocessed_eeg_test.npy",
        "/preprocessed_eeg_test.npy",
        "sub-03/../../preprocessed_eeg_test.npy",
    ):
        with zipfile.ZipFile(folder / "sub-03.zip", "w") as archive:
            archive.writestr(member, "outside")
        if member.startswith("/"):
            # Without the folder's own name it is taken to lie in it.
            things_eeg2_download.unpack(folder / "sub-03.zip", tmp_path / "copy")
            assert (tmp_path / "copy/sub-03/preprocessed_eeg_test.npy").read_text() == "outside"
            continue
        with pytest.raises(InputError, match="names a file"):
            things_eeg2_download.unpack(folder / "sub-03.zip", tmp_path / "copy")
    assert not list(tmp_path.glob("*.npy"))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.write_bytes(b"no archive"), "cannot be read as a ZIP archive"),
        (lambda file: cut(file), "cannot be read as a ZIP archive"),
        (lambda file: zipfile.ZipFile(file, "w").close(), "holds nothing of sub-01"),
    ],
)
def test_a_damaged_archive_is_one_sentence(study, osf, tmp_path, spoil, said):
    folder, _ = osf
    spoil(folder / "sub-01.zip")
    with pytest.raises(InputError, match=said) as caught:
        dataset_of("things-eeg2").download(tmp_path / "copy", "sub-01")
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_a_subject_that_nobody_has_is_told(osf, tmp_path):
    with pytest.raises(InputError, match="lists no preprocessed recording of sub-77"):
        dataset_of("things-eeg2").download(tmp_path / "copy", "sub-77")


def test_files_are_told_by_their_addresses(study):
    rows = {file.path.name: file for file in dataset_of("things-eeg2").files(study.root, "sub-03")}
    assert rows["preprocessed_eeg_test.npy"].address == "https://osf.io/anp5v"
    assert rows["image_metadata.npy"].address == "https://osf.io/y63gw"


def test_the_copy_is_what_numpy_reads(study):
    """The writer is held to NumPy's own reader, which is told to trust it."""
    found = np.load(study.file("sub-01", "test"), allow_pickle=True).item()
    np.testing.assert_array_equal(found["preprocessed_eeg_data"], study.epochs["sub-01", "test"])
    assert found["ch_names"] == study.CHANNELS
    ThingsEeg2(study.root, header=False)
    assert pickle.loads(study.file("sub-01", "test").read_bytes())["ch_names"] == study.CHANNELS  # noqa: S301
