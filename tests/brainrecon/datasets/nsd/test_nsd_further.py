"""The further experiments of NSD come back as they were written, beside a core that they change nothing of."""

import shutil

import numpy as np
import pytest
from nsd_further_files import RUNS, TARGETS, VERSION, write_nsd_further
from PIL import Image

from brainrecon.datasets import dataset_of, load
from brainrecon.datasets.nsd.further.middle_pictures import MiddlePictures, matched
from brainrecon.datasets.resplit import resplit, with_test
from brainrecon.datasets.shuffled import with_shuffled_responses


@pytest.fixture
def writer(tmp_path):
    return lambda name="nsd", **settings: write_nsd_further(tmp_path / name, **settings)


@pytest.fixture
def further(writer):
    return writer("tiny nsd é", n_subjects=1)


def percent(further, experiment, subject, roi="nsdgeneral"):
    """(n_trials, n_voxels) as written."""
    return further.stored[experiment][subject][further.nsd.rois[subject][roi] > 0].T / 300


def central_square(picture, size):
    """The largest square in the middle, cut by Pillow and resized."""
    picture = Image.fromarray(picture)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return np.asarray(picture.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("formats", [("hdf5",), ("nifti",)])
@pytest.mark.parametrize("seed", range(3))
def test_every_trial_is_what_was_written(writer, seed, formats):
    further = writer(seed=seed, formats=formats)
    name = ["subj01", "subj02"][seed % 2]
    subject = load(f"nsd:{further.root}", subject=name, also="all")
    assert list(subject.splits) == ["train", "test", "synthetic", "imagery", "imagery_vision", "imagery_concepts"]

    written, split = percent(further, "synthetic", name), subject.splits["synthetic"]
    assert split.trial_stimulus_ids.tolist() == [f"synthetic{picture:03d}" for picture in further.order]
    assert split.runs.tolist() == further.runs and set(split.sessions) == {1}
    np.testing.assert_allclose(split.betas[:], written, rtol=1e-5, atol=1e-6)
    pictures = [int(found.removeprefix("synthetic")) for found in split.stimulus_ids]
    assert split.categories == [[further.classes[picture]] for picture in pictures]
    shown = np.concatenate([further.shared, further.own[name]])
    bright = (255 * np.sqrt(shown / 255)).round().astype(np.uint8)
    np.testing.assert_array_equal(split.images[:], [central_square(bright[picture], 6) for picture in pictures])

    written = percent(further, "imagery", name)
    for split_name, task, sets in [
        ("imagery", "img", "AB"),
        ("imagery_vision", "vis", "AB"),
        ("imagery_concepts", "img", "C"),
    ]:
        split, trials = subject.splits[split_name], further.of_task(task, sets, name)
        prefix = {
            target: f"{of_set}-{target.removesuffix('.png')}" for of_set in sets for target in TARGETS[of_set].values()
        }
        assert split.trial_stimulus_ids.tolist() == [prefix[target] for target, _, _ in trials]
        assert split.runs.tolist() == [run for _, run, _ in trials]
        np.testing.assert_allclose(split.betas[:], written[[row for _, _, row in trials]], rtol=1e-5, atol=1e-6)
        targets = list(dict.fromkeys(target for target, _, _ in trials))
        if split_name == "imagery_concepts":
            assert split.images is None and split.captions == split.categories == [[word] for word in targets]
        else:
            assert split.captions is None
            expected = [central_square(further.targets[target], 6) for target in targets]
            np.testing.assert_array_equal(split.images[:], expected)


def test_the_surface_too(writer):
    further = writer(surface=True)
    subject = load(f"nsd:{further.root}", space="fsaverage", roi="cortex", also="synthetic,imagery")
    inside = subject.surface.places if hasattr(subject.surface, "places") else None
    written = further.stored["synthetic"]["subj01"].reshape(140, -1).T / 300
    cortex = np.arange(140) % 4
    cortex[[1, 2, 81]] = 1
    np.testing.assert_allclose(subject.splits["synthetic"].betas[:], written[:, cortex > 0], rtol=1e-5, atol=1e-6)
    assert inside is None or len(inside) == subject.n_voxels


def test_without_also_nothing_changes(further):
    source = f"nsd:{further.root}"
    plain, whole = load(source), load(source, also="all")
    assert list(plain.splits) == ["train", "test"] and not plain.train_fingerprint
    assert whole.stimuli_of("train") == plain.stimuli_of("train") and whole.fingerprint != plain.fingerprint
    shutil.rmtree(further.root / "nsddata_stimuli/stimuli/nsdsynthetic")
    for experiment in ("synthetic", "imagery"):
        shutil.rmtree(further.betas(experiment).parent)
    bare = load(source)
    assert bare.fingerprint == plain.fingerprint and bare.notes == plain.notes and bare.details == plain.details
    np.testing.assert_array_equal(bare.test.betas[:], whole.test.betas[:])


def test_the_fingerprint_knows_pictures_rules_and_experiments(further):
    source = f"nsd:{further.root}"
    found = {
        what: load(source, **options).fingerprint
        for what, options in {
            "both": {"also": "all"},
            "one": {"also": "imagery"},
            "other": {"also": ["synthetic"]},
            "stored": {"also": "synthetic", "luminance": "stored"},
            "no pictures": {"also": "synthetic", "pictures": False},
            "none": {},
        }.items()
    }
    assert len(set(found.values())) == len(found)
    assert load(source, also="imagery,synthetic", roi="V1", also_scale="run", zscore=True).fingerprint == found["both"]
    path = further.target("A", TARGETS["A"]["H"])
    Image.fromarray(255 - further.targets[path.name]).save(path)
    assert load(source, also="imagery").fingerprint != found["one"]


def test_another_test_split_keeps_what_was_computed_of_training_pictures(further):
    subject = load(f"nsd:{further.root}", also="all")
    other = with_test(subject, "imagery")
    assert other.stimuli_of("train") == load(f"nsd:{further.root}").stimuli_of("train")
    assert other.stimuli_of("test") != subject.stimuli_of("test")


def test_z_scores_are_by_training_trials_of_the_core(further):
    """By definition: the mean over sessions of training means, and the root of the mean of training variances."""
    source = f"nsd:{further.root}"
    plain = load(source, also="all")
    scored = load(source, also="all", zscore=True)
    means, variances = [], []
    for session in (1, 2, 3):
        rows = np.asarray(plain.train.betas[:], dtype=float)[plain.train.sessions == session]
        means.append(rows.mean(axis=0))
        variances.append(rows.var(axis=0, ddof=1))
    mean, spread = np.mean(means, axis=0), np.sqrt(np.mean(variances, axis=0))
    for name in ("synthetic", "imagery", "imagery_vision", "imagery_concepts"):
        expected = (plain.splits[name].betas[:] - mean) / spread
        np.testing.assert_allclose(scored.splits[name].betas[:], expected, rtol=1e-4, atol=1e-4)
        assert scored.splits[name].standardized == "training" and plain.splits[name].standardized == "no"


@pytest.mark.parametrize("scale", ["session", "run"])
@pytest.mark.parametrize("zscore", [False, True])
def test_statistics_of_what_is_tested_are_taken_if_they_are_asked_for(further, scale, zscore):
    source = f"nsd:{further.root}"
    plain = load(source, also="all")
    found = load(source, also="all", zscore=zscore, also_scale=scale)
    groups = {
        "synthetic": np.array(further.runs),
        "imagery": np.zeros(further.stored["imagery"]["subj01"].shape[3], int),
    }
    for _, run, _, rows in further.trials["subj01"]:
        groups["imagery"][rows] = run
    train = np.asarray(plain.train.betas[:], dtype=float)
    by_session = [train[plain.train.sessions == session] for session in (1, 2, 3)]
    mean = np.mean([rows.mean(axis=0) for rows in by_session], axis=0)
    spread = np.sqrt(np.mean([rows.var(axis=0, ddof=1) for rows in by_session], axis=0))
    rows_of = {"synthetic": list(range(len(further.order)))}
    for name, task, sets in [
        ("imagery", "img", "AB"),
        ("imagery_vision", "vis", "AB"),
        ("imagery_concepts", "img", "C"),
    ]:
        rows_of[name] = [row for _, _, row in further.of_task(task, sets)]
    for name, rows in rows_of.items():
        experiment = name.partition("_")[0]
        written, group = percent(further, experiment, "subj01"), groups[experiment]
        expected = np.empty((len(rows), written.shape[1]))
        for place, row in enumerate(rows):
            of = written[group == group[row]] if scale == "run" else written
            own = of.std(axis=0, ddof=1) if len(of) > 1 else np.zeros(of.shape[1])
            with np.errstate(all="ignore"):
                z = np.where(own > 0, (written[row] - of.mean(axis=0)) / own, 0)
            expected[place] = z if zscore else z * spread + mean
        np.testing.assert_allclose(found.splits[name].betas[:], expected, rtol=1e-3, atol=2e-3)
        assert found.splits[name].standardized == ("session" if zscore else "no")
    assert sum("transductive" in note for note in found.notes) == 1
    assert not any("transductive" in note for note in plain.notes)


def test_columns_and_rows_are_read_alike(further):
    betas = load(f"nsd:{further.root}", also="imagery", zscore=True, also_scale="run").splits["imagery"].betas
    whole = betas[:]
    some = betas.columns([5, 0, 7]).take([3, 3, -1])
    np.testing.assert_array_equal(some[:], whole[[3, 3, -1]][:, [5, 0, 7]])
    assert some.standardized == "session" and not some.is_quick


def test_a_split_anew_leaves_them_out_and_shuffled_responses_take_them_along(further):
    subject = load(f"nsd:{further.root}", also="all", zscore=True)
    anew = resplit(subject, subject.test.stimulus_ids[:2].tolist(), "two")
    assert list(anew.splits) == ["train", "test"] and any("imagery_concepts left out" in note for note in anew.notes)
    shuffled = with_shuffled_responses(with_test(subject, "imagery"), 0)
    assert shuffled.test.stimulus_ids.tolist() == subject.splits["imagery"].stimulus_ids.tolist()
    assert np.isfinite(shuffled.test.patterns).all()


def test_pictures_are_brought_to_the_size_of_those_that_are_trained_on():
    wide = np.zeros((8, 20, 3), np.uint8)
    wide[:, 6:14] = 200
    wide[:, :6] = 9
    (found,) = MiddlePictures([lambda: wide], (4, 4))[:]
    assert (found == 200).all()
    (same,) = MiddlePictures([lambda: found], (4, 4))[:]
    np.testing.assert_array_equal(same, found)
    (bright,) = MiddlePictures([lambda: wide], (4, 4), "matched")[:]
    assert (bright == round(255 * (200 / 255) ** 0.5)).all()
    assert (np.diff(matched().astype(int)) >= 0).all() and matched()[255] == 255


def test_stored_luminance_is_the_file_s(further):
    split = load(f"nsd:{further.root}", also="synthetic", luminance="stored").splits["synthetic"]
    shown = np.concatenate([further.shared, further.own["subj01"]])
    pictures = [int(found.removeprefix("synthetic")) for found in split.stimulus_ids]
    np.testing.assert_array_equal(split.images[:], [central_square(shown[picture], 6) for picture in pictures])


def test_pictures_may_be_absent_and_notes_say_which(further):
    source = f"nsd:{further.root}"
    assert all(split.images is None for split in load(source, also="all", pictures=False).splits.values())
    further.brick("subj01").unlink()
    further.target("B", TARGETS["B"]["T"]).unlink()
    further.table.unlink()
    subject = load(source, also="all")
    assert all(
        split.images is None and split.categories is None for name, split in subject.splits.items() if name[0] == "s"
    )
    assert subject.splits["imagery"].images is subject.splits["imagery_vision"].images is None
    told = "; ".join(subject.notes)
    assert f"no pictures of synthetic: {further.brick('subj01')} absent" in told
    assert "no pictures of imagery: 1 of 5 are absent" in told and told.count("no pictures of imagery") == 1
    further.nsd.stimuli.unlink()
    told = load(source, also="imagery").notes
    assert any("no pictures of imagery, as their size is that of the core's" in note for note in told)


def test_a_version_of_the_betas_that_has_them(writer):
    further = writer()
    core = further.nsd.betas_folder()
    shutil.copytree(core, core.with_name("betas_fithrf"))
    for experiment in ("synthetic", "imagery"):
        folder = further.betas(experiment).parent
        folder.rename(folder.with_name(folder.name.replace(VERSION, "betas_fithrf")))
    subject = load(f"nsd:{further.root}", betas="b2", also="all")
    np.testing.assert_allclose(subject.splits["synthetic"].betas[:], percent(further, "synthetic", "subj01"), rtol=1e-5)


def test_files_are_listed_when_they_are_there_or_asked_for(further, tmp_path):
    nsd = dataset_of("nsd")

    def names(path, **options):
        return {file.path.relative_to(path).as_posix(): file for file in nsd.files(path, "subj01", **options)}

    there = names(further.root)
    for path in (
        further.betas("synthetic"), further.betas("imagery"), further.design, further.table, further.brick(),
        further.brick("subj01"), *map(further.run, RUNS), *map(further.pairs, TARGETS),
        *(further.target(of_set, name) for of_set in "AB" for name in TARGETS[of_set].values()),
    ):  # fmt: skip
        found = there[path.relative_to(further.root).as_posix()]
        assert path.is_file() and found.address.endswith("amazonaws.com/" + path.relative_to(further.root).as_posix())
    assert not any("imagery" in name or "synthetic" in name for name in names(tmp_path / "empty"))
    asked = names(tmp_path / "empty", also="imagery")
    assert sum("nsdimagery_subj01_" in name for name in asked) == 12 and not any("synthetic" in name for name in asked)
    betas = asked[further.betas("imagery").relative_to(further.root).as_posix()]
    assert betas.largest == 720 * 81 * 104 * 83 * 2 and not betas.optional
    assert len(names(tmp_path / "empty", also="all")) > len(asked)
    assert not any("synthetic" in name for name in names(further.root, also="imagery"))


def test_a_download_fetches_what_is_asked_for_and_the_pictures_that_lists_name(further, tmp_path, monkeypatch):
    from brainrecon.datasets import coco
    from brainrecon.datasets.download import AbsentError
    from brainrecon.datasets.nsd import listing

    def copy(layout, file, _):
        there = further.root / file.relative_to(layout.root)
        if not there.is_file():
            raise AbsentError(f"There is no {there}.")
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(there, file)

    monkeypatch.setattr(listing, "_fetch", copy)
    monkeypatch.setattr(coco, "fetch_annotations", lambda *_: None)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: type("Disk", (), {"free": 10**12}))
    nsd = dataset_of("nsd")
    nsd.download(tmp_path / "core", "subj01")
    assert not list((tmp_path / "core").rglob("*imagery*"))
    nsd.download(tmp_path / "copy", "subj01", also="imagery")
    found, there = (load(f"nsd:{root}", also="imagery") for root in (tmp_path / "copy", further.root))
    assert found.fingerprint != there.fingerprint  # Captions are COCO's and were not fetched.
    np.testing.assert_array_equal(found.splits["imagery"].images[:], there.splits["imagery"].images[:])
    assert not list((tmp_path / "copy").rglob("*synthetic*"))
    further.run("attA").unlink()
    with pytest.raises(AbsentError):
        nsd.download(tmp_path / "other", "subj01", also="imagery")
