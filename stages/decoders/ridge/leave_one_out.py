"""Exact leave-one-out for ridge: how well each penalty predicts stimuli that were left out, without refitting.

With the smoother H of all training trials (the intercept's share 1/n included), the residuals that a fit without the
trials b of one stimulus leaves there are (I - H)_bb^-1 ((I - H) y)_b. A stimulus is left out with all of its repeats:
they share their targets, and one left behind would give them away. Standardisation is that of all trials.
"""

from __future__ import annotations

import numpy as np
import torch


class Trials:
    """Which stimulus each training trial shows.

    Parameters
    ----------
    stimuli : array of int, shape (n_trials,), optional
        Row of the targets for each trial; trial i shows stimulus i if it is not given.
    n_stimuli : int
    """

    def __init__(self, n_stimuli, stimuli=None):
        self.n_stimuli = n_stimuli
        self.once = stimuli is None or np.array_equal(stimuli, np.arange(n_stimuli))
        self.stimuli = np.arange(n_stimuli) if stimuli is None else np.asarray(stimuli)
        self.counts = np.bincount(self.stimuli, minlength=n_stimuli)
        order, ends = np.argsort(self.stimuli, kind="stable"), np.cumsum(self.counts)
        # Stimuli with the same number of trials, and their trials, (n, repeats): handled together.
        self.by_repeats = [
            (shown, order[(ends - self.counts)[shown][:, None] + np.arange(repeats)])
            for repeats in np.unique(self.counts[self.counts > 0])
            if len(shown := np.flatnonzero(self.counts == repeats))
        ]

    @property
    def n_trials(self):
        return len(self.stimuli)

    def summed(self, rows, dim):
        """Sum over the trials of each stimulus along one dimension."""
        if self.once:
            return rows
        shape = [self.n_stimuli if d == dim else size for d, size in enumerate(rows.shape)]
        return rows.new_zeros(shape).index_add_(dim, torch.from_numpy(self.stimuli).to(rows.device), rows)


class HeldOut:
    """Predictions of some training stimuli by fits that never saw them, as one matrix for all targets.

    A prediction is of the average over the stimulus's trials, and about the mean of the targets that it was made from:
    that mean lacks the stimulus itself, and would otherwise anticorrelate with it.

    Parameters
    ----------
    training : stages.decoders.ridge.factorisation.TrainingPatterns
    trials : Trials
    stimuli : array of int
        The stimuli to predict, each once.

    Attributes
    ----------
    rows : array of int
        Their trials.
    """

    def __init__(self, training, trials, stimuli):
        self.training, self.trials, self.stimuli = training, trials, np.asarray(stimuli)
        position = np.full(trials.n_stimuli, -1)
        position[self.stimuli] = np.arange(len(self.stimuli))
        self._parts = [
            (position[shown[chosen]], own[chosen])
            for shown, own in trials.by_repeats
            if (chosen := position[shown] >= 0).any()
        ]
        self.rows = np.concatenate([own.reshape(-1) for _, own in self._parts])

    def smoother(self, factor, cross, alpha):
        """The matrix (len(stimuli), n_stimuli), float64, that turns centred targets into centred predictions.

        `cross` is ``training.cross`` of the patterns of the trials `rows`.
        """
        trials, start = self.trials, 0
        held_out = cross.new_zeros(len(self.stimuli), trials.n_stimuli)
        for positions, own in self._parts:
            n, repeats = own.shape
            first = np.arange(n)
            complement = -self.training.smoother(factor, cross[start : start + own.size], alpha)
            start += own.size
            complement[np.arange(own.size), own.reshape(-1)] += 1
            complement = complement.reshape(n, repeats, trials.n_trials)
            blocks = complement[first[:, None, None], np.arange(repeats)[:, None], own[:, None]] - 1 / trials.n_trials
            combined = -trials.summed((left_out_weights(blocks)[:, None] @ complement)[:, 0], dim=1)
            combined[first, self.stimuli[positions]] += 1 + repeats / max(trials.n_trials - repeats, 1)
            held_out[positions] = combined
        return held_out


def left_out_weights(blocks):
    """What turns the residuals of a stimulus's trials into the average of its left-out residuals.

    Parameters
    ----------
    blocks : tensor of shape (n_stimuli, repeats, repeats)
        Diagonal blocks of I - H.

    Returns
    -------
    tensor of shape (n_stimuli, repeats)
    """
    # Positive but for rounding where a fit is exact; a trace of the unit matrix keeps the inverse finite.
    blocks = blocks + 1e-12 * torch.eye(blocks.shape[-1], dtype=blocks.dtype, device=blocks.device)
    return torch.linalg.solve(blocks, blocks.new_full((*blocks.shape[:2], 1), 1 / blocks.shape[-1]))[..., 0]


