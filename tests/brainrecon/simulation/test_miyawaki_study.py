"""A simulated subject of Miyawaki et al. 2008, read by the toolkit and, independently, by h5py alone."""

import hashlib
import json
import shutil

import h5py
import numpy as np
import pytest

import brainrecon
from brainrecon.simulation import SimulationReport, simulate_miyawaki
from brainrecon.simulation import miyawaki_study as study_module
from stages.ground.errors import InputError

SMALL = {"voxels": 120, "random_patterns": 50, "figures": 12, "repeats": 3}
QUIET = {"voxels": 200, "random_patterns": 400, "figures": 6, "repeats": 2, "noise": 0}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return simulate_miyawaki(tmp_path_factory.mktemp("small") / "Bilder für alle", **SMALL).directory


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """No noise, so that responses show the receptive fields."""
    return simulate_miyawaki(tmp_path_factory.mktemp("quiet") / "quiet", **QUIET).directory


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    return simulate_miyawaki(tmp_path_factory.mktemp("default") / "s1")


def read_file(path):
    """Key -> columns, and key -> value of each voxel, by the format's description and h5py alone."""
    with h5py.File(path) as file:
        matrix, values = file["dataset"][()], file["metadata/value"][()]
        keys = [key.decode() for key in file["metadata/key"][()]]
        voxels = values[keys.index("VoxelData")] == 1
        columns = {key: matrix[:, row == 1] for key, row in zip(keys, values) if not (row[voxels] == row[voxels]).any()}
        columns["VoxelData"] = matrix[:, voxels]
        on_voxels = {key: row[voxels] for key, row in zip(keys, values) if key not in columns}
    return columns, on_voxels


def read_study(root):
    return {part: read_file(root / f"visrecon_s1_{part}.h5") for part in ("random", "figure")}


def test_the_default_study_has_the_published_shape(default):
    subject = brainrecon.load(f"miyawaki:{default.directory}", roi="V1+V2")
    assert subject.train.betas.shape == (440, 1000) and subject.test.betas.shape == (120, 1000)
    assert subject.train.n_stimuli == 440 and subject.test.n_stimuli == 40 and set(subject.test.repeats) == {3}
    assert np.bincount(subject.train.runs).tolist() == [0] + [22] * 20
    assert np.bincount(subject.test.runs).tolist() == [0] + [10] * 12
    assert set(subject.train.sessions) == {1} and set(subject.test.sessions) == {2}
    counts = {kind: subject.test.categories.count([kind]) for kind in ("thin alphabet", "long alphabet", "alphabet")}
    assert subject.test.categories.count(["geometric"]) == sum(counts.values()) == 20 and min(counts.values()) >= 6
    assert subject.train.categories == [["random"]] * 440
    shown = np.asarray(subject.train.images)[..., 0] > 0
    assert abs(shown.mean() - 0.5) < 0.02 and np.abs(shown.mean(axis=0) - 0.5).max() < 0.12


def test_the_loader_says_that_no_human_was_measured(small, tmp_path):
    subject = brainrecon.load(f"miyawaki:{small}")
    assert subject.simulated and subject.notes[0].startswith("simulated: ")
    # A file says so too when it is copied away from the folder, and a folder when a tool has rewritten its files.
    alone = tmp_path / "alone"
    alone.mkdir()
    for path in small.glob("*.h5"):
        shutil.copy(path, alone / path.name)
    assert brainrecon.load(f"miyawaki:{alone}").simulated
    for path in alone.glob("*.h5"):
        with h5py.File(path, "a") as file:
            del file.attrs["simulated"]
    assert not brainrecon.load(f"miyawaki:{alone}").simulated
    (alone / "simulated.json").write_text("{}")
    assert brainrecon.load(f"miyawaki:{alone}").simulated


def test_patterns_are_written_column_by_column(small):
    """The tall "e" opens to the right: turned along the diagonal it would be another pattern."""
    (columns, _), subject = read_study(small)["figure"], brainrecon.load(f"miyawaki:{small}")
    cells = columns["Image"][columns["StimulusType"][:, 0] == 4]
    upright = np.zeros((10, 10))
    upright[[0, 4, 9], 3:7], upright[:, 3] = 1, 1
    column_by_column = [upright[row, column] for column in range(10) for row in range(10)]
    row_by_row = [upright[row, column] for row in range(10) for column in range(10)]
    assert (cells == column_by_column).all(axis=1).sum() == 3
    assert not (cells == row_by_row).all(axis=1).any()
    pictures = np.asarray(subject.test.images)
    np.testing.assert_array_equal(pictures[..., 0], pictures[..., 2])
    place = np.flatnonzero((pictures[..., 0] == upright * 255).all(axis=(1, 2)))
    assert len(place) == 1 and subject.test.categories[place[0]] == ["long alphabet"]


