"""MOSAIC's files against those that are written from its published description."""

import http.server
import json
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from cifti_writing import save_labels, save_scalars, whole_brain
from damage import cut
from mosaic_files import Mosaic

from brainrecon.cli.main import run_command
from brainrecon.datasets import load, subjects
from brainrecon.datasets.dataset import dataset_of
from brainrecon.datasets.mosaic import fetching
from brainrecon.datasets.mosaic.recording import find_places
from stages.ground.errors import InputError


@pytest.fixture
def study(tmp_path):
    return Mosaic(tmp_path / "mosaic")


def load_study(study, **options):
    return load(f"mosaic:{study.root}", **options)


@pytest.mark.parametrize(
    ("seed", "dtype", "tell"),
    [(0, "<f4", "dataset"), (1, ">f4", "attribute"), (2, "<f8", "trials"), (3, ">f8", "dataset")],
)
def test_every_trial_is_a_row_at_the_places_that_have_values(seed, dtype, tell, tmp_path):
    rng = np.random.default_rng(seed)
    without = sorted(rng.choice(38, rng.integers(1, 9), replace=False).tolist())
    sizes = {"n_train": int(rng.integers(3, 9)), "n_test": int(rng.integers(2, 5))}
    study = Mosaic(tmp_path / "mosaic", seed, dtype=dtype, tell=tell, without=without, pictures=False, **sizes)
    subject = load_study(study)
    assert subject.name == "sub-01_NSD" and subject.roi == "all" and subject.n_voxels == 38 - len(without)
    for name, split in subject.splits.items():
        names, values = study.rows(study.ids[name])
        np.testing.assert_array_equal(split.betas[:], values)
        assert split.trial_stimulus_ids.tolist() == [one.split("_stimulus-")[1].split("_phase-")[0] for one in names]
        assert split.standardized == "session" and split.sessions is None and split.images is None
        order, columns = rng.permutation(len(values)), rng.permutation(values.shape[1])[:5]
        np.testing.assert_array_equal(split.betas[order], values[order])
        np.testing.assert_array_equal(split.betas.columns(columns)[order[:2]], values[order[:2]][:, columns])
    np.testing.assert_allclose(subject.noise_ceiling, study.ceiling[study.kept], rtol=1e-6)
    assert any(f"{len(without)} of 38 places have no value" in note for note in subject.notes)


def test_a_reading_opens_the_file_once(study, monkeypatch):
    train, opened = load_study(study).train.betas, []
    original = h5py.File.__init__

    def noted(self, name, *rest, **more):
        # What belongs to an open file knows it by another kind of name.
        opened.extend([name] if isinstance(name, str | Path) else [])
        original(self, name, *rest, **more)

    monkeypatch.setattr(h5py.File, "__init__", noted)
    assert len(train[:]) > 5 and len(opened) == 1


def test_pictures_are_those_of_the_names(study):
    for split in load_study(study).splits.values():
        np.testing.assert_array_equal(split.images[:], [study.pictures[name] for name in split.stimulus_ids])
    assert load_study(study, image_size=8).test.images.shape[1:] == (8, 8, 3)


# Places and regions


def test_labels_beside_tell_where_values_are(study):
    subject = load_study(study)
    assert subject.space.kind == "grayordinates" and subject.surface is None
    axis = study.axis
    expected = [study.axis.voxel[place].tolist() for place in study.kept if axis.vertex[place] < 0]
    inside = ~subject.rois["cortex"]
    assert subject.space.places[inside, 1:].tolist() == expected and subject.rois["subcortex"].sum() == len(expected)
    np.testing.assert_array_equal(subject.rois["V1"], study.keys[study.kept] == 1)
    np.testing.assert_array_equal(subject.rois["FFC"], study.keys[study.kept] == 2)
    part = load_study(study, roi="V1 - left")
    wanted = np.array([str(name).endswith("RIGHT") for name in axis.name])[study.kept] & (study.keys[study.kept] == 1)
    np.testing.assert_array_equal(part.test.betas[:], study.rows(study.ids["test"])[1][:, wanted])
    np.testing.assert_array_equal(part.surface.vertices, axis.vertex[study.kept][wanted])
    np.testing.assert_allclose(part.noise_ceiling, study.ceiling[study.kept][wanted], rtol=1e-6)


def test_places_may_be_told_by_another_file(tmp_path):
    study = Mosaic(tmp_path / "mosaic", atlas=False)
    bare = load_study(study)
    assert bare.space is None and not bare.rois and any("put labels of the same places" in note for note in bare.notes)
    save_scalars(tmp_path / "curvature.dscalar.nii", np.ones((1, 38)), ["curvature"], study.axis)
    told = load_study(study, places=tmp_path / "curvature.dscalar.nii")
    assert len(told.space) == 35 and told.rois["left"].any()
    with pytest.raises(InputError, match="does not say which vertices its values are of, which flat needs"):
        load_study(study, flat=tmp_path)


