"""The multiscale decoder against scikit-learn's pipelines, its laws, and shapes that it was never shown."""

import json
import re

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.feature_selection import SelectKBest, f_classif, f_regression
from sklearn.linear_model import BayesianRidge, LinearRegression, OrthogonalMatchingPursuit, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from stages.decoders.local.element_combination import held_out_folds
from stages.decoders.local.local_models import MODELS, rounded_levels
from stages.decoders.local.multiscale import MultiscaleDecoder
from stages.ground.errors import InputError

ALPHAS = [1.0, 10.0, 100.0, 1e3, 1e4]
REFERENCES = {
    "omp": lambda: OrthogonalMatchingPursuit(n_nonzero_coefs=6),
    "linear": LinearRegression,
    "bayesian_ridge": lambda: BayesianRidge(tol=1e-11, max_iter=50_000),
    "ridge": lambda: RidgeCV(alphas=ALPHAS),
    "univariate": LinearRegression,
}


def simulated(n_samples=120, n_voxels=150, grid=(5, 5), noise=1.0, seed=0):
    """Random binary pictures and voxels with Gaussian receptive fields, each in a unit of its own."""
    generator = np.random.default_rng(seed)
    pictures = (generator.random((n_samples, *grid)) < 0.5).astype(float)
    return respond(pictures, n_voxels, noise, seed + 1), pictures


def respond(pictures, n_voxels=150, noise=1.0, seed=1, fields_seed=99):
    generator = np.random.default_rng(fields_seed)
    rows, columns = pictures.shape[1:]
    row, column = generator.uniform(-0.5, [[rows - 0.5], [columns - 0.5]], size=(2, n_voxels))[..., None, None]
    width = generator.uniform(0.5, 1.2, size=(n_voxels, 1, 1))
    distance = (np.arange(rows)[:, None] - row) ** 2 + (np.arange(columns) - column) ** 2
    fields = np.exp(-distance / (2 * width**2)).reshape(n_voxels, -1)
    clean = pictures.reshape(len(pictures), -1) @ fields.T
    noisy = clean + noise * np.random.default_rng(seed).normal(size=clean.shape)
    return noisy * np.logspace(-1, 1, n_voxels) + 30


def decoder(**options):
    return MultiscaleDecoder(**({"n_voxels": 40, "n_nonzero": 6, "alphas": ALPHAS, "n_folds": 2} | options))


@parametrize_with_checks([MultiscaleDecoder(), *(MultiscaleDecoder(model=model) for model in MODELS[1:])])
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


@pytest.mark.parametrize("model", REFERENCES)
@pytest.mark.parametrize("n_samples, n_voxels", [(60, 80), (120, 40)])
def test_elements_vs_scikit_learns_pipelines(model, n_samples, n_voxels):
    patterns, pictures = simulated(n_samples)
    new = simulated(15, seed=5)[0]
    for selection, score in (("anova", f_classif), ("correlation", f_regression), ("none", f_regression)):
        fitted = decoder(model=model, selection=selection, n_voxels=n_voxels).fit(patterns, pictures)
        found = fitted.predict_elements(new)
        contrasts = fitted.elements_.contrasts(pictures)
        k = 1 if model == "univariate" else "all" if selection == "none" else n_voxels
        for element in range(0, found.shape[1], 7):
            pipeline = make_pipeline(SelectKBest(score, k=k), StandardScaler(), REFERENCES[model]())
            expected = pipeline.fit(patterns, contrasts[:, element]).predict(new)
            np.testing.assert_allclose(found[:, element], expected, rtol=1e-5, atol=1e-6)
            if fitted.selected_ is not None:
                chosen = pipeline[0].get_support(indices=True)
                np.testing.assert_array_equal(fitted.selected_[element], chosen)


