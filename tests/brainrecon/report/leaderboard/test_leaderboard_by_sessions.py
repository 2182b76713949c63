"""Scores by sessions: the numbers of the rows and nothing else, others and alone told apart, differences paired."""

import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
import tomli_w
from study_of_scores import HEADLINE, only, put, scores_of, spread

from brainrecon.evaluation.scores.embedding_scores import EmbeddingRow, EmbeddingScores
from brainrecon.evaluation.scores.retrieval_scores import RetrievalRow, RetrievalScores
from brainrecon.report.leaderboard.by_sessions import by_sessions
from brainrecon.report.leaderboard.collect import collect
from brainrecon.report.leaderboard.pages import as_html, as_markdown, session_figures
from brainrecon.report.leaderboard.write import write_leaderboard

FIRST = {1: 0.72, 4: 0.8, 40: 0.9}
ALONE = {1: 0.55, 4: 0.7, 40: 0.89}


def label(count, way):
    return f"m, {count} session{'s' if count > 1 else ''}, {way}"


def plan_of(first=FIRST, alone=ALONE, **more):
    own = {"method": "mindeye2023", "settings": {}}
    rows = {label(count, "others first"): own | {"sessions": count, "others": "pretrained"} for count in first}
    rows |= {label(count, "alone"): own | {"sessions": count} for count in alone}
    return {"data": "nsd:x", "methods": rows | more, "subjects": ["subj01"]}


@pytest.fixture
def study(tmp_path):
    """A method at three numbers of sessions, others first and alone, on one subject; and a row that says nothing of sessions."""
    write_study(tmp_path, ("subj01",))
    return tmp_path


def write_study(folder, subjects):
    rng = np.random.default_rng(0)
    for way, levels in (("others first", FIRST), ("alone", ALONE)):
        for count, level in levels.items():
            for subject in subjects:
                values = np.clip(spread(level, 0.05) + rng.normal(0, 0.01, 10), 0, 1)
                data = {"subject": subject} | ({"others_first": "subj02, subj05"} if way == "others first" else {})
                scores = scores_of({"reconstruction": values, "shuffled_responses": 0.5 + 0.001 * count}, data=data)
                put(folder, label(count, way), subject, scores)
    put(folder, "mean-image", "subj01", scores_of({"reconstruction": 0.5}))
    plan = plan_of(**{"mean-image": {"method": "mean-image", "settings": {}}})
    (folder / "benchmark.toml").write_text(tomli_w.dumps(plan))


def view_of(folder):
    leaderboard = collect(folder)
    return by_sessions(only(leaderboard), leaderboard.boards[0], leaderboard.plan)


def test_lines_are_the_rows_of_a_method_and_numbers_are_those_of_its_scores(study):
    view = view_of(study)
    assert [(line.label, list(line.entries)) for line in view.lines] == [
        ("m, others first", [1, 4, 40]),
        ("m, alone", [1, 4, 40]),
    ]
    (panel,) = view.panels
    assert panel.name == HEADLINE and panel.chance == 0.5
    entries = {entry.method: entry for entry in only(collect(study)).entries}
    for line in view.lines:
        for count, entry in line.entries.items():
            own = entries[label(count, line.way)].cells[0].scores
            assert panel.mean(entry).mean == np.mean(own.conditions["reconstruction"].values[HEADLINE])
            assert panel.mean(entry).ci_low == own.mean("reconstruction", HEADLINE).ci_low
            assert panel.shuffled(entry).mean == pytest.approx(0.5 + 0.001 * count)
    assert view.axis == "Sessions of the tested subject, 1 hour each"
    assert "subj02, subj05" in view.text and "over stimuli" in view.text


def test_differences_are_paired_by_stimulus(study):
    table = view_of(study).table
    assert [row.label for row in table.rows] == ["1 session", "4 sessions", "40 sessions"]
    for row, count in zip(table.rows, FIRST):
        ours, theirs = (
            next(e for e in only(collect(study)).entries if e.method == label(count, way)).cells[0].scores
            for way in ("others first", "alone")
        )
        paired = [one.conditions["reconstruction"].values[HEADLINE] for one in (ours, theirs)]
        assert row.cells[0].value.endswith(f"{100 * (paired[0] - paired[1]).mean():+.1f}")
    assert table.rows[0].cells[0].kind == "better" and "to" in table.rows[0].cells[0].under


def test_of_several_subjects_intervals_are_over_subjects(tmp_path):
    write_study(tmp_path, ("subj01", "subj07"))
    view = view_of(tmp_path)
    (first,) = (line for line in view.lines if line.way == "others first")
    assert view.panels[0].mean(first.entries[1]).n_subjects == 2
    assert "Student's t" in view.text


