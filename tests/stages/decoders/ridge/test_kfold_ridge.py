"""A penalty per column by folds, against brute force, scikit-learn and himalaya."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold
from sklearn.preprocessing import StandardScaler

from brainrecon.assembly.resumable_ridge import fit_by_blocks
from stages.decoders.ridge.kfold_ridge import ALPHAS, KFoldRidgeDecoder
from stages.ground.errors import InputError

GRID = (1e-2, 1.0, 1e2, 1e4)


def data(n_trials=61, n_voxels=14, n_columns=9, mean=3.0, seed=0):
    """Columns of unequal noise, so that they choose unequal penalties; voxels of unequal size and mean."""
    random = np.random.default_rng(seed)
    patterns = random.normal(size=(n_trials, n_voxels)) * random.uniform(1, 300, n_voxels) + 10
    signal = StandardScaler().fit_transform(patterns) @ random.normal(size=(n_voxels, n_columns))
    targets = signal + random.normal(size=signal.shape) * np.logspace(-1, 2.5, n_columns) + mean
    return patterns, targets


def searched(patterns, targets, grid, cv, intercept):
    """Penalty and predictions of every column, by scikit-learn's grid search, one column at a time."""
    X = StandardScaler().fit_transform(patterns)
    found = [
        GridSearchCV(Ridge(fit_intercept=intercept), {"alpha": grid}, scoring="neg_mean_squared_error", cv=cv).fit(X, y)
        for y in targets.T
    ]
    return np.array([one.best_params_["alpha"] for one in found]), np.stack([one.predict(X) for one in found], axis=1)


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("n_voxels", [14, 90])
def test_penalties_and_predictions_vs_scikit_learn(intercept, n_voxels):
    patterns, targets = data(n_voxels=n_voxels)
    decoder = KFoldRidgeDecoder(GRID, intercept=intercept).fit(patterns, targets)
    alpha, predictions = searched(patterns, targets, GRID, KFold(5), intercept)
    assert len(set(alpha)) > 1
    np.testing.assert_array_equal(decoder.tensors_["column_alpha_"], alpha)
    np.testing.assert_allclose(decoder.predict(patterns), predictions, rtol=1e-6, atol=1e-6)


def test_penalties_vs_the_formula_written_out():
    """w = (X'X + alpha)^-1 X'y on four blocks of trials, its mean squared error on the fifth."""
    patterns, targets = data()
    X = (patterns - patterns.mean(axis=0)) / patterns.std(axis=0)
    blocks, errors = np.split(np.arange(61), [13, 25, 37, 49]), []
    for alpha in GRID:
        of_fold = []
        for block in blocks:
            rest = np.setdiff1d(np.arange(61), block)
            weights = np.linalg.solve(X[rest].T @ X[rest] + alpha * np.eye(14), X[rest].T @ targets[rest])
            of_fold.append(((X[block] @ weights - targets[block]) ** 2).mean(axis=0))
        errors.append(np.mean(of_fold, axis=0))
    decoder = KFoldRidgeDecoder(GRID, intercept=False).fit(patterns, targets)
    np.testing.assert_array_equal(decoder.tensors_["column_alpha_"], np.array(GRID)[np.argmin(errors, axis=0)])
    least = np.min(errors, axis=0) / targets.var(axis=0, ddof=1)
    np.testing.assert_allclose(decoder.tensors_["column_error_"], least, rtol=1e-6)
    assert decoder.error_["target"] == [pytest.approx(least.mean())]


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("grid", [GRID, ALPHAS])
def test_vs_himalaya(intercept, grid):
    himalaya = pytest.importorskip("himalaya.ridge")
    patterns, targets = data(n_trials=200)
    X = StandardScaler().fit_transform(patterns)
    theirs = himalaya.RidgeCV(alphas=grid, fit_intercept=intercept, cv=5).fit(X, targets)
    ours = KFoldRidgeDecoder(grid, intercept=intercept).fit(patterns, targets)
    np.testing.assert_allclose(ours.tensors_["column_alpha_"], theirs.best_alphas_, rtol=1e-9)
    np.testing.assert_allclose(ours.predict(patterns), theirs.predict(X), rtol=1e-5, atol=1e-5)


def test_without_an_intercept_the_mean_is_not_modelled():
    patterns, targets = data(mean=50.0)
    without = KFoldRidgeDecoder(intercept=False).fit(patterns, targets).predict(patterns)
    assert np.abs(without.mean(axis=0)).max() < 1e-9
    with_it = KFoldRidgeDecoder().fit(patterns, targets).predict(patterns)
    np.testing.assert_allclose(with_it.mean(axis=0), targets.mean(axis=0), rtol=1e-9)


@pytest.fixture
def repeats():
    """Each of 20 stimuli shown three times, in a random order; rows of the targets by stimulus."""
    patterns, targets = data(n_trials=60)
    shown = np.random.default_rng(4).permutation(np.repeat(np.arange(20), 3))
    return patterns + 40 * targets[shown] @ np.ones((9, 14)), targets[:20], shown


