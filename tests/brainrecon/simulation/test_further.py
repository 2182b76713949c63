"""A simulated subject's further sessions, read as NSD's are: the same brain sees and imagines."""

import hashlib

import h5py
import numpy as np
import pytest

from brainrecon.datasets import load
from brainrecon.simulation.cohort import simulate
from brainrecon.simulation.files.further_files import linear
from brainrecon.simulation.world.synthetic_pictures import bars_and_crosses, draw_synthetic, middle_square
from stages.ground.errors import InputError

SMALL = {
    "subjects": 2,
    "sessions": 2,
    "trials_per_session": 60,
    "shared": 8,
    "voxels": 300,
    "picture_size": 32,
    "seed": 5,
}


def digests(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and path.name != "simulated.json"
    }


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("cohort") / "nsd", **SMALL, further=("imagery", "synthetic"))


@pytest.fixture(scope="module")
def subject(cohort):
    return load(f"nsd:{cohort.directory}", subject="subj01", also="all")


def test_the_core_and_the_other_subject_are_as_they_are_without(cohort, tmp_path):
    plain = digests(simulate(tmp_path / "plain", **SMALL).directory)
    found = digests(cohort.directory)
    assert plain.items() <= found.items() and len(found) > len(plain) + 40
    alone = digests(simulate(tmp_path / "alone", **SMALL | {"subjects": 1}, further=["synthetic", "imagery"]).directory)
    assert all(found[name] == alone[name] for name in alone if "synthetic" in name or "imagery" in name)
    assert "synthetic and imagery" in str(cohort)


def test_what_was_seen_is_what_is_read(subject, cohort):
    drawn, classes, n_shared = draw_synthetic(32, 5, 1)
    split = subject.splits["synthetic"]
    assert split.n_stimuli == len(drawn) == 32 and set(split.repeats) == {3} and len(set(split.runs)) == 8
    order = np.argsort(split.stimulus_ids)
    assert [split.categories[row][0] for row in order] == classes
    with h5py.File(cohort.directory / "nsddata_stimuli/stimuli/nsdsynthetic/nsdsynthetic_stimuli.hdf5") as file:
        np.testing.assert_array_equal(file["imgBrick"][:], linear(drawn[:n_shared]))
    # A grey grating comes back as bright as it was drawn, but for rounding.
    shown = split.images[:][order]
    assert abs(shown.mean(dtype=float) - middle_square(drawn[0])[None].mean(dtype=float)) < 4
    assert subject.splits["imagery"].stimulus_ids.tolist() != subject.splits["imagery_vision"].stimulus_ids.tolist()
    assert subject.splits["imagery"].n_stimuli == 12 and set(subject.splits["imagery"].repeats) == {16}
    assert set(subject.splits["imagery_vision"].repeats) == {8} and subject.splits["imagery_concepts"].n_stimuli == 6
    tested = {int(name[-5:]) - 1 for name in subject.splits["imagery"].stimulus_ids if name.startswith("B-")}
    assert tested <= {int(name.removeprefix("nsd")) for name in subject.test.stimulus_ids}
    bars = bars_and_crosses(32)
    place = subject.splits["imagery"].stimulus_ids.tolist().index("A-bar_045.0deg")
    np.testing.assert_array_equal(subject.splits["imagery"].images[place], bars["bar_045.0deg.png"])
    other = load(f"nsd:{cohort.directory}", subject="subj02", also="synthetic").splits["synthetic"]
    same = [shown[row].tobytes() == other.images[:][np.argsort(other.stimulus_ids)][row].tobytes() for row in range(32)]
    assert same == [True] * n_shared + [False] * (32 - n_shared)


def test_imagery_is_of_what_was_seen_only_weaker(subject):
    vision, imagery = (subject.splits[name] for name in ("imagery_vision", "imagery"))
    order = [imagery.stimulus_ids.tolist().index(name) for name in vision.stimulus_ids]
    seen, imagined = (
        vision.patterns - vision.patterns.mean(axis=0),
        imagery.patterns[order] - imagery.patterns.mean(axis=0),
    )
    likeness = np.corrcoef(seen, imagined)[:12, 12:]
    assert np.mean(np.diag(likeness)) > np.mean(likeness[~np.eye(12, dtype=bool)]) + 0.1
    early = subject.rois["V1"] | subject.rois["V2"] | subject.rois["V3"] | subject.rois["hV4"]

    def evoked(split, voxels):
        """How much of the responses repeats: covariance of the means of odd and even trials of each stimulus."""
        halves = []
        for parity in (0, 1):
            rows = [np.flatnonzero(split.positions == place)[parity::2] for place in range(split.n_stimuli)]
            means = np.stack([split.betas[row][:, voxels].mean(axis=0) for row in rows])
            halves.append(means - means.mean(axis=0))
        return (halves[0] * halves[1]).mean()

    for voxels, least in ((early, 2), (~early, 1)):
        assert evoked(vision, voxels) > least * evoked(imagery, voxels)


def test_on_the_surface_too(tmp_path):
    small = SMALL | {"subjects": 1, "shared": 4, "trials_per_session": 30}
    root = simulate(tmp_path / "nsd", **small, surface="fsaverage3", further=["imagery"], betas_format="both").directory
    for options in ({"format": "nifti"}, {"space": "fsaverage"}):
        subject = load(f"nsd:{root}", also="imagery", **options)
        assert subject.splits["imagery"].betas.shape == (8 * 10 * 2, subject.n_voxels)


@pytest.mark.parametrize("further", [["imager"], "imagery", [], [None]])
def test_an_experiment_that_is_none_is_one_sentence(further, tmp_path):
    with pytest.raises(InputError, match="further is .* but must be some of synthetic, imagery.*--further.*") as caught:
        simulate(tmp_path / "nsd", further=further)
    assert "\n" not in str(caught.value) and not (tmp_path / "nsd").exists()
