"""Scores of decoded features: their definitions, null, ceilings of known noise, and what is left out or refused."""

import numpy as np
import pytest

from brainrecon.evaluation import Outputs, Protocol, Shown, evaluate, find_task
from brainrecon.evaluation.metrics.feature_correlation import correlate_features
from brainrecon.evaluation.metrics.identification import two_way_identification
from brainrecon.evaluation.scores.feature_scores import FeatureScores
from brainrecon.evaluation.tasks.features import Decoded, Halves, regions_apart, score_features, wanted_measures
from stages.ground.errors import InputError

FEW = {"n_permutations": 200, "n_resamples": 2000}
N, UNITS = 40, 50
IDS = [f"s{row}" for row in range(N)]


def specs(*given):
    content = {
        "name": "features",
        "captions": {"rouge_l": {"tokenisation": "simple"}},
        "embeddings": [{"name": f"spec{row}", "measure": m, "target": t} for row, (m, t) in enumerate(given)],
    }
    return Protocol(content).embeddings


ALL = specs(("profile_correlation", "all"), ("pattern_correlation", "all"))


def layer(seed=0, n=N, n_units=UNITS):
    return np.random.default_rng(seed).normal(size=(n, n_units))


def decoded_with(true, noise, seed=1):
    return true + noise * np.random.default_rng(seed).normal(size=true.shape)


def training_of(true):
    return np.zeros(true.shape[1]), np.ones(true.shape[1])


def test_measures_are_the_means_of_their_definitions():
    true = layer()
    predicted = decoded_with(true, 2.0)
    predicted[:, 4] = 3.0
    scores = score_features(
        ALL, {"fc8": true}, {"fc8": predicted}, {"fc8": Decoded("fc8", training=training_of(true))}, IDS, **FEW
    )
    profile, pattern = scores.rows
    kept = [unit for unit in range(UNITS) if unit != 4]
    each = [np.corrcoef(true[:, unit], predicted[:, unit])[0, 1] for unit in kept]
    assert profile.mean == pytest.approx(np.mean(each), abs=1e-12)
    rows = [np.corrcoef(one, other)[0, 1] for one, other in zip(true, predicted)]
    np.testing.assert_allclose(scores.values["pattern_correlation"]["fc8"], rows, atol=1e-12)
    assert (profile.n_units, profile.n_constant, profile.roi, profile.target) == (UNITS, 1, "all", "fc8")
    for row in (profile, pattern):
        assert row.ci_low < row.mean < row.ci_high and row.null_low < 0 < row.null_high < row.mean
        assert row.ceiling is None and row.n == N


def test_the_order_of_stimuli_changes_nothing_but_rounding():
    true = layer()
    predicted, order = decoded_with(true, 2.0), np.random.default_rng(3).permutation(N)
    known = {"fc8": Decoded("fc8", training=training_of(true))}
    one = score_features(ALL, {"fc8": true}, {"fc8": predicted}, known, IDS, **FEW)
    other = score_features(
        ALL, {"fc8": true[order]}, {"fc8": predicted[order]}, known, [IDS[row] for row in order], **FEW
    )
    for first, second in zip(one.rows, other.rows, strict=True):
        assert first.mean == pytest.approx(second.mean, abs=1e-12)
    for measure, found in one.values.items():
        np.testing.assert_allclose(found["fc8"][order], other.values[measure]["fc8"], atol=1e-12)


def test_a_decoder_that_says_nothing_is_inside_its_null():
    inside = 0
    for seed in range(20):
        row = score_features(ALL, {"a": layer(seed)}, {"a": layer(seed + 100)}, {}, IDS, **FEW).rows[0]
        inside += row.null_low <= row.mean <= row.null_high
    assert inside >= 16  # of 20 with 95 % each, fewer come about once in 400


def test_regions_have_all_measures_whatever_the_protocol_asks_for():
    true = {"conv1": layer(0), "fc8": layer(1), "alone": layer(2)}
    predicted = {f"{name}_{roi}": decoded_with(own, 2.0, 7) for name, own in true.items() for roi in ("V1", "V2")}
    del predicted["alone_V2"]
    known = {value: Decoded(*value.split("_"), training=training_of(true["fc8"])) for value in predicted}
    scores = score_features({}, true, predicted, known, IDS, **FEW)
    assert {row.value for row in scores.rows} == {"conv1_V1", "conv1_V2", "fc8_V1", "fc8_V2"}
    assert scores.regions_and_targets() == (["V1", "V2"], ["conv1", "fc8"])
    assert scores.row("profile_correlation", "fc8", "V2").value == "fc8_V2"
    found = scores.values["identification"]["fc8_V1"]
    np.testing.assert_allclose(found, two_way_identification(true["fc8"], predicted["fc8_V1"]), atol=1e-12)
    assert FeatureScores.from_dict(scores.to_dict()) == scores and scores.apart == ("V1", "V2")
    # And nothing is asked where one region alone was read.
    assert wanted_measures({}, {"alone_V1": known["alone_V1"]}) == {}
    asked = specs(("profile_correlation", "alone"))
    assert wanted_measures(asked, {"alone_V1": known["alone_V1"]}) == {"alone_V1": ("profile_correlation",)}