@pytest.mark.parametrize("weights", ["equal", "sgd", "nnls"])
@pytest.mark.parametrize("model", ["omp", "ridge", "sparse_logistic"])
def test_shapes_never_shown_are_reconstructed(model, weights):
    patterns, pictures = simulated(250, 200, (6, 6), noise=0.7)
    shapes = np.zeros((4, 6, 6))
    shapes[0, 1:5, 1:5] = 1
    shapes[0, 2:4, 2:4] = 0
    shapes[1, :, 2:4] = shapes[2, 2:4, :] = 1
    shapes[3] = np.eye(6)
    assert not (pictures[:, None] == shapes).all(axis=(2, 3)).any()
    fitted = decoder(model=model, weights=weights, n_voxels=30).fit(patterns, pictures)
    predicted = fitted.predict(respond(shapes, 200, 0.7, seed=7))
    assert predicted.shape == (4, 6, 6)
    accuracy = ((predicted > 0.5) == (shapes > 0.5)).mean()
    assert accuracy > 0.85
    assert fitted.score(patterns, pictures) > 0.3
    shuffled = fitted.predict(respond(shapes[[1, 0, 3, 2]], 200, 0.7, seed=7))
    assert ((shuffled > 0.5) == (shapes > 0.5)).mean() < accuracy - 0.2


def test_equal_weights_are_nilearns_mean_of_four_pictures():
    patterns, pictures = simulated()
    fitted = decoder().fit(patterns, pictures)
    contrasts = fitted.predict_elements(patterns)
    assert contrasts.shape == (120, 25 + 20 + 20 + 16)
    expected = fitted.elements_.to_pixels(contrasts).mean(axis=1).reshape(120, 5, 5)
    np.testing.assert_allclose(fitted.predict(patterns), expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(fitted.size_weights_, 0.25)


def test_learned_weights_come_from_samples_that_were_held_out(monkeypatch):
    patterns, pictures = simulated(60)
    pictures[30:] = pictures[:30]
    seen = []
    whole = MultiscaleDecoder._fitted

    def watched(self, X, contrasts):
        seen.append((X.copy(), contrasts.copy()))
        return whole(self, X, contrasts)

    monkeypatch.setattr(MultiscaleDecoder, "_fitted", watched)
    fitted = decoder(weights="nnls", n_folds=3).fit(patterns, pictures, groups=np.arange(60) // 2)
    assert len(seen) == 4 and len(seen[-1][0]) == 60
    every = fitted.elements_.contrasts(pictures)
    for rows, contrasts in seen[:-1]:
        own = np.array([np.flatnonzero((patterns == row).all(axis=1))[0] for row in rows])
        held = np.setdiff1d(np.arange(60), own)
        assert len(held) and not set(own // 2) & set(held // 2) and not set(own % 30) & set(held % 30)
        np.testing.assert_array_equal(contrasts, every[own])
    assert (fitted.element_weights_ >= 0).all() and (fitted.element_weights_ > 0).any()
    by_size = [fitted.element_weights_[fitted.elements_.size_index == size].mean() for size in range(4)]
    np.testing.assert_allclose(fitted.size_weights_, by_size)


def test_learned_weights_beat_equal_ones_where_sizes_differ():
    patterns, pictures = simulated(300, 200, noise=0.3)
    new, shown = simulated(100, 200, noise=0.3, seed=11)
    error = {
        weights: np.mean((decoder(weights=weights).fit(patterns, pictures).predict(new) - shown) ** 2)
        for weights in ("equal", "sgd", "nnls")
    }
    assert error["sgd"] < error["equal"] and error["nnls"] < error["equal"]


@pytest.mark.parametrize("model", MODELS)
def test_order_and_units_of_samples_and_voxels(model):
    patterns, pictures = simulated(80, 60, (4, 4))
    new = simulated(10, 60, (4, 4), seed=5)[0]
    fitted = decoder(model=model, n_voxels=20, weights="nnls")
    expected = fitted.fit(patterns, pictures).predict(new)
    order, generator = np.random.default_rng(1).permutation(80), np.random.default_rng(2)
    found = fitted.fit(patterns[order], pictures[order]).predict(new)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        fitted.fit(patterns[:, ::-1], pictures).predict(new[:, ::-1]), expected, rtol=1e-6, atol=1e-6
    )
    scale, offset = 10 ** generator.uniform(-4, 4, 60) * generator.choice([-1, 1], 60), generator.normal(size=60)
    found = fitted.fit(patterns * scale + offset, pictures).predict(new * scale + offset)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_one_pattern_alone_is_predicted_as_among_others(model):
    patterns, pictures = simulated(80, 60, (4, 4))
    fitted = decoder(model=model, n_voxels=20).fit(patterns, pictures)
    together = fitted.predict(patterns)
    for row in (0, 17, 79):
        np.testing.assert_allclose(fitted.predict(patterns[[row]])[0], together[row], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("weights", ["equal", "nnls"])
def test_round_trip_through_files(model, weights, tmp_path):
    patterns, pictures = simulated(60, 50, (3, 4))
    selection = "none" if weights == "nnls" else "anova"
    fitted = decoder(model=model, weights=weights, selection=selection, n_voxels=15, sizes=[(1, 1), (2, 3)])
    fitted.fit(patterns, pictures).save_pretrained(tmp_path / "decoder")
    assert sorted(path.name for path in (tmp_path / "decoder").iterdir()) == ["config.json", "model.safetensors"]
    assert load_file(tmp_path / "decoder" / "model.safetensors")["coef_"].shape == fitted.coef_.shape
    loaded = MultiscaleDecoder.from_pretrained(tmp_path / "decoder")
    np.testing.assert_array_equal(loaded.predict(patterns), fitted.predict(patterns))
    np.testing.assert_array_equal(loaded.predict_elements(patterns), fitted.predict_elements(patterns))
    assert loaded.describe() == fitted.describe()
    assert loaded.elements_.sizes == ((1, 1), (2, 3))
    loaded.save_pretrained(tmp_path / "again")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "decoder" / name).read_bytes()
    loaded.fit(patterns, pictures)
    np.testing.assert_array_equal(loaded.predict(patterns), fitted.predict(patterns))


def test_files_of_something_else(tmp_path):
    patterns, pictures = simulated(30, 50, (3, 3))
    decoder().fit(patterns, pictures).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"class": "RidgeDecoder"}))
    with pytest.raises(InputError, match="holds a 'RidgeDecoder', expected a 'MultiscaleDecoder'"):
        MultiscaleDecoder.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="config.json is missing"):
        MultiscaleDecoder.from_pretrained(tmp_path / "nowhere")


