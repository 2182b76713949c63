"""The ridge solver against float64 references, leave-one-out against refitting, and streaming against all at once."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from stages.decoders.ridge import leave_one_out
from stages.decoders.ridge.factorisation import Cholesky, Eigendecomposition, TrainingPatterns, centre
from stages.decoders.ridge.leave_one_out import HeldOut, LeaveOneOut, Trials
from stages.decoders.ridge.ridge_solver import RidgeSolver, ridge_predictions
from stages.decoders.ridge.target_blocks import plan, sketch, width_for

SHAPES = {"fewer trials than voxels": (60, 150), "more trials than voxels": (150, 60)}


def simulated(n_stimuli, n_voxels, n_targets=9, seed=0, dtype=np.float64):
    random = np.random.default_rng(seed)
    patterns = random.normal(2, 3, size=(n_stimuli, n_voxels))
    targets = (
        patterns @ random.normal(size=(n_voxels, n_targets)) + 10 + 20 * random.normal(size=(n_stimuli, n_targets))
    )
    return patterns.astype(dtype), targets.astype(dtype)


def standardised(patterns, train):
    scale = train.std(axis=0, ddof=1)
    return (patterns - train.mean(axis=0)) / np.where(scale > 0, scale, 1)


def reference(patterns, targets, new, alpha):
    """Ridge in float64 through the singular values: no Gram matrix, no factor."""
    patterns, targets, new = (np.asarray(array, np.float64) for array in (patterns, targets, new))
    left, values, right = np.linalg.svd(standardised(patterns, patterns), full_matrices=False)
    shrunk = values / (values**2 + alpha)
    centred = targets - targets.mean(axis=0)
    return (standardised(new, patterns) @ right.T * shrunk) @ (left.T @ centred) + targets.mean(axis=0)


def awkward(patterns, kind, seed=1):
    """Patterns with duplicated or nearly constant voxels."""
    random, patterns = np.random.default_rng(seed), patterns.copy()
    n = patterns.shape[1] // 4
    if kind == "duplicated":
        patterns[:, n : 2 * n] = patterns[:, :n]
    if kind == "nearly duplicated":
        patterns[:, n : 2 * n] = patterns[:, :n] + 1e-4 * random.normal(size=patterns[:, :n].shape)
    if kind == "nearly constant":
        patterns[:, :n] = 1000 + 0.01 * patterns[:, :n]
    if kind == "strong common signal":
        patterns += 50 * random.normal(size=(len(patterns), 1))
    return patterns.astype(np.float32)


@pytest.mark.parametrize(
    "kind", ["plain", "duplicated", "nearly duplicated", "nearly constant", "strong common signal"]
)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_single_precision_vs_float64_reference(shape, kind):
    patterns, targets = simulated(*shape, n_targets=40)
    # About zero: far from it a float32 has no room for a ten-thousandth of a strongly shrunk prediction.
    targets = (targets - targets.mean(axis=0)).astype(np.float32)
    new = simulated(25, shape[1], seed=3)[0].astype(np.float32)
    both = awkward(np.vstack([patterns, new]), kind)
    patterns, new = both[: shape[0]], both[shape[0] :]
    for alpha in 10.0 ** np.arange(-1, 7):
        expected = reference(patterns, targets, new, alpha)
        found = ridge_predictions(patterns, targets, new, alpha)
        assert found.dtype == np.float32
        assert (np.abs(found - expected).max(axis=0) <= 1e-4 * expected.std(axis=0)).all(), alpha
        # The same through eigenvalues, as after a search.
        solver = RidgeSolver(patterns, {"target": 40}, shape[0], [alpha, 10 * alpha]).factorise()
        solver.chosen = {"target": alpha}
        (solved,) = solver.solve({"target": targets}, new)
        assert (np.abs(solved.predictions - expected).max(axis=0) <= 1e-4 * expected.std(axis=0)).all(), alpha


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("factor", ["Eigendecomposition", "Cholesky"])
def test_held_out_predictions_vs_refitting_without_each_stimulus(shape, factor):
    patterns, targets = simulated(*shape)
    stimuli = np.random.default_rng(0).permutation(np.arange(shape[0]) * 2 // 5 * 1)  # two or three trials each
    n_stimuli = stimuli.max() + 1
    targets = targets[:n_stimuli]
    training, trials = TrainingPatterns(patterns), Trials(n_stimuli, stimuli)
    gram = training.gram()
    made = Cholesky.of(gram, [30.0]) if factor == "Cholesky" else Eigendecomposition.of(gram)
    chosen = np.arange(0, n_stimuli, 7)
    mean = targets[stimuli].mean(axis=0)
    held_out = HeldOut(training, trials, chosen)
    cross = training.cross(patterns[held_out.rows])
    found = held_out.smoother(made, cross, 30.0).numpy() @ (targets - mean) + mean
    for row, left_out in enumerate(chosen):
        rest = stimuli != left_out
        # Standardisation is that of all trials.
        fitted = Ridge(30.0).fit(standardised(patterns[rest], patterns), targets[stimuli[rest]])
        expected = fitted.predict(standardised(patterns[~rest], patterns)).mean(axis=0)
        # About the mean of those it was predicted from.
        np.testing.assert_allclose(found[row], expected - targets[stimuli[rest]].mean(axis=0) + mean, rtol=1e-7)


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_errors_vs_refitting_without_each_stimulus(shape, repeated):
    patterns, targets = simulated(*shape, n_targets=4)
    stimuli = np.sort(np.arange(shape[0]) % 40) if repeated else np.arange(shape[0])
    n_stimuli = stimuli.max() + 1
    targets, alphas = targets[:n_stimuli], [0.5, 40.0, 3e3]
    expected = np.empty((len(alphas), 4))
    for i, alpha in enumerate(alphas):
        residuals, baseline = np.empty_like(targets), np.empty_like(targets)
        for left_out in range(n_stimuli):
            rest = stimuli != left_out
            fitted = Ridge(alpha).fit(standardised(patterns[rest], patterns), targets[stimuli[rest]])
            predicted = fitted.predict(standardised(patterns[~rest], patterns)).mean(axis=0)
            residuals[left_out] = targets[left_out] - predicted
            baseline[left_out] = targets[left_out] - targets[stimuli[rest]].mean(axis=0)
        expected[i] = (residuals**2).mean(axis=0) / (baseline**2).mean(axis=0)
    training, trials = TrainingPatterns(patterns), Trials(n_stimuli, stimuli)
    factor = Eigendecomposition.of(training.gram())
    values = torch.tensor(targets)
    centre(values, torch.tensor(trials.counts, dtype=torch.float64))
    search = LeaveOneOut(training.left(factor, torch.float64), factor.values, trials, alphas)
    np.testing.assert_allclose(search.errors(values, per_column=True), expected, rtol=1e-7)
    np.testing.assert_allclose(search.errors(values, prune=False), expected.mean(axis=1), rtol=1e-7)


@pytest.mark.parametrize("seed", range(20))
def test_pruning_never_changes_the_choice(seed):
    random = np.random.default_rng(seed)
    n_stimuli, n_voxels = random.integers(20, 80, size=2)
    # From mere noise to nearly exact, with some stimuli of high leverage.
    patterns = random.normal(size=(n_stimuli, n_voxels)) * random.lognormal(sigma=1, size=(n_stimuli, 1))
    targets = patterns @ random.normal(size=(n_voxels, 6)) + 10 ** random.uniform(-1, 3) * random.normal(
        size=(n_stimuli, 6)
    )
    training, trials = TrainingPatterns(patterns), Trials(n_stimuli)
    factor, values = Eigendecomposition.of(training.gram()), torch.tensor(targets)
    centre(values)
    alphas = np.logspace(-2, 7, 25)
    search = LeaveOneOut(training.left(factor, torch.float64), factor.values, trials, alphas)
    every, pruned = search.errors(values, prune=False), search.errors(values)
    assert np.nanargmin(pruned) == np.argmin(every)
    known = np.isfinite(pruned)
    np.testing.assert_allclose(pruned[known], every[known])
    assert (every[~known] > every.min()).all()


def test_pruning_spares_most_of_the_work():
    patterns, targets = simulated(200, 300, n_targets=20)
    training, trials, values = TrainingPatterns(patterns), Trials(200), torch.tensor(targets)
    factor = Eigendecomposition.of(training.gram())
    centre(values)
    left = training.left(factor, torch.float64)
    errors = LeaveOneOut(left, factor.values, trials, np.logspace(-1, 7, 25)).errors(values)
    assert 1 <= np.isfinite(errors).sum() <= 12


def test_error_of_the_mean_is_one_under_a_huge_penalty():
    patterns, targets = simulated(50, 20)
    training, values = TrainingPatterns(patterns), torch.tensor(targets)
    factor = Eigendecomposition.of(training.gram())
    centre(values)
    left = training.left(factor, torch.float64)
    errors = LeaveOneOut(left, factor.values, Trials(50), [1e12]).errors(values)
    assert errors[0] == pytest.approx(1, rel=1e-6)


def test_repeats_left_behind_would_give_the_stimulus_away():
    """Noise that a stimulus's trials share looks like signal unless they are left out together."""
    random = np.random.default_rng(0)
    stimuli = np.repeat(np.arange(40), 3)
    patterns = np.repeat(random.normal(size=(40, 200)), 3, axis=0) + 0.1 * random.normal(size=(120, 200))
    targets = random.normal(size=(40, 30))
    together = RidgeSolver(patterns, {"a": 30}, 40, np.logspace(0, 6, 13), stimuli=stimuli).factorise()
    apart = RidgeSolver(patterns, {"a": 30}, 120, np.logspace(0, 6, 13)).factorise()
    together.choose({"a": targets}), apart.choose({"a": targets[stimuli]})
    assert np.nanmin(apart.errors["a"]) < 0.2
    assert np.nanmin(together.errors["a"]) > 0.95
    assert together.chosen["a"] > 1000 * apart.chosen["a"]


