"""The fit of a ridge decoder in steps, see `stages.decoders.ridge.by_blocks`."""

from __future__ import annotations

import numpy as np

from stages.decoders.ridge.by_blocks import stimuli_shown
from stages.decoders.ridge.factorisation import TrainingPatterns
from stages.decoders.ridge.ridge_solver import RidgeSolver
from stages.decoders.ridge.ridge_storage import STORED, bytes_of_each, choose_way, factor_of, layout
from stages.decoders.ridge.target_blocks import plan
from stages.decoders.solved import mean_correlation
from stages.ground.checks import OneOf, check_all
from stages.ground.progress import SILENT

KEEP = ("auto", *STORED)
PENALTIES = ("group", "target")
HELD_OUT = ("tenth", "all", "none")
RULES = {
    "keep": OneOf(*KEEP),
    "penalty": OneOf(*PENALTIES),
    "held_out": OneOf(*HELD_OUT),
    "standardise": OneOf(True, False),
}


class FitInSteps:
    """The steps of `stages.decoders.ridge.ridge.RidgeDecoder`, whose parameters and attributes these are."""

    def start(self, X, targets, stimuli=None, stored=None):
        """Check the parameters and factorise the patterns.

        Parameters
        ----------
        X : array of shape (n_trials, n_voxels), float32 or float64, finite
        targets : mapping of str to array-like of shape (n_stimuli, n_columns)
            In memory, or anything with ``shape`` and a method ``columns(start, stop)``; only shapes are looked at.
        stimuli : array of int, shape (n_trials,), optional
        stored : dict of str to array, optional
            Tensors that an interrupted fit of the same patterns left behind, whole as far as the factor.
        """
        check_all(self, RULES)
        shown = stimuli_shown(len(X), targets, stimuli)
        stimuli = None if stimuli is None else np.asarray(stimuli)
        self.n_features_in_ = X.shape[1]
        self._single_output = False
        self.groups_ = {name: int(target.shape[1]) for name, target in targets.items()}
        self._solver = RidgeSolver(
            patterns=X,
            groups=self.groups_,
            n_stimuli=shown,
            alphas=self.alphas,
            stimuli=stimuli,
            penalty=self.penalty,
            sketch=self.sketch,
            rescale=self.rescale,
            held_out=self.held_out,
            seed=self.seed,
            memory=self.memory,
            device=self.device,
        )
        self._solver.width()  # says so now if memory is too small
        self.sizes_ = bytes_of_each(self._solver)
        self.stored_ = choose_way(self.keep, self.sizes_, targets)
        if stored is not None and "factor_vectors_" in stored:
            mean, scale = np.array(stored["voxel_mean_"]), np.array(stored["voxel_scale_"])
            self._solver.factorise(TrainingPatterns(X, self.device, mean, scale), factor_of(stored, self.device))
        else:
            self._solver.factorise(None if self.standardise else self._unscaled(X))
        self._n_stimuli, self._n_trials = shown, len(X)
        self.alpha_, self.error_, self.held_out_correlation_ = {}, {}, {}
        return self

    def _unscaled(self, X):
        """The patterns without their mean, in their own units."""
        mean = TrainingPatterns(X, self.device).mean
        return TrainingPatterns(X, self.device, mean, np.ones_like(mean))

    def width(self, n_new=0):
        """Columns of a block under the memory budget, `n_new` patterns predicted on the way."""
        return self._solver.width(n_new)

    def layout(self):
        """Tensors of the fitted decoder: dict of name to (shape, dtype); known once the patterns are factorised."""
        return layout(self._solver, self.stored_)

    def choose(self, targets, progress=SILENT):
        """Write what is known of the patterns into `tensors_`, and choose the penalties."""
        solver, known = self._solver, {}
        known["voxel_mean_"], known["voxel_scale_"] = solver.training.mean, solver.training.scale
        if self.stored_ != "weights":
            known["training_patterns_"], known["trial_stimuli_"] = solver.patterns, solver.trials.stimuli
        for name, values in known.items():
            self.tensors_[name][...] = values
        if self.stored_ != "weights":
            solver.factor.move_to(self.tensors_["factor_vectors_"], self.tensors_["factor_values_"])
            # From here on as it stands there: a fit that goes on has it from the same place.
            solver.factor = factor_of(self.tensors_, self.device)
        solver.choose(targets, progress)
        self.alpha_, self.error_ = dict(solver.chosen), dict(solver.errors)

    def solve(self, targets, new_patterns=None, *, width=None, start=0, progress=SILENT):
        """Read the targets once, fill `tensors_`, and yield every `SolvedBlock` on the way."""
        solver = self._solver
        solver.chosen = dict(self.alpha_)
        wanted = dict(weights=self.stored_ == "weights", width=width, start=start, progress=progress)
        for solved in solver.solve(targets, new_patterns, **wanted):
            place, tensors = solved.block.place, self.tensors_
            tensors["target_mean_"][place], tensors["target_scale_"][place] = solved.mean, solved.scale
            tensors["predicted_mean_"][place] = solved.predicted_mean
            tensors["predicted_scale_"][place] = solved.predicted_scale
            tensors["column_correlation_"][place] = solved.correlation
            tensors["column_alpha_"][place] = solved.alpha
            if "coef_" in tensors:
                tensors["coef_"][:, place] = solved.weights
            if "targets_" in tensors:
                tensors["targets_"][:, place] = solved.centred
            yield solved

    def finish(self):
        """Sum up what the blocks have found, and let go of what only fitting needs."""
        for block in plan(self.groups_, max(self.groups_.values())):
            alpha = np.asarray(self.tensors_["column_alpha_"][block.place])
            self.alpha_[block.name] = float(np.median(alpha))
            self.error_.setdefault(block.name, [float("nan")])
        for name, correlation in self.split(np.asarray(self.tensors_["column_correlation_"])[None]).items():
            self.held_out_correlation_[name] = mean_correlation(correlation)
        vars(self).pop("_solver", None)
        return self
