"""What is scored beside the pictures: predicted responses, embeddings, captions."""

import numpy as np
import pytest
from stand_in_networks import IDS, Grey, MeanColours, N, noisy

from brainrecon.evaluation import Outputs, evaluate
from brainrecon.evaluation.brain.pattern_ceiling import pattern_reliability
from brainrecon.evaluation.tasks.reconstruction import Brain


def test_brain_correlation_vs_corrcoef_whole_and_by_region(shown, networks):
    images, measured = noisy(shown, 200), Grey().predict(MeanColours().embed(noisy(shown, 90, seed=5)))
    region = np.arange(16) % 3 == 0
    reliability = np.linspace(0.4, 0.9, N)
    reliability[2] = np.nan
    brain = Brain(measured, {"evaluation": Grey()}, reliability, {"V1": region})
    order = np.random.default_rng(2).permutation(N)
    condition = Outputs([IDS[k] for k in order], images[order])
    scores = evaluate(shown, {"reconstruction": condition}, stimulus_ids=IDS, networks=networks, brain=brain)
    predicted = Grey().predict(MeanColours().embed(images))
    expected = [np.corrcoef(measured[k], predicted[k])[0, 1] for k in range(N)]
    np.testing.assert_allclose(scores.conditions["reconstruction"].values["brain_correlation"], expected, atol=1e-6)
    (row,) = scores.regions["V1"]
    expected = np.mean([np.corrcoef(measured[k, region], predicted[k, region])[0, 1] for k in range(N)])
    assert (row.condition, row.metric, row.n) == ("reconstruction", "brain_correlation", N)
    assert row.mean == pytest.approx(expected, abs=1e-6)
    limit = scores.ceilings["noise_ceiling"]["brain_correlation"]
    assert limit.mean == pytest.approx(np.sqrt(np.nanmean(reliability))) and limit.n == N - 1
    evoked = Grey().predict(MeanColours().embed(shown))
    expected = np.mean([np.corrcoef(measured[k], evoked[k])[0, 1] for k in range(N)])
    assert scores.ceilings["shown_pictures"]["brain_correlation"].mean == pytest.approx(expected, abs=1e-6)


def test_responses_of_noise_alone_have_no_noise_ceiling_and_a_note_says_so(shown, networks):
    random = np.random.default_rng(3)
    trials, repeated = random.normal(size=(2 * N, 16)).astype(np.float32), np.repeat(IDS, 2)
    reliability = pattern_reliability(trials, repeated, IDS, np.zeros(16), np.ones(16))
    measured = trials.reshape(N, 2, 16).mean(axis=1)
    brain = Brain(measured, {"evaluation": Grey()}, reliability)
    condition = {"reconstruction": Outputs(IDS, noisy(shown, 50))}
    scores = evaluate(shown, condition, stimulus_ids=IDS, networks=networks, brain=brain)
    assert set(scores.ceilings) == {"shown_pictures"}
    (note,) = [note for note in scores.notes if "noise ceiling" in note]
    assert f"repeats of {N} stimuli" in note and f"{reliability.mean():.2f}" in note
    # Repeats that agree have one, and without repeats there is nothing to say.
    for known, there in ((np.full(N, 0.5), True), (np.full(N, np.nan), False)):
        other = Brain(measured, {"evaluation": Grey()}, known)
        scores = evaluate(shown, condition, stimulus_ids=IDS, networks=networks, brain=other)
        assert ("noise_ceiling" in scores.ceilings) == there and not any("noise" in note for note in scores.notes)


def test_embeddings_are_scored_beside_the_pictures(shown, networks):
    random = np.random.default_rng(0)
    true = random.normal(size=(N, 30))
    both = {"clip_image": true}, {"clip_image": true + random.normal(size=(N, 30))}
    condition = {"reconstruction": Outputs(IDS, shown)}
    scores = evaluate(shown, condition, stimulus_ids=IDS, networks=networks, embeddings=both)
    rows = {row.metric: row for row in scores.embeddings.rows}
    assert set(rows) == {"two_way_clip_image", "image_retrieval", "brain_retrieval"}
    correlation = np.corrcoef(*both[0].values(), *both[1].values())[:N, N:]
    expected = np.mean([np.mean(np.delete(correlation[:, k], k) < correlation[k, k]) for k in range(N)])
    assert rows["two_way_clip_image"].mean == pytest.approx(expected)
    assert rows["two_way_clip_image"].n_permutations >= 20