def test_a_mask_may_be_over_all_places_of_the_file(study):
    mask = np.arange(38) % 3 == 0
    over_all, over_kept = load_study(study, mask=mask), load_study(study, mask=mask[study.kept])
    np.testing.assert_array_equal(over_all.test.betas[:], over_kept.test.betas[:])
    np.testing.assert_array_equal(over_all.test.betas[:], study.rows(study.ids["test"])[1][:, mask[study.kept]])


# Splits


@pytest.mark.parametrize(
    "names",
    [
        ("train_naturalistic.json", "test_naturalistic.json", "test_artificial.json"),
        ("train.json", "test.json", "artificial.json"),
        ("train.json", "test.json"),
    ],
)
def test_lists_make_the_splits(study, names):
    own = study.write_lists(names)
    subject = load_study(study, split="mosaic")
    assert list(subject.splits) == list(own)[: len(names)]
    for name, split in subject.splits.items():
        np.testing.assert_array_equal(split.betas[:], study.rows(own[name])[1])
        assert split.stimulus_ids.tolist() == sorted(own[name])
    assert any("in none of MOSAIC's lists" in note for note in subject.notes)
    assert set(load_study(study).splits) == {"train", "test"}


def test_a_plain_list_of_names_serves_and_absent_trials_are_counted(study):
    names = list(study.trials)
    for file, phase in (("train.json", "train"), ("test.json", "test")):
        own = [name for name in names if f"_phase-{phase}" in name] + [f"{study.name}_stimulus-x_phase-{phase}_rep-9"]
        (study.root / file).write_text(json.dumps(own))
    subject = load_study(study, split="mosaic")
    assert subject.train.n_trials + subject.test.n_trials == len(names)
    assert any("lists name 2 trials of sub-01_NSD that its file does not hold" in note for note in subject.notes)


# Several files


def test_subjects_of_several_studies(study):
    Mosaic(study.root, 1, study="GOD", folder="GenericObjectDecoding", crc="1a2b3c4d", pictures=False)
    Mosaic(study.root, 2, study="GOD", subject="sub-03", pictures=False, ceiling=False)
    source = f"mosaic:{study.root}"
    assert subjects(source) == ["sub-01_GOD", "sub-01_NSD", "sub-03_GOD"]
    assert load(source).name == "sub-01_GOD" and load(source, dataset="nsd").name == "sub-01_NSD"
    assert load(source, subject="subj03").name == "sub-03_GOD"
    assert load(source, subject="sub-01", dataset="GOD").name == "sub-01_GOD"
    with pytest.raises(InputError, match="several called sub-01: sub-01_GOD, sub-01_NSD; name one"):
        load(source, subject="sub-01")
    with pytest.raises(InputError, match="nothing of THINGS; it has GOD, NSD"):
        load(source, dataset="THINGS")
    without = load(source, subject="sub-03_GOD")
    assert without.noise_ceiling is None and any("no noise ceiling" in note for note in without.notes)
    assert load(f"mosaic:{study.file}").name == "sub-01_NSD"
    listed = [file.path.name for file in dataset_of("mosaic").files(study.root, dataset="GOD") if not file.optional]
    assert listed == ["sub-01_GOD_crc32-1a2b3c4d.hdf5"]


def test_a_merged_file_holds_several(study, tmp_path):
    other = Mosaic(tmp_path / "other", 1, study="GOD", pictures=False)
    merged = tmp_path / "merged.hdf5"
    with h5py.File(merged, "w") as file:
        for one in (study, other):
            with h5py.File(one.file) as own:
                group = file.create_group(one.name)
                for name in own:
                    own.copy(name, group)
    assert subjects(f"mosaic:{merged}") == ["sub-01_GOD", "sub-01_NSD"]
    for one in (study, other):
        found = load(f"mosaic:{merged}", subject=one.name)
        np.testing.assert_array_equal(found.test.betas[:], one.rows(one.ids["test"])[1])


# Damage


def change(change_file):
    def spoil(study):
        with h5py.File(study.file, "r+") as file:
            change_file(file, study)

    return spoil


def first(study, phase="test"):
    return sorted(name for name in study.trials if f"_phase-{phase}" in name)[0]


def another_length(file, study):
    name = f"betas/{first(study)}"
    del file[name]
    file[name] = np.ones(9, np.float32)


