import hashlib
import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest

import brainrecon.simulation as simulated
from brainrecon.simulation import cohort as cohort_module
from brainrecon.simulation.cohort import simulate
from brainrecon.simulation.files.simulation_folder import VERSION
from stages.ground.errors import InputError

TINY = {"sessions": 1, "trials_per_session": 36, "shared": 4, "voxels": 160, "picture_size": 32}


def digests(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("tiny") / "nsd", **TINY)


def test_the_same_seed_gives_the_same_bytes(cohort, small_options, tmp_path):
    again = simulate(tmp_path / "elsewhere", **small_options, betas_format="both")
    assert digests(again.directory) == digests(cohort.directory)


def test_another_subject_changes_nothing_about_those_before(cohort, small_options, tmp_path):
    alone = simulate(tmp_path / "nsd", **small_options | {"subjects": 1}, betas_format="both").directory
    before, after = digests(alone), digests(cohort.directory)
    own = {name for name in before if "/subj01/" in name}
    assert len(own) > 40 and all(before[name] == after[name] for name in own)
    stimuli = "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"
    with h5py.File(alone / stimuli) as few, h5py.File(cohort.directory / stimuli) as many:
        np.testing.assert_array_equal(few["imgBrick"][:], many["imgBrick"][:72])
    table = "nsddata/experiments/nsd/nsd_stim_info_merged.csv"
    few, many = (pd.read_csv(root / table).drop(columns=["Unnamed: 0"]) for root in (alone, cohort.directory))
    columns = [name for name in few if not name.startswith("subject2")]
    pd.testing.assert_frame_equal(few[columns], many[columns].iloc[:72])


def test_another_session_leaves_the_brain_and_the_pictures_as_they_are(tiny, tmp_path):
    longer = simulate(tmp_path / "nsd", **TINY | {"sessions": 2}).directory
    before, after = digests(tiny.directory), digests(longer)
    anatomy = {name for name in before if "/func1pt8mm/" in name and name.startswith("nsddata/")}
    assert len(anatomy) > 20 and all(before[name] == after[name] for name in anatomy)
    stimuli = "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"
    with h5py.File(tiny.directory / stimuli) as few, h5py.File(longer / stimuli) as many:
        kept = {image.tobytes() for image in many["imgBrick"][:]}
        assert all(image.tobytes() in kept for image in few["imgBrick"][:])


def test_another_seed_gives_another_cohort(tiny, tmp_path):
    other = simulate(tmp_path / "nsd", **TINY, seed=1)
    same = set(digests(tiny.directory).items()) & set(digests(other.directory).items())
    # Label names are constants, and none of these few pictures is from COCO's validation split.
    assert all(name.endswith((".ctab", "_val2017.json")) for name, _ in same)


def test_the_marker_says_what_was_asked_and_reached(tiny):
    content = json.loads((tiny.directory / "simulated.json").read_text())
    assert content["options"] == TINY | {
        "subjects": 1,
        "seed": 0,
        "kinds": ["scene", "digit", "pattern"],
        "betas_format": "hdf5",
    }
    assert content["version"] == VERSION and content["seed"] == 0
    assert content["subjects"][0]["noise_ceiling_known"] == tiny.subjects[0].noise_ceiling_known
    assert "% of variance by construction" in str(tiny) and "8 training and 4 test pictures" in str(tiny)


def test_a_finished_simulation_is_left_as_it_is(tiny):
    before = {path: path.stat().st_mtime_ns for path in tiny.directory.rglob("*")}
    again = simulate(tiny.directory, **TINY)
    assert not again.created and again.subjects == tiny.subjects and "Found" in str(again)
    assert {path: path.stat().st_mtime_ns for path in tiny.directory.rglob("*")} == before