class Table:
    """Targets given by columns, as from a file; notes what was asked for."""

    def __init__(self, values):
        self.values, self.shape, self.asked = values, values.shape, []

    def columns(self, start, stop, out=None):
        self.asked.append((start, stop))
        if out is None:
            return self.values[:, start:stop].copy()
        out[...] = self.values[:, start:stop]
        return out


@pytest.mark.parametrize("rescale", ["none", "held_out", "transductive"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_blocks_of_any_width_and_any_beginning_give_the_same(shape, rescale):
    patterns, targets = simulated(*shape, n_targets=150, dtype=np.float32)
    new = simulated(11, shape[1], seed=2, dtype=np.float32)[0]
    groups = {"a": 70, "b": 1, "c": 79}
    tables = {block.name: Table(targets[:, block.place]) for block in plan(groups, 150)}

    def solved(width, start=0, **options):
        solver = RidgeSolver(
            patterns, groups, shape[0], [1e2, 1e4], rescale=rescale, held_out="all", **options
        ).factorise()
        solver.choose(tables)
        return list(solver.solve(tables, new, width=width, start=start, weights=True))

    whole = solved(4096)
    assert [block.block.name for block in whole] == ["a", "b", "c"]
    together = np.hstack([block.predictions for block in whole])
    for width in (1, 32, 50):
        parts = solved(width)
        assert all(part.predictions.shape[1] <= width for part in parts)
        for name in ("predictions", "weights", "mean", "scale", "predicted_mean", "predicted_scale", "correlation"):
            expected = np.concatenate([getattr(block, name) for block in whole], axis=-1)
            found = np.concatenate([getattr(part, name) for part in parts], axis=-1)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).mean())
    rest = solved(32, start=3)
    np.testing.assert_array_equal(rest[0].predictions, solved(32)[3].predictions)
    # Weights predict what the smoother predicts.
    coefficients = np.hstack([block.weights for block in whole])
    mean = np.concatenate([block.mean for block in whole])
    if rescale == "none":
        np.testing.assert_allclose(standardised(new, patterns) @ coefficients + mean, together, rtol=1e-4, atol=1e-3)


