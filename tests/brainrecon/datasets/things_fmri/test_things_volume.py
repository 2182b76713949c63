"""Volumes of THINGS-data against files that are written from its published description, and against its tables."""

from collections import Counter

import numpy as np
import pytest
from things_fmri_files import Things

from brainrecon.datasets import load


def loaded(things, **options):
    return load(f"things-fmri:{things.root}", form="volume", **options)


def in_order_of_files(things, kind, inside):
    """What was shown of a kind, run by run, in the order of the names of the pictures."""
    rows = things.shown(kind, inside)
    return sorted(rows, key=lambda row: (row[1], row[2], f"{row[0]}.jpg"))


def check_trials(split, expected):
    ids, sessions, runs, concepts, responses = zip(*expected)
    assert split.trial_stimulus_ids.tolist() == list(ids)
    assert split.sessions.tolist() == list(sessions) and split.runs.tolist() == list(runs)
    assert split.categories == [[concept] for concept in dict(zip(ids, concepts)).values()]
    np.testing.assert_allclose(split.betas[:], responses, rtol=1e-6)


@pytest.mark.parametrize(("seed", "told"), [(0, True), (1, False), (2, True)])
def test_what_was_written_is_read(tmp_path, seed, told):
    """With the table of stimuli or without, splits are the same; catch trials are left out."""
    things = Things(tmp_path / "things", seed=seed, lost=[(2, 1)] if seed else [], forms=("volume",))
    if told:
        things.write_stimuli()
    subject = loaded(things)
    assert subject.details["form"] == "volume" and subject.roi == "visual"
    inside = things.visual & ~only_in(things, "IT")
    for kind in ("train", "test"):
        check_trials(subject.splits[kind], in_order_of_files(things, kind, inside))
    np.testing.assert_array_equal(subject.grid.indices, things.places[inside])
    repeats = Counter(name for name, *_ in things.shown("test")).values()
    usual = Counter(repeats).most_common(1)[0][0]
    np.testing.assert_allclose(subject.noise_ceiling, things.ceiling[inside] * usual / 4, rtol=1e-6)
    assert any(f"{len(things.runs)} catch trials left out" in note for note in subject.notes)
    assert any("shown more than once are for testing" in note for note in subject.notes) != told


def only_in(things, name):
    """Voxels in one of the study's regions alone; the masks beside volumes have no IT."""
    others = [mask for key, mask in things.regions.items() if key != name and not key.startswith("glasser")]
    return things.regions[name] & ~np.any(others, axis=0)


def test_both_forms_hold_the_same(tmp_path):
    things = Things(tmp_path / "things", seed=4)
    table, volume = (load(f"things-fmri:{things.root}", form=form, roi="V1 + FFA") for form in ("table", "volume"))
    assert load(f"things-fmri:{things.root}").details["form"] == "table"
    np.testing.assert_array_equal(table.grid.indices, volume.grid.indices)
    for name, split in table.splits.items():
        other = volume.splits[name]
        keys = [
            list(zip(part.trial_stimulus_ids.tolist(), part.sessions.tolist(), part.runs.tolist()))
            for part in (split, other)
        ]
        rows = [keys[1].index(key) for key in keys[0]]
        assert sorted(rows) == list(range(len(rows)))
        np.testing.assert_allclose(other.betas[:][rows], split.betas[:], rtol=1e-6)
    for name in ("V1", "hV4", "LO1", "V3a", "V3b", "lFFA", "rFFA", "FFA"):
        if name in table.rois or name in volume.rois:
            np.testing.assert_array_equal(table.rois[name], volume.rois[name])


def test_the_archive_of_volumes_has_another_name(tmp_path):
    things = Things(tmp_path / "things", forms=("volume",))
    (things.root / "betas_vol").rename(things.root / "scalematched")
    inside = things.visual & ~only_in(things, "IT")
    check_trials(load(f"things-fmri:{things.root}").train, in_order_of_files(things, "train", inside))


def test_without_masks_of_regions_all_voxels_are_used(tmp_path):
    things = Things(tmp_path / "things", forms=())
    things.write_volumes()
    subject = loaded(things)
    assert subject.roi == "all" and subject.n_voxels == things.n_voxels and not subject.rois
    assert subject.noise_ceiling is None and any("no rois in" in note for note in subject.notes)


def test_zero_shot_leaves_tested_concepts_out(tmp_path):
    things = Things(tmp_path / "things", forms=("volume",))
    subject = loaded(things, zero_shot=True)
    assert not {concept for concept, _ in things.test} & {concept for (concept,) in subject.train.categories}
    assert subject.train.n_trials == 12 and subject.test.n_trials == 15
