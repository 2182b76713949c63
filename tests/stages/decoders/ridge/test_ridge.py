"""The ridge estimator against scikit-learn, and the laws of a decoder."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from stages.decoders.ridge.ridge import RidgeDecoder
from stages.decoders.ridge.ridge_storage import choose_way
from stages.ground.errors import InputError

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
@pytest.mark.parametrize("held_out", ["tenth", "none"])
@pytest.mark.parametrize("keep", ["weights", "targets"])
def test_predictions_vs_scikit_learn(shape, alpha, held_out, keep):
    patterns, targets = simulated(*shape)
    new = simulated(11, shape[1], seed=1)[0]
    decoder = RidgeDecoder(alphas=alpha, rescale="none", held_out=held_out, keep=keep).fit(patterns, targets)
    reference = Ridge(alpha).fit(standardised(patterns, patterns), targets)
    np.testing.assert_allclose(decoder.predict(new), reference.predict(standardised(new, patterns)), rtol=1e-8)


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


def test_fitting_again_forgets_the_first_fit():
    patterns, targets = simulated(90, 40)
    decoder = RidgeDecoder().fit(patterns, targets).fit(patterns[:30], targets[:30])
    fresh = RidgeDecoder().fit(patterns[:30], targets[:30])
    np.testing.assert_array_equal(decoder.predict(patterns), fresh.predict(patterns))


def test_one_target_then_several():
    patterns, targets = simulated(40, 30)
    decoder = RidgeDecoder().fit(patterns, targets[:, 0])
    assert decoder.predict(patterns).shape == (40,)
    assert decoder.fit_targets(patterns, {"a": targets}).predict(patterns).shape == (40, 7)


def test_duplicated_voxels_change_nothing_but_the_penalty():
    patterns, targets = simulated(40, 60)
    single = RidgeDecoder(alphas=10.0, rescale="none").fit(patterns, targets)
    double = RidgeDecoder(alphas=20.0, rescale="none").fit(np.hstack([patterns, patterns]), targets)
    new = simulated(9, 60, seed=3)[0]
    np.testing.assert_allclose(double.predict(np.hstack([new, new])), single.predict(new), rtol=1e-9)


@pytest.mark.parametrize("keep", ["weights", "targets"])
def test_each_target_may_be_rescaled_its_own_way(keep):
    generator = np.random.default_rng(12)
    patterns, new = generator.normal(size=(40, 15)), generator.normal(size=(9, 15))
    targets = {name: generator.normal(size=(40, 6)) for name in "abc"}
    ways = {"a": "none", "b": "held_out", "c": "transductive"}

    def predicted(rescale):
        decoder = RidgeDecoder(alphas=20.0, rescale=rescale, keep=keep).fit_targets(patterns, targets)
        return decoder.split(decoder.predict(new))

    found = predicted(ways)
    for name, way in ways.items():
        np.testing.assert_array_equal(found[name], predicted(way)[name])
    with pytest.raises(InputError, match="not target 'c'; give that one a way"):
        predicted({"a": "none", "b": "none"})
    with pytest.raises(InputError, match="needs the whole test set"):
        RidgeDecoder(alphas=20.0, rescale=ways).fit_targets(patterns, targets).predict(new[:1])
    with pytest.raises(InputError, match="rescale is 'often'"):
        predicted(ways | {"b": "often"})


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


def published_rescaling(predicted, training):
    """What the scripts of Brain-Diffuser do with all test predictions of ridge, by NumPy's standard deviation."""
    standardised = (predicted - np.mean(predicted, axis=0)) / np.std(predicted, axis=0)
    return standardised * np.std(training, axis=0) + np.mean(training, axis=0)


