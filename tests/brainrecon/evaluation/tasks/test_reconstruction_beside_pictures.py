"""What is scored beside the pictures: predicted responses, embeddings, captions."""

import json

import numpy as np
import pytest
from stand_in_networks import IDS, Grey, MeanColours, N, noisy

from brainrecon.evaluation.protocols.protocol import Protocol, load_protocol
from brainrecon.evaluation.tasks.reconstruction import Brain, Condition, evaluate


def test_brain_correlation_vs_corrcoef_whole_and_by_region(shown, networks):
    images, measured = noisy(shown, 200), Grey().predict(MeanColours().embed(noisy(shown, 90, seed=5)))
    region = np.arange(16) % 3 == 0
    ceiling = np.linspace(0.4, 0.9, N)
    ceiling[2] = np.nan
    brain = Brain(measured, {"evaluation": Grey()}, ceiling, {"V1": region})
    order = np.random.default_rng(2).permutation(N)
    condition = Condition([IDS[k] for k in order], images[order])
    scores = evaluate(shown, {"reconstruction": condition}, stimulus_ids=IDS, networks=networks, brain=brain)
    predicted = Grey().predict(MeanColours().embed(images))
    expected = [np.corrcoef(measured[k], predicted[k])[0, 1] for k in range(N)]
    np.testing.assert_allclose(scores.conditions["reconstruction"].values["brain_correlation"], expected, atol=1e-6)
    (row,) = scores.regions["V1"]
    expected = np.mean([np.corrcoef(measured[k, region], predicted[k, region])[0, 1] for k in range(N)])
    assert (row.condition, row.metric, row.n) == ("reconstruction", "brain_correlation", N)
    assert row.mean == pytest.approx(expected, abs=1e-6)
    limit = scores.ceilings["noise_ceiling"]["brain_correlation"]
    assert limit.mean == pytest.approx(np.nanmean(ceiling)) and limit.n == N - 1
    evoked = Grey().predict(MeanColours().embed(shown))
    expected = np.mean([np.corrcoef(measured[k], evoked[k])[0, 1] for k in range(N)])
    assert scores.ceilings["shown_pictures"]["brain_correlation"].mean == pytest.approx(expected, abs=1e-6)


def test_embeddings_are_scored_beside_the_pictures(shown, networks):
    random = np.random.default_rng(0)
    true = random.normal(size=(N, 30))
    both = {"clip_image": true}, {"clip_image": true + random.normal(size=(N, 30))}
    condition = {"reconstruction": Condition(IDS, shown)}
    scores = evaluate(shown, condition, stimulus_ids=IDS, networks=networks, embeddings=both)
    rows = {row.metric: row for row in scores.embeddings.rows}
    assert set(rows) == {"two_way_clip_image", "image_retrieval", "brain_retrieval"}
    correlation = np.corrcoef(*both[0].values(), *both[1].values())[:N, N:]
    expected = np.mean([np.mean(np.delete(correlation[:, k], k) < correlation[k, k]) for k in range(N)])
    assert rows["two_way_clip_image"].mean == pytest.approx(expected)
    assert rows["two_way_clip_image"].n_permutations >= 20


def test_how_words_weigh_is_counted_over_the_stimuli_that_both_conditions_have(shown, networks):
    content = json.loads(json.dumps(load_protocol().content))
    content["metrics"].append({"name": "cider", "measure": "cider"})
    said = [f"a ball number {k} on a {'red' if k % 2 else 'blue'} table" for k in range(N)]
    conditions = {
        "reconstruction": Condition(IDS, shown, captions=said),
        "stage_one": Condition(IDS[:5], shown[:5], captions=said[:5]),
        "alone": Condition(IDS[:1], shown[:1], captions=said[:1]),
    }
    options = {"stimulus_ids": IDS, "networks": networks, "protocol": Protocol(content)}
    options["captions"] = [[one + " outside"] for one in said]
    scores = evaluate(shown, conditions, **options)
    assert scores.difference("stage_one", "cider").mean == pytest.approx(0, abs=1e-9)
    assert "cider" not in scores.conditions["alone"].values and scores.difference("alone", "cider") is None
    assert scores.mean("reconstruction", "cider").mean != pytest.approx(
        scores.mean("stage_one", "cider").mean, abs=1e-3
    )


def test_captions_are_scored_where_both_sides_have_them(shown, networks):
    content = json.loads(json.dumps(load_protocol().content))
    content["metrics"].append({"name": "bleu", "measure": "bleu_1"})
    said = [f"a red ball number {k}" for k in range(N)]
    options = {"stimulus_ids": IDS, "networks": networks, "protocol": Protocol(content)}
    condition = {"reconstruction": Condition(IDS, shown, captions=said)}
    assert "bleu" not in evaluate(shown, condition, **options).conditions["reconstruction"].values
    scores = evaluate(shown, condition, captions=[[one, "else"] for one in said], **options)
    assert scores.mean("reconstruction", "bleu").mean == pytest.approx(1)