def test_only_the_asked_format_is_written(tiny, tmp_path):
    names = digests(tiny.directory)
    assert any(name.endswith("betas_session01.hdf5") for name in names)
    assert not any(name.endswith("betas_session01.nii.gz") and "/mean" not in name for name in names)
    nifti = digests(simulate(tmp_path / "nsd", **TINY, betas_format="nifti").directory)
    assert any(name.endswith("/betas_session01.nii.gz") for name in nifti)
    assert not any(name.endswith("betas_session01.hdf5") for name in nifti)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"trials_per_session": 37}, "1 sessions of 37 trials make 37 trials.*--trials-per-session 39"),
        ({"shared": 12}, "36 trials hold 12 stimuli.*12 are to be shared.*fewer --shared"),
        ({"voxels": 20}, "voxels is 20 .*160.*--voxels"),
        ({"subjects": 9}, "subjects is 9 .*1 to 8"),
        ({"subjects": 0}, "subjects is 0 "),
        ({"sessions": 1.5}, "sessions is 1.5 .*whole number"),
        ({"sessions": True}, "sessions is True "),
        ({"seed": -1}, "seed is -1 "),
        ({"shared": 0}, "shared is 0 "),
        ({"picture_size": 4}, "picture_size is 4 .*--picture-size"),
        ({"kinds": "scene"}, "kinds is 'scene' .*scene, digit, pattern"),
        ({"kinds": ["scene", "photograph"]}, "kinds .*photograph"),
        ({"kinds": []}, "kinds"),
        ({"betas_format": "mgh"}, "betas_format is 'mgh' .*hdf5, nifti, both"),
    ],
)
def test_impossible_options_are_one_sentence_and_write_nothing(options, message, tmp_path):
    with pytest.raises(InputError, match=message) as error:
        simulate(tmp_path / "nsd", **TINY | options)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_other_things_in_the_folder_are_never_touched(tmp_path, tiny):
    (tmp_path / "thesis.txt").write_text("dear")
    with pytest.raises(InputError, match="is no simulated cohort"):
        simulate(tmp_path, **TINY)
    with pytest.raises(InputError, match="is no simulated cohort"):
        simulate(tmp_path / "thesis.txt", **TINY)
    with pytest.raises(InputError, match="No folder can be made"):
        simulate(tmp_path / "thesis.txt" / "nsd", **TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    before = digests(tiny.directory)
    with pytest.raises(InputError, match="holds a simulation with shared 4, not 5"):
        simulate(tiny.directory, **TINY | {"shared": 5})
    assert digests(tiny.directory) == before


def test_a_damaged_marker_or_another_version_is_named(tmp_path):
    marker = tmp_path / "simulated.json"
    marker.write_text("{")
    with pytest.raises(InputError, match="simulated.json is damaged"):
        simulate(tmp_path, **TINY)
    options = TINY | {"subjects": 1, "seed": 0, "kinds": ["scene", "digit", "pattern"], "betas_format": "hdf5"}
    marker.write_text(json.dumps({"options": options, "version": 0, "subjects": []}))
    with pytest.raises(InputError, match=f"of version 0, not {VERSION}"):
        simulate(tmp_path, **TINY)


def test_a_failure_on_the_way_leaves_nothing(tmp_path, monkeypatch):
    def fail(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(cohort_module.nsd_files, "write_noise_ceiling", fail)
    target = tmp_path / "Bilder für später"
    target.mkdir()
    with pytest.raises(KeyboardInterrupt):
        simulate(target, **TINY)
    assert list(tmp_path.iterdir()) == [target] and list(target.iterdir()) == []
    monkeypatch.undo()
    assert simulate(target, **TINY).created
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_progress_reaches_its_end(tmp_path):
    heard = {}

    def progress(label, done, total):
        assert 0 < done <= total and heard.get(label, 0) < done
        heard[label] = done

    simulate(tmp_path / "nsd", **TINY, progress=progress)
    assert heard["subj01: scanning sessions"] == 1
    assert heard["subj01: drawing and seeing pictures"] == 8 and heard["drawing shared pictures"] == 4


def test_the_package_is_light_until_it_is_used():
    code = (
        "import sys, brainrecon.simulation as s; "
        "heavy = {'torch', 'scipy', 'pandas', 'h5py', 'nibabel', 'sklearn'} & set(sys.modules); "
        "assert not heavy, heavy; assert callable(s.simulate)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
    with pytest.raises(AttributeError, match="no attribute 'imagine'"):
        simulated.imagine  # noqa: B018


def test_the_default_parameters_give_the_noise_ceiling_they_are_meant_to(tmp_path):
    """One session of the ten suffices: the brain is the same, and 130 pictures tell the spread of its signal."""
    report = simulate(tmp_path / "nsd", sessions=1)
    assert 30 < report.subjects[0].noise_ceiling_known < 40 and report.subjects[0].n_voxels == 1500


@pytest.mark.slow
def test_the_default_subject_can_be_decoded_but_not_too_well(tmp_path):
    """Ridge from patterns to 8 × 8 luminance and to the category, against shuffled training pictures."""
    root = simulate(tmp_path / "nsd").directory
    report = json.loads((root / "simulated.json").read_text())["subjects"][0]
    assert 30 < report["noise_ceiling_known"] < 40 and 30 < report["noise_ceiling_estimated"] < 40

    import nibabel
    from scipy.io import loadmat

    design = loadmat(root / "nsddata/experiments/nsd/nsd_expdesign.mat", squeeze_me=True)
    order, numbers = design["masterordering"].astype(int), design["subjectim"][0].astype(int)
    roi = root / "nsddata/ppdata/subj01/func1pt8mm/roi/nsdgeneral.nii.gz"
    mask = np.asanyarray(nibabel.load(roi).dataobj) > 0
    patterns = np.zeros((1300, 1500))
    for session in range(10):
        name = f"func1pt8mm/betas_fithrf_GLMdenoise_RR/betas_session{session + 1:02d}.hdf5"
        with h5py.File(root / "nsddata_betas/ppdata/subj01" / name) as file:
            betas = file["betas"][:].transpose(0, 3, 2, 1)[:, mask]
        np.add.at(patterns, order[session * 390 : (session + 1) * 390] - 1, betas)
    test, train = slice(0, 100), slice(100, None)
    patterns = (patterns - patterns[train].mean(0)) / patterns[train].std(0)
    with h5py.File(root / "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5") as file:
        images = file["imgBrick"][:][numbers - 1] / 255
    light = (images @ [0.3, 0.59, 0.11]).reshape(1300, 8, 8, 8, 8).mean((2, 4)).reshape(1300, 64)

    table = pd.read_csv(root / "nsddata/experiments/nsd/nsd_stim_info_merged.csv")
    category = {}
    for split in ("train2017", "val2017"):
        content = json.loads((root / f"nsddata_stimuli/stimuli/nsd/annotations/instances_{split}.json").read_text())
        names = [one["name"] for one in content["categories"]]
        category |= {one["image_id"]: one["category_id"] - 1 for one in content["annotations"]}
    labels = np.array([category[k] for k in table["cocoId"].to_numpy()[numbers - 1]])
    things = np.array([name not in ("digit", "pattern") for name in names])

    def predict(target, known):
        kernel = known @ known.T + 4500 * np.eye(len(known))
        mean = target[train].mean(0)
        return patterns[test] @ known.T @ np.linalg.solve(kernel, target[train] - mean) + mean

    def scores(known):
        predicted = predict(light, known)
        r = np.mean([np.corrcoef(predicted[:, k], light[test][:, k])[0, 1] for k in range(64)])
        scene = things[labels[test]]
        chosen = predict(np.eye(len(names))[labels], known)[:, things].argmax(1)
        return r, np.mean(chosen[scene] == labels[test][scene])

    r, accuracy = scores(patterns[train])
    # Higher areas are told the thing: a linear readout finds it more often than not, and must stay far from always.
    assert 0.6 < r < 0.8 and 4 / 24 < accuracy < 16 / 24
    r, accuracy = scores(patterns[train][np.random.default_rng(0).permutation(1200)])
    assert r < 0.2 and accuracy < 3 / 24
