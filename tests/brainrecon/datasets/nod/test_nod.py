"""NOD against files that are written from its published description."""

import http.server
import re
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlparse
from xml.sax.saxutils import escape

import nibabel
import numpy as np
import pytest
import scipy.io
from cifti_writing import cortex, save_labels, save_scalars, whole_brain
from nibabel.cifti2 import BrainModelAxis
from nibabel.gifti import GiftiDataArray, GiftiImage
from nod_files import Nod

from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.datasets.dataset import dataset_of
from brainrecon.datasets.nod.events import read_events
from brainrecon.datasets.sources import bucket
from brainrecon.datasets.subject_raster import raster_of
from stages.ground.errors import InputError


@pytest.fixture
def study(tmp_path):
    return Nod(tmp_path / "ds004496")


def load_study(study, **options):
    return load(f"nod:{study.root}", **options)


@pytest.mark.parametrize(("seed", "dtype"), [(0, "<f4"), (1, ">f4"), (2, "<f8"), (3, ">f8")])
def test_every_map_is_the_response_to_its_picture(seed, dtype, tmp_path):
    rng = np.random.default_rng(seed)
    sessions = {"imagenet01": (1, 2, 10), "imagenet03": (4,), "coco": tuple(range(1, 3 + seed))}
    per_run, n_coco = rng.integers(5, 9), rng.integers(3, 6)
    study = Nod(tmp_path / "ds004496", seed, "sub-07", sessions, per_run, n_coco, dtype=dtype, atlas=False)
    subject = load_study(study)
    assert subject.name == "sub-07" and subject.roi == "cortex" and set(subject.splits) == {"train", "test"}
    for split, task in ((subject.train, "imagenet"), (subject.test, "coco")):
        values, names, own_sessions, runs = study.expected(task)
        np.testing.assert_array_equal(split.betas[:], values)
        assert split.trial_stimulus_ids.tolist() == names and split.runs.tolist() == runs
        number = {"imagenet01": 1, "imagenet03": 3, "coco": 4}
        assert split.sessions.tolist() == [number[session] for session in own_sessions]
        order = rng.permutation(len(values))
        columns = rng.permutation(values.shape[1])[:7]
        np.testing.assert_array_equal(split.betas[order], values[order])
        np.testing.assert_array_equal(split.betas.columns(columns)[order[:3]], values[order[:3]][:, columns])
    assert (subject.test.repeats == 2 + seed).all() and (subject.train.repeats == 1).all()
    assert subject.train.categories == [[name[:9]] for name in subject.train.stimulus_ids.tolist()]
    assert subject.test.categories is None and subject.train.standardized == "no"
    assert any("imagenet01: no betas of run 3, 4" in note for note in subject.notes)


def test_pictures_are_those_of_the_names(study):
    subject = load_study(study)
    for split in subject.splits.values():
        for name, picture in zip(split.stimulus_ids.tolist(), split.images[:]):
            assert np.abs(picture.astype(int) - study.pictures[name]).mean() < 12  # of JPEG
    assert load_study(study, image_size=8).test.images.shape[1:] == (8, 8, 3)
    assert load_study(study, pictures=False).train.images is None


def test_pictures_of_coco_may_be_absent(tmp_path):
    study = Nod(tmp_path / "ds004496", pictures=False)
    study.write_pictures(tasks=("imagenet",))
    subject = load_study(study)
    assert subject.train.images is not None and subject.test.images is None
    assert any(re.search(r"test has no pictures: put \d{12}.jpg .*stimuli/coco", note) for note in subject.notes)


# Regions


def test_areas_are_found_by_vertex_in_whatever_order_the_atlas_is(study):
    subject = load_study(study)
    for name in ("V1", "V2", "FFC"):
        np.testing.assert_array_equal(subject.rois[name], study.area(name))
    left = np.arange(len(study.axis)) < study.masks[0].sum()
    part = load_study(study, roi="V1 & left")
    values = study.expected("imagenet")[0]
    np.testing.assert_array_equal(part.train.betas[:], values[:, study.area("V1") & left])
    np.testing.assert_array_equal(part.surface.vertices, study.axis.vertex[study.area("V1") & left])
    assert not part.surface.right.any() and part.surface.n_vertices == (24, 24)


