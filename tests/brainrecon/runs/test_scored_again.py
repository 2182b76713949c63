"""What is scored already is not scored again, unless something of it has changed or it is asked for."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from brainrecon.cli.main import run_command
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.runs import score
from brainrecon.runs.run import Run
from brainrecon.runs.score import is_scored, scores_there

THERE = "These scores were in"


@pytest.fixture
def run(cohort, features, tmp_path):
    line = ["run", "mean-image", f"nsd:{cohort}", "--out", str(tmp_path / "run"), "--features", str(features)]
    assert run_command([*line, "--controls", "none"]) == 0
    return tmp_path / "run"


@pytest.fixture
def told(run, features, capsys, monkeypatch):
    """What a verb prints, and how often anything was scored."""
    computed, compute = [], score.score

    def counted(*given, **options):
        computed.append(given)
        return compute(*given, **options)

    monkeypatch.setattr(score, "score", counted)

    def tell(verb, *options):
        computed.clear()
        capsys.readouterr()
        assert run_command([verb, *map(str, options), "--features", str(features)]) == 0
        return capsys.readouterr().out, len(computed)

    return tell


def test_a_second_time_the_table_is_shown_and_nothing_is_computed(run, told, cohort):
    before = {path.name: path.read_bytes() for path in (run / "scores").iterdir()}
    shown, computed = told("evaluate", run)
    assert computed == 0 and THERE in shown and "PixCorr" in shown
    of_run, computed = told("run", "mean-image", f"nsd:{cohort}", "--out", run, "--controls", "none")
    assert computed == 0 and THERE in of_run and (run / "report.html").exists()
    anew, computed = told("evaluate", run, "--again")
    assert computed == 1 and THERE not in anew
    assert shown.split(THERE)[0] in anew  # the same table and the same notes
    assert {path.name: path.read_bytes() for path in (run / "scores").iterdir()} == before


def test_scores_of_a_process_that_was_killed_before_it_wrote_their_hashes_get_them(run, told):
    hashes = run / "scores" / ".sealed.json"
    before = hashes.read_bytes()
    hashes.unlink()
    assert told("evaluate", run)[1] == 0 and hashes.read_bytes() == before


def test_another_picture_protocol_or_judge_is_scored(run, told, features, monkeypatch):
    opened = Run(run, features)
    drawn = sorted((run / "images").glob("*.png"))
    assert is_scored(opened, "brainrecon-1") and not is_scored(opened, "miyawaki-2008")
    # Drawn anew, otherwise, as on another device; the manifest knows it.
    picture = np.array(Image.open(drawn[0]))
    picture[0, 0] ^= 1
    Run(run, features).write_value(drawn[0], picture, "picture")
    assert scores_there(Run(run, features)) is None
    assert told("evaluate", run)[1] == 1 and told("evaluate", run)[1] == 0
    os.remove(drawn[1])
    assert not is_scored(Run(run, features), "brainrecon-1")
    assert told("evaluate", run)[1] == 1
    with monkeypatch.context() as patched:
        patched.setattr(score.store, "fingerprint", lambda name: "another")
        assert not is_scored(Run(run, features), "brainrecon-1")
    (path,) = (run / "scores").glob("[!.]*.json")
    assert Scores.from_json(path).outputs == scores_there(Run(run, features)).outputs


def test_scores_of_before_there_were_digests_are_known_by_their_numbers(run, features):
    (path,) = (run / "scores").glob("[!.]*.json")
    content = json.loads(path.read_text())
    assert set(content.pop("outputs")) == {"reconstruction", "predicted values"}
    path.write_text(json.dumps(content))
    (run / "scores" / ".sealed.json").unlink()
    assert is_scored(Run(run, features), "brainrecon-1")


def test_pictures_from_elsewhere_take_no_again(run, cohort, tmp_path, capsys):
    line = ["evaluate", "--images", run / "images", "--truth", f"nsd:{cohort}", "--out", tmp_path / "out", "--again"]
    assert run_command([str(one) for one in line]) == 2 and "leave --again out" in capsys.readouterr().err