def test_the_figure_has_the_true_numbers_of_sessions_and_says_its_numbers_in_words(study):
    page = as_html(collect(study))
    (words,) = re.findall(r'aria-label="([^"]*by the number of sessions[^"]*)"', page)
    assert "m, alone: 1 sessions" in unescape(words) and "Chance is 50.0 %" in unescape(words)
    ticks = [text for text in re.findall(r">([^<>]+)</text>", page) if text in ("1", "4", "40")]
    assert ticks == ["1", "4", "40"]
    assert "By sessions: with other subjects minus alone" in as_markdown(collect(study))
    write_leaderboard(study)
    (file,) = study.glob("sessions-*.svg")
    assert file.name == "sessions-brainrecon-1-nsdgeneral.svg" and file.name in page
    before = file.read_bytes()
    write_leaderboard(study)
    assert file.read_bytes() == before and b"var(--" not in before


def test_of_many_methods_each_has_a_panel_of_its_own(tmp_path):
    rows, names = {}, ["first", "second", "third", "fourth", "fifth"]
    for number, name in enumerate(names):
        for count in (1, 4):
            for way, level in (("others first", 0.7), ("alone", 0.6)):
                label = f"{name}, {count} session{'s' if count > 1 else ''}, {way}"
                others = {"others": "pretrained"} if way != "alone" else {}
                # No two settings are alike, so that they are methods apart.
                rows[label] = {"method": "mindeye2023", "settings": {"seed": number}, "sessions": count} | others
                values = spread(level + 0.02 * number + 0.01 * count, 0.05)
                put(tmp_path, label, "subj01", scores_of({"reconstruction": values, "shuffled_responses": 0.5}))
    plan = {"data": "nsd:x", "methods": rows, "subjects": ["subj01"]}
    (tmp_path / "benchmark.toml").write_text(tomli_w.dumps(plan))
    (figure,) = session_figures(collect(tmp_path)).values()
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", figure)
    assert [text for text in texts if text in names] == names
    # The legend tells ways and not methods, once for all panels.
    assert [texts.count(text) for text in ("others first", "alone", "shuffled responses", "chance")] == [1, 1, 1, 1]
    assert not [text for text in texts if text.startswith("first, ")]
    # Every panel has its two lines and, behind them, those of the four other methods.
    assert len(re.findall(r"stroke: #d9dce1; stroke-width: 0.8; stroke-linecap: square", figure)) >= 5 * 8


def test_nothing_is_drawn_where_rows_do_not_differ_in_sessions(study):
    for methods in ({}, plan_of({4: 1}, {4: 1})["methods"], {"m": "hostile"}):
        (study / "benchmark.toml").write_text(tomli_w.dumps({"methods": methods}))
        assert view_of(study) is None and not session_figures(collect(study))
        assert "Scores by sessions" not in as_html(collect(study))


def test_retrieval_stands_beside_where_it_is_scored(study):
    for way, levels in (("others first", FIRST), ("alone", ALONE)):
        for count, level in levels.items():
            values = {"image_retrieval": spread(level - 0.2, 0.05)}
            row = RetrievalRow(
                *(
                    "image_retrieval",
                    "clip_image",
                    "brain_to_picture",
                    10,
                    300,
                    30,
                    1,
                    level - 0.2,
                    level - 0.25,
                    level - 0.15,
                ),
                *(level - 0.2, 1 / 300),
            )
            own = {"reconstruction": {"clip": spread(level)}}
            data = {"others_first": "subj02"} if way == "others first" else {}
            scores = scores_of(own, protocol="mindeye-2023-pools", data=data)
            put(
                study,
                label(count, way),
                "subj01",
                replace(
                    scores, retrieval=RetrievalScores(scores.conditions["reconstruction"].stimulus_ids, values, [row])
                ),
            )
    for folder in study.glob("*/*/*/scores"):
        (folder / "brainrecon-1.json").unlink(missing_ok=True)
    view = view_of(study)
    assert [panel.of for panel in view.panels] == ["outputs", "retrieval"]
    assert view.panels[1].chance == 1 / 300
    (row, *_) = view.table.rows
    assert row.cells[1].value.endswith(f"{100 * (FIRST[1] - ALONE[1]):+.1f}")
    assert len(re.findall("by the number of sessions", as_html(collect(study)))) == 2


def test_a_protocol_without_pools_searches_by_predicted_embeddings(study):
    for way, levels in (("others first", FIRST), ("alone", ALONE)):
        for count, level in levels.items():
            scores = scores_of(
                {"reconstruction": {"clip": spread(level)}},
                data={"others_first": "subj02"} if way == "others first" else {},
            )
            ids, found = scores.conditions["reconstruction"].stimulus_ids, spread(level - 0.2, 0.05)
            row = EmbeddingRow(
                "image_retrieval", "clip_image", len(ids), level - 0.2, level - 0.25, level - 0.15, 0, 0, 0, 9
            )
            embeddings = EmbeddingScores(ids, {"image_retrieval": found}, [row])
            put(study, label(count, way), "subj01", replace(scores, embeddings=embeddings))
    view = view_of(study)
    drawn = view.panels[1]
    assert (drawn.of, drawn.label) == ("embeddings", f"CLIP image tokens, picture among {len(ids)} (300 wanted)")
    assert drawn.chance == 1 / len(ids)
    (row, *_) = view.table.rows
    assert row.cells[1].value.endswith(f"{100 * (FIRST[1] - ALONE[1]):+.1f}")