def test_the_ends_of_a_hierarchy_share_no_voxel():
    masks = {"V1": [1, 0, 0, 0], "V2": [0, 1, 0, 0], "HVC": [0, 0, 1, 1], "VC": [1, 1, 1, 1]}
    known = [Decoded("fc8", roi, voxels=np.array(own, dtype=bool)) for roi, own in masks.items()]
    assert regions_apart(known) == ("V1", "HVC")
    assert regions_apart(known[:1]) == regions_apart([]) == regions_apart([known[0], known[3]]) == ()
    assert regions_apart([Decoded("fc8", "V1"), Decoded("fc8", "VC")]) == ("V1", "VC")


@pytest.mark.parametrize("repeats", [2, 3, 8])
def test_the_ceiling_is_what_the_noise_of_repeats_leaves(repeats):
    """Decoded features are true ones and noise of the responses alone: their correlation reaches the ceiling."""
    n, noise, random = 300, 1.5, np.random.default_rng(repeats)
    true = layer(0, n)
    trials = true + noise * random.normal(size=(repeats, *true.shape))
    smaller = np.full(n, repeats // 2)
    between, training = compared(trials[::2].mean(axis=0), trials[1::2].mean(axis=0)), training_of(true)
    halves = Halves(between, smaller, repeats - smaller)
    known = {"fc8": Decoded("fc8", training=training, halves=halves)}
    scores = score_features(
        ALL, {"fc8": true}, {"fc8": trials.mean(axis=0)}, known, [str(row) for row in range(n)], **FEW
    )
    expected = 1 / np.sqrt(1 + noise**2 / repeats)
    for row in scores.rows:
        assert row.ceiling == pytest.approx(expected, abs=0.02) and row.mean == pytest.approx(row.ceiling, abs=0.03)
        assert row.ceiling_low < row.ceiling < row.ceiling_high


def compared(one, other):
    return correlate_features(one, other, training_of(one))


def test_repeats_of_noise_have_no_ceiling():
    true = layer()
    between = compared(layer(5), layer(6))
    known = {"fc8": Decoded("fc8", training=training_of(true), halves=Halves(between, np.ones(N), np.ones(N)))}
    scores = score_features(ALL, {"fc8": true}, {"fc8": decoded_with(true, 1.0)}, known, IDS, **FEW)
    assert [row.ceiling for row in scores.rows] == [None, None]


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_stimuli_have_no_scores(n):
    true = layer(0, n)
    assert score_features(ALL, {"fc8": true}, {"fc8": true}, {}, IDS[:n], **FEW).rows == []


def test_pattern_correlation_is_left_out_without_training_statistics_and_profile_if_nothing_varies():
    true = layer()
    rows = score_features(ALL, {"a": true, "b": true}, {"a": true, "b": true * 0}, {}, IDS, **FEW).rows
    assert [(row.value, row.measure) for row in rows] == [("a", "profile_correlation")]


def test_a_flat_pattern_scores_zero():
    true = layer()
    predicted = true.copy()
    predicted[3] = 0.0
    known = {"fc8": Decoded("fc8", training=training_of(true))}
    scores = score_features(ALL, {"fc8": true}, {"fc8": predicted}, known, IDS, **FEW)
    values = scores.values["pattern_correlation"]["fc8"]
    assert values[3] == 0 and np.delete(values, 3) == pytest.approx(1)


def test_values_that_do_not_match_are_refused_by_name():
    true = layer()
    for predicted, said in [
        (true[:, 1:], "Target 'fc8' has true values"),
        (np.full_like(true, np.nan), "Value 'fc8': 50 units"),
    ]:
        with pytest.raises(InputError, match=said):
            score_features(ALL, {"fc8": true}, {"fc8": predicted}, {}, IDS, **FEW)


def test_a_protocol_gives_correlations_no_candidates():
    for key, value in [("n_way", 5), ("top_k", 1), ("similarity", "cosine")]:
        with pytest.raises(InputError, match=f"is a profile correlation and gives {key}; expected none"):
            Protocol(
                {
                    "name": "x",
                    "captions": {"rouge_l": {"tokenisation": "simple"}},
                    "embeddings": [{"name": "a", "measure": "profile_correlation", "target": "all", key: value}],
                }
            )
    assert next(iter(ALL.values())).candidates is None


def test_features_alone_are_scored_through_the_one_call():
    true = layer()
    predicted = {"fc8_V1": decoded_with(true, 1.0), "fc8_V2": decoded_with(true, 3.0)}
    known = {value: Decoded("fc8", value[4:]) for value in predicted}
    scores = evaluate(
        None, {}, stimulus_ids=IDS, embeddings=({"fc8": true}, predicted), decoded=known, n_resamples=2000
    )
    better, worse = (scores.features.row("profile_correlation", "fc8", roi) for roi in ("V1", "V2"))
    assert better.mean > worse.mean and scores.embeddings.rows == []
    task = find_task("embeddings")(n_resamples=2000)
    alone = task.score(
        {"reconstruction": Outputs(IDS, predicted)}, Shown(IDS, embeddings={"fc8": true}, decoded=known), "brainrecon-1"
    )
    assert alone.features == scores.features
