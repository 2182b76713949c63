"""LAION-fMRI: what is read equals what was written from its documentation without the toolkit."""

import numpy as np
import pytest
from laion_fmri_files import AFFINE, REGIONS, LaionFmri, volume

import brainrecon.datasets as datasets
from brainrecon.datasets.laion_fmri.splits import SPLITS
from stages.ground.errors import InputError

DATA = "laion-fmri"


def load(written, **options):
    return datasets.load(f"{DATA}:{written.root}", **options)


def side_of(label, split, written, subject, number=0, pool="own"):
    """Where a picture belongs, by the documentation: the test that everybody saw, or the lists of a split."""
    is_ood = "_OOD_" in label
    if split == "shared":
        return "ood" if is_ood else "test" if label.startswith("shared") else "train"
    if split == "ood":
        return "test" if is_ood else "train" if pool == "own" or label.startswith("shared") else None
    name = {"random": f"random_{number}", "cluster": f"cluster_k5_{number}"}.get(split, split)
    train, test = written.splits[subject if pool == "own" else "shared", name]
    return "train" if label in train else "test" if label in test else "ood" if is_ood else None


def check(written, subject, name, mask, split="shared", number=0, pool="own", sessions=None):
    """Everything of a loaded subject is as it was written: trials in their order, values, pictures, captions."""
    trials = written.expected(name, sessions)
    sides = {label: side_of(label, split, written, name, number, pool) for _, _, label, _ in trials}
    assert set(subject.splits) == set(sides.values()) - {None}
    for side, part in subject.splits.items():
        own = [trial for trial in trials if sides[trial[2]] == side]
        assert part.trial_stimulus_ids.tolist() == [label for _, _, label, _ in own]
        assert part.sessions.tolist() == [session for session, *_ in own]
        assert part.runs.tolist() == [run for _, run, *_ in own]
        np.testing.assert_array_equal(part.betas[:], np.float32([values[mask] for *_, values in own]))
        ids = list(dict.fromkeys(label for _, _, label, _ in own))
        assert part.stimulus_ids.tolist() == ids
        if written.pictures:
            for row, label in enumerate(ids):
                assert np.abs(part.images[row] - written.shown(label)).max() <= 1
            assert part.captions == [written.captions[label] for label in ids]
        kinds = [label.split("_OOD_")[1].split("_")[0] for label in ids] if side == "ood" else None
        if kinds:
            assert part.categories == [[kind] for kind in kinds]
    np.testing.assert_array_equal(subject.space.indices, np.argwhere(mask))
    np.testing.assert_array_equal(subject.space.affine, np.float32(AFFINE).astype(float))