def test_predictions_have_the_layout_of_the_pictures():
    patterns, pictures = simulated(50, 40, (4, 4))
    cubes = decoder().fit(patterns, pictures).predict(patterns)
    flat = decoder().fit(patterns, pictures.reshape(50, 16)).predict(patterns)
    assert cubes.shape == (50, 4, 4)
    np.testing.assert_array_equal(flat, cubes.reshape(50, 16))
    other = decoder(grid=(2, 8)).fit(patterns, pictures.reshape(50, 16))
    assert other.predict(patterns).shape == (50, 16) and other.elements_.grid == (2, 8)
    row = decoder().fit(patterns, pictures.reshape(50, 16)[:, :7])
    assert row.elements_.grid == (1, 7) and row.elements_.sizes == ((1, 1), (1, 2))
    assert decoder().fit(patterns, pictures[:, 0, 0]).predict(patterns).shape == (50,)


@pytest.mark.parametrize("model", MODELS)
def test_constant_cells_and_constant_voxels(model):
    patterns, pictures = simulated(60, 50, (4, 4))
    pictures[:, :2, :2] = 0.3
    patterns[:, ::3] = 1e6 / 3
    for weights in ("equal", "nnls"):
        for n_voxels in (20, 45):
            fitted = decoder(model=model, weights=weights, n_voxels=n_voxels, n_folds=3).fit(patterns, pictures)
            contrasts = fitted.predict_elements(patterns + np.arange(50) % 3 * 0.1)
            constant = np.ptp(fitted.elements_.contrasts(pictures), axis=0) < 1e-9
            np.testing.assert_allclose(contrasts[:, constant], 0.3, rtol=1e-12)
            assert np.isfinite(fitted.predict(patterns)).all() and not fitted.coef_[:, ::3].any()
            if fitted.selected_ is not None:
                assert (fitted.selected_[constant] == -1).all() and (fitted.selected_[~constant] >= 0).all()
    uniform = decoder(model=model).fit(patterns, np.full((60, 4, 4), 2.0))
    np.testing.assert_allclose(uniform.predict(patterns), 2)