def test_new_patterns_on_the_way_are_rescaled_by_the_published_formula():
    patterns, targets = simulated(50, 80, n_targets=9)
    new = simulated(11, 80, seed=2)[0]

    def predicted(rescale):
        solver = RidgeSolver(patterns, {"a": 9}, 50, 10.0, rescale=rescale).factorise()
        return np.hstack([block.predictions for block in solver.solve({"a": targets}, new)])

    plain = predicted("none")
    expected = (plain - np.mean(plain, axis=0)) / np.std(plain, axis=0) * np.std(targets, axis=0) + targets.mean(axis=0)
    np.testing.assert_allclose(predicted("transductive"), expected, rtol=1e-6)


def test_targets_are_read_once_by_blocks():
    patterns, targets = simulated(50, 80, n_targets=100, dtype=np.float32)
    table = Table(targets)
    solver = RidgeSolver(patterns, {"a": 100}, 50, 10.0).factorise()
    for _ in solver.solve({"a": table}, patterns, width=32):
        pass
    assert table.asked == [(0, 32), (32, 64), (64, 96), (96, 100)]


def test_a_sketch_is_random_runs_of_columns():
    parts = sketch("a", 10_000, 2048, seed=0)
    columns = np.concatenate([np.arange(part.start, part.stop) for part in parts])
    assert 2048 <= len(columns) <= 2048 + 64 and len(np.unique(columns)) == len(columns)
    assert all(part.start % 32 == 0 for part in parts)
    assert parts == sketch("a", 10_000, 2048, seed=0)
    assert parts != sketch("b", 10_000, 2048, seed=0) and parts != sketch("a", 10_000, 2048, seed=1)
    assert sketch("a", 2048, 2048, seed=0) == [slice(0, 2048)]
    sizes = [
        sum(p.stop - p.start for p in sketch("a", n, 2048, seed)) for n in (2050, 2100, 5001) for seed in range(30)
    ]
    assert min(sizes) >= 2048


