"""Inverse encoding: exact recovery, least squares in another way, the bias, penalties, an encoding model of one's own."""

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from stages.decoders.encoding_inversion import encoding_weights, inverse_encoding
from stages.decoders.inverse_encoding import InverseEncodingDecoder
from stages.ground.errors import InputError

N_LATENTS, N_VOXELS = 6, 40


def simulated(n_trials=50, noise=1.0, mean=8.0, seed=0):
    """Latents, patterns and the true W: what is simulated has a mean response that is not 0."""
    truth = np.random.default_rng(100).normal(size=(N_LATENTS + 1, N_VOXELS))
    truth[-1] += mean
    random = np.random.default_rng(seed)
    latents = np.tanh(random.normal(0.3, 1, size=(n_trials, N_LATENTS)))
    patterns = latents @ truth[:-1] + truth[-1] + noise * random.normal(size=(n_trials, N_VOXELS))
    return latents, patterns, truth


@parametrize_with_checks([InverseEncodingDecoder(), InverseEncodingDecoder(1.0, 2.0)])
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


def test_without_noise_latents_are_recovered():
    latents, patterns, truth = simulated(noise=0)
    decoder = InverseEncodingDecoder().fit(patterns, latents)
    np.testing.assert_allclose(decoder.tensors_["encoding_"], truth, atol=1e-10)
    new, shown, _ = simulated(9, noise=0, seed=1)
    np.testing.assert_allclose(decoder.predict(shown), new, atol=1e-10)
    np.testing.assert_allclose(decoder.encoded(new), shown, atol=1e-10)
    assert decoder.training_correlation_ == {"target": pytest.approx(1)} and decoder.rank_ == N_LATENTS + 1


def test_errors_shrink_with_the_noise():
    latents, _, _ = simulated(200)
    errors = []
    for noise in (1.0, 0.1, 0.01):
        decoder = InverseEncodingDecoder().fit(simulated(200, noise)[1], latents)
        new, shown, _ = simulated(200, noise, seed=1)
        errors.append(np.abs(decoder.predict(shown) - new).mean())
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 10, rtol=0.05)


def test_it_works_with_1025_rows():
    random = np.random.default_rng(0)
    latents, truth = random.uniform(-1, 1, (1100, 1024)), random.normal(size=(1025, 1200))
    patterns = latents @ truth[:-1] + truth[-1]
    decoder = InverseEncodingDecoder().fit(patterns, latents)
    assert decoder.tensors_["encoding_"].shape == (1025, 1200) and decoder.tensors_["coef_"].shape == (1200, 1024)
    np.testing.assert_allclose(decoder.predict(patterns[:20]), latents[:20], atol=1e-8)


def test_encoding_vs_scikit_learn():
    latents, patterns, _ = simulated()
    for penalty, reference in ((0.0, LinearRegression()), (3.0, Ridge(3.0))):
        reference.fit(latents, patterns)
        found = encoding_weights(latents, patterns, penalty)
        np.testing.assert_allclose(found, np.vstack([reference.coef_.T, reference.intercept_]), atol=1e-9)


def test_decoding_is_the_published_formula_and_least_squares_of_each_pattern():
    latents, patterns, _ = simulated(noise=3)
    decoder = InverseEncodingDecoder().fit(patterns, latents)
    new = simulated(9, noise=3, seed=1)[1]
    weights, found = decoder.tensors_["encoding_"], decoder.predict(new)
    published = new @ weights.T @ np.linalg.inv(weights @ weights.T)
    np.testing.assert_allclose(found, published[:, :-1], atol=1e-9)
    # With white noise the generalised least-squares estimate of latents and bias is the ordinary one.
    solved = np.linalg.lstsq(weights.T, new.T, rcond=None)[0].T
    np.testing.assert_allclose(found, solved[:, :-1], atol=1e-9)


def test_the_bias_is_estimated_with_the_latents_and_then_dropped():
    latents, patterns, _ = simulated()
    decoder = InverseEncodingDecoder().fit(patterns, latents)
    weights, new = decoder.tensors_["encoding_"], simulated(9, seed=1)[1]
    # A response to all pictures alike, of any size, is the bias's.
    np.testing.assert_allclose(decoder.predict(new + 5 * weights[-1]), decoder.predict(new), atol=1e-9)
    known = (new - weights[-1]) @ np.linalg.pinv(weights[:-1])
    without = new @ np.linalg.pinv(np.linalg.lstsq(latents, patterns, rcond=None)[0])
    for other in (known, without):
        assert np.abs(decoder.predict(new) - other).max() > 0.01


def test_a_penalty_of_the_inverse_shrinks_latents_and_leaves_the_bias_alone():
    latents, patterns, _ = simulated()
    new, penalty = simulated(9, seed=1)[1], 20.0
    decoder = InverseEncodingDecoder(inverse_penalty=penalty).fit(patterns, latents)
    weights = decoder.tensors_["encoding_"]
    # The same as ridge with an unpenalised column, by adding a row for each latent.
    rows = np.vstack([weights.T, np.sqrt(penalty) * np.eye(N_LATENTS + 1)[:-1]])
    expected = np.linalg.lstsq(rows, np.vstack([new.T, np.zeros((N_LATENTS, 9))]), rcond=None)[0].T[:, :-1]
    np.testing.assert_allclose(decoder.predict(new), expected, atol=1e-9)
    assert np.linalg.norm(expected) < np.linalg.norm(InverseEncodingDecoder().fit(patterns, latents).predict(new))
    np.testing.assert_allclose(decoder.predict(new + 5 * weights[-1]), decoder.predict(new), atol=1e-9)