@pytest.mark.parametrize("model", MODELS)
def test_grey_pictures_and_few_samples(model):
    patterns, pictures = simulated(60, 50, (4, 4))
    grey = pictures + 0.2 * np.random.default_rng(0).random(pictures.shape)
    fitted = decoder(model=model).fit(patterns, grey)
    np.testing.assert_array_equal(
        fitted.selected_, decoder(model=model, selection="correlation").fit(patterns, grey).selected_
    )
    for n_samples in (2, 3, 5):
        assert np.isfinite(decoder(model=model).fit(patterns[:n_samples], pictures[:n_samples]).predict(patterns)).all()


def test_classifiers_predict_contrasts_that_were_shown():
    patterns, pictures = simulated(100, 60, (4, 4))
    fitted = decoder(model="sparse_logistic", n_voxels=15).fit(patterns, pictures)
    assert set(np.unique(fitted.predict_elements(patterns))) <= {0, 0.25, 0.5, 0.75, 1}
    assert len(fitted.coef_) == len(fitted.intercept_) == len(fitted.coef_level_) == 16 * 2 + 24 * 3 + 9 * 5
    coarse = decoder(model="sparse_logistic", n_voxels=15, n_levels=3, sizes=[(2, 2)]).fit(patterns, pictures)
    assert set(coarse.coef_level_) == {0, 0.5, 1}
    levels, classes = rounded_levels(np.array([0, 0.1, 0.26, 0.6, 1.0]), 5)
    assert levels.tolist() == [0, 0.25, 0.5, 1] and classes.tolist() == [0, 0, 1, 2, 3]


def test_threads_change_nothing():
    patterns, pictures = simulated(60, 50, (4, 4))
    for model in ("linear", "sparse_logistic"):
        alone, together = (decoder(model=model, n_voxels=15, n_jobs=n).fit(patterns, pictures) for n in (1, 3))
        np.testing.assert_array_equal(together.predict(patterns), alone.predict(patterns))


@pytest.mark.slow
def test_processes_change_nothing(monkeypatch):
    from stages.decoders.local import local_models

    patterns, pictures = simulated(60, 50, (4, 4))
    alone = decoder(model="sparse_logistic", n_voxels=15).fit(patterns, pictures)
    monkeypatch.setattr(local_models, "WORTH_PROCESSES", 0.0)
    together = decoder(model="sparse_logistic", n_voxels=15, n_jobs=2).fit(patterns, pictures)
    for name, values in alone.tensors_.items():
        np.testing.assert_array_equal(together.tensors_[name], values)


def test_ridge_leaves_all_trials_of_a_picture_out():
    """Six pictures of five trials each: noise that trials share looks like signal to whoever leaves out one trial."""
    from sklearn.linear_model import Ridge

    generator = np.random.default_rng(0)
    shown = np.repeat(np.arange(6), 5)
    pictures = generator.random((6, 2, 2))[shown]
    patterns = generator.normal(size=(6, 12))[shown] + 0.5 * generator.normal(size=(30, 12))
    alphas = (0.1, 10.0, 1e3)
    found = MultiscaleDecoder(sizes=1, model="ridge", selection="none", alphas=alphas).fit(patterns, pictures)
    voxels, targets = (patterns - patterns.mean(axis=0)) / patterns.std(axis=0), pictures.reshape(30, 4)
    errors = np.zeros((3, 4))
    for index, alpha in enumerate(alphas):
        for own in range(6):
            model = Ridge(alpha, tol=1e-12).fit(voxels[shown != own], targets[shown != own])
            errors[index] += ((model.predict(voxels[shown == own]) - targets[shown == own]) ** 2).sum(axis=0)
    np.testing.assert_array_equal(found.alpha_, np.array(alphas)[errors.argmin(axis=0)])


def test_float32_patterns_are_worked_on_in_float64():
    patterns, pictures = simulated(60, 50, (4, 4))
    single = patterns.astype(np.float32)
    found = decoder().fit(single, pictures).predict(single)
    np.testing.assert_array_equal(found, decoder().fit(single.astype(float), pictures).predict(single.astype(float)))


def refuse(message, function, *arguments, **named):
    with pytest.raises(InputError, match=message) as caught:
        function(*arguments, **named)
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text