@pytest.mark.parametrize("keep", ["weights", "targets"])
@pytest.mark.parametrize("held_out", ["tenth", "none"])
def test_transductive_rescaling_is_the_published_formula(keep, held_out, tmp_path):
    patterns, targets = simulated(60, 90)
    new = simulated(7, 90, seed=2)[0]
    options = dict(alphas=50.0, keep=keep, held_out=held_out)
    expected = published_rescaling(RidgeDecoder(rescale="none", **options).fit(patterns, targets).predict(new), targets)
    decoder = RidgeDecoder(rescale="transductive", **options).fit(patterns, targets)
    np.testing.assert_allclose(decoder.predict(new), expected, rtol=1e-6)
    decoder.save_pretrained(tmp_path)
    np.testing.assert_allclose(RidgeDecoder.from_pretrained(tmp_path).predict(new), expected, rtol=1e-6)
    with pytest.raises(InputError, match="held_out"):
        decoder.predict(new[:1])


@pytest.mark.parametrize("keep", ["weights", "targets"])
def test_transductive_rescaling_of_trials_counts_each_trial(keep):
    patterns, targets = simulated(30, 40)
    shown = np.concatenate([np.arange(30), np.arange(10)])
    trials, new = simulated(40, 40, seed=3)[0], simulated(7, 40, seed=2)[0]
    options = dict(alphas=50.0, keep=keep)
    plain = RidgeDecoder(rescale="none", **options).fit(trials, targets, stimuli=shown).predict(new)
    decoder = RidgeDecoder(rescale="transductive", **options).fit(trials, targets, stimuli=shown)
    np.testing.assert_allclose(decoder.predict(new), published_rescaling(plain, targets[shown]), rtol=1e-6)