def test_areas_may_be_numbered_in_matlab(tmp_path):
    study = Nod(tmp_path / "ds004496", atlas=False)
    numbers = study.rng.integers(0, 7, len(study.axis))
    (study.root / "rois").mkdir()
    scipy.io.savemat(study.root / "rois" / "MMP_mpmLR32k.mat", {"glasser_MMP": numbers[None].astype(float)})
    rows = ["L_V1_ROI,R_V1_ROI", "L_MST_ROI,R_MST_ROI", "L_2_ROI,R_2_ROI"]
    (study.root / "rois" / "roilbl_mmp.csv").write_bytes("\r\n".join(["左,右", *rows]).encode("gbk"))
    subject = load_study(study)
    for number, name in enumerate(("V1", "MST", "2"), start=1):
        np.testing.assert_array_equal(subject.rois[name], np.isin(numbers, (number, number + 3)))
    listed = {file.path.name for file in dataset_of("nod").files(study.root)}
    assert {"MMP_mpmLR32k.mat", "roilbl_mmp.csv"} <= listed


def test_own_labels_of_a_subject_are_regions(study):
    keys = (np.arange(len(study.axis)) % 5 == 0).astype(int)
    folder = study.root / "derivatives" / "ciftify" / "sub-01" / "results" / "ses-floc_task-floc"
    save_labels(folder / "floc-faces.dlabel.nii", keys, {1: "faces"}, study.axis)
    np.testing.assert_array_equal(load_study(study).rois["faces"], keys == 1)


def test_places_without_value_are_told_and_may_be_left_out(study):
    folder, values = study.folder("imagenet01", 2), study.betas["imagenet01", 2]
    values[3, [0, 9]] = np.nan
    names = [f"{name}.JPEG" for session, run, name, _ in study.trials if (session, run) == ("imagenet01", 2)]
    study.trials = [trial for trial in study.trials if trial[:2] != ("imagenet01", 2)]
    study.write_run("imagenet01", 2, names, [name[:-5] for name in names], True, values)
    assert folder.is_dir()
    with pytest.raises(InputError, match="2 of 35 voxels hold NaN.*--roi finite"):
        load_study(study).train.patterns  # noqa: B018
    finite = load_study(study, roi="finite")
    assert finite.n_voxels == 33 and np.isfinite(finite.train.patterns).all()
    assert any("finite: 2 of 35" in note for note in finite.notes)


def test_a_flat_map_makes_a_raster(study, tmp_path):
    for side in "LR":
        points = np.column_stack([study.rng.permutation(24) * 4, study.rng.permutation(24) * 4, np.zeros(24)])
        faces = np.column_stack([np.arange(22), np.arange(22) + 1, np.arange(22) + 2])
        arrays = [
            GiftiDataArray(points.astype(np.float32), intent="NIFTI_INTENT_POINTSET"),
            GiftiDataArray(faces.astype(np.int32), intent="NIFTI_INTENT_TRIANGLE"),
        ]
        (tmp_path / f"S1200.{side}.flat.surf.gii").write_bytes(GiftiImage(darrays=arrays).to_bytes())
    subject = load_study(study, flat=tmp_path, roi="V1 + V2")
    assert subject.surface.flat.shape == (subject.n_voxels, 2)
    assert "flat map of a mesh of 24 vertices (S1200.L.flat.surf.gii" in raster_of(subject).origin


def test_a_mask_may_be_a_cifti_file_of_other_places(study, tmp_path):
    subject = load_study(study)
    own = np.arange(subject.n_voxels) % 4 == 1
    (tmp_path / "mine.dscalar.nii").write_bytes(subject.space.files(own)[".dscalar.nii"][1])
    assert nibabel.load(tmp_path / "mine.dscalar.nii").shape == (1, 48)  # with the medial wall
    part = load_study(study, mask=tmp_path / "mine.dscalar.nii")
    np.testing.assert_array_equal(part.test.betas[:], subject.test.betas[:][:, own])
    np.testing.assert_array_equal(part.space.places, subject.space.places[own])
    written = np.where(own, 1.0, np.nan)
    (tmp_path / "map.dscalar.nii").write_bytes(subject.space.files(written)[".dscalar.nii"][1])
    assert load_study(study, mask=tmp_path / "map.dscalar.nii").n_voxels == own.sum()
    save_scalars(tmp_path / "two.dscalar.nii", np.ones((2, 35)), "ab", study.axis)
    with pytest.raises(InputError, match="holds 2 maps; save a mask of one"):
        load_study(study, mask=tmp_path / "two.dscalar.nii")
    axis = BrainModelAxis.from_mask(np.ones(30, bool), name="CORTEX_LEFT")
    save_scalars(tmp_path / "other.dscalar.nii", np.ones((1, 30)), "a", axis)
    with pytest.raises(InputError, match="The mask other.dscalar.nii is of a mesh of 30 vertices"):
        load_study(study, mask=tmp_path / "other.dscalar.nii")


