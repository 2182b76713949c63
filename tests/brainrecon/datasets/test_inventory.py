import json

import pytest

from brainrecon.datasets import inventory, load
from stages.ground.errors import InputError


def test_describe_is_plain_and_reads_no_betas(nsd):
    subject = load(f"nsd:{nsd.root}")
    facts = inventory.describe(subject)
    assert json.loads(json.dumps(facts))["n_voxels"] == subject.n_voxels
    assert not subject.train.betas.store._kept
    test = facts["splits"]["test"]
    assert test["n_stimuli"] == 4 and test["n_trials"] == 12 and test["repeats"] == {3: 4} and test["sessions"] == 3
    assert test["picture_size"] == [6, 6] and test["captions"] and test["categories"]
    assert facts["rois"]["nsdgeneral"] == subject.n_voxels
    assert 0 < facts["noise_ceiling_median"] < 100
    assert "3 of 3 sessions found" in facts["notes"]


def test_the_summary_is_short(nsd):
    nsd.session(2).unlink()
    lines = list(inventory.summary(inventory.describe(load(f"nsd:{nsd.root}"))))
    assert len(lines) <= 10
    text = "\n".join(lines)
    assert "subjects: subj01, subj02; this is subj01" in text and "2 of 3 sessions found; missing: 2" in text
    assert "8 trials, 4 stimuli (1 x 1, 2 x 2, 1 x 3), 2 sessions, 6 x 6 pixels, captions, categories" in text
    assert "Allen et al. 2022" in text and "near-duplicates between train and test: " in text


def test_files_are_listed_there_or_not(nsd):
    nsd.session(2).unlink()
    (nsd.annotations / "captions_val2017.json").unlink()
    rows = inventory.files("nsd", nsd.root, "subj01")
    absent = {row["path"] for row in rows if not row["present"]}
    assert str(nsd.session(2)) in absent  # responses.tsv tells of it
    assert str(nsd.annotations / "captions_val2017.json") in absent
    assert str(nsd.roi_file("streams")) in absent
    there = {row["path"]: row["size"] for row in rows if row["present"]}
    assert there[str(nsd.session(1))] == nsd.session(1).stat().st_size
    assert there[str(nsd.design)] and str(nsd.annotations / "instances_train2017.json") in there


def test_files_of_an_empty_folder(tmp_path):
    rows = inventory.files("nsd", tmp_path, "subj05", betas="b2")
    assert not any(row["present"] for row in rows)
    expected = tmp_path / "nsddata_betas/ppdata/subj05/func1pt8mm/betas_fithrf/betas_session01.hdf5"
    assert str(expected) in {row["path"] for row in rows}
    with pytest.raises(InputError, match="'b9' is no betas of NSD; allowed values are b3, b2, b1"):
        inventory.files("nsd", tmp_path, "subj05", betas="b9")


def test_volumes_of_one_hemisphere_are_listed(nsd):
    paths = {row["path"] for row in inventory.files("nsd", nsd.root, "subj01")}
    assert {str(nsd.roi_file(f"{side}.floc-faces")) for side in ("lh", "rh")} <= paths


def test_options_that_do_not_matter_are_refused(nsd):
    for ask in (inventory.files, inventory.download):
        with pytest.raises(InputError, match="'zscore' does not matter for the files of nsd data"):
            ask("nsd", nsd.root, "subj01", zscore=True)