@pytest.mark.parametrize("intercept", [False, True])
def test_trials_of_stimuli_are_rows_of_their_own(repeats, intercept):
    patterns, targets, shown = repeats
    decoder = KFoldRidgeDecoder(GRID, intercept=intercept).fit(patterns, targets, stimuli=shown)
    alone = KFoldRidgeDecoder(GRID, intercept=intercept).fit(patterns, targets[shown])
    np.testing.assert_array_equal(decoder.tensors_["column_alpha_"], alone.tensors_["column_alpha_"])
    np.testing.assert_allclose(decoder.predict(patterns), alone.predict(patterns), rtol=1e-7, atol=1e-7)
    assert decoder.error_["target"] == [pytest.approx(alone.error_["target"][0])]


def test_folds_of_stimuli_hold_all_trials_of_one_out(repeats):
    patterns, targets, shown = repeats
    decoder = KFoldRidgeDecoder(GRID, folds=4, folds_of="stimuli").fit(patterns, targets, stimuli=shown)
    folds = list(GroupKFold(4).split(patterns, groups=shown // 5))
    alpha, predictions = searched(patterns, targets[shown], GRID, folds, intercept=True)
    np.testing.assert_array_equal(decoder.tensors_["column_alpha_"], alpha)
    np.testing.assert_allclose(decoder.predict(patterns), predictions, rtol=1e-6, atol=1e-6)


def test_float32_is_near_float64():
    patterns, targets = data(n_trials=200)
    whole = KFoldRidgeDecoder(GRID).fit(patterns, targets)
    single = KFoldRidgeDecoder(GRID).fit(patterns.astype(np.float32), targets.astype(np.float32))
    np.testing.assert_array_equal(single.tensors_["column_alpha_"], whole.tensors_["column_alpha_"])
    expected = whole.predict(patterns)
    assert np.abs(single.predict(patterns.astype(np.float32)) - expected).max() < 1e-4 * expected.std()


def test_narrow_blocks_and_known_patterns_give_the_same():
    patterns, targets = data(n_columns=100)
    targets = {"a": targets[:, :70], "b": targets[:, 70:]}
    whole = KFoldRidgeDecoder(GRID).fit_targets(patterns, targets)
    narrow = KFoldRidgeDecoder(GRID).start(patterns, targets)
    narrow.tensors_ = {name: np.zeros(*one) for name, one in narrow.layout().items()}
    narrow.choose(targets)
    for solved in narrow.solve(targets, patterns[:5], width=32):
        expected = whole.split(whole.predict(patterns[:5]))[solved.block.name][:, solved.block.columns]
        np.testing.assert_allclose(solved.predictions, expected, rtol=1e-7, atol=1e-7)
    narrow.finish()
    np.testing.assert_allclose(narrow.tensors_["coef_"], whole.tensors_["coef_"], rtol=1e-7, atol=1e-9)
    assert narrow.summary() == whole.summary()


def test_interrupted_anywhere_the_files_are_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("stages.decoders.ridge.target_blocks.COLUMNS_PER_BLOCK", 32)
    patterns, targets = (values.astype(np.float32) for values in data(n_columns=100))
    targets = {"a": targets[:, :70], "b": targets[:, 70:]}

    def files(folder, stop=None):
        def progress(label, done, total):
            if label == "predicting targets" and done == stop:
                raise KeyboardInterrupt

        new = dict(new_patterns=patterns[:5], new_ids=list("abcde"), embeddings=folder / "test.safetensors")
        fit_by_blocks(
            KFoldRidgeDecoder(GRID), patterns, targets, folder, progress=progress, seconds_between_notes=0.0, **new
        )
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}

    whole = files(tmp_path / "whole")
    assert sorted(whole) == ["config.json", "model.safetensors", "test.safetensors"]
    for stop in (32, 70, 100):
        with pytest.raises(KeyboardInterrupt):
            files(tmp_path / str(stop), stop)
        assert files(tmp_path / str(stop)) == whole


def test_one_penalty_needs_no_folds():
    patterns, targets = data(n_trials=4)
    decoder = KFoldRidgeDecoder(2.0).fit(patterns, targets)
    X = StandardScaler().fit_transform(patterns)
    np.testing.assert_allclose(decoder.predict(patterns), Ridge(2.0).fit(X, targets).predict(X), rtol=1e-6, atol=1e-6)
    assert decoder.alpha_ == {"target": 2.0} and np.isnan(decoder.error_["target"]).all()


def test_a_voxel_that_does_not_vary_changes_nothing():
    patterns, targets = data()
    more = np.hstack([patterns, np.full((61, 1), 7.0)])
    expected = KFoldRidgeDecoder(GRID).fit(patterns, targets).predict(patterns)
    found = KFoldRidgeDecoder(GRID).fit(more, targets).predict(more)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 1}, "folds is 1"),
        ({"folds": 100}, "There are 61 trials for 100 folds; pass folds=61"),
        ({"folds_of": "runs"}, "folds_of is 'runs'"),
        ({"alphas": (0.0, 1.0)}, "alphas"),
        ({"memory": 1e6}, "--memory"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        KFoldRidgeDecoder(**options).fit(*data())
