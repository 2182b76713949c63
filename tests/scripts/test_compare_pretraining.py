"""The comparison with and without pretraining, on two subjects of a few stimuli: every way has its row, and its difference."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "scripts")
    found = importlib.import_module("compare_pretraining")
    monkeypatch.setattr(found, "SIZES", {"patch_size": 4, "width": 16, "depth": 1, "n_heads": 2, "mlp_ratio": 1.0})
    monkeypatch.setattr(found, "DECODER", {"decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2})
    return found


@pytest.fixture
def cohort():
    """Two subjects who respond to eight features, each with voxels of its own."""
    random = np.random.default_rng(0)
    features = random.standard_normal((60, 8)).astype(np.float32)

    def subject(name):
        responses = features @ random.standard_normal((8, 40)) + 0.5 * random.standard_normal((60, 40))
        rows = {"train": range(40), "test": range(40, 60)}
        splits = {
            of: Split(responses[list(of_it)].astype(np.float32), [f"s{row}" for row in of_it])
            for of, of_it in rows.items()
        }
        return Subject(name, "arrays", "arrays:x", splits, roi="all")

    targets = {"train": features[:40].reshape(40, 2, 4), "test": features[40:].reshape(20, 2, 4)}
    return {name: subject(name) for name in ("subj01", "subj02")}, targets


def test_every_way_is_scored_and_compared_with_itself_from_nothing(script, cohort, tmp_path, capsys):
    subjects, targets = cohort
    encoders = script.pretrained(subjects, "subj02", tmp_path, 2, lambda *said: None)
    found = script.compare(subjects, "subj02", 30, targets, encoders, steps=3)
    names = [
        f"{way} from {origin}" for way in ("ridge on what it encodes", "trained with its mapper") for origin in encoders
    ]
    assert {name for name, row in found.items() if "gain" in row} == set(names)
    assert len(found) == 1 + 2 * 3
    assert found["ridge on voxels"]["score"] > 0.8
    for name in names:
        way, origin = name.rsplit(" from ", 1)
        row, other = found[name], found[f"{way} from {script.NOTHING}"]
        assert row["gain"] == pytest.approx(row["score"] - other["score"], abs=1e-9)
        assert row["gain_low"] <= row["gain"] <= row["gain_high"]
    head, line, *rows = script.table({30: found}).splitlines()
    assert len(rows) == 7 and all(one.count("|") == head.count("|") == line.count("|") for one in rows)
    # What was pretrained is found again.
    before = capsys.readouterr().out
    assert script.pretrained(subjects, "subj02", tmp_path, 2, None) == encoders
    assert capsys.readouterr().out == before