class LeaveOneOut:
    """The error of each penalty on stimuli that were left out, for any number of targets.

    Parameters
    ----------
    left : tensor of shape (n_trials, rank)
        Left singular vectors of the standardised patterns.
    eigenvalues : tensor of shape (rank,)
        Of the Gram matrix.
    trials : Trials
    alphas : sequence of float
    """

    def __init__(self, left, eigenvalues, trials, alphas):
        self.left, self.trials, self.alphas = left, trials, alphas
        self._eigenvalues, values = eigenvalues.double(), eigenvalues.to(left)
        # Targets have a part that no pattern reaches where there are more trials than dimensions.
        self._full_rank = left.shape[1] >= trials.n_trials - 1
        self._damped = [alpha / (values + alpha) for alpha in alphas]
        self._weights = _residual_weights(left, self._damped, trials, self._full_rank)

    def errors(self, targets, *, per_column=False, prune=True):
        """Mean squared error of predicting each stimulus from the others, relative to predicting the others' mean.

        Parameters
        ----------
        targets : tensor of shape (n_stimuli, n_columns), dtype of `left`
            Centred over trials.
        per_column : bool
            Every column by itself, rather than their average.
        prune : bool
            Leave out a penalty once a bound shows that it cannot be the best: its sum of squared residuals is known
            from the eigenvalues alone, and leaving a stimulus out enlarges each residual at least by the smallest
            factor of all stimuli. For averages over columns and stimuli shown once.

        Returns
        -------
        array of shape (n_alphas,) or (n_alphas, n_columns), float64
            1 is what predicting the mean of the others gives, and what constant columns get. NaN where pruned.
        """
        trials, n_trials, n_alphas = self.trials, self.trials.n_trials, len(self.alphas)
        counts = torch.from_numpy(trials.counts).to(targets)
        # What predicting the mean of the others leaves: y n / (n - k) for a stimulus of k trials.
        baseline = (targets * (n_trials / (n_trials - counts).clamp(min=1))[:, None]).square_().mean(dim=0)
        varying = baseline > 1e-12 * baseline.max().clamp(min=torch.finfo(targets.dtype).tiny)
        if not varying.any():
            return np.ones((n_alphas, targets.shape[1]) if per_column else n_alphas)
        scaled = targets[:, varying] / baseline[varying].sqrt()
        by_trial = scaled if trials.once else scaled[torch.from_numpy(trials.stimuli).to(targets.device)]
        projected = self.left.T @ by_trial
        rest = None if self._full_rank else by_trial - self.left @ projected

        prune = prune and trials.once and not per_column
        bounds, estimates = self._bounds(projected, rest) / scaled.numel() if prune else np.zeros((2, n_alphas))
        errors = np.full((n_alphas, targets.shape[1]) if per_column else n_alphas, np.nan)
        best = np.inf
        for i in np.argsort(estimates, kind="stable"):
            # A little room: the bound is exact only up to rounding.
            if bounds[i] > best * (1 + 1e-5):
                continue
            combined = trials.summed(self.left * self._weights[i][:, None], dim=0)
            residuals = combined.mul_(self._damped[i]) @ projected
            if rest is not None:
                residuals += trials.summed(rest * self._weights[i][:, None], dim=0)
            mean = residuals.square_().mean(dim=0).double().cpu().numpy()
            if per_column:
                errors[i] = 1.0
                errors[i, varying.cpu().numpy()] = mean
            else:
                errors[i] = mean.mean()
                best = min(best, errors[i])
        return errors

    def _bounds(self, projected, rest):
        """What the sum of squared left-out residuals is at least, and about, for each penalty: shape (2, n_alphas).

        About: as though every residual were enlarged by the average factor, which is generalised cross-validation.
        """
        energy = projected.double().square().sum(dim=1)
        rest_energy = 0.0 if rest is None else float(rest.double().square().sum())
        kept = [(alpha / (self._eigenvalues + alpha)).square() for alpha in self.alphas]
        sums = np.array([float(factor @ energy) + rest_energy for factor in kept])
        return np.array([sums * [float(of(w)) ** 2 for w in self._weights] for of in (torch.min, torch.mean)])


def _residual_weights(left, damped, trials, full_rank):
    """`left_out_weights` of every trial for each penalty, list of shape (n_trials,).

    I - H is left diag(damped) left' where the patterns span everything but the constant: a sum of positive terms, which
    single precision holds however small it is.
    """
    n_trials = trials.n_trials
    if trials.once:
        squared = left.square()
        remainder = 0 if full_rank else (1 - 1 / n_trials - squared.sum(dim=1)).clamp(min=0)
        complements = squared @ torch.stack(damped, dim=1)
        return [1 / (remainder + complement).clamp(min=1e-10) for complement in complements.T]
    found = [left.new_empty(n_trials) for _ in damped]
    for _, own in trials.by_repeats:
        rows = left[own]
        remainder = 0
        if not full_rank:
            unit = torch.eye(own.shape[1], dtype=left.dtype, device=left.device)
            remainder = unit - 1 / n_trials - rows @ rows.mT
        for weights, one in zip(found, damped):
            weights[own] = left_out_weights(remainder + (rows * one) @ rows.mT)
    return found
