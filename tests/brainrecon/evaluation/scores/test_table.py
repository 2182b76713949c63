"""The table a notebook shows."""

import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from brainrecon.evaluation.protocols.protocol import Protocol, load_protocol
from brainrecon.evaluation.scores.retrieval_scores import RetrievalRow, RetrievalScores
from brainrecon.evaluation.scores.scores import ConditionScores, Scores, SummaryRow
from brainrecon.evaluation.scores.table import scores_html


@pytest.fixture
def scores():
    rows = [
        SummaryRow("reconstruction", "pixcorr", 1200, 0.3123, 0.2901, 0.3301),
        SummaryRow("reconstruction", "identification_clip", 1200, 0.8714, 0.842, 0.9),
        SummaryRow("stage_one", "pixcorr", 1, -0.05, None, None),
    ]
    return Scores(
        protocol=load_protocol("brainrecon-1"),
        reference="reconstruction",
        conditions={
            name: ConditionScores(("a",), (1,), {"pixcorr": np.zeros(1)}) for name in ("reconstruction", "stage_one")
        },
        summary=rows,
        differences=[],
        confidence=0.95,
        n_resamples=10,
        seed=0,
    )


class Cells(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_data(self, data):
        self.words.append(data)
        if "table" in self.tags and "p" not in self.tags and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def test_means_with_half_their_intervals(scores):
    page = Cells(scores_html(scores))
    assert page.rows == [
        ["condition", "stimuli", "PixCorr", "Two-way identification on CLIP (%)"],
        ["reconstruction", "1,200", "0.312 ± 0.020", "87.1 ± 2.9"],
        ["stage one", "1", "\N{MINUS SIGN}0.050", "\N{EN DASH}"],
    ]
    text = " ".join(page.words)
    assert "95 % interval" in text and f"brainrecon-1, sha256 {scores.protocol_hash[:16]}" in text
    assert "lower is better" not in text


def test_ceilings_and_notes_are_there(scores):
    ceiling = SummaryRow("ceiling", "pixcorr", 100, 0.9, 0.88, 0.92)
    limits = {"noise_ceiling": {"pixcorr": ceiling}}
    page = Cells(scores_html(dataclasses.replace(scores, ceilings=limits, notes=("Not the test set.",))))
    assert page.rows[-1] == ["noise ceiling", "100", "0.900 ± 0.020", "\N{EN DASH}"]
    assert "Not the test set." in page.words


def test_where_less_is_better_is_said(scores):
    protocol = scores.protocol
    metrics = [{"name": "d", "measure": "correlation_distance", "features": "clip", "label": "D"}]
    protocol = type(protocol)({"name": "own", "networks": protocol.content["networks"], "metrics": metrics})
    summary = [SummaryRow("reconstruction", "d", 3, 0.5, 0.4, 0.6)]
    assert "lower is better in D." in scores_html(dataclasses.replace(scores, protocol=protocol, summary=summary))


def test_text_is_escaped_and_nothing_is_fetched(scores):
    hostile = "<script>alert('x')</script>"
    one = scores.conditions["reconstruction"]
    html = scores_html(dataclasses.replace(scores, conditions={hostile: one}, reference=hostile, notes=(hostile,)))
    assert "<script" not in html and html.count("&lt;script&gt;") == 2
    assert not {"script", "style", "link", "img"} & set(Cells(html).tags)
    assert not re.search(r"https?:|url\(", html)


def test_nothing_scored(scores):
    assert Cells(scores_html(dataclasses.replace(scores, summary=[]))).rows[0] == ["condition", "stimuli"]


def test_retrieval_and_the_corpus_stand_below():
    row = RetrievalRow(
        "image_retrieval", "clip_image", "brain_to_picture", 982, 300, 30, 1, 0.9012, 0.88, 0.92, 0.91, 1 / 300
    )
    scores = Scores(
        protocol=Protocol(
            load_protocol("mindeye-2023-pools").content
            | {
                "name": "mine",
                "captions": {"bleu_4": {"label": "BLEU-4"}},
                "metrics": [],
                "headline": "bleu_4",
                "low_level": "bleu_4",
            }
        ),
        reference="reconstruction",
        conditions={"reconstruction": ConditionScores(("a", "b"), (1, 1), {"bleu_4": np.zeros(2)})},
        summary=[SummaryRow("reconstruction", "bleu_4", 2, 0.05, 0.0, 0.1)],
        differences=[],
        confidence=0.95,
        n_resamples=10,
        seed=0,
        retrieval=RetrievalScores(("a", "b"), {"image_retrieval": np.ones(2)}, [row]),
        corpus={"reconstruction": {"bleu_4": 0.193}},
    )
    html = scores._repr_html_()
    assert "Picture from brain, among 300: 90.1 ± 2.0 % of 982 (chance 0.333 %)." in html
    assert Cells(html).rows[1:] == [["reconstruction", "2", "0.050 ± 0.050"], ["reconstruction, corpus", "2", "0.193"]]