@pytest.mark.parametrize("seed", range(4))
def test_random_copies_are_read_as_they_were_written(tmp_path, seed):
    random = np.random.default_rng(seed)
    sessions = sorted(random.choice(np.arange(1, 32), random.integers(2, 5), replace=False).tolist())
    written = LaionFmri(
        tmp_path / "copy é",
        seed,
        subjects=("sub-01", "sub-05", "sub-07")[: random.integers(1, 4)],
        n_shared=int(random.integers(3, 6)),
        n_ood=int(random.integers(0, 5)),
        n_unique=int(random.integers(4, 9)),
        sessions=sessions,
        shape=tuple(random.integers(3, 8, 3).tolist()),
        side=int(random.integers(5, 30)),
        order="<>"[seed % 2],
        dtype=(np.float32, np.float64)[seed // 2 % 2],
        suffix=(".nii.gz", ".nii")[seed % 2],
        dashes=seed % 2 == 0,
    )
    assert datasets.dataset_of(DATA).subjects(written.root) == sorted(written.brain)
    for name, brain in written.brain.items():
        general = brain & written.regions[name]["laion-general"]
        subject = load(written, subject=name)
        assert subject.roi == ("laion-general" if written.dashes else "laiongeneral")
        check(written, subject, name, general)
        check(written, load(written, subject=name, roi="brain"), name, brain)
        assert subject.details["sessions"] == sessions
        assert subject.notes[0].startswith("sessions ") and subject.pictures == "photographs"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return LaionFmri(tmp_path_factory.mktemp("laion") / "copy", 7, n_shared=6, n_ood=4, n_unique=7)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("pool", [None, "own", "shared"])
def test_splits_are_those_of_the_files(written, split, pool):
    if split == "shared" and pool:
        pytest.skip("it has no pool")
    for number in (None, 0, 4, "2") if split in ("random", "cluster") else (None,):
        options = {"split": split} | ({"pool": pool} if pool else {}) | ({} if number is None else {"number": number})
        subject = load(written, subject="sub-03", roi="brain", **options)
        check(written, subject, "sub-03", written.brain["sub-03"], split, int(number or 0), pool or "own")
        assert subject.details["split"] == split and subject.details.get("number", 0) == int(number or 0)
        told = [note for note in subject.notes if "are in no part of split" in note]
        assert bool(told) == (pool == "shared")


def test_the_test_pictures_of_ood_have_their_kinds_as_categories(written):
    test = load(written, split="ood").test
    assert test.categories == [[label.split("_")[3]] for label in test.stimulus_ids.tolist()]


def test_regions_have_the_names_of_their_files_and_others(written):
    name, brain = "sub-01", written.brain["sub-01"]
    masks = written.regions[name]
    every = {
        "FFA-1": masks["FFA-1"],
        "FFA1": masks["FFA-1"],
        "FFA": masks["FFA-1"] | masks["FFA-2"],
        "V1": masks["V1v"] | masks["V1d"],
        "face": masks["FFA-1"] | masks["FFA-2"] | masks["OFA"],
        "retinotopy - hV4": (masks["V1v"] | masks["V1d"]) & ~masks["hV4"],
        "laiongeneral & (V1 + OFA)": masks["laion-general"] & (masks["V1v"] | masks["V1d"] | masks["OFA"]),
        "FFA*": masks["FFA-1"] | masks["FFA-2"],
        "all": np.ones_like(brain),
        "brain": np.ones_like(brain),
        "finite": np.ones_like(brain),
    }
    for expression, mask in every.items():
        subject = load(written, roi=expression)
        check(written, subject, name, brain & mask)
        for region, inside in subject.rois.items():
            own = np.any([masks[one] for one in REGIONS.get(region, (region,))], axis=0)
            np.testing.assert_array_equal(inside, own[brain & mask])
    assert list(load(written).rois)[:2] == ["FFA-1", "FFA-2"] and "face" in load(written).rois


def test_without_regions_the_brain_is_read(tmp_path):
    written = LaionFmri(tmp_path, regions={})
    subject = load(written)
    assert subject.roi == "brain" and any("no regions in" in note for note in subject.notes)
    check(written, subject, "sub-01", written.brain["sub-01"])


def test_the_same_label_in_two_categories_is_told_by_its_category(tmp_path):
    written = LaionFmri(tmp_path, regions={"a": ("EVC",), "b": ("EVC",)})
    subject = load(written, roi="b:EVC")
    check(written, subject, "sub-01", written.brain["sub-01"] & written.regions["sub-01"]["EVC"])
    assert subject.roi == "b:EVC"


@pytest.mark.parametrize("there", [12, 4])
def test_noise_ceilings_are_reckoned_for_the_repeats_of_the_test(tmp_path, there):
    written = LaionFmri(tmp_path, repeats=(there,))
    subject = load(written, roi="brain")
    percent = written.ceilings["sub-01", there][written.brain["sub-01"]].astype(float)
    # The ratio of signal to noise of which the documentation's formula makes this percentage.
    squared = percent / (100 - percent) / there
    expected = 100 * squared / (squared + np.mean(1 / subject.test.repeats))
    np.testing.assert_allclose(subject.noise_ceiling, expected, rtol=1e-4)
    assert any(f"that of {there} presentations" in note for note in subject.notes)


def test_without_a_noise_ceiling_there_is_a_note(tmp_path):
    subject = load(LaionFmri(tmp_path, repeats=()))
    assert subject.noise_ceiling is None and any(note.startswith("no noise ceiling") for note in subject.notes)


def test_noise_ceilings_of_all_and_of_nothing_are_taken(tmp_path):
    written = LaionFmri(tmp_path)
    values = written.ceilings["sub-01", 12]
    places = np.argwhere(written.brain["sub-01"])
    values[tuple(places[0])], values[tuple(places[1])], values[tuple(places[2])] = 100, 0, np.nan
    volume(values, written.ceiling_file("sub-01", 12))
    ceiling = load(written, roi="brain").noise_ceiling
    assert ceiling[0] > 99 and ceiling[1] == ceiling[2] == 0 and np.isfinite(ceiling).all()


def test_some_sessions(written):
    for asked, sessions in {"1-2": [1, 2], "4": [4], "2,4": [2, 4]}.items():
        subject = load(written, sessions=asked, roi="brain")
        check(written, subject, "sub-01", written.brain["sub-01"], sessions=sessions)
        assert subject.details["sessions"] == sessions and "as was asked" in subject.notes[0]


def test_z_scores_are_those_of_the_training_trials_of_each_session(written):
    plain, scored = (load(written, roi="brain", zscore=asked) for asked in (False, True))
    assert scored.test.standardized == "training" and plain.test.standardized == "no"
    for session in (1, 2, 4):
        trained = np.asarray(plain.train.betas)[plain.train.sessions == session].astype(float)
        for name in plain.splits:
            own = plain.splits[name].sessions == session
            expected = (np.asarray(plain.splits[name].betas)[own] - trained.mean(0)) / trained.std(0, ddof=1)
            np.testing.assert_allclose(np.asarray(scored.splits[name].betas)[own], expected, rtol=1e-3, atol=1e-4)
    assert scored.details["units"] == "z-scores within sessions"


def test_voxels_without_values_are_told_and_can_be_left_out(tmp_path):
    written = LaionFmri(tmp_path)
    brain, places = written.brain["sub-01"], np.argwhere(written.brain["sub-01"])
    values = written.betas["sub-01", 2]
    values[(3, *places[0])] = np.nan
    for session in (1, 2, 4):
        written.betas["sub-01", session][(slice(None), *places[5])] = 0.5
        volume(np.moveaxis(written.betas["sub-01", session], 0, -1), written.betas_file("sub-01", session))
    subject = load(written, roi="brain")
    with pytest.raises(InputError, match="1 of .* voxels hold NaN"):
        np.asarray(subject.train.betas), np.asarray(subject.test.betas), np.asarray(subject.splits["ood"].betas)
    finite = load(written, roi="finite")
    left = brain.copy()
    left[tuple(places[0])] = left[tuple(places[5])] = False
    check(written, finite, "sub-01", left)
    assert any("2 of" in note and "1 with NaN" in note and "1 constant" in note for note in finite.notes)
    general = load(written, roi="laion-general & finite")
    check(written, general, "sub-01", left & written.regions["sub-01"]["laion-general"])


def test_a_mask_of_ones_own_in_the_volume(written, tmp_path):
    mask = written.rng.random(written.shape) < 0.5
    volume(mask.astype(np.uint8), tmp_path / "own.nii.gz")
    check(written, load(written, mask=tmp_path / "own.nii.gz"), "sub-01", written.brain["sub-01"] & mask)


def test_pictures_are_lazy_of_one_size_or_brought_to_one(written):
    images = load(written).train.images
    assert images.shape[1:] == (16, 16, 3) and images[:0].shape == (0, 16, 16, 3)
    small = load(written, image_size=8).train.images
    assert small.shape == (len(images), 8, 8, 3) and small[0].dtype == np.uint8
    means = [np.asarray(one, dtype=float).mean() for one in (images[0], small[0])]
    assert abs(means[0] - means[1]) < 5


def test_without_pictures_and_captions_there_are_notes(tmp_path):
    written = LaionFmri(tmp_path, pictures=False)
    subject = load(written)
    check(written, subject, "sub-01", written.brain["sub-01"] & written.regions["sub-01"]["laion-general"])
    assert subject.train.images is None and subject.train.captions is None
    notes = " ".join(subject.notes)
    assert "agree to their terms at https://laion-fmri.hebartlab.com/request" in notes and "no captions" in notes


def test_captions_of_a_network_stand_in_where_people_wrote_none(tmp_path):
    written = LaionFmri(tmp_path)
    label = written.shared[0]
    lines = written.captions_file.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not (line.startswith(label) and ",human," in line)]
    written.captions_file.write_text("\n".join(kept) + "\n", encoding="utf-8")
    said = dict(zip(load(written).test.stimulus_ids.tolist(), load(written).test.captions))
    assert (
        said[label] == [f"A network said {label}."] and said[written.shared[1]] == written.captions[written.shared[1]]
    )