def text_values(file, study):
    for name in list(file["betas"]):
        del file["betas"][name]
        file["betas"][name] = np.array([b"a", b"b"])


def both_phases(file, study):
    name = first(study)
    file["betas"].move(name, f"{name.split('_phase-')[0]}_phase-train_rep-7")
    file["betas"][name] = np.ones(38, np.float32)


def linked_values(file, study):
    name = f"betas/{first(study)}"
    del file[name]
    file[name] = h5py.ExternalLink("/etc/hostname", "x")


def untold(file, study):
    del file["nan_indices_all"]
    file["nan_indices_all"] = study.without[:1]


def lists(content):
    def spoil(study):
        study.write_lists()
        (study.root / "train_naturalistic.json").write_text(content(study))

    return spoil


def in_two_lists(study):
    name = first(study)
    return json.dumps([name, *(one for one in study.trials if "_phase-train" in one)])


def lose_a_picture(study):
    next((study.root / "stimuli").rglob("*.png")).unlink()


def another_size(study):
    from PIL import Image

    Image.new("RGB", (9, 9), (1, 2, 3)).save(next((study.root / "stimuli").rglob("*.png")))


def no_trials(file, study):
    for name in list(file["betas"]):
        del file["betas"][name]


def only(phase):
    def spoil(file, study):
        for name in list(file["betas"]):
            if f"_phase-{phase}" in name:
                del file["betas"][name]

    return change(spoil)


def rename(name):
    return change(lambda file, study: file["betas"].move(first(study), name))


def replace(name, values):
    def spoil(file, study):
        name_there = name.format(study.name)
        del file[name_there]
        if values is not None:
            file[name_there] = values

    return change(spoil)


CEILING = "noiseceilings/{}_phase-test_n-avg_noiseceiling"


def other_labels(study):
    axis = whole_brain(np.random.default_rng(3), n_vertices=40)[0]
    save_labels(study.root / "rois" / "glasser.dlabel.nii", np.ones(len(axis)), {1: "L_V1_ROI"}, axis)


CASES = {
    "cut": (lambda study: cut(study.file), {}, "sub-01_NSD.hdf5 cannot be read as HDF5"),
    "empty": (lambda study: study.file.write_bytes(b""), {}, "cannot be read as HDF5"),
    "text": (lambda study: study.file.write_text("no" * 2000), {}, "cannot be read as HDF5"),
    "no betas": (change(lambda file, study: file.move("betas", "beta")), {}, "has no group 'betas' but beta"),
    "no trial": (change(no_trials), {}, "has no trial in 'betas'"),
    "no training": (only("train"), {}, "has no trial for train by split=own"),
    "no test": (only("test"), {}, "has no trial for test by split=own"),
    "a name that is none": (rename("picture 7"), {}, "has 'picture 7', which is no trial of sub-01_NSD"),
    "a name of another": (
        rename("sub-02_NSD_stimulus-a_phase-test_rep-0"),
        {},
        "has 'sub-02_NSD_stimulus-a_phase-test_rep-0', which is no trial of sub-01_NSD",
    ),
    "a name that leads out": (
        rename("sub-01_NSD_stimulus-.._phase-test_rep-0"),
        {},
        r"stimuli has no picture of 1 of \d+ test stimuli, the first is \.\.;",
    ),
    "a trial of another length": (change(another_length), {}, r"is float32 \(9,\) but other trials have 38 places"),
    "trials of text": (change(text_values), {}, r"expected a number for each place"),
    "a stimulus in both phases": (change(both_phases), {}, "in both phases"),
    "a link into another file": (change(linked_values), {}, "is a link into another file"),
    "a place that is not there": (
        replace("nan_indices_all", np.array([3, 99])),
        {},
        "place 99 has no value, but there are 38",
    ),
    "no place left": (replace("nan_indices_all", np.arange(38)), {}, "says that none of its 38 places has values"),
    "places that are not told": (change(untold), {}, r"2 of 37 voxels hold NaN or infinite betas"),
    "a ceiling of another length": (
        replace(CEILING, np.ones(9)),
        {},
        r"is float64 \(9,\) but responses have 38 places",
    ),
    "a ceiling above": (replace(CEILING, np.full(38, 180.0)), {}, "is 180 to 180; expected percent"),
    "no lists": (None, {"split": "mosaic"}, "has no train_naturalistic.json or train.json, which split=mosaic needs"),
    "lists that are none": (lists(lambda study: "{}"), {"split": "mosaic"}, "holds dict where a list"),
    "lists cut": (lists(lambda study: '[{"a": ["b'), {"split": "mosaic"}, "cannot be read as JSON"),
    "lists of numbers": (lists(lambda study: "[[3]]"), {"split": "mosaic"}, r"has '\[3\]' among its entries"),
    "a trial in two lists": (lists(in_two_lists), {"split": "mosaic"}, "which is in the list for"),
    "lists of others": (lists(lambda study: "[]"), {"split": "mosaic"}, "has no trial for train by split=mosaic"),
    "labels of other places": (
        other_labels,
        {},
        r"has \d+ places but the responses 38 and no file beside them tells which",
    ),
    "a picture less": (lose_a_picture, {}, r"stimuli has no picture of 1 of \d+ (train|test) stimuli"),
    "a picture of another size": (another_size, {}, "is .* pixels but .*pass image_size="),
    "unknown subject": (None, {"subject": "sub-09"}, "no subject sub-09; it has sub-01_NSD"),
    "unknown split": (None, {"split": "mine"}, "split is 'mine'; expected own or mosaic"),
    "unknown roi": (None, {"roi": "V9"}, "has no roi 'V9'; it has left, right"),
    "no file of places": (None, {"places": "/nowhere.dscalar.nii"}, "There is no file /nowhere.dscalar.nii"),
}