def test_what_is_prepared_keeps_places_and_maps_go_back(study, tmp_path, capsys):
    assert run_command(["data", "prepare", f"nod:{study.root}", "--roi", "V1", "--out", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    prepared, subject = load(f"arrays:{tmp_path / 'out'}"), load_study(study, roi="V1")
    np.testing.assert_array_equal(prepared.train.betas[:], subject.train.betas[:])
    np.testing.assert_array_equal(prepared.surface.vertices, subject.surface.vertices)
    assert prepared.space.facts() == subject.space.facts() and prepared.fingerprint == subject.fingerprint
    values = np.arange(subject.n_voxels, dtype=np.float32)
    assert prepared.space.files(values) == subject.space.files(values)


# Splits


def test_other_splits_share_no_picture_or_no_category(study):
    by_picture, by_category = (load_study(study, split=split) for split in ("imagenet", "categories"))
    for subject in (by_picture, by_category):
        assert set(subject.splits) == {"train", "test", "coco"}
        n_trials = sum(split.n_trials for split in subject.splits.values())
        assert n_trials == len(study.trials)
        np.testing.assert_array_equal(subject.splits["coco"].betas[:], study.expected("coco")[0])
        values, names, *_ = study.expected("imagenet")
        for split in (subject.train, subject.test):
            rows = [names.index(name) for name in split.trial_stimulus_ids.tolist()]
            np.testing.assert_array_equal(split.betas[:], values[rows])
    assert by_picture.test.n_stimuli == 5  # of 48, a tenth
    trained, tested = ({own[0] for own in split.categories} for split in (by_category.train, by_category.test))
    assert tested and not trained & tested and len(tested) == 1


def test_a_subject_without_coco_is_tested_on_imagenet(tmp_path):
    study = Nod(tmp_path / "ds004496", sessions={"imagenet01": (1, 2)}, subject="sub-12")
    subject = load_study(study)
    assert set(subject.splits) == {"train", "test"} and subject.details["split"] == "imagenet"
    with pytest.raises(InputError, match="no run of COCO to test; pass split=imagenet"):
        load_study(study, split="coco")


def test_runs_are_z_scored_by_their_own_trials(study):
    subject = load_study(study, zscore=True)
    assert subject.train.standardized == "session"
    expected = [(own - own.mean(axis=0)) / own.std(axis=0) for key, own in study.betas.items() if key[0] == "coco"]
    np.testing.assert_allclose(subject.test.betas[:], np.concatenate(expected), atol=1e-5)


# Labels


def names_of(study, session="imagenet01", run=1):
    return [name for one, own, name, _ in study.trials if (one, own) == (session, run)]


def test_names_without_line_breaks_are_cut(study):
    expected = load_study(study).train.trial_stimulus_ids.tolist()
    file = study.folder("imagenet01", 1) / "ses-imagenet01_task-imagenet_run-1_label.txt"
    file.write_text("".join(file.read_text().split()))
    subject = load_study(study)
    assert subject.train.trial_stimulus_ids.tolist() == expected
    assert any("has no line breaks" in note for note in subject.notes)


def test_without_labels_the_maps_own_names_are_taken(tmp_path):
    study = Nod(tmp_path / "ds004496", labels=False)
    subject = load_study(study)
    assert subject.train.trial_stimulus_ids.tolist() == study.expected("imagenet")[1]
    assert any("label.txt is missing" in note for note in subject.notes)


def test_numbers_of_coco_are_named_by_the_events(study):
    for run in study.sessions["coco"]:
        file = study.folder("coco", run) / f"ses-coco_task-coco_run-{run}_label.txt"
        file.write_text("".join(f"{number}\n" for number in range(1, len(study.coco) + 1)))
    assert load_study(study).test.trial_stimulus_ids.tolist() == study.expected("coco")[1]
    study.events_file("coco", 2).unlink()
    with pytest.raises(InputError, match="names picture 1 of COCO by number, and no events"):
        load_study(study)


def test_events_that_are_absent_or_have_a_head_alone_are_no_mistake(tmp_path):
    study = Nod(tmp_path / "ds004496", headless=("imagenet02",))
    study.events_file("imagenet01", 1).unlink()
    subject = load_study(study)
    assert subject.train.trial_stimulus_ids.tolist() == study.expected("imagenet")[1]
    assert sum("has no rows" in note for note in subject.notes) == 2
    assert subject.details["clocks"] == "zero: imagenet01, coco; unknown: imagenet02"


# Clocks


@pytest.mark.parametrize("seed", range(3))
def test_onsets_are_on_the_scanners_clock_whatever_the_file_says(seed, tmp_path):
    late = (("imagenet02",), ("imagenet01", "coco"), ())[seed]
    study = Nod(tmp_path / "ds004496", seed, late=late)
    for (session, run), onsets in study.onsets.items():
        found = read_events(study.events_file(session, run))
        assert found.clock == ("sixteen" if session in late else "zero")
        assert [event.onset for event in found.events] == onsets
        assert found.n_left_out == (3 if session == "coco" else 0)
        names = [event.stimulus_id for event in found.events]
        assert names == names_of(study, session, run) if session != "coco" else set(names) == set(study.coco)
        own = {event.response for event in found.events}
        assert own <= ({"1"} if session == "coco" else {"-1"} if own != {""} else {""})
    told = [note for note in load_study(study).notes if "count the 16 s of blank" in note]
    assert len(told) == bool(late) and all(session in "".join(told) for session in late)


@pytest.mark.parametrize(
    ("first", "clock", "said"),
    [
        (0, "sixteen", "first onset at 0 s, within the 16 s of blank"),
        (16, "zero", "which clock=zero would make 32 s"),
        (12, "auto", "first onset at 12 s, which tells no clock"),
        (0, "one", "clock is 'one'"),
    ],
)
def test_a_clock_that_does_not_go_with_the_onsets_is_refused(first, clock, said, tmp_path):
    file = tmp_path / "events.tsv"
    file.write_text(f"onset\tduration\ttrial_type\tstim_file\n{first}\t1\t3\timagenet/n01440764/n01440764_1.JPEG\n")
    with pytest.raises(InputError, match=said):
        read_events(file, clock)


def test_sessions_on_another_clock_than_in_the_release_are_told(tmp_path):
    sessions = {"imagenet01": (1,), "imagenet02": (1,)}
    as_released = Nod(tmp_path / "a", subject="sub-07", sessions=sessions, late=("imagenet02",))
    assert not any("another clock" in note for note in load_study(as_released).notes)
    other = Nod(tmp_path / "b", subject="sub-07", sessions=sessions, late=("imagenet01",))
    assert any("onsets of imagenet01, imagenet02 are on another clock" in note for note in load_study(other).notes)


# Damage


def label_file(study):
    return study.folder("imagenet01", 1) / "ses-imagenet01_task-imagenet_run-1_label.txt"


def beta_file(study):
    return study.folder("imagenet01", 1) / "ses-imagenet01_task-imagenet_run-1_beta.dscalar.nii"


def labels(change):
    def spoil(study):
        file = label_file(study)
        file.write_text("".join(f"{line}\n" for line in change(file.read_text().split())))

    return spoil


def events(change):
    def spoil(study):
        file = study.events_file("imagenet01", 1)
        file.write_text(change(file.read_text()))

    return spoil


def cut_betas(study):
    content = beta_file(study).read_bytes()
    beta_file(study).write_bytes(content[:-9])


def cut_header(study):
    beta_file(study).write_bytes(beta_file(study).read_bytes()[:700])


def nan_dimension(study):
    content = bytearray(beta_file(study).read_bytes())
    content[16 + 5 * 8 : 16 + 6 * 8] = np.int64(10**12).tobytes()
    beta_file(study).write_bytes(bytes(content))


def other_places(study):
    axis, _ = cortex(np.random.default_rng(99))
    names = [f"{name}.JPEG" for name in names_of(study)]
    save_scalars(beta_file(study), np.ones((len(names), len(axis))), names, axis)


def below_cortex(study):
    axis, _ = whole_brain(np.random.default_rng(99))
    for session, runs in study.sessions.items():
        for run in runs:
            folder = study.folder(session, run)
            names = [f"{name}.jpg" for name in names_of(study, session, run)]
            save_scalars(folder / f"{folder.name}_beta.dscalar.nii", np.ones((len(names), len(axis))), names, axis)


def plain_nifti(study):
    nibabel.Nifti2Image(np.ones((3, 3, 3), np.float32), np.eye(4)).to_filename(beta_file(study))


def other_mesh(study):
    axis = BrainModelAxis.from_mask(np.ones(30, bool), name="CORTEX_LEFT")
    save_labels(study.root / "rois" / "glasser.dlabel.nii", np.ones(30), {1: "L_V1_ROI"}, axis)


def no_name_of_key(study):
    keys = np.zeros(len(study.axis))
    keys[3] = 9
    save_labels(study.root / "rois" / "glasser.dlabel.nii", keys, {1: "L_V1_ROI"}, study.axis)


def no_imagenet(study):
    for session in ("imagenet01", "imagenet02"):
        for run in study.sessions[session]:
            for file in study.folder(session, run).iterdir():
                file.unlink()
            study.folder(session, run).rmdir()


def folder_for_file(study):
    beta_file(study).unlink()
    beta_file(study).mkdir()


def lose_a_picture(study):
    study.place_of(names_of(study)[2]).unlink()


def spoil_a_picture(study):
    study.place_of(names_of(study)[0]).write_bytes(b"no picture")


CASES = {
    "betas cut": (cut_betas, {}, r"says that it holds float32 \(12, 35\), which is 1,680 bytes, but 1,671 are there"),
    "header cut": (cut_header, {}, "beta.dscalar.nii cannot be read as CIFTI-2"),
    "a size of its own": (nan_dimension, {}, "beta.dscalar.nii (cannot be read as CIFTI-2|describes|says that)"),
    "no CIFTI": (plain_nifti, {}, "without the header of a CIFTI-2 file"),
    "empty": (lambda study: beta_file(study).write_bytes(b""), {}, "cannot be read as CIFTI-2"),
    "absent": (lambda study: beta_file(study).unlink(), {}, "beta.dscalar.nii is missing; fetch it"),
    "a folder in its place": (folder_for_file, {}, "beta.dscalar.nii (is a folder|cannot be read)"),
    "other places": (other_places, {}, r"other ones than .*run-1_beta.dscalar.nii"),
    "places below the cortex": (below_cortex, {}, "has places below the cortex"),
    "a label less": (labels(lambda names: names[:-1]), {}, "names 11 pictures but .* holds 12 maps"),
    "labels swapped": (labels(lambda names: [names[1], names[0], *names[2:]]), {}, "Map 1 of .* is called"),
    "a label twice": (labels(lambda names: [names[0], names[0], *names[2:]]), {}, "Map 2 of .* is called"),
    "no names of ImageNet": (
        labels(lambda names: [f"cat{row}" for row, _ in enumerate(names)]),
        {},
        "names 'cat0', which",
    ),
    "labels in another encoding": (
        lambda study: label_file(study).write_bytes(b"\xff\xfe\x00n\n"),
        {},
        "label.txt cannot be read as text",
    ),
    "events of another run": (
        events(lambda text: text.replace("stim_file", "x").replace("x", "stim_file").replace(".JPEG", "7.JPEG")),
        {},
        "Picture 1 is .* but",
    ),
    "an event less": (events(lambda text: "\n".join(text.splitlines()[:-1])), {}, "names 12 pictures but .* shows 11"),
    "no column": (events(lambda text: text.replace("trial_type", "kind")), {}, "has no column trial_type"),
    "onset that is none": (events(lambda text: text.replace("0.000", "soon", 1)), {}, "has 'soon' as onset"),
    "onsets that go back": (events(lambda text: text.replace("8.000", "1.000", 1)), {}, "onsets that do not increase"),
    "a picture that has no name": (
        events(lambda text: re.sub(r"imagenet/\S+", "n/a", text, count=1)),
        {},
        "Row 2 of .* names no picture and has the trial_type",
    ),
    "no run of ImageNet": (no_imagenet, {}, "has no run of ImageNet to train on"),
    "no results": (
        lambda study: (study.root / "derivatives").rename(study.root / "d"),
        {},
        "holds no subject; give the folder of OpenNeuro ds004496",
    ),
    "labels of another mesh": (other_mesh, {}, "is of a mesh of 30 vertices but the responses are of a mesh of 24"),
    "a value without name": (no_name_of_key, {}, "has a value 9.* that it does not name"),
    "a picture less": (lose_a_picture, {}, "stimuli/imagenet has no picture of 1 of 48 train stimuli"),
    "a picture that is none": (spoil_a_picture, {}, "cannot be read as a picture"),
    "unknown subject": (None, {"subject": "sub-31"}, "no subject 'sub-31'; it has sub-01"),
    "unknown split": (None, {"split": "mine"}, "split is 'mine'; expected coco, imagenet, categories"),
    "unknown clock": (None, {"clock": "two"}, "clock is 'two'"),
    "unknown roi": (None, {"roi": "V9"}, "has no roi 'V9'; it has left, right"),
    "no flat map": (None, {"flat": "/nowhere"}, "There is no folder /nowhere with flat maps"),
    "bad size": (None, {"image_size": "big"}, "image_size is 'big'"),
}


@pytest.mark.parametrize("name", CASES)
def test_damage_is_one_sentence(name, study, tmp_path, capsys):
    spoil, options, said = CASES[name]
    if spoil:
        spoil(study)
    with pytest.raises(InputError, match=said) as caught:
        load_study(study, **options)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    line = ["data", "prepare", f"nod:{study.root}", "--out", str(tmp_path / "out")]
    for key, value in options.items():
        line += [f"--{key}", value] if key in ("subject", "roi") else ["--option", f"{key}={value}"]
    assert run_command(line) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told and not (tmp_path / "out").exists()


# Downloads


class Bucket(http.server.SimpleHTTPRequestHandler):
    """A bucket that lists what lies below a folder, and gives it."""

    def do_GET(self):
        if "list-type=2" not in self.path:
            return super().do_GET()
        prefix, root = parse_qs(urlparse(self.path).query)["prefix"][0], Path(self.directory)
        keys = sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file())
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{(root / key).stat().st_size}</Size><ETag>x-2</ETag></Contents>"
            for key in keys
            if key.startswith(prefix)
        )
        content = f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path, monkeypatch):
    study = Nod(tmp_path / "bucket" / "ds004496")
    handler = type(
        "Served", (Bucket,), {"__init__": lambda self, *a: Bucket.__init__(self, *a, directory=tmp_path / "bucket")}
    )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(bucket, "OPENNEURO", f"http://127.0.0.1:{server.server_port}")
    yield study
    server.shutdown()
    server.server_close()


