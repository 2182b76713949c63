"""Pictures of a report: chosen by a rule that is said, none twice, exact or small."""

import base64
import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.evaluation.scores.scores import ConditionScores, Scores
from brainrecon.report.pictures import choose_blocks, choose_stimuli, data_uri, rank_stimuli
from stages.ground.errors import InputError

IDS = [f"nsd{row:05d}" for row in range(24)]
HEADLINE, LOW_LEVEL = "identification_evaluation", "pixcorr"


def scores_of(values, ids):
    return Scores(
        protocol=load_protocol("brainrecon-1"),
        reference="reconstruction",
        conditions={"reconstruction": ConditionScores(tuple(ids), (1,) * len(ids), values)},
        summary=[],
        differences=[],
        confidence=0.95,
        n_resamples=10,
        seed=0,
    )


def blocks_of(ids, conditions=None, ranking=None, **options):
    pictures = dict.fromkeys(ids)
    conditions = conditions or {"reconstruction": pictures}
    ranking = ids if ranking is None else ranking
    return choose_blocks(ids, pictures, conditions, "reconstruction", ranking, "their score", **options)


def test_ranking_is_by_headline_then_low_level_then_order():
    ids = ["d", "c", "b", "a"]
    values = {HEADLINE: np.array([0.5, 0.9, 0.9, 0.9]), LOW_LEVEL: np.array([1.0, 0.2, 0.3, 0.2])}
    assert rank_stimuli(scores_of(values, ids), ids, HEADLINE, LOW_LEVEL) == ["b", "c", "a", "d"]
    assert rank_stimuli(scores_of(values, ids), ids[::-1], HEADLINE, LOW_LEVEL) == ["b", "a", "c", "d"]
    assert rank_stimuli(scores_of(values, ids), ids, LOW_LEVEL, LOW_LEVEL) == ["d", "b", "c", "a"]
    assert rank_stimuli(scores_of({LOW_LEVEL: values[LOW_LEVEL]}, ids), ids, HEADLINE, LOW_LEVEL) == []


def test_ranking_turns_where_less_is_better():
    distance = SimpleNamespace(metric=SimpleNamespace(higher_is_better=False))
    one = ConditionScores(("a", "b", "c"), (1, 1, 1), {"distance": np.array([0.5, 0.1, 0.9])})
    scores = SimpleNamespace(reference="r", conditions={"r": one}, metrics={"distance": distance})
    assert rank_stimuli(scores, ["a", "b", "c"], "distance", "distance") == ["b", "a", "c"]


def test_best_median_and_worst_follow_the_ranking():
    ranking = list(np.random.default_rng(0).permutation(IDS))
    blocks, how = blocks_of(IDS, ranking=ranking)
    assert [block.heading for block in blocks] == ["Best 5", "Median 5", "Worst 5", "Unselected 6"]
    assert blocks[0].stimulus_ids == ranking[:5] and blocks[2].stimulus_ids == ranking[-5:]
    # The median of 24 lies between ranks 12 and 13; five around it are ranks 10 to 14.
    assert blocks[1].stimulus_ids == ranking[9:14]
    assert how.startswith("Best, median and worst of the 24 test stimuli by their score.")
    assert "6 of the 24 test stimuli, evenly spaced" in how


def test_the_unselected_do_not_depend_on_the_scores():
    forwards, backwards = blocks_of(IDS)[0], blocks_of(IDS, ranking=IDS[::-1])[0]
    assert forwards[3] == backwards[3] and forwards[0] != backwards[0]
    assert (
        forwards[3].stimulus_ids
        == choose_stimuli(IDS, dict.fromkeys(IDS), {"reconstruction": IDS}, "reconstruction", 6)[0]
    )


@pytest.mark.parametrize("n", [1, 2, 7, 8, 14, 15, 17])
def test_few_stimuli_are_shown_once_each(n):
    blocks, how = blocks_of(IDS[:n], ranking=IDS[:n][::-1])
    assert [block.stimulus_ids for block in blocks] == [IDS[:n][::-1]]
    assert how == f"All {n} test stimuli, from best to worst by their score."


@pytest.mark.parametrize("n", range(18, 24))
def test_selected_stimuli_are_never_repeated(n):
    chosen = [one for block in blocks_of(IDS[:n])[0][:3] for one in block.stimulus_ids]
    assert len(chosen) == len(set(chosen)) == 15


def test_only_candidates_are_ranked():
    few = dict.fromkeys(IDS[:18])
    blocks, how = blocks_of(IDS, {"reconstruction": dict.fromkeys(IDS), "x": few}, ranking=IDS[::-1])
    assert blocks[0].stimulus_ids == IDS[17:12:-1]
    assert "18 test stimuli that every condition here has drawn (there are 24)" in how


def test_without_scores_rows_are_evenly_spaced():
    blocks, how = blocks_of(IDS, ranking=[])
    assert len(blocks) == 1 and len(blocks[0].stimulus_ids) == 18 and "evenly spaced" in how
    assert "ranked" not in how


def test_stimuli_without_a_score_are_said_not_to_be_ranked():
    assert "4 without a score cannot be ranked." in blocks_of(IDS, ranking=IDS[:20])[1]


def test_rows_are_spread_over_the_test_set():
    pictures = dict.fromkeys(IDS)
    chosen, how = choose_stimuli(IDS, pictures, {"reconstruction": pictures}, "reconstruction", 6)
    assert len(chosen) == 6 and chosen[0] == IDS[0] and chosen[-1] == IDS[-1]
    assert how.startswith("6 of the 24 test stimuli, evenly spaced")

    few = dict.fromkeys(IDS[1::2])
    chosen, how = choose_stimuli(IDS, pictures, {"reconstruction": pictures, "x": few}, "reconstruction", 6)
    assert set(chosen) <= set(few) and "12 test stimuli that every condition here has drawn (there are 24)" in how

    one = dict.fromkeys(IDS[:1])
    chosen, how = choose_stimuli(IDS, pictures, {"x": one, "reconstruction": pictures}, "reconstruction", 40)
    assert chosen == IDS and how.startswith("All 24 test stimuli")

    chosen, how = choose_stimuli(IDS, pictures, {"reconstruction": few}, "reconstruction", 40)
    assert chosen == list(few) and how.startswith("All 12 test stimuli that every condition")


def test_small_pictures_are_exact_and_large_ones_small():
    small = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    header, text = data_uri(small).split(",")
    assert header == "data:image/png;base64"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))), small)
    header, text = data_uri(np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)).split(",")
    assert header == "data:image/jpeg;base64" and len(text) < 80_000
    with pytest.raises(InputError, match="8-bit RGB"):
        data_uri(small / 255)
