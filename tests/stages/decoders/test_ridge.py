"""Ridge against scikit-learn, leave-one-out by brute force, and the laws of a decoder."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from stages.decoders.ridge import RidgeDecoder, factorise, leave_one_out_error, target_gram
from stages.errors import InputError

SHAPES = {"fewer stimuli than voxels": (40, 90), "more stimuli than voxels": (90, 40)}


def simulated(n_stimuli, n_voxels, n_targets=7, noise=5.0, seed=0):
    generator = np.random.default_rng(seed)
    patterns = generator.normal(2, 3, size=(n_stimuli, n_voxels))
    weights = generator.normal(size=(n_voxels, n_targets))
    return patterns, patterns @ weights + 10 + noise * generator.normal(size=(n_stimuli, n_targets))


def standardised(patterns, train):
    return (patterns - train.mean(axis=0)) / train.std(axis=0, ddof=1)


@parametrize_with_checks([RidgeDecoder()])
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("alpha", [0.1, 30.0, 1e4])
def test_predictions_vs_scikit_learn(shape, alpha):
    patterns, targets = simulated(*shape)
    new = simulated(11, shape[1], seed=1)[0]
    decoder = RidgeDecoder(alphas=alpha, rescale="none").fit(patterns, targets)
    reference = Ridge(alpha).fit(standardised(patterns, patterns), targets)
    np.testing.assert_allclose(decoder.predict(new), reference.predict(standardised(new, patterns)), rtol=1e-8)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_held_out_predictions_vs_refitting_without_each_stimulus(shape):
    patterns, targets = simulated(*shape)
    patterns = standardised(patterns, patterns)
    factor, centred = factorise(patterns), targets - targets.mean(axis=0)
    held_out = factor.held_out(centred, factor.left.T @ centred, 30.0) + targets.mean(axis=0)
    for left_out in range(0, len(patterns), 7):
        rest = np.arange(len(patterns)) != left_out
        refitted = Ridge(30.0).fit(patterns[rest], targets[rest]).predict(patterns[[left_out]])[0]
        np.testing.assert_allclose(held_out[left_out], refitted, rtol=1e-8)


def test_chosen_penalty_vs_scikit_learn():
    patterns, targets = simulated(60, 100, n_targets=1, noise=30)
    alphas = np.logspace(-1, 5, 13)
    decoder = RidgeDecoder(alphas=alphas).fit(patterns, targets)
    reference = RidgeCV(alphas=alphas).fit(standardised(patterns, patterns), targets)
    assert decoder.alpha_["target"] == pytest.approx(reference.alpha_)


def test_each_target_gets_its_own_penalty():
    patterns, clean = simulated(80, 30, n_targets=5, noise=0.1)
    noise = np.random.default_rng(5).normal(size=(80, 40))
    decoder = RidgeDecoder().fit(patterns, np.hstack([clean, noise]), groups={"clean": 5, "noise": 40})
    assert decoder.alpha_["clean"] < decoder.alpha_["noise"]
    assert decoder.held_out_correlation_["clean"] > 0.9
    assert abs(decoder.held_out_correlation_["noise"]) < 0.1
    assert list(decoder.split(decoder.predict(patterns))) == ["clean", "noise"]


def test_error_of_the_mean_is_one_under_a_huge_penalty():
    patterns, targets = simulated(50, 20)
    centred = targets - targets.mean(axis=0)
    factor = factorise(standardised(patterns, patterns))
    assert leave_one_out_error(factor, target_gram(centred), [1e12])[0] == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_error_over_all_targets_vs_one_target_at_a_time(shape):
    patterns, targets = simulated(*shape)
    factor, centred = factorise(standardised(patterns, patterns)), targets - targets.mean(axis=0)
    alphas = [0.5, 40.0, 3e3]
    baseline = ((centred * len(centred) / (len(centred) - 1)) ** 2).mean(axis=0)
    expected = [
        (((centred - factor.held_out(centred, factor.left.T @ centred, alpha)) ** 2).mean(axis=0) / baseline).mean()
        for alpha in alphas
    ]
    np.testing.assert_allclose(leave_one_out_error(factor, target_gram(centred), alphas), expected, rtol=1e-9)


def test_fitting_again_forgets_the_first_fit():
    patterns, targets = simulated(90, 40)
    decoder = RidgeDecoder().fit(patterns, targets).fit(patterns[:30], targets[:30])
    fresh = RidgeDecoder().fit(patterns[:30], targets[:30])
    np.testing.assert_array_equal(decoder.predict(patterns), fresh.predict(patterns))


def test_duplicated_voxels_change_nothing_but_the_penalty():
    patterns, targets = simulated(40, 60)
    single = RidgeDecoder(alphas=10.0, rescale="none").fit(patterns, targets)
    double = RidgeDecoder(alphas=20.0, rescale="none").fit(np.hstack([patterns, patterns]), targets)
    new = simulated(9, 60, seed=3)[0]
    np.testing.assert_allclose(double.predict(np.hstack([new, new])), single.predict(new), rtol=1e-9)


@pytest.mark.parametrize("rescale", ["held_out", "none"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_pattern_alone_equals_the_same_in_a_batch(rescale, dtype):
    patterns, targets = (array.astype(dtype) for array in simulated(50, 120))
    decoder = RidgeDecoder(rescale=rescale).fit(patterns, targets)
    new = simulated(30, 120, seed=4)[0].astype(dtype)
    together = decoder.predict(new)
    alone = np.concatenate([decoder.predict(row[None]) for row in new])
    assert together.dtype == dtype
    assert np.abs(together - alone).max() < 1e-4 * together.std()


def test_held_out_rescaling_restores_the_training_spread():
    patterns, targets = simulated(400, 60, noise=40)
    new, truth = simulated(2000, 60, noise=40, seed=0)
    new, truth = new[400:], truth[400:]
    plain = RidgeDecoder(rescale="none").fit(patterns, targets).predict(new)
    rescaled = RidgeDecoder(rescale="held_out").fit(patterns, targets).predict(new)
    assert (plain.std(axis=0) < 0.8 * targets.std(axis=0)).all()
    np.testing.assert_allclose(rescaled.std(axis=0), targets.std(axis=0), rtol=0.15)
    # Rescaling is affine, column by column: correlations with the truth stay.
    for column in range(truth.shape[1]):
        assert np.corrcoef(plain[:, column], rescaled[:, column])[0, 1] == pytest.approx(1)


def test_transductive_rescaling_is_the_published_formula():
    patterns, targets = simulated(60, 90)
    new = simulated(20, 90, seed=2)[0]
    plain = RidgeDecoder(alphas=50.0, rescale="none").fit(patterns, targets).predict(new)
    expected = (plain - plain.mean(axis=0)) / plain.std(axis=0, ddof=1) * targets.std(axis=0, ddof=1) + targets.mean(
        axis=0
    )
    decoder = RidgeDecoder(alphas=50.0, rescale="transductive").fit(patterns, targets)
    np.testing.assert_allclose(decoder.predict(new), expected)
    with pytest.raises(InputError, match="held_out"):
        decoder.predict(new[:1])


def test_constant_voxels_and_constant_targets_stay_finite():
    patterns, targets = simulated(30, 20)
    patterns[:, 3], targets[:, 2] = 7.0, -4.0
    decoder = RidgeDecoder().fit(patterns, targets)
    predictions = decoder.predict(simulated(5, 20, seed=8)[0])
    assert np.isfinite(predictions).all()
    np.testing.assert_allclose(predictions[:, 2], -4.0)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_save_and_load_keep_every_prediction(tmp_path, shape):
    patterns, targets = simulated(*shape)
    decoder = RidgeDecoder().fit(patterns.astype(np.float32), targets.astype(np.float32), groups={"a": 4, "b": 3})
    decoder.save_pretrained(tmp_path)
    loaded = RidgeDecoder.from_pretrained(tmp_path)
    new = simulated(6, shape[1], seed=6)[0].astype(np.float32)
    np.testing.assert_array_equal(loaded.predict(new), decoder.predict(new))
    assert loaded.alpha_ == decoder.alpha_ and loaded.groups_ == decoder.groups_


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    decoder = RidgeDecoder().fit(*simulated(30, 20))
    decoder.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(tensors | {"coef_": tensors["coef_"][:-1].copy()}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="coef_"):
        RidgeDecoder.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"short")
    with pytest.raises(InputError, match="cannot be read"):
        RidgeDecoder.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="brainrecon fit"):
        RidgeDecoder.from_pretrained(tmp_path / "nothing")


def test_errors_name_both_numbers():
    patterns, targets = simulated(30, 20)
    decoder = RidgeDecoder().fit(patterns, targets)
    with pytest.raises(InputError, match="19 voxels .* fitted on 20"):
        decoder.predict(patterns[:, :19])
    with pytest.raises(InputError, match="6 columns but the targets have 7"):
        RidgeDecoder().fit(patterns, targets, groups={"a": 6})
    with pytest.raises(InputError, match="positive"):
        RidgeDecoder(alphas=[1.0, -1.0]).fit(patterns, targets)
    with pytest.raises(InputError, match="target 'b'"):
        RidgeDecoder(alphas={"a": 1.0}).fit(patterns, targets, groups={"a": 3, "b": 4})
    with pytest.raises(InputError, match="'held_out', 'none', 'transductive'"):
        RidgeDecoder(rescale="sometimes").fit(patterns, targets)