def test_what_is_fetched_is_what_is_read(served, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    assert dataset_of("nod").download(folder, "subj01") == []
    found, whole = load(f"nod:{folder}"), load_study(served, split="imagenet")
    assert found.details["clocks"] and found.train.images is not None
    np.testing.assert_array_equal(found.train.betas[:], served.expected("imagenet")[0])
    assert not (folder / "stimuli" / "coco").exists() and not (folder / "rois").exists() and whole.rois
    other = tmp_path / "without"
    other.mkdir()
    dataset_of("nod").download(other, pictures=False)
    assert not (other / "stimuli").exists()
    with pytest.raises(InputError, match="lists no betas of sub-09"):
        dataset_of("nod").download(other, "sub-09")


def test_files_without_data_are_those_to_fetch(tmp_path):
    missing = [file.path.name for file in dataset_of("nod").files(tmp_path) if not file.optional]
    assert missing == ["ses-imagenet01_task-imagenet_run-1_beta.dscalar.nii"]
    (first, *_) = dataset_of("nod").files(tmp_path, "subj07")
    assert first.address.startswith(
        "https://s3.amazonaws.com/openneuro.org/ds004496/derivatives/ciftify/sub-07/results/"
    )
    with pytest.raises(InputError, match="'somebody' is no subject of NOD"):
        dataset_of("nod").files(tmp_path, "somebody")
