"""What a leaderboard says of predicted values: retrieval, and the corpus of captions, beside what was published."""

from dataclasses import replace

import numpy as np
import pytest
from study_of_scores import IDS, only, put, rows_of, scores_of, spread

from brainrecon.evaluation.scores.retrieval_scores import RetrievalRow, RetrievalScores
from brainrecon.report.leaderboard import boards as leaderboard_boards
from brainrecon.report.leaderboard.collect import collect
from brainrecon.report.leaderboard.pages import as_html, as_markdown


def retrieval_of(mean, n_candidates=300):
    """Both retrievals among 300, the second one a tenth lower."""
    values = {"image_retrieval": spread(mean, 0.05), "brain_retrieval": spread(mean - 0.1, 0.05)}
    directions = ("brain_to_picture", "picture_to_brain")
    rows = [
        RetrievalRow(
            name,
            "clip_image",
            direction,
            10,
            n_candidates,
            30,
            1,
            own.mean(),
            own.mean() - 0.03,
            own.mean() + 0.03,
            own.mean() + 0.01,
            1 / n_candidates,
        )
        for (name, own), direction in zip(values.items(), directions, strict=True)
    ]
    return RetrievalScores(IDS, values, rows)


def pools_of(mean, **rest):
    return scores_of(
        {"reconstruction": {"clip": spread(0.8)}}, protocol="mindeye-2023-pools", retrieval=retrieval_of(mean), **rest
    )


def captions_of(cider, corpus):
    conditions = {
        "reconstruction": {"cider": spread(cider), "bleu_4": spread(0.1, 0.05)},
        "shuffled_responses": {"cider": spread(0.1)},
    }
    return scores_of(conditions, protocol="brainhub-2024", corpus=corpus)


def test_the_best_in_a_retrieval_is_compared_with_the_others_by_stimulus(tmp_path):
    better, level = pools_of(0.9), pools_of(0.9)
    # The second finds every stimulus half as often, the third one of them a little more and another a little less.
    worse = RetrievalScores(IDS, {name: own / 2 for name, own in better.retrieval.values.items()})
    worse.rows.extend(replace(row, mean=row.mean / 2) for row in better.retrieval.rows)
    shaken = np.zeros(len(IDS))
    shaken[:2] = 0.02, -0.03
    for own in level.retrieval.values.values():
        own += shaken
    level.retrieval.rows[:] = [replace(row, mean=row.mean - 0.001) for row in level.retrieval.rows]
    for name, scores in {"a": better, "b": replace(better, retrieval=worse), "c": level}.items():
        put(tmp_path, name, "subj01", scores)
    text = as_markdown(collect(tmp_path))
    (table,) = [part for part in text.split("\n**") if part.startswith("Retrieval, the best minus")]
    rows = {line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("|")}
    assert rows["a"].count("best") == 2
    assert "▲ +45.0" in rows["b"] and "▲ +40.0" in rows["b"]
    assert "○ +0.1" in rows["c"]
    assert "the best minus each of the others" in as_html(collect(tmp_path))


def test_what_was_searched_among_other_stimuli_is_not_subtracted(tmp_path):
    put(tmp_path, "a", "subj01", pools_of(0.9))
    other = pools_of(0.5)
    renamed = RetrievalScores(tuple(f"{one}-other" for one in IDS), other.retrieval.values, other.retrieval.rows)
    put(tmp_path, "b", "subj01", replace(other, retrieval=renamed))
    assert "scored among other stimuli" in as_html(collect(tmp_path))


def test_retrieval_has_a_column_for_each_direction(tmp_path):
    put(tmp_path, "a", "subj01", pools_of(0.9))
    put(tmp_path, "b", "subj01", scores_of({"reconstruction": {"clip": spread(0.7)}}, protocol="mindeye-2023-pools"))
    text = as_markdown(collect(tmp_path))
    (table,) = [part for part in text.split("\n**") if part.startswith("Retrieval.")]
    head, _, *rows = [line for line in table.splitlines() if line.startswith("|")]
    assert head == "| Method | Picture from brain, among 300 (%) | Brain from picture, among 300 (%) |"
    assert rows[0] == "| a | 90.0 (87.0 to 93.0; over pools 91.0) | 80.0 (77.0 to 83.0; over pools 81.0) |"
    assert rows[1].startswith("| b (predicts no such target) | – | – |") and rows[2] == "| Chance | 0.333 | 0.333 |"
    html = as_html(collect(tmp_path))
    assert "A picture is given, and its prediction is searched among predictions." in html


