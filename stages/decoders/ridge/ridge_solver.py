"""Ridge for any number of targets: one factorisation, exact penalties, targets by blocks of columns.

What is known of the patterns (Gram matrix, factor, smoother) is worked out once in float64; a target then costs one
product with the smoother of its penalty, rounded once to the dtype of the patterns. Targets are read by blocks of
columns and never held together, and known test patterns need no weights at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from stages.decoders.ridge.factorisation import Cholesky, Eigendecomposition, TrainingPatterns, centre
from stages.decoders.ridge.leave_one_out import HeldOut, LeaveOneOut, Trials
from stages.decoders.ridge.target_blocks import TargetBlock, finite, plan, read_ahead, read_columns, sketch, width_for
from stages.ground.checks import Number, Numbers, OneOf, check
from stages.ground.devices import float64_device
from stages.ground.errors import InputError
from stages.ground.progress import SILENT

RESCALINGS = ("held_out", "none", "transductive", "training", "training_unless_alone")
# Ways that need the predictions of the training trials themselves.
IN_SAMPLE = ("training", "training_unless_alone")
ALPHA_RULE = Numbers(Number(0, above=True), example=(1e3, 1e4, 1e5))
# The statistics of fewer than this many held-out predictions are too rough to rescale with.
ENOUGH_HELD_OUT = 500
# From here on penalties that a bound rules out are not looked at.
MANY_TRIALS = 2048


def ridge_predictions(patterns, targets, new_patterns, alpha, *, stimuli=None, device="cpu"):
    """Ridge predictions of new patterns under one penalty, without weights.

    >>> rng = np.random.default_rng(0)
    >>> patterns, weights = rng.standard_normal((100, 5)), rng.standard_normal((5, 3))
    >>> predictions = ridge_predictions(patterns[:80], patterns[:80] @ weights, patterns[80:], alpha=1e-6)
    >>> np.allclose(predictions, patterns[80:] @ weights, atol=1e-4)
    True

    Parameters
    ----------
    patterns : array of shape (n_trials, n_voxels), float32 or float64
        Training patterns; standardised here, voxel by voxel.
    targets : array of shape (n_stimuli, n_targets)
        In memory, or anything with ``shape`` that can be sliced by columns or has a method ``columns(start, stop)``.
    new_patterns : array of shape (n_new, n_voxels)
        In the units of the training patterns.
    alpha : float
        Penalty in units of standardised voxels.
    stimuli : array of int, shape (n_trials,), optional
        Row of `targets` for each trial.
    device : str

    Returns
    -------
    array of shape (n_new, n_targets)
        In the dtype of the patterns.
    """
    solver = RidgeSolver(patterns, {"target": targets.shape[1]}, len(targets), alpha, stimuli=stimuli, device=device)
    solver.factorise()
    predictions = np.empty((len(new_patterns), targets.shape[1]), dtype=patterns.dtype)
    for solved in solver.solve({"target": targets}, new_patterns):
        predictions[:, solved.block.place] = solved.predictions
    return predictions


@dataclass(frozen=True)
class SolvedBlock:
    """What is known of a block's columns once they were read; every array has one entry per column.

    Attributes
    ----------
    block : stages.decoders.ridge.target_blocks.TargetBlock
    mean, scale : float64
        Of the training targets.
    predicted_mean, predicted_scale : float64
        Of held-out predictions of training stimuli, or of predictions of the training trials where these are rescaled with;
        those of the targets where nothing was held out.
    correlation : float64
        Between targets and held-out predictions; NaN where one of them does not vary, or nothing was held out.
    alpha : float64
    errors : array of shape (n_alphas, n_columns) or None
        Leave-one-out error of each penalty, where every column chose its own.
    centred : array of shape (n_stimuli, n_columns)
        The targets without their mean; holds until the next block is asked for.
    predictions : array of shape (n_new, n_columns)
    weights : array of shape (n_voxels, n_columns) or (n_trials, n_columns), or None
        From standardised voxels, or from their products with those of the training trials, to centred targets.
    """

    block: TargetBlock
    mean: np.ndarray
    scale: np.ndarray
    predicted_mean: np.ndarray
    predicted_scale: np.ndarray
    correlation: np.ndarray
    alpha: np.ndarray
    errors: np.ndarray | None
    centred: np.ndarray
    predictions: np.ndarray
    weights: np.ndarray | None


@dataclass
class RidgeSolver:
    """Stage one's arithmetic, from patterns to finished blocks of predictions.

    Parameters
    ----------
    patterns : array of shape (n_trials, n_voxels), float32 or float64
        Its dtype is that of all products with targets.
    groups : mapping of str to int
        Name and number of columns of each target, in column order.
    n_stimuli : int
    alphas : float, sequence of float, or mapping of str to either
        Penalties to choose from, in units of standardised voxels.
    stimuli : array of int, shape (n_trials,), optional
        Row of the targets for each trial; trial i shows stimulus i if it is not given.
    penalty : {"group", "target"}
        One penalty for all columns of a target, chosen on a sketch of them; or one for each column, by exact leave-one-out on
        every column, which costs 2 n_trials^2 operations per column and penalty.
    sketch : int
        Columns of a target on which its penalty is chosen.
    rescale : {"none", "held_out", "transductive", "training", "training_unless_alone"}, or mapping of str to one of them
        See `stages.decoders.ridge.ridge.RidgeDecoder`.
    held_out : {"none", "tenth", "all"}
        Training stimuli whose held-out predictions are looked at: a random tenth (500 at least, as far as there are),
        or all of them at ten times the cost.
    seed : int
        Of the sketch and of the tenth.
    memory : float, optional
        Bytes that a fit may take; the width of blocks follows. 4096 columns if it is not given.
    device : str
    """

    patterns: np.ndarray
    groups: Mapping[str, int]
    n_stimuli: int
    alphas: object
    stimuli: np.ndarray | None = None
    penalty: str = "group"
    sketch: int = 2048
    rescale: str | Mapping[str, str] = "none"
    held_out: str = "none"
    seed: int = 0
    memory: float | None = None
    device: str = "cpu"
    chosen: dict = field(default_factory=dict)
    errors: dict = field(default_factory=dict)

    def __post_init__(self):
        self.device = float64_device(self.device)
        self.trials = Trials(self.n_stimuli, self.stimuli)
        self._searches = {}
        self.dtype = torch.from_numpy(np.empty(0, dtype=self.patterns.dtype)).dtype
        self.grids = {name: penalties(self.alphas, name) for name in self.groups}
        ways = {rescaling(self.rescale, name) for name in self.groups}
        if "held_out" in ways and self.held_out == "none":
            raise InputError("rescale is 'held_out' but held_out is 'none'; pass held_out='tenth', or rescale='none'.")

    @property
    def chooses(self):
        """Whether any target has more than one penalty to choose from."""
        return any(len(grid) > 1 for grid in self.grids.values())

    @property
    def n_in_sample(self):
        """How many training trials are predicted by the fit that knows them: all of them, or none."""
        ways = {rescaling(self.rescale, name) for name in self.groups}
        return self.trials.n_trials if ways.intersection(IN_SAMPLE) else 0

    @property
    def held_out_stimuli(self):
        """Rows of the targets that are held out, in order."""
        n = self.n_stimuli
        size = {"none": 0, "all": n, "tenth": max(-(-n // 10), min(n, ENOUGH_HELD_OUT))}[self.held_out]
        return np.sort(np.random.default_rng([self.seed, 1]).permutation(n)[:size])

    def factorise(self, training=None, factor=None):
        """Factorise the patterns; or take over what an earlier call has made of the same patterns."""
        self.training = training or TrainingPatterns(self.patterns, self.device)
        held_out = self.held_out_stimuli
        if factor is None:
            gram = self.training.gram()
            alphas = {alpha for grid in self.grids.values() for alpha in grid}
            factor = Eigendecomposition.of(gram) if self.chooses else Cholesky.of(gram, alphas)
            del gram
        self.factor = factor
        self._held_out = HeldOut(self.training, self.trials, held_out) if len(held_out) else None
        return self

    def _leave_one_out(self, name):
        """For the penalties of one target; shared by all targets with the same."""
        key = tuple(self.grids[name])
        if key not in self._searches:
            left = next((one.left for one in self._searches.values()), None)
            left = self.training.left(self.factor, self.dtype) if left is None else left
            self._searches[key] = LeaveOneOut(left, self.factor.values, self.trials, self.grids[name])
        return self._searches[key]

    def choose(self, targets, progress=SILENT):
        """Choose the penalty of every target on a sketch of its columns, by exact leave-one-out; fills `chosen`, `errors`."""
        if self.penalty == "target":
            return self
        for done, (name, grid) in enumerate(self.grids.items()):
            progress("choosing penalties", done, len(self.grids))
            if len(grid) == 1:
                self.chosen[name], self.errors[name] = grid[0], [float("nan")]
                continue
            columns = sketch(name, self.groups[name], self.sketch, self.seed)
            values = np.hstack([np.asarray(read_columns(targets[name], part)) for part in columns])
            values = finite(torch.tensor(values, dtype=self.dtype, device=self.device), name)
            centre(values, self._counts)
            # Where it costs nothing every penalty gets its error: people look at the curve.
            prune = self.trials.n_trials > MANY_TRIALS
            errors = self._leave_one_out(name).errors(values, prune=prune)
            self.chosen[name], self.errors[name] = grid[int(np.nanargmin(errors))], [float(error) for error in errors]
        return self

    def solve(self, targets, new_patterns=None, *, weights=False, width=None, start=0, progress=SILENT):
        """Read the targets once, block by block.

        Parameters
        ----------
        targets : mapping of str to array-like of shape (n_stimuli, n_columns)
            In memory, or sliced by columns, or with a method ``columns(start, stop)``.
        new_patterns : array of shape (n_new, n_voxels), optional
            Predicted on the way.
        weights : bool or "trials"
            Work out the weights of every voxel as well: 2 n_voxels n_stimuli operations for each column. "trials", where
            these are no more than voxels, gives the weights of ``training.cross`` instead.
        width : int, optional
            Columns of a block, where an earlier run fixed it.
        start : int
            First block to do, where an earlier run did the others.
        progress : callable, optional
            Called with (label, columns done, columns).

        Yields
        ------
        SolvedBlock
            In column order; the last digits of a block may depend on its width, and on nothing else.
        """
        n_new = 0 if new_patterns is None else len(new_patterns)
        check_new(self.rescale, self.groups, n_new)
        smoother = _Smoothers(self, new_patterns, weights)
        planned = plan(self.groups, width or self.width(n_new))
        n_columns = sum(self.groups.values())
        if self.penalty == "group":
            self._searches.clear()
        for block, values in read_ahead(targets, planned[start:], self.dtype, self.device):
            mean, scale = centre(values, self._counts)
            if not np.isfinite(mean).all():
                finite(torch.tensor(np.nan), block.name)
            alpha, errors = self._penalties_of(block, values)
            rows = torch.empty(smoother.n_rows, values.shape[1], dtype=self.dtype, device=self.device)
            for one in np.unique(alpha):
                columns = np.flatnonzero(alpha == one)
                if len(columns) == len(alpha):
                    torch.mm(smoother.of(one), values, out=rows)
                else:
                    rows[:, columns] = smoother.of(one) @ values[:, columns]
            parts = rows.split([n_new, len(self.held_out_stimuli), self.n_in_sample, smoother.n_weights])
            solved = self._finished(block, values, mean, scale, alpha, errors, *parts)
            yield solved
            progress("predicting targets", block.place.stop, n_columns)

    def width(self, n_new=0):
        """Columns of a block under the memory budget."""
        n_rows, itemsize = n_new + len(self.held_out_stimuli) + self.n_in_sample, self.patterns.dtype.itemsize
        left = np.inf if self.memory is None else self.memory - self.bytes_needed(n_new)
        least = itemsize * (4 * self.n_stimuli + 3 * n_rows) * 32
        if left < least:
            raise InputError(
                f"A fit of {self.trials.n_trials:,} trials and {self.patterns.shape[1]:,} voxels needs "
                f"{(self.bytes_needed(n_new) + least) / 1e9:.1f} GB but memory is {self.memory / 1e9:.1f} GB; "
                "give more with --memory, or choose a smaller roi."
            )
        return width_for(left, self.n_stimuli, n_rows, itemsize)

    def bytes_needed(self, n_new=0):
        """Bytes that a fit takes besides its blocks: the larger of factorising and predicting.

        Pages of mapped files come on top; the system takes them back when it needs them.
        """
        n, itemsize = self.trials.n_trials, self.patterns.dtype.itemsize
        side = min(self.patterns.shape)
        rows = n_new + len(self.held_out_stimuli) + self.n_in_sample
        n_smoothers = len({alpha for grid in self.grids.values() for alpha in grid})
        n_smoothers = min(n_smoothers, len(self.groups)) if self.penalty == "group" else n_smoothers
        factorising = 8 * side**2 * (4.2 if self.chooses else 1 + n_smoothers)
        predicting = 8 * side**2 * (1.5 if self.chooses else n_smoothers)
        predicting += rows * n * (8 * 2 + itemsize * n_smoothers)
        # The libraries themselves, and blocks of voxels in float64.
        return self.patterns.nbytes + max(factorising, predicting) + 6e8

    @property
    def _counts(self):
        return torch.from_numpy(self.trials.counts).to(self.device, self.dtype)

    def _penalties_of(self, block, values):
        grid, n_columns = self.grids[block.name], values.shape[1]
        if self.penalty == "group":
            return np.full(n_columns, self.chosen.get(block.name, grid[0])), None
        if len(grid) == 1:
            return np.full(n_columns, grid[0]), None
        errors = self._leave_one_out(block.name).errors(values, per_column=True)
        return np.array(grid)[errors.argmin(axis=0)], errors

    def _finished(self, block, values, mean, scale, alpha, errors, predictions, held_out, in_sample, weights):
        predicted_mean, predicted_scale, correlation = mean, scale, np.full(len(mean), np.nan)
        if len(held_out):
            truth = values[torch.from_numpy(self.held_out_stimuli).to(values.device)]
            predicted_mean, predicted_scale = centre(held_out)
            predicted_mean = predicted_mean + mean
            _, truth_scale = centre(truth)
            covariance = truth.mul_(held_out).sum(dim=0, dtype=torch.float64).cpu().numpy() / max(len(truth) - 1, 1)
            # Exactly zero where one of the two does not vary.
            correlation = np.where(covariance == 0, np.nan, covariance / (truth_scale * predicted_scale))
        if rescaling(self.rescale, block.name) in IN_SAMPLE:
            predicted_mean, predicted_scale = centre(in_sample)
            predicted_mean = predicted_mean + mean
        predictions = predictions.cpu().numpy()
        return SolvedBlock(
            block=block,
            mean=mean,
            scale=scale,
            predicted_mean=predicted_mean,
            predicted_scale=predicted_scale,
            correlation=correlation,
            alpha=alpha,
            errors=errors,
            centred=values.cpu().numpy(),
            predictions=rescaled(
                predictions,
                rescaling(self.rescale, block.name),
                mean,
                scale,
                predicted_mean,
                predicted_scale,
                self.trials.n_trials,
            ),
            weights=weights.cpu().numpy() if len(weights) else None,
        )


class _Smoothers:
    """The rows that turn a block of targets into all that is wanted of it, one matrix for each penalty in use."""

    def __init__(self, solver, new_patterns, weights):
        self._solver, self._weights, self._made = solver, weights, {}
        # One pass over the training patterns for both; not rows of the Gram matrix, which a fit that goes on has not.
        parts = [] if new_patterns is None else [new_patterns]
        parts += [solver.patterns[solver._held_out.rows]] if solver._held_out else []
        parts += [solver.patterns] if solver.n_in_sample else []
        self._cross = solver.training.cross(np.concatenate(parts)) if parts else None
        self._n_new = 0 if new_patterns is None else len(new_patterns)
        self.n_weights = {False: 0, True: solver.training.n_voxels, "trials": solver.training.n_trials}[weights]
        self.n_rows = self._n_new + len(solver.held_out_stimuli) + solver.n_in_sample + self.n_weights

    def of(self, alpha):
        if alpha not in self._made:
            solver, training = self._solver, self._solver.training
            # No row at all is wanted if nothing is predicted, held out or weighted: the targets themselves are stored.
            parts = [torch.empty(0, solver.n_stimuli, device=solver.device)]
            if self._n_new:
                new = training.smoother(solver.factor, self._cross[: self._n_new], alpha)
                parts.append(solver.trials.summed(new, dim=1))
            end = self._n_new
            if solver._held_out is not None:
                start, end = end, end + len(solver._held_out.rows)
                parts.append(solver._held_out.smoother(solver.factor, self._cross[start:end], alpha))
            if solver.n_in_sample:
                own = training.smoother(solver.factor, self._cross[end:], alpha)
                parts.append(solver.trials.summed(own, dim=1))
            if self._weights:
                smoother = training.trial_smoother if self._weights == "trials" else training.voxel_smoother
                parts.append(solver.trials.summed(smoother(solver.factor, alpha), dim=1))
            self._made[alpha] = torch.cat([part.to(solver.dtype) for part in parts])
        return self._made[alpha]


def penalties(alphas, name):
    """The penalties to choose from for one target, list of float."""
    own = alphas[name] if isinstance(alphas, Mapping) and name in alphas else alphas
    if isinstance(own, Mapping):
        raise InputError(f"alphas names {', '.join(own)} but not target {name!r}; give that one a penalty too.")
    check(f"alphas of target {name!r}", own, ALPHA_RULE, typed="alphas={example}")
    return [float(alpha) for alpha in np.atleast_1d(own)]


def rescaling(rescale, name):
    """How the predictions of one target are rescaled; a mapping gives each target its own way."""
    how = rescale
    if isinstance(rescale, Mapping):
        if name not in rescale:
            raise InputError(f"rescale names {', '.join(rescale)} but not target {name!r}; give that one a way too.")
        how = rescale[name]
    return check("rescale", how, OneOf(*RESCALINGS))


def check_new(rescale, names, n_new):
    """Refuse a single pattern where any of the targets is rescaled against the patterns themselves."""
    if n_new == 1 and any(rescaling(rescale, name) == "transductive" for name in names):
        raise InputError(
            "Transductive rescaling got 1 pattern; it needs the whole test set at once: pass all patterns "
            "together, or fit with rescale='held_out'."
        )


def rescaled(centred, how, mean, scale, predicted_mean, predicted_scale, n_trials=None):
    """Predictions in the units of the targets.

    "transductive" is what the scripts of Brain-Diffuser do with all test predictions p of a column and its training targets t,
    both standard deviations without a degree of freedom taken off:

        (p - mean(p)) / sd(p) * sd(t) + mean(t)

    "held_out" estimates both spreads from samples of unequal size, and so takes it off both. "training" takes mean(p) and sd(p)
    of the training trials' own predictions, and "training_unless_alone" likewise, but leaves one prediction by itself as it is.

    Parameters
    ----------
    centred : array of shape (n_stimuli, n_columns)
        Predictions of centred targets; their dtype is that of the result.
    how : {"none", "held_out", "transductive", "training", "training_unless_alone"}
    mean, scale : array of shape (n_columns,)
        Of the training targets.
    predicted_mean, predicted_scale : array of shape (n_columns,)
        Of held-out predictions, or of those of the training trials, in the units of the targets.
    n_trials : int, optional
        Training trials that mean and scale are over; not used elsewhere than in "transductive".

    Every scale that is given has one degree of freedom taken off.
    """
    if how == "none" or not len(centred) or (how == "training_unless_alone" and len(centred) == 1):
        factor, offset = np.ones(len(mean)), mean
    else:
        if how == "transductive":
            from_mean, from_scale = centre(torch.from_numpy(centred.copy()))
            from_scale = from_scale * np.sqrt((len(centred) - 1) / len(centred))
            scale = scale * np.sqrt((n_trials - 1) / n_trials)
        else:
            from_mean, from_scale = predicted_mean - mean, predicted_scale
        factor = scale / from_scale
        offset = mean - from_mean * factor
    # In the dtype of the predictions: these are large, and the columns' numbers are exact as they are.
    found = centred * factor.astype(centred.dtype)
    found += offset.astype(centred.dtype)
    return found