def test_trials_of_a_stimulus_share_its_latents():
    latents, _, truth = simulated(20)
    shown = np.random.default_rng(3).permutation(np.arange(60) % 20)
    trials = latents[shown] @ truth[:-1] + truth[-1] + np.random.default_rng(4).normal(size=(60, N_VOXELS))
    groups = {"first": 2, "last": 4}
    decoder = InverseEncodingDecoder().fit(trials, latents, groups=groups, stimuli=shown)
    reference = InverseEncodingDecoder().fit(trials, latents[shown])
    np.testing.assert_allclose(decoder.predict(trials), reference.predict(trials), atol=1e-12)
    assert dict(decoder.gives) == {"first": (2,), "last": (4,)}
    parts = {"first": latents[:, :2].astype(np.float32), "last": latents[:, 2:].astype(np.float32)}
    separate = InverseEncodingDecoder().fit_targets(trials, parts, shown)
    np.testing.assert_allclose(separate.predict(trials), reference.predict(trials), atol=1e-4)
    assert separate.groups_ == groups
    with pytest.raises(InputError, match="has 20 stimuli but the patterns are of 60"):
        InverseEncodingDecoder().fit_targets(trials, parts)


@pytest.mark.parametrize("few", ["voxels", "trials"])
def test_without_a_plain_inverse_the_smallest_latents_are_decoded_and_it_is_said(few):
    latents, patterns, _ = simulated(4 if few == "trials" else 50)
    patterns = patterns[:, :5] if few == "voxels" else patterns
    decoder = InverseEncodingDecoder().fit(patterns, latents)
    expected = 5 if few == "voxels" else 4
    assert decoder.rank_ == expected
    assert f"7 rows, the bias with them, of rank {expected} " in decoder.notes()[0]
    assert "no plain inverse" in decoder.notes()[1]
    inverse = np.linalg.pinv(decoder.tensors_["encoding_"])
    np.testing.assert_allclose(decoder.predict(patterns), patterns @ inverse[:, :-1], atol=1e-7)
    assert len(InverseEncodingDecoder(inverse_penalty=1.0).fit(patterns, latents).notes()) == 1
    assert len(InverseEncodingDecoder().fit(*simulated()[1::-1]).notes()) == 1


def test_an_encoding_model_of_ones_own_decodes_the_same(tmp_path):
    latents, patterns, _ = simulated()
    decoder, new = InverseEncodingDecoder(inverse_penalty=2.0).fit(patterns, latents), simulated(9, seed=1)[1]
    decoder.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")["encoding_"]
    own = InverseEncodingDecoder.from_encoding(stored, {"face_latents": N_LATENTS}, inverse_penalty=2.0)
    # A stored matrix lies otherwise in memory, so that products are rounded otherwise.
    np.testing.assert_allclose(own.predict(new), decoder.predict(new), rtol=1e-9, atol=1e-12)
    assert own.gives == {"face_latents": (N_LATENTS,)} and np.isnan(own.summary()[0]["training_correlation"])
    own.save_pretrained(tmp_path / "own")
    again = InverseEncodingDecoder.from_pretrained(tmp_path / "own")
    np.testing.assert_allclose(again.predict(new), own.predict(new), rtol=1e-9, atol=1e-12)


def test_a_latent_that_never_varies_has_no_correlation():
    latents, patterns, _ = simulated()
    latents[:, 2] = 0.1
    decoder = InverseEncodingDecoder().fit(patterns, latents, groups={"a": 2, "constant": 1, "b": 3})
    correlations = [row["training_correlation"] for row in decoder.summary()]
    np.testing.assert_array_equal(np.isnan(correlations), [False, True, False])


def test_the_condition_is_of_the_singular_values_that_count():
    _, rank, condition = inverse_encoding(np.diag([4.0, 1, 0]))
    assert rank == 2 and condition == pytest.approx(4)
    inverse, rank, condition = inverse_encoding(np.zeros((2, 3)))
    assert rank == 0 and np.isnan(condition) and (inverse == 0).all() and inverse.shape == (3, 2)


def test_what_cannot_be_is_refused():
    latents, patterns, truth = simulated()
    decoder = InverseEncodingDecoder().fit(patterns, latents)
    for call, said in (
        (lambda: InverseEncodingDecoder(inverse_penalty=-1).fit(patterns, latents), "inverse_penalty is -1"),
        (lambda: InverseEncodingDecoder(encoding_penalty="1").fit(patterns, latents), "encoding_penalty is '1'"),
        (lambda: InverseEncodingDecoder().fit(patterns, latents, {"a": 5}), "hold 5 columns but there are 6 latents"),
        (lambda: decoder.encoded(np.ones((2, 7))), r"shape \(2, 7\); expected \(n, 6\)"),
        (lambda: InverseEncodingDecoder.from_encoding(truth[0]), r"float64 of shape \(40,\); expected floats"),
        (lambda: InverseEncodingDecoder.from_encoding(truth, {"a": 7}), "hold 7 columns but there are 6"),
        (lambda: InverseEncodingDecoder.from_encoding(truth * np.nan), "NaN or infinite values in 40 of 40 voxels"),
    ):
        with pytest.raises(InputError, match=said):
            call()
