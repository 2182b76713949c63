"""What has been worked out is on disk before a word of it is printed."""

from types import SimpleNamespace

import pytest

from brainrecon.cli import run as verb
from brainrecon.runs.score import SplitScores


def test_the_report_is_written_before_scores_are_printed(monkeypatch):
    done = []
    stand_ins = {
        "brainrecon.cli.fit.describe_fit": lambda run: [],
        "brainrecon.evaluation.judges.check_judges": lambda protocol: None,
        "brainrecon.runs.score.score_splits": lambda run, *asked, **options: {
            "test": SplitScores(run, SimpleNamespace(protocol=SimpleNamespace(name="brainrecon-1")))
        },
        "brainrecon.runs.estimate.of_fitting": lambda run: [],
        "brainrecon.runs.estimate.of_drawing": lambda *asked: [],
        "brainrecon.report.run.run_report.write_report": lambda run, protocol: done.append(
            f"report of {protocol.name}"
        ),
        "brainrecon.cli.score_tables.show_scores": lambda *asked: [][0],
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(name, stand_in)
    part = SimpleNamespace(config=SimpleNamespace(system=SimpleNamespace(reads_single_trials=False)))
    run = SimpleNamespace(
        folder="runs/subj01",
        protocol="brainrecon-1",
        parts=[part],
        unfitted=SimpleNamespace(draws=True),
        not_drawn=lambda conditions: {},
        fit=lambda progress: None,
        reconstruct=lambda conditions, **options: None,
    )
    run.splits = {"test": run}
    with pytest.raises(IndexError):
        verb.finish(run, (), None)
    assert done == ["report of brainrecon-1"]