def test_retrieval_of_several_subjects_is_a_mean_over_subjects(tmp_path):
    put(tmp_path, "a", "subj01", pools_of(0.9))
    put(tmp_path, "a", "subj02", pools_of(0.7))
    (entry,) = only(collect(tmp_path)).entries
    row = entry.retrieval[0]
    assert row["mean"].mean == pytest.approx(0.8) and row["mean"].n_subjects == 2
    assert row["mean_over_pools"] == pytest.approx(0.81) and row["chance"] == (1 / 300, 1 / 300)
    rows = [
        one
        for one in rows_of(collect(tmp_path))
        if one["condition"] == "retrieval" and one["metric"] == "image_retrieval"
    ]
    assert [(one["subject"], float(one["mean"])) for one in rows] == [
        ("subj01", pytest.approx(0.9)),
        ("subj02", pytest.approx(0.7)),
        ("all", pytest.approx(0.8)),
    ]
    pools = [one for one in rows_of(collect(tmp_path)) if one["condition"] == "retrieval_over_pools"]
    assert len(pools) == 4 and all(one["ci_low"] == "" for one in pools)


def test_published_retrieval_stands_under_the_direction_that_was_searched(tmp_path, monkeypatch):
    published = leaderboard_boards.published_values
    monkeypatch.setattr(leaderboard_boards, "published_values", lambda name: [_of_ten(row) for row in published(name)])
    put(tmp_path, "a", "subj01", pools_of(0.9))
    text = as_markdown(collect(tmp_path))
    (table,) = [part for part in text.split("\n**") if part.startswith("Published under")]
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]
    image, brain = (head.index(f"{name}, among 300 (%)") for name in ("Picture from brain", "Brain from picture"))
    (row,) = [row for row in rows if row[0].startswith("MindEye, retrieval, subj01")]
    assert (row[image], row[brain]) == ("94.7", "97.2")


def _of_ten(row):
    """A published row as if its test set had ten stimuli."""
    import dataclasses

    return dataclasses.replace(row, n_stimuli=10)


def test_captions_are_columns_and_their_corpus_is_a_table_of_its_own(tmp_path):
    corpus = {"reconstruction": {"cider": 0.61, "bleu_4": 0.19}, "shuffled_responses": {"cider": 0.05, "bleu_4": None}}
    put(tmp_path, "a", "subj01", captions_of(0.6, corpus))
    leaderboard = collect(tmp_path)
    (board,) = leaderboard.boards
    assert list(board.metrics) == ["bleu_4", "cider"] and board.headline == "cider"
    text = as_markdown(leaderboard)
    (scores,) = [part for part in text.split("\n**") if part.startswith("Scores.")]
    assert "| Method | BLEU-4 | CIDEr |" in scores and "0.600" in scores
    (table,) = [part for part in text.split("\n**") if part.startswith("Captions of the corpus.")]
    assert [line for line in table.splitlines() if line.startswith("|")][2:] == [
        "| a | 0.190 | 0.610 |",
        "| Shuffled responses | – | 0.050 |",
    ]
    rows = {(one["condition"], one["metric"], one["subject"]): one["mean"] for one in rows_of(leaderboard)}
    assert rows["reconstruction", "bleu_4_corpus", "subj01"] == rows["reconstruction", "bleu_4_corpus", "all"] == "0.19"
    assert rows["shuffled_responses", "bleu_4_corpus", "subj01"] == ""


def test_published_captions_say_that_they_are_of_the_corpus(tmp_path, monkeypatch):
    published = leaderboard_boards.published_values
    monkeypatch.setattr(leaderboard_boards, "published_values", lambda name: [_of_ten(row) for row in published(name)])
    put(tmp_path, "a", "subj01", captions_of(0.6, {"reconstruction": {"cider": 0.61, "bleu_4": 0.19}}))
    for text in (as_markdown(collect(tmp_path)), as_html(collect(tmp_path))):
        assert "BLEU-4, corpus" in text and "UMBRAE, subj01" in text and "0.190" in text and "0.611" in text


def test_scores_without_retrieval_have_no_such_table(tmp_path):
    put(tmp_path, "a", "subj01", scores_of({"reconstruction": np.linspace(0.5, 0.9, 10)}))
    text = as_markdown(collect(tmp_path))
    assert "**Retrieval.**" not in text and "corpus" not in text
