"""The comparison of alignments on two subjects of a few stimuli: what leaks is told apart from what does not."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from brainrecon.datasets.resplit import resplit
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "scripts")
    return importlib.import_module("compare_alignment")


@pytest.fixture
def loaded():
    """Two subjects who respond to eight features, each with voxels of its own; 30 of 50 shared stimuli are learned from."""
    random = np.random.default_rng(0)
    features = random.standard_normal((150, 8)).astype(np.float32)

    def subject(name, own):
        responses = features @ random.standard_normal((8, 90)) + 0.5 * random.standard_normal((150, 90))
        rows = {"train": own, "test": range(100, 150)}
        splits = {
            of: Split(responses[list(of_it)].astype(np.float32), [f"s{row}" for row in of_it])
            for of, of_it in rows.items()
        }
        return Subject(name, "arrays", "arrays:x", splits, roi="all")

    reference = subject("subj01", range(50))
    new = resplit(subject("subj02", range(50, 100)), [f"s{row}" for row in range(130, 150)], "some")
    targets = {
        (whose, split): features[[int(one[1:]) for one in of.splits[split].stimulus_ids]]
        for whose, of in (("reference", reference), ("new", new))
        for split in ("train", "test")
    }
    return reference, new, targets


def test_what_leaks_is_told_from_what_does_not(script, loaded, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(script, "load", lambda *_: loaded)
    script.main(["arrays:somewhere", "--json", str(tmp_path / "numbers.json")])
    head, line, *rows = capsys.readouterr().out.splitlines()
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert len(rows) == len(numbers) == 13 and head.count("|") == line.count("|") == rows[0].count("|")
    score = {name: row["score"] for name, row in numbers.items()}
    own, leaked = score["reference itself"], score["LEAK: noise, aligned on tested stimuli too"]
    assert score["aligned by ridge"] > 0.85 and score["aligned by 20 shared components"] > 0.85
    # Noise knows nothing of the stimuli, and gets the reference's own score if it is aligned on them.
    assert leaked == pytest.approx(own, abs=0.02) and own > 0.9
    for chance in ("noise, aligned by ridge", "as it is (no alignment)", "aligned by U V, as published"):
        assert abs(score[chance] - 0.5) < 0.25 and numbers[chance]["gain"] < -numbers[chance]["gain_half_width"]


def test_ways_that_do_not_go_are_left_out(script, loaded):
    reference, new, targets = loaded
    fewer = {of: Split(split.betas[:][:, :40], split.trial_stimulus_ids) for of, split in new.splits.items()}
    narrow = Subject("subj02", "arrays", "arrays:x", fewer, roi="all")
    found = set(script.compare(reference, narrow, targets))
    assert not any("U V" in name or "no alignment" in name for name in found) and "aligned by a rotation" in found