def test_rest_opens_and_closes_every_run(small):
    for part, lengths in (("random", [22, 22, 6]), ("figure", [10, 2] * 3)):
        columns, _ = read_study(small)[part]
        types, runs = columns["StimulusType"][:, 0], columns["Run"][:, 0]
        assert np.unique(runs).tolist() == list(range(1, len(lengths) + 1))
        for run, length in enumerate(lengths, start=1):
            own = types[runs == run]
            assert own[0] == own[-1] == -1 and (own[1:-1] > 0).all() and len(own) == length + 2
        assert (columns["Image"][types < 0] == -1).all()


def test_no_figure_is_a_random_pattern_and_each_is_shown_in_every_repeat(small):
    shown = {part: columns for part, (columns, _) in read_study(small).items()}
    cells = {part: columns["Image"][columns["StimulusType"][:, 0] > 0] for part, columns in shown.items()}
    random, figures = ({row.tobytes() for row in cells[part]} for part in ("random", "figure"))
    assert len(random) == 50 and len(figures) == 12 and not random & figures
    for repeat in np.split(cells["figure"], 3):
        assert {row.tobytes() for row in repeat} == figures


def test_regions_part_the_voxels_and_coordinates_part_the_hemispheres(small):
    studies = read_study(small)
    _, voxels = studies["random"]
    for key, values in studies["figure"][1].items():
        np.testing.assert_array_equal(values, voxels[key])
    marks = {key: np.nan_to_num(values) == 1 for key, values in voxels.items() if not key.startswith("voxel_")}
    areas = [marks[f"ROI_V{k}"] for k in (1, 2, 3)]
    assert (np.sum(areas, axis=0) == 1).all() and (areas[0] | areas[1]).sum() == 120
    for k in (1, 2, 3):
        halves = [marks[f"{side}_V{k}{half}"] for side in "LR" for half in "vd"]
        np.testing.assert_array_equal(np.sum(halves, axis=0), areas[k - 1])
    left = np.any([mask for key, mask in marks.items() if key.startswith("L_")], axis=0)
    assert (voxels["voxel_x"][left] < 0).all() and (voxels["voxel_x"][~left] > 0).all()
    places = np.stack([voxels[f"voxel_{axis}"] for axis in "xyz"], axis=1)
    assert len(np.unique(places, axis=0)) == len(places)
    assert set(np.unique(np.abs(np.diff(np.unique(places[:, 2]))))) == {3.0}


def test_voxels_answer_to_the_half_of_the_field_that_they_see(quiet):
    columns, voxels = read_study(quiet)["random"]
    shown = columns["StimulusType"][:, 0] > 0
    cells = columns["Image"][shown].reshape(-1, 10, 10).transpose(0, 2, 1)
    responses = columns["VoxelData"][shown]
    responses, cells = responses - responses.mean(axis=0), cells - cells.mean(axis=0)
    maps = np.einsum("nij,nv->vij", cells, responses)
    side = maps[:, :, 5:].mean(axis=(1, 2)) - maps[:, :, :5].mean(axis=(1, 2))
    height = maps[:, :5].mean(axis=(1, 2)) - maps[:, 5:].mean(axis=(1, 2))
    for k in (1, 2, 3):
        for name, differs in ((f"L_V{k}", side), (f"R_V{k}", -side)):
            own = np.any([voxels[f"{name}{half}"] == 1 for half in "vd"], axis=0)
            assert (differs[own] > 0).mean() > 0.9
        for half, differs in (("v", height), ("d", -height)):
            own = np.any([voxels[f"{side_}_V{k}{half}"] == 1 for side_ in "LR"], axis=0)
            assert (differs[own] > 0).mean() > 0.9


def test_the_report_and_the_marker_say_what_was_reached(small):
    report = simulate_miyawaki(small, **SMALL)
    assert isinstance(report, SimulationReport) and not report.created and report.directory == small
    assert "50 random patterns" in str(report) and "12 figures" in str(report) and "Found" in str(report)
    content = json.loads((small / "simulated.json").read_text())
    assert content["options"] == SMALL | {"study": "miyawaki", "model": 1, "noise": 1.0, "seed": 0}
    assert content["subjects"][0]["noise_ceiling_known"] == report.subjects[0].noise_ceiling_known


def test_the_noise_ceiling_is_what_averages_reach(default, tmp_path):
    """Squared correlation of averaged figures with what the same brain answers without noise."""
    noisy, silent = (
        brainrecon.load(f"miyawaki:{root}", roi="V1+V2").test
        for root in (default.directory, simulate_miyawaki(tmp_path / "s1", noise=0).directory)
    )
    assert noisy.stimulus_ids.tolist() == silent.stimulus_ids.tolist()
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(noisy.patterns.T, silent.patterns.T)]
    one = default.subjects[0]
    assert 100 * np.median(np.square(r)) == pytest.approx(one.noise_ceiling_known, abs=6)
    assert one.noise_ceiling_estimated == pytest.approx(one.noise_ceiling_known, abs=8)
    assert 25 < one.noise_ceiling_known < 40


