"""A training on files that memory does not hold: it runs small, and its files are what they say."""

import json

import numpy as np
import pretrain_full_size

SMALL = {"subjects": 3, "trials": 300, "voxels": 50, "stimuli": 150, "tokens": 4, "width": 16}


def test_figures_are_printed_and_kept(tmp_path, capsys):
    options = [text for name, value in SMALL.items() for text in (f"--{name}", str(value))]
    options += ["--steps", "3", "--batch-size", "12", "--hidden", "8", "--json", str(tmp_path / "found.json")]
    # So little data is less than what a process holds.
    assert not pretrain_full_size.main([*options, "--folder", str(tmp_path / "files")])
    said, found = capsys.readouterr().out, json.loads((tmp_path / "found.json").read_text())
    assert "3 subjects of 300 x 50 betas" in said and "3 steps of 12 samples, read ahead" in said
    assert found["betas"] == 4 * 3 * 300 * 50 and found["table"] == 2 * 150 * 4 * 16
    assert all(found[name] > 0 for name in found)
    # All trials once, and of the table the rows of the steps' batches.
    assert found["read in measuring"] >= found["betas"]


def test_files_are_sparse_and_of_the_shapes_that_they_stand_for(tmp_path):
    sizes = pretrain_full_size.Sizes(**SMALL | {"trials": 3000, "voxels": 2000})
    training = pretrain_full_size.training_of(tmp_path, sizes)
    path = tmp_path / "subj01.hdf5"
    assert path.stat().st_size > 4 * 3000 * 2000 > 10 * 512 * path.stat().st_blocks
    assert training.features["clip_rough"].shape == (150, 4, 16) and training.features["clip_rough"].dtype == np.float16
    assert training.responses["subj03"].shape == (3000, 2000)
    assert training.responses["subj03"][:201].std(axis=1).nonzero()[0].tolist() == [0, 100, 200]