@pytest.mark.parametrize("name", CASES)
def test_damage_is_one_sentence(name, study, tmp_path, capsys):
    spoil, options, said = CASES[name]
    if spoil:
        spoil(study)
    with pytest.raises(InputError, match=said) as caught:
        for split in load_study(study, **options).splits.values():
            split.patterns  # noqa: B018
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    line = ["data", "prepare", f"mosaic:{study.root}", "--out", str(tmp_path / "out")]
    for key, value in options.items():
        line += [f"--{key}", value] if key in ("subject", "roi") else ["--option", f"{key}={value}"]
    assert run_command(line) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told and not (tmp_path / "out" / "subject.json").exists()


def test_a_subject_twice_is_refused(study):
    Mosaic(study.root, 1, crc="00000000", pictures=False)
    with pytest.raises(InputError, match="both hold sub-01_NSD; keep one of them"):
        find_places(study.root)


def test_a_subject_that_is_yet_to_be_fetched_has_its_file(study, tmp_path):
    files = dataset_of("mosaic").files
    for folder in (study.root, tmp_path / "nowhere"):
        (missing,) = files(folder, "3", dataset="god")
        assert missing.path == folder / "sub-03_GOD.hdf5" and missing.address.startswith("https://mosaicfmri.s3")
    with pytest.raises(InputError, match="'nobody' of no study is no subject of MOSAIC"):
        files(study.root, "nobody")


def test_no_file_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="There is no .*nowhere; give a file such as sub-01_NSD.hdf5"):
        load(f"mosaic:{tmp_path / 'nowhere'}")
    with pytest.raises(InputError, match="holds no file such as sub-01_NSD.hdf5"):
        load(f"mosaic:{tmp_path}")
    assert [file.path.name for file in dataset_of("mosaic").files(tmp_path)] == ["sub-01_NSD.hdf5"]


# Downloads


def test_a_subject_is_fetched_from_the_bucket(study, tmp_path, monkeypatch):
    content, key = study.file.read_bytes(), f"{fetching.FOLDER}/NaturalScenesDataset/sub-01_NSD.hdf5"

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            rows = f"<Contents><Key>{key}</Key><Size>{len(content)}</Size><ETag>x-2</ETag></Contents>"
            told = f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()
            answer = told if "list-type=2" in self.path else content
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(fetching, "BUCKET", f"http://127.0.0.1:{server.server_port}")
    try:
        folder = tmp_path / "mine"
        folder.mkdir()
        assert dataset_of("mosaic").download(folder, "sub-01", dataset="NSD") == []
        assert load(f"mosaic:{folder}").test.n_trials == len(study.rows(study.ids["test"])[0])
        with pytest.raises(InputError, match="lists no sub-02_NSD.hdf5; look for it on mosaic.csail.mit.edu"):
            dataset_of("mosaic").download(folder, "sub-02_NSD")
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((None, "NSD"), "'nobody' of NSD is no subject of MOSAIC"),
        (("sub-01", None), "'sub-01' of no study is no subject"),
        (("sub-01_XYZ", None), "of XYZ is no subject"),
        (("sub-09_NSD", None), "NSD has subjects sub-01 to sub-08"),
        (("sub-01_NSD", "GOD"), "is of NSD but dataset=GOD was asked for"),
    ],
)
def test_a_subject_that_cannot_be_fetched_is_one_sentence(asked, said, tmp_path):
    with pytest.raises(InputError, match=said) as caught:
        dataset_of("mosaic").download(tmp_path, asked[0], dataset=asked[1])
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
