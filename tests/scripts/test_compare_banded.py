"""The comparison of decoders on arrays of a few stimuli."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from stages.ground.errors import InputError


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "scripts")
    return importlib.import_module("compare_banded")


@pytest.fixture
def arrays():
    """V1 knows the targets, the rest is noise."""
    random = np.random.default_rng(0)
    patterns = random.normal(size=(90, 60)).astype(np.float32)
    values = (patterns[:, :10] @ random.normal(size=(10, 8))).astype(np.float32)
    targets = {"a": values[:, :5], "b": values[:, 5:]}
    train, test = ({name: value[rows] for name, value in targets.items()} for rows in (slice(60), slice(60, None)))
    return patterns[:60], patterns[60:], train, test, {"V1": np.arange(60) < 10}


def test_the_script_prints_a_table_and_writes_its_numbers(script, arrays, monkeypatch, capsys, tmp_path):
    pytest.importorskip("himalaya")
    monkeypatch.setattr(script, "load", lambda *_: arrays)
    script.main(["arrays:somewhere", "--n-iter", "8", "--json", str(tmp_path / "numbers.json")])
    head, line, *rows = capsys.readouterr().out.splitlines()
    assert head.count("|") == line.count("|") == rows[0].count("|") and len(rows) == 2
    assert rows[0].startswith("| a |") and "V1" in rows[0] and "rest" in rows[0]
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    for scores in numbers["targets"].values():
        assert scores["correlation"]["difference"] > scores["correlation"]["half_width"] > 0
        assert scores["penalty"]["banded"]["V1"] < scores["penalty"]["banded"]["rest"]
        assert 0.5 < scores["identification"]["banded"] <= 1


def test_what_cannot_be_compared_is_one_sentence(script, capsys):
    with pytest.raises(SystemExit, match="2"):
        script.main(["nothing"])
    assert "error: 'nothing' does not say" in capsys.readouterr().err.splitlines()[-1]


def test_areas_do_not_overlap(script):
    masks = {"V2": np.array([1, 1, 1, 0], bool), "V1": np.array([0, 1, 0, 0], bool), "other": np.ones(4, bool)}
    subject = SimpleNamespace(rois=masks, n_voxels=4, source="arrays:x")
    bands = {name: mask.tolist() for name, mask in script.areas_of(subject).items()}
    assert bands == {"V1": [False, True, False, False], "V2": [True, False, True, False]}
    subject.rois = {"other": masks["other"]}
    with pytest.raises(InputError, match="has the rois other; expected some of V1"):
        script.areas_of(subject)


def test_correlation_difference_vs_resampling_one_by_one(script):
    random = np.random.default_rng(1)
    truth = random.normal(3, 2, size=(40, 6))
    predictions = truth + random.normal(size=(40, 6)), truth + 3 * random.normal(size=(40, 6))
    truth[:, 2] = 1.0  # never varies: counts as 0
    first, second, half_width = script.correlation_difference(truth, predictions, n_resamples=4000)

    def correlation(predicted, rows):
        columns = [k for k in range(6) if k != 2]
        return sum(np.corrcoef(truth[rows, k], predicted[rows, k])[0, 1] for k in columns) / 6

    everything = np.arange(40)
    assert (first, second) == pytest.approx([correlation(each, everything) for each in predictions])
    draws = random.integers(40, size=(1000, 40))
    differences = [correlation(predictions[1], rows) - correlation(predictions[0], rows) for rows in draws]
    assert half_width == pytest.approx(np.diff(np.quantile(differences, [0.025, 0.975]))[0] / 2, rel=0.1)
