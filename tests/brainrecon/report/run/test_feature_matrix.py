"""Regions by layers in a report: every number, the marks, the sentences, and nothing if there are no regions."""

import html
import re

import numpy as np
import pytest

from brainrecon.evaluation import evaluate
from brainrecon.evaluation.tasks.features import Decoded
from brainrecon.report.run.feature_matrix import (
    about_units,
    feature_matrices,
    feature_rows,
    interaction_sentences,
    number,
)
from brainrecon.report.run.html import ReportContent, render
from brainrecon.report.run.matrix_figure import matrix_figure

N, UNITS = 40, 60
IDS = [f"nsd{row:05d}" for row in range(N)]
HOSTILE = "<script>alert('x')</script>"
# Noise of what is decoded: early layers from early regions, late layers from higher ones.
NOISE = {("conv1", "V1"): 1.0, ("conv1", "V4"): 2.0, ("conv1", "HVC"): 4.0, ("fc8", "V1"): 4.0, ("fc8", "HVC"): 1.0}


def scores_with(noise, **decoded):
    random = np.random.default_rng(0)
    targets = dict.fromkeys(target for target, _ in noise)
    true = {target: random.normal(size=(N, UNITS)) for target in targets}
    predicted, known = {}, {}
    for (target, roi), level in noise.items():
        name = f"{target}_{roi}"
        predicted[name] = true[target] + level * random.normal(size=(N, UNITS))
        known[name] = Decoded(target, roi, **decoded)
    return evaluate(
        None,
        {},
        stimulus_ids=IDS,
        embeddings=(true, predicted),
        decoded=known,
        n_resamples=2000,
        protocol="brainrecon-1",
    )


@pytest.fixture(scope="module")
def scores():
    return scores_with(NOISE)


def page_of(scores):
    return render(ReportContent("A title", "subj01", IDS, {}, {}, scores))


def text_of(page):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_the_matrix_has_every_score_and_a_dash_for_none(scores):
    profile, identification = feature_matrices(scores)
    assert (profile["measure"], identification["measure"]) == ("profile_correlation", "identification")
    assert profile["regions"] == ["V1", "V4", "HVC"] and profile["targets"] == ["conv1", "fc8"]
    assert np.isnan(profile["means"][1, 1]) and profile["rows"][1]["cells"][1] is None
    for target, roi in NOISE:
        row = scores.features.row("profile_correlation", target, roi)
        place = profile["targets"].index(target), profile["regions"].index(roi)
        assert profile["means"][place] == row.mean
        assert profile["rows"][place[0]]["cells"][place[1]]["value"] == number(row.mean)
    cells = [cell for row in profile["rows"] for cell in row["cells"] if cell]
    assert min(cell["shade"] for cell in cells) == 0 and max(cell["shade"] for cell in cells) == 45
    assert [cell["is_best"] for cell in profile["rows"][0]["cells"]] == [True, False, False]


def test_the_sentences_say_whose_layer_is_whose(scores):
    first, second = interaction_sentences(scores)
    assert first.startswith("Does conv1 belong to V1 and fc8 to HVC? By the profile correlation, yes")
    assert "conv1 is decoded better from V1 than from HVC by 0." in second and "holds 0" not in second
    turned = {(target, {"V1": "HVC", "HVC": "V1"}.get(roi, roi)): level for (target, roi), level in NOISE.items()}
    order = sorted(turned, key=lambda one: (one[0], ["V1", "V4", "HVC"].index(one[1])))
    assert "no, the other way round" in interaction_sentences(scores_with({key: turned[key] for key in order}))[0]
    equal = scores_with(dict.fromkeys([key for key in NOISE if key[1] != "V4"], 2.0))
    assert "not told apart" in interaction_sentences(equal)[0] and "which holds 0" in interaction_sentences(equal)[0]


def test_regions_that_share_all_voxels_have_no_ends():
    scores = scores_with(NOISE, voxels=np.ones(4, dtype=bool))
    assert interaction_sentences(scores) == [] and feature_matrices(scores)


def test_the_page_has_figures_tables_and_words(scores):
    page = page_of(scores)
    text = text_of(page)
    assert page.count('id="features"') == 1 and "Decoded features, region by region" in text
    for row in scores.features.rows:
        assert f"{number(row.mean)} {number(row.ci_low)} to {number(row.ci_high)}" in text
    assert interaction_sentences(scores)[1] in text
    assert "5 of 5 above the central 95 %" in text and "The method draws nothing" in text
    # The figure in words, and a box of its own for the table to scroll in.
    assert 'aria-label="Heat map of regions by targets, profile correlation. V1: conv1 0.' in page
    assert '<div class="scroll" role="region" aria-label="Profile correlation by region" tabindex="0">' in page
    assert 'style="--shade: 45%"' in page and "from V4" in text


def test_names_are_text():
    page = page_of(scores_with({(HOSTILE, "V1"): 1.0, (HOSTILE, "<b>"): 2.0, ("fc8", "V1"): 1.0, ("fc8", "<b>"): 1.0}))
    assert (
        "<script" not in page and "<b>:" not in page and html.escape(HOSTILE, quote=False).replace("'", "&#39;") in page
    )


def test_a_figure_of_what_was_not_scored_and_of_equal_scores(scores):
    assert "fc8 \N{EN DASH}" in matrix_figure(feature_matrices(scores)[0])
    (matrix, *_) = feature_matrices(scores)
    assert "<svg" in matrix_figure(matrix | {"means": np.full((2, 3), 0.5)})


def test_one_region_has_a_plain_table_and_units_that_do_not_vary_are_told(scores):
    random = np.random.default_rng(0)
    true = random.normal(size=(N, UNITS))
    predicted = true + random.normal(size=(N, UNITS))
    predicted[:, :7] = 1.0
    scores = evaluate(
        None,
        {},
        stimulus_ids=IDS,
        embeddings=({"fc8": true}, {"fc8": predicted}),
        n_resamples=2000,
        protocol=scores.protocol.__class__(
            scores.protocol.content
            | {"embeddings": [{"name": "all", "measure": "profile_correlation", "target": "all"}]}
        ),
    )
    assert feature_matrices(scores) == [] and [row["value"] for row in feature_rows(scores)] == ["fc8"]
    assert about_units(scores).endswith("left out of its mean: fc8 7 of 60.")
    text = text_of(page_of(scores))
    assert "Decoded features Decoded Units" in text and "fc8 7 of 60." in text and "region by region" not in text
    assert "one decoded value" in text


def test_scores_without_features_have_no_section(scores):
    from dataclasses import replace

    without = replace(scores, features=None)
    assert feature_matrices(without) == feature_rows(without) == interaction_sentences(without) == []
    assert about_units(without) == "" and 'id="features"' not in page_of(without)