def test_a_decoder_written_before_trials_were_counted_is_read(tmp_path):
    patterns, targets = simulated(30, 20)
    new = simulated(7, 20, seed=2)[0]
    decoder = RidgeDecoder(rescale="transductive").fit(patterns, targets)
    decoder.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["n_trials"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    np.testing.assert_array_equal(RidgeDecoder.from_pretrained(tmp_path).predict(new), decoder.predict(new))


def test_constant_voxels_and_constant_targets_stay_finite():
    patterns, targets = simulated(30, 20)
    patterns[:, 3], targets[:, 2] = 7.0, -4.0
    decoder = RidgeDecoder().fit(patterns, targets)
    predictions = decoder.predict(simulated(5, 20, seed=8)[0])
    assert np.isfinite(predictions).all()
    np.testing.assert_allclose(predictions[:, 2], -4.0)


@pytest.mark.parametrize("keep", ["weights", "targets"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("alphas", [(1.0, 1e3), {"a": 50.0, "b": 7.0}], ids=["chosen", "fixed"])
def test_save_and_load_keep_every_prediction(tmp_path, shape, keep, alphas):
    patterns, targets = simulated(*shape)
    patterns, targets = patterns.astype(np.float32), targets.astype(np.float32)
    decoder = RidgeDecoder(alphas=alphas, keep=keep).fit(patterns, targets, groups={"a": 4, "b": 3})
    decoder.save_pretrained(tmp_path)
    loaded = RidgeDecoder.from_pretrained(tmp_path)
    new = simulated(6, shape[1], seed=6)[0].astype(np.float32)
    np.testing.assert_array_equal(loaded.predict(new), decoder.predict(new))
    assert loaded.alpha_ == decoder.alpha_ and loaded.groups_ == decoder.groups_


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    decoder = RidgeDecoder().fit(*simulated(30, 20))
    decoder.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(tensors | {"voxel_mean_": tensors["voxel_mean_"][:-1].copy()}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="voxel_mean_"):
        RidgeDecoder.from_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    without = {name: value for name, value in config.items() if name != "stored"}
    for spoilt, message in (
        (config | {"class": "Other"}, "'Other'"),
        ([], "'RidgeDecoder'"),
        (without, "nothing of stored"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(spoilt))
        with pytest.raises(InputError, match=message):
            RidgeDecoder.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
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
    with pytest.raises(InputError, match="'target' is .* numbers above 0: pass alphas="):
        RidgeDecoder(alphas=[1.0, -1.0]).fit(patterns, targets)
    with pytest.raises(InputError, match="target 'b'"):
        RidgeDecoder(alphas={"a": 1.0}).fit(patterns, targets, groups={"a": 3, "b": 4})
    with pytest.raises(InputError, match="'held_out', 'none', 'transductive'"):
        RidgeDecoder(rescale="sometimes").fit(patterns, targets)
    with pytest.raises(InputError, match="'group', 'target'"):
        RidgeDecoder(penalty="each").fit(patterns, targets)
    with pytest.raises(InputError, match="'tenth', 'all', 'none'"):
        RidgeDecoder(held_out="half").fit(patterns, targets)
    with pytest.raises(InputError, match="'weights'"):
        RidgeDecoder(keep="everything").fit(patterns, targets)
    with pytest.raises(InputError, match="in memory"):
        RidgeDecoder(keep="factorisation").fit(patterns, targets)
    with pytest.raises(InputError, match="held_out='tenth'"):
        RidgeDecoder(held_out="none").fit(patterns, targets)
    with pytest.raises(InputError, match="31 stimuli but the patterns are of 30"):
        RidgeDecoder().fit_targets(patterns, {"a": np.vstack([targets, targets[:1]])})
    with pytest.raises(InputError, match="without gaps"):
        RidgeDecoder().fit(patterns, targets, stimuli=np.arange(30) + 1)
    with pytest.raises(InputError, match="without gaps"):
        RidgeDecoder().fit(patterns, targets, stimuli=np.arange(29))
    with pytest.raises(InputError, match="'a' holds NaN"):
        RidgeDecoder().fit_targets(patterns, {"a": np.where(np.arange(7) == 3, np.nan, targets)})
    with pytest.raises(InputError, match="needs .* GB but memory is 0.1 GB"):
        RidgeDecoder(memory=1e8).fit(patterns, targets)


class Table:
    """Targets that are only ever given by columns."""

    def __init__(self, values):
        self.values, self.shape, self.asked = values, values.shape, []

    def columns(self, start, stop, out=None):
        self.asked.append((start, stop))
        values = self.values[:, start:stop].astype(np.float32)
        if out is None:
            return values
        out[...] = values
        return out


@pytest.mark.parametrize("penalty", ["group", "target"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_way_to_keep_a_decoder_predicts_the_same(tmp_path, shape, penalty):
    patterns, targets = (array.astype(np.float32) for array in simulated(*shape, n_targets=70))
    new = simulated(9, shape[1], seed=5)[0].astype(np.float32)
    tables = {"a": Table(targets[:, :40]), "b": Table(targets[:, 40:])}
    found = {}
    for keep in ("weights", "targets", "factorisation"):
        decoder = RidgeDecoder(keep=keep, penalty=penalty).fit_targets(patterns, tables)
        decoder.save_pretrained(tmp_path / keep)
        loaded = RidgeDecoder.from_pretrained(tmp_path / keep)
        if keep == "factorisation":
            with pytest.raises(InputError, match="feature store"):
                loaded.predict(new)
            loaded.attach(lambda: tables)
        found[keep] = loaded.predict(new)
        np.testing.assert_array_equal(found[keep], decoder.predict(new))
        assert loaded.held_out_correlation_ == decoder.held_out_correlation_
        # Sizes are what lies on the disk, but for the columns' statistics.
        written = (tmp_path / keep / "model.safetensors").stat().st_size
        assert 0 <= written - decoder.sizes_[keep] < 20_000
    for predictions in found.values():
        assert np.abs(predictions - found["targets"]).max() < 1e-4 * found["targets"].std()


def test_auto_stores_the_smaller_and_no_targets_if_both_are_large():
    patterns, targets = simulated(40, 90)
    assert RidgeDecoder().fit(*simulated(90, 40)).stored_ == "weights"
    assert RidgeDecoder().fit(patterns, np.tile(targets, 40)).stored_ == "targets"
    large = {"weights": 5e9, "targets": 3e9, "factorisation": 1e9}
    assert choose_way("auto", large, {"a": Table(targets)}) == "factorisation"
    assert choose_way("auto", large, {"a": targets}) == "targets"  # arrays cannot be read again
    assert choose_way("auto", {**large, "targets": 1e9}, {"a": Table(targets)}) == "targets"


def test_decoders_of_before_are_read(tmp_path):
    """The third way to store a decoder was called "factor", and what is stored "kept"."""
    patterns, targets = (array.astype(np.float32) for array in simulated(40, 90))
    decoder = RidgeDecoder(keep="factorisation").fit_targets(patterns, {"a": Table(targets)})
    decoder.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    before = {name: value for name, value in config.items() if name != "stored"} | {"kept": "factor"}
    before["parameters"] = config["parameters"] | {"keep": "factor"}
    before["sizes"] = {name.replace("factorisation", "factor"): size for name, size in config["sizes"].items()}
    (tmp_path / "config.json").write_text(json.dumps(before))
    loaded = RidgeDecoder.from_pretrained(tmp_path).attach({"a": Table(targets)})
    assert loaded.describe() == config
    np.testing.assert_array_equal(loaded.predict(patterns), decoder.predict(patterns))
    with pytest.raises(
        InputError, match="keep is 'factor'; expected one of 'auto', 'weights', 'targets', 'factorisation'"
    ):
        RidgeDecoder(keep="factor").fit(patterns, targets)


def test_a_loaded_decoder_is_mapped_not_read(tmp_path):
    RidgeDecoder().fit(*simulated(40, 90)).save_pretrained(tmp_path)
    loaded = RidgeDecoder.from_pretrained(tmp_path)
    assert all(isinstance(values, np.memmap) for values in loaded.tensors_.values())


def test_other_targets_than_it_was_fitted_on_are_refused():
    patterns, targets = simulated(40, 90)
    decoder = RidgeDecoder(keep="factorisation").fit_targets(patterns, {"a": Table(targets)})
    with pytest.raises(InputError, match="fitted on .40, 7."):
        decoder.attach({"a": Table(targets[:, :5])}).predict(patterns)
    with pytest.raises(InputError, match="shape None"):
        decoder.attach({}).predict(patterns)


def test_each_column_may_have_its_own_penalty_vs_scikit_learn():
    patterns, clean = simulated(80, 30, n_targets=5, noise=0.1)
    noise = np.random.default_rng(5).normal(size=(80, 6))
    targets, alphas = np.hstack([clean, noise]), np.logspace(-1, 5, 13)
    decoder = RidgeDecoder(alphas=alphas, penalty="target", rescale="none").fit(patterns, targets)
    reference = RidgeCV(alphas=alphas, alpha_per_target=True).fit(standardised(patterns, patterns), targets)
    np.testing.assert_allclose(decoder.tensors_["column_alpha_"], reference.alpha_)
    new = simulated(7, 30, seed=9)[0]
    np.testing.assert_allclose(decoder.predict(new), reference.predict(standardised(new, patterns)), rtol=1e-7)
    assert decoder.alpha_["target"] == np.median(reference.alpha_)


def test_single_trials_equal_trials_with_repeated_targets():
    random = np.random.default_rng(3)
    stimuli = random.permutation(np.concatenate([np.arange(25), random.integers(0, 25, size=45)]))
    patterns, targets = random.normal(size=(70, 40)), random.normal(size=(25, 6))
    single = RidgeDecoder(alphas=30.0, rescale="none").fit(patterns, targets, stimuli=stimuli)
    repeated = RidgeDecoder(alphas=30.0, rescale="none").fit(patterns, targets[stimuli])
    new = random.normal(size=(5, 40))
    np.testing.assert_allclose(single.predict(new), repeated.predict(new), rtol=1e-9)