def test_hostile_parameters():
    patterns, pictures = simulated(30, 20, (4, 4))
    for name, choices in {
        "model": "'omp', 'linear', 'bayesian_ridge', 'ridge', 'sparse_logistic', 'univariate'",
        "selection": "'anova', 'correlation', 'none'",
        "weights": "'equal', 'sgd', 'nnls'",
    }.items():
        refuse(f"{name} is 'best'; expected one of {choices}", decoder(**{name: "best"}).fit, patterns, pictures)
    for name, value in {"n_voxels": 0, "n_nonzero": 2.5, "n_levels": 1, "n_folds": True, "random_state": -1}.items():
        refuse(f"{name} is {value}; expected", decoder(**{name: value}).fit, patterns, pictures)
    for alphas in ([], [0.0, 1.0], [-1.0], 3.0, ["a"], [np.nan]):
        refuse("alphas is", decoder(model="ridge", alphas=alphas).fit, patterns, pictures)
    refuse("1 x 5 cells do not fit into a picture of 4 x 4", decoder(sizes=5).fit, patterns, pictures)
    refuse("grid is 2 x 8", decoder(grid=(2, 8)).fit, patterns, pictures)
    refuse("grid is 3 x 5", decoder(grid=(3, 5)).fit, patterns, pictures.reshape(30, 16))
    few = decoder(weights="sgd", n_folds=7)
    refuse("There are 6 sets .* n_folds is 7; pass n_folds=6", few.fit, patterns[:6], pictures[:6])
    refuse("There are 2 sets", few.fit, patterns, pictures, groups=np.arange(30) % 2)


def test_pictures_that_repeat_over_runs_leave_groups_nothing_to_hold_out():
    patterns, pictures = simulated(48, 20, (4, 4))
    pictures = np.tile(pictures[:6], (8, 1, 1))
    runs = np.repeat(np.arange(8), 6)
    told = (
        r"There are 1 sets .* but n_folds is 2; leave groups out, .* leaks into the weights\), or pass weights='equal'"
    )
    refuse(told, decoder(weights="nnls", n_folds=2).fit, patterns, pictures, groups=runs)
    # Without groups the repeats of a picture stay together.
    folds = held_out_folds(pictures.reshape(48, 16), None, 2)
    assert all(not set(train % 6) & set(test % 6) for train, test in folds)
    assert all(set(train // 6) & set(test // 6) for train, test in folds)
    decoder(weights="nnls", n_folds=2).fit(patterns, pictures)
    decoder(weights="equal").fit(patterns, pictures, groups=runs)


@pytest.mark.parametrize("n_pictures", [1, 2, 3, 6])
@pytest.mark.parametrize("n_groups", [None, 1, 2, 4])
@pytest.mark.parametrize("n_folds", [2, 3, 7])
def test_the_number_of_folds_that_is_advised_is_one_that_works(n_pictures, n_groups, n_folds):
    pictures = np.eye(n_pictures)[np.arange(24) % n_pictures]
    groups = None if n_groups is None else np.arange(24) % n_groups
    try:
        assert len(held_out_folds(pictures, groups, n_folds)) == n_folds
    except InputError as error:
        advised = re.search(r"pass n_folds=(\d+)", str(error))
        if advised:
            assert int(advised[1]) < n_folds and held_out_folds(pictures, groups, int(advised[1]))
        if "leave groups out" in str(error):
            assert len(held_out_folds(pictures, None, n_folds)) == n_folds


def test_hostile_arrays():
    patterns, pictures = simulated(30, 20, (4, 4))
    for hole in (np.nan, np.inf):
        for broken in (patterns, pictures):
            holed = broken.copy()
            holed.flat[5] = hole
            with pytest.raises(ValueError, match="NaN|infinity"):
                decoder().fit(*((holed, pictures) if broken is patterns else (patterns, holed)))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        decoder().fit(patterns[1:], pictures)
    with pytest.raises(ValueError, match="19 features"):
        decoder().fit(patterns, pictures).predict(patterns[:, 1:])
    with pytest.raises(ValueError):
        decoder().fit(patterns, pictures[None])


def test_inputs_are_left_alone():
    patterns, pictures = simulated(40, 20, (4, 4))
    kept = patterns.copy(), pictures.copy()
    for model in MODELS:
        decoder(model=model, weights="nnls", n_folds=2).fit(patterns, pictures).predict(patterns)
    np.testing.assert_array_equal(patterns, kept[0])
    np.testing.assert_array_equal(pictures, kept[1])
