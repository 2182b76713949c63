"""Figures: the same every time, told apart without colour, small however many stimuli there are."""

import dataclasses
import itertools
import re

import numpy as np
import pytest

from brainrecon.assembly.condition import CONDITIONS
from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.evaluation.scores.scores import ConditionScores, Scores, SummaryRow
from brainrecon.report.run.figures import against, distribution, marker

METRICS = ("pixcorr", "identification_evaluation", "category_agreement")
OTHERS = ("stage_one", "shuffled_responses")


def scores_of(n=20, sizes=None, **given):
    random = np.random.default_rng(0)
    conditions = {}
    for name in ("reconstruction", *OTHERS, "$x$ <script>"):
        size = (sizes or {}).get(name, n)
        values = {"pixcorr": random.random(size), "identification_evaluation": random.random(size)}
        values["category_agreement"] = np.round(random.random(size))
        ids = tuple(f"s{row}" for row in range(size))
        conditions[name] = ConditionScores(ids, (1,) * size, values | given.get(name, {}))
    summary = [
        SummaryRow(name, metric, len(values), values.mean(), values.mean() - 0.1, values.mean() + 0.1)
        for name, one in conditions.items()
        for metric, values in one.values.items()
    ]
    return Scores(load_protocol("brainrecon-1"), "reconstruction", conditions, summary, [], 0.95, 10, 0)


@pytest.mark.parametrize("metric", METRICS)
def test_figures_are_the_same_every_time(metric):
    scores = scores_of()
    for draw in (lambda: distribution(scores, metric), lambda: against(scores, metric, OTHERS) or "<svg"):
        svg = draw()
        assert svg == draw() and svg.startswith("<svg") and "<metadata" not in svg
        assert not re.search(r'<svg[^>]* width="', svg)


def test_names_are_text_and_escaped():
    svg = distribution(scores_of(), "pixcorr")
    assert "$x$ &lt;script&gt;" in svg and "<script" not in svg


def test_every_condition_has_its_own_shape():
    shapes = [marker(name, "reconstruction") for name in CONDITIONS] + [marker("my_own", "reconstruction")]
    assert len(set(shapes)) == len(shapes)


def test_many_points_become_a_bitmap():
    few, many = scores_of(), scores_of(2000)
    for draw in (distribution, lambda scores, metric: against(scores, metric, OTHERS)):
        assert "<image" not in draw(few, "pixcorr") and "<image" in draw(many, "pixcorr")
        assert len(draw(many, "pixcorr")) < 300_000


@pytest.mark.parametrize("size, value", itertools.product((1, 5), (0.0, 0.3, 1.0)))
def test_figures_of_uniform_and_single_scores(size, value):
    scores = scores_of(size)
    flat = {
        name: dataclasses.replace(one, values={metric: np.full(size, value) for metric in one.values})
        for name, one in scores.conditions.items()
    }
    scores = dataclasses.replace(scores, conditions=flat)
    for metric in METRICS:
        assert distribution(scores, metric) and against(scores, metric, OTHERS) != ""


def test_scores_that_differ_by_rounding_are_drawn():
    values = np.array([1.0, 1.0 - 1e-16, 1.0 - 2e-16, 1.0])
    scores = scores_of(4, reconstruction={"pixcorr": values}, stage_one={"pixcorr": values})
    assert distribution(scores, "pixcorr") and against(scores, "pixcorr", OTHERS)


def test_against_counts_the_sides_of_the_line():
    own, other = np.array([0.9, 0.8, 0.4, 0.3, 0.5]), np.array([0.1, 0.2, 0.4, 0.6, 0.5])
    scores = scores_of(5, reconstruction={"pixcorr": own}, stage_one={"pixcorr": other})
    svg = against(scores, "pixcorr", ["stage_one"])
    assert "better 2, equal 2, worse 1" in svg and "Stage one alone" in svg and "Shuffled" not in svg


def test_against_turns_where_less_is_better():
    protocol = load_protocol("brainrecon-1")
    metrics = [{"name": "d", "measure": "correlation_distance", "features": "clip"}, *protocol.content["metrics"]]
    scores = scores_of(3, reconstruction={"d": np.array([0.1, 0.2, 0.9])}, stage_one={"d": np.full(3, 0.5)})
    scores = dataclasses.replace(scores, protocol=type(protocol)({**protocol.content, "metrics": metrics}))
    assert "better 2, equal 0, worse 1" in against(scores, "d", ["stage_one"])


def test_against_pairs_by_stimulus():
    scores = scores_of(4, reconstruction={"pixcorr": np.array([0.1, 0.2, 0.3, 0.4])})
    swapped = ConditionScores(("s3", "s0", "unknown"), (1, 1, 1), {"pixcorr": np.array([0.3, 0.2, 0.9])})
    scores = dataclasses.replace(scores, conditions={**scores.conditions, "stage_one": swapped})
    assert "better 1, equal 0, worse 1" in against(scores, "pixcorr", ["stage_one"])


def test_against_leaves_out_what_cannot_be_drawn():
    scores = scores_of()
    assert against(scores, "category_agreement", OTHERS) is None
    assert against(scores, "pixcorr", ["reconstruction", "absent"]) is None
    assert against(scores, "ssim", OTHERS) is None