def test_another_folder_beside_the_sessions_is_no_session(tmp_path):
    written = LaionFmri(tmp_path)
    for name in ("ses-31", "ses-PrismaAnat", "figures"):
        (written.derivatives("sub-01") / name / "func").mkdir(parents=True)
    assert load(written).details["sessions"] == [1, 2, 4]


def test_runs_and_sessions_are_written_in_several_ways(tmp_path):
    written = LaionFmri(tmp_path)
    for session in (1, 2, 4):
        text = written.trials_file("sub-01", session).read_text().splitlines()
        cells = [line.split("\t") for line in text[1:]]
        lines = [[str(session), f"run-{int(run):02d}", row, label] for _, run, row, label in cells]
        rows = ["\t".join(line) for line in [["session", "run", "beta_index", "label"], *lines]]
        written.trials_file("sub-01", session).write_text("\ufeff" + "\r\n".join(rows) + "\r\n", encoding="utf-8")
    check(written, load(written, roi="brain"), "sub-01", written.brain["sub-01"])


def test_betas_are_read_when_they_are_asked_for(tmp_path, monkeypatch):
    from brainrecon.datasets.nsd import betas

    written, read, original = LaionFmri(tmp_path), [], betas.read_session
    monkeypatch.setattr(betas, "read_session", lambda path, mask: read.append(path) or original(path, mask))
    subject = load(written)
    assert read == []
    rows = np.flatnonzero(subject.train.sessions == 2)
    subject.train.betas[rows]
    assert read == [written.betas_file("sub-01", 2)]