def test_decoding_cells_one_by_one_is_about_as_hard_as_published(default):
    from sklearn.feature_selection import SelectKBest, f_classif
    from sklearn.linear_model import OrthogonalMatchingPursuit
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    subject = brainrecon.load(f"miyawaki:{default.directory}", roi="V1+V2")
    cells = {
        name: (np.asarray(split.images)[..., 0] > 0).reshape(split.n_stimuli, 100)
        for name, split in subject.splits.items()
    }
    right = []
    for cell in range(100):
        decoder = make_pipeline(
            SelectKBest(f_classif, k=500), StandardScaler(), OrthogonalMatchingPursuit(n_nonzero_coefs=10)
        )
        decoder.fit(subject.train.patterns, cells["train"][:, cell].astype(float))
        right.append((np.ravel(decoder.predict(subject.test.patterns)) > 0.5) == cells["test"][:, cell])
    assert 0.72 < np.mean(right) < 0.83
    # The centre of gaze is seen better than the rim, as in the study.
    accuracy = np.mean(right, axis=1).reshape(10, 10)
    assert accuracy[3:7, 3:7].mean() > accuracy.mean() + 0.05


def digests(root):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(root.iterdir())}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_brain(small, tmp_path):
    assert digests(simulate_miyawaki(tmp_path / "again", **SMALL).directory) == digests(small)
    other = read_study(simulate_miyawaki(tmp_path / "other", **SMALL, seed=1).directory)
    for part, (columns, _) in read_study(small).items():
        assert (columns["VoxelData"] != other[part][0]["VoxelData"]).all()


def test_more_patterns_change_nothing_about_the_figures(small, tmp_path):
    longer = read_study(simulate_miyawaki(tmp_path / "longer", **SMALL | {"random_patterns": 66}).directory)
    before = read_study(small)
    np.testing.assert_array_equal(before["figure"][0]["VoxelData"], longer["figure"][0]["VoxelData"])
    np.testing.assert_array_equal(before["random"][0]["Image"][:46], longer["random"][0]["Image"][:46])


@pytest.mark.parametrize("voxels", (50, 51, 333))
def test_as_many_voxels_as_asked_for(tmp_path, voxels):
    directory = simulate_miyawaki(tmp_path / "s1", **SMALL | {"voxels": voxels}).directory
    assert brainrecon.load(f"miyawaki:{directory}", roi="V1+V2").train.n_voxels == voxels


@pytest.mark.parametrize(
    "options, told",
    [
        ({"voxels": 49}, "voxels is 49 but must be a whole number from 50 to 100,000; set --voxels in that range"),
        ({"voxels": 100.0}, r"voxels is 100\.0 but must be a whole number"),
        ({"random_patterns": 1}, "random_patterns is 1 .*--random-patterns"),
        ({"figures": 61}, "figures is 61 .*from 2 to 60"),
        ({"figures": True}, "figures is True "),
        ({"repeats": 1}, "repeats is 1 .*from 2 to 1,000"),
        ({"noise": -0.1}, "noise is -0.1 but must be a number from 0 to 100; set --noise"),
        ({"noise": float("nan")}, "noise is nan "),
        ({"noise": "much"}, "noise is 'much' "),
        ({"seed": -1}, "seed is -1 "),
        ({"seed": None}, "seed is None "),
    ],
)
def test_impossible_options_are_one_sentence_and_write_nothing(options, told, tmp_path):
    with pytest.raises(InputError, match=told) as error:
        simulate_miyawaki(tmp_path / "s1", **SMALL | options)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_other_things_in_the_folder_are_never_touched(tmp_path, small):
    (tmp_path / "thesis.txt").write_text("dear")
    for place in (tmp_path, tmp_path / "thesis.txt", tmp_path / "thesis.txt" / "s1"):
        with pytest.raises(InputError, match="is no simulated cohort|No folder can be made"):
            simulate_miyawaki(place, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    before = digests(small)
    with pytest.raises(InputError, match="holds a simulation with figures 12, not 14"):
        simulate_miyawaki(small, **SMALL | {"figures": 14})
    assert digests(small) == before


def test_a_failure_on_the_way_leaves_nothing(tmp_path, monkeypatch):
    def fail(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(study_module, "write_bdata", fail)
    with pytest.raises(KeyboardInterrupt):
        simulate_miyawaki(tmp_path / "s1", **SMALL)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    heard = []
    simulate_miyawaki(tmp_path / "s1", **SMALL, progress=lambda label, done, total: heard.append((done, total)))
    assert heard == [(k, 9) for k in range(1, 10)]
