"""Files of scores of another vintage: older ones are read, newer ones told in one sentence."""

import json

import numpy as np
import pytest

from brainrecon.evaluation import evaluate
from brainrecon.evaluation.protocols.protocol import Protocol
from brainrecon.evaluation.scores.scores import Scores
from stages.ground.errors import InputError

CONTENT = {
    "name": "small",
    "resize": {"size": 8, "interpolation": "bilinear", "antialias": True},
    "metrics": [{"name": "pixcorr", "measure": "pixel_correlation"}],
}


@pytest.fixture
def path(tmp_path):
    shown = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    scores = evaluate(
        shown,
        {"reconstruction": shown[::-1].copy()},
        stimulus_ids=list("abcd"),
        protocol=Protocol(CONTENT),
        n_resamples=2000,
    )
    scores.to_json(tmp_path / "small.json")
    return tmp_path / "small.json"


def test_a_file_of_the_format_before_retrieval_and_captions_is_read(path):
    content = json.loads(path.read_text())
    older = {key: value for key, value in content.items() if key not in ("retrieval", "corpus", "features")} | {
        "format": 2
    }
    scores = Scores.from_json(path)
    path.write_text(json.dumps(older))
    assert Scores.from_json(path) == scores and scores.retrieval is None and scores.corpus == {}


def test_a_file_of_a_format_to_come_is_told_in_one_sentence(path):
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 5}))
    with pytest.raises(InputError, match="of format 5, written by a newer brainrecon; this one reads up to 4. Update"):
        Scores.from_json(path)
