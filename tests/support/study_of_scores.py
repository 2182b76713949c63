"""Scores with given values, put where a study leaves them."""

import csv
import io

import numpy as np

from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.evaluation.scores.scores import ConditionScores, Scores, SummaryRow
from brainrecon.evaluation.statistics import intervals
from brainrecon.report.leaderboard.pages import as_csv

HEADLINE = "identification_evaluation"
IDS = tuple(f"nsd{row:05d}" for row in range(10))


def spread(mean, width=0.1):
    """Ten values with this mean."""
    return mean + width * np.linspace(-1, 1, 10)


def scores_of(conditions, ids=IDS, protocol="brainrecon-1", judge="a", data=None, **rest):
    """Scores with the given values: condition -> mean of the headline, array of it, or metric -> array."""
    held = {}
    for name, values in conditions.items():
        if not isinstance(values, dict):
            values = {HEADLINE: values if isinstance(values, np.ndarray) else spread(values)}
        n = len(next(iter(values.values())))
        held[name] = ConditionScores(ids[:n], (1,) * n, values)
    own = held["reconstruction"]
    options = {"n_resamples": 2000}
    summary = [
        SummaryRow(name, metric, *intervals.bootstrap_mean(values, **options))
        for name, one in held.items()
        for metric, values in one.values.items()
    ]
    differences = [
        SummaryRow(name, metric, *intervals.bootstrap_difference(own.values[metric][: len(values)], values, **options))
        for name, one in held.items()
        if name != "reconstruction"
        for metric, values in one.values.items()
    ]
    return Scores(
        load_protocol(protocol),
        "reconstruction",
        held,
        summary,
        differences,
        0.95,
        2000,
        0,
        checkpoints={"judge": judge},
        data={"dataset": "nsd", "subject": "subj01", "roi": "nsdgeneral", "test_stimuli": len(own.stimulus_ids)}
        | (data or {}),
        **rest,
    )


def put(folder, method, subject, scores, roi="nsdgeneral", heldout=None):
    place = folder / method / subject / roi
    scores.to_json(place / "scores" / f"{scores.protocol.name}.json")
    if heldout is not None:
        heldout.to_json(place / "heldout" / "scores" / f"{heldout.protocol.name}.json")
    return place


def only(leaderboard):
    (board,) = leaderboard.boards
    (block,) = board.blocks
    return block


def rows_of(leaderboard):
    return list(csv.DictReader(io.StringIO(as_csv(leaderboard))))