def test_the_penalty_of_a_sketch_is_that_of_all_columns():
    patterns, targets = simulated(80, 120, n_targets=1500)
    grid = np.logspace(0, 6, 13)
    chosen = []
    for size in (200, 1500):
        solver = RidgeSolver(patterns, {"a": 1500}, 80, grid, sketch=size).factorise()
        chosen.append(solver.choose({"a": targets}).chosen["a"])
    assert chosen[0] == chosen[1]


def test_width_follows_the_budget():
    assert width_for(np.inf, 8859, 1868, 4) == 4096
    assert width_for(1e9, 8859, 1868, 4) % 32 == 0
    assert width_for(1e9, 8859, 1868, 4) * 4 * (4 * 8859 + 3 * 1868) <= 1e9
    assert width_for(0, 8859, 1868, 4) == 32


def test_columns_are_centred_whatever_their_mean():
    values = np.random.default_rng(0).normal([0, 1e4, -1e6, 5], [1, 1, 10, 0], size=(300, 4)).astype(np.float32)
    counts = np.random.default_rng(1).integers(1, 4, size=300)
    tensor = torch.tensor(values)
    mean, scale = centre(tensor, torch.tensor(counts, dtype=torch.float32))
    repeated = np.repeat(values, counts, axis=0).astype(np.float64)
    np.testing.assert_allclose(mean, repeated.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(scale[:3], repeated.std(axis=0, ddof=1)[:3], rtol=1e-4)
    assert scale[3] == 1
    np.testing.assert_allclose(tensor.numpy()[:, 0] + mean[0], values[:, 0], atol=1e-5)


def test_the_callers_arrays_are_left_alone():
    patterns, targets = simulated(40, 60)
    before = patterns.copy(), targets.copy()
    ridge_predictions(patterns, targets, patterns[:3], 10.0)
    np.testing.assert_array_equal(patterns, before[0])
    np.testing.assert_array_equal(targets, before[1])


def test_left_out_weights_are_the_inverse_block_averaged():
    random = np.random.default_rng(0)
    blocks = random.normal(size=(5, 3, 3))
    blocks = blocks @ blocks.transpose(0, 2, 1) + np.eye(3)
    found = leave_one_out.left_out_weights(torch.tensor(blocks)).numpy()
    np.testing.assert_allclose(found, np.linalg.inv(blocks).mean(axis=1), rtol=1e-9)
