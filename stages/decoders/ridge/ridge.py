"""Ridge regression from voxels to targets, as a scikit-learn estimator.

Stage one of Brain-Diffuser (Ozcelik & VanRullen 2023) is a ridge regression for each target. Its published scripts
type the penalties in, factorise the same voxels once per token, and rescale the predictions with statistics of
the test set. Here the voxels are factorised once (`stages.decoders.ridge.ridge_solver`), the penalty of each target is chosen
by exact leave-one-out error on the training stimuli, and predictions are rescaled with statistics of held-out training
predictions, so that one pattern can be decoded alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from stages.decoders.ridge import ridge_files
from stages.decoders.ridge.factorisation import Cholesky, Eigendecomposition, TrainingPatterns
from stages.decoders.ridge.leave_one_out import Trials
from stages.decoders.ridge.ridge_solver import RidgeSolver, check_new, rescaled, rescaling
from stages.decoders.ridge.target_blocks import plan, read_ahead, width_for
from stages.ground.errors import InputError

ALPHAS = tuple(float(alpha) for alpha in np.logspace(0, 7, 22))
PENALTIES = ("group", "target")
HELD_OUT = ("tenth", "all", "none")
KEPT = ("auto", "weights", "targets", "factor")
# What `keep="auto"` is willing to write where targets can be read again from where they came.
MODEST_BYTES = 2e9


class RidgeDecoder(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression from patterns to one or several targets.

    Parameters
    ----------
    alphas : float, sequence of float, or dict of str to either
        Penalties to choose from, in units of standardised voxels. One value fixes the penalty; a dict gives each
        target its own.
    rescale : {"held_out", "none", "transductive"}, or dict of str to one of them
        Ridge predictions vary less than what they predict. "held_out" gives every column of a prediction the
        mean and standard deviation it has in training, measured against leave-one-out predictions of training stimuli.
        "transductive" is the published recipe: against the very patterns that are passed to `predict`, all together, so
        that predicting one item is impossible. "none" leaves predictions as they are. A dict gives each target its own way.
    penalty : {"group", "target"}
        One penalty for all columns of a target, or one for each column; see `RidgeSolver`.
    sketch : int
        Columns of a target on which its penalty is chosen.
    held_out : {"tenth", "all", "none"}
        Training stimuli whose held-out predictions give the statistics and `held_out_correlation_`: a random tenth
        (500 at least, as far as there are), all, or none.
    keep : {"auto", "weights", "targets", "factor"}
        What serves patterns to come: a weight for every voxel and column; or training patterns, the factor of their
        Gram matrix and the training targets; or patterns and factor alone, with the targets read again from where they came
        (`attach`). "auto" takes the smaller of the first two, and the third where both pass 2 GB and targets can
        be read again. `sizes_` tells.
    seed : int
        Of the sketch and of the tenth.
    memory : float, optional
        Bytes that `fit` may take; the width of its blocks follows.
    device : str
        Torch device.

    Attributes
    ----------
    groups_ : dict of str to int
        Name and number of columns of each target, in column order.
    kept_ : {"weights", "targets", "factor"}
        What is kept.
    sizes_ : dict of str to int
        Bytes that each way to keep the decoder takes; after `fit`.
    alpha_ : dict of str to float
        The penalty chosen for each target; the median over its columns where each has its own (`column_alpha_`).
    error_ : dict of str to list of float
        Leave-one-out error of each penalty; 1 is the error of the training mean. NaN where it was not needed: there was
        nothing to choose from, each column chose by itself, or, with more than 2,048 trials, a bound showed that the
        penalty is worse.
    held_out_correlation_ : dict of str to float
        Mean over columns of the correlation between targets and held-out predictions.
    """

    def __init__(
        self,
        alphas=ALPHAS,
        rescale="held_out",
        penalty="group",
        sketch=2048,
        held_out="tenth",
        keep="auto",
        seed=0,
        memory=None,
        device="cpu",
    ):
        self.alphas = alphas
        self.rescale = rescale
        self.penalty = penalty
        self.sketch = sketch
        self.held_out = held_out
        self.keep = keep
        self.seed = seed
        self.memory = memory
        self.device = device

    # Fitting arrays in memory

    def fit(self, X, y, groups: Mapping[str, int] | None = None, stimuli=None):
        """Fit all targets.

        Parameters
        ----------
        X : array of shape (n_trials, n_voxels)
            Patterns of the training stimuli, or single trials.
        y : array of shape (n_stimuli, n_targets)
            Targets side by side.
        groups : mapping of str to int, optional
            Name and number of columns of each target, in column order; they sum to n_targets. Each gets its own
            penalty. One target called "target" where it is not given.
        stimuli : array of int, shape (n_trials,), optional
            Row of `y` for each trial; trial i shows stimulus i where it is not given.

        Returns
        -------
        self
        """
        kinds = dict(dtype=(np.float64, np.float32), ensure_min_samples=3)
        if stimuli is None:
            X, y = validate_data(self, X, y, multi_output=True, y_numeric=True, **kinds)
        else:
            X, y = validate_data(self, X, **kinds), check_array(y, ensure_2d=False, **kinds)
        single_output = y.ndim == 1
        y = y.reshape(len(y), -1).astype(np.result_type(y.dtype, np.float32), copy=False)
        groups = {"target": y.shape[1]} if groups is None else {name: int(n) for name, n in groups.items()}
        if sum(groups.values()) != y.shape[1]:
            raise InputError(
                f"Groups hold {sum(groups.values()):,} columns but the targets have {y.shape[1]:,}; "
                "pass groups={name: number of columns} in column order."
            )
        targets = {block.name: y[:, block.place] for block in plan(groups, max(groups.values()))}
        self.fit_targets(X, targets, stimuli)
        self._single_output = single_output
        return self

    def fit_targets(self, X, targets, stimuli=None, progress=None):
        """Fit targets that are separate, and may be on disk.

        Parameters
        ----------
        X : array of shape (n_trials, n_voxels), float32 or float64, finite
        targets : mapping of str to array-like of shape (n_stimuli, n_columns)
            In memory, or anything with ``shape`` and a method ``columns(start, stop)``.
        stimuli : array of int, shape (n_trials,), optional
        progress : callable, optional
            Called with (label, done, total).

        Returns
        -------
        self
        """
        self.start(X, targets, stimuli)
        self.tensors_ = {name: np.zeros(shape, dtype) for name, (shape, dtype) in self.layout().items()}
        self.choose(targets, progress)
        for _ in self.solve(targets, progress=progress):
            pass
        return self.attach(targets if self.kept_ == "factor" else None).finish()

    # The same in steps, for targets on disk and fits that can be interrupted

    def start(self, X, targets, stimuli=None, kept=None):
        """Check the parameters and factorise the patterns.

        Parameters
        ----------
        X : array of shape (n_trials, n_voxels), float32 or float64, finite
        targets : mapping of str to array-like of shape (n_stimuli, n_columns)
            In memory, or anything with ``shape`` and a method ``columns(start, stop)``; only shapes are looked at.
        stimuli : array of int, shape (n_trials,), optional
        kept : dict of str to array, optional
            Tensors that an interrupted fit of the same patterns left behind, whole as far as the factor.
        """
        for name, choices in (("keep", KEPT), ("penalty", PENALTIES), ("held_out", HELD_OUT)):
            if (value := getattr(self, name)) not in choices:
                raise InputError(f"{name} is {value!r}; expected one of {', '.join(map(repr, choices))}.")
        shown = len(X)
        if stimuli is not None:
            stimuli = np.asarray(stimuli)
            distinct = np.unique(stimuli)
            shown = len(distinct)
            if stimuli.shape != (len(X),) or not np.array_equal(distinct, np.arange(shown)):
                raise InputError(
                    f"stimuli has shape {stimuli.shape} and {shown:,} different values for {len(X):,} trials; "
                    "give each trial the row of its stimulus, counted from 0 without gaps."
                )
        for name, target in targets.items():
            if target.shape[0] != shown:
                raise InputError(
                    f"Target {name!r} has {target.shape[0]:,} stimuli but the patterns are of {shown:,}; "
                    "encode the stimuli of the same split, or pass stimuli= for single trials."
                )
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
        self._solver.width()  # says so now where memory is too small
        self.sizes_ = self._sizes()
        self.kept_ = self._choice_of_kept(targets)
        if kept is not None and "factor_vectors_" in kept:
            self._solver.factorise(*self._restored(kept, X))
        else:
            self._solver.factorise()
        self._n_stimuli = shown
        self.alpha_, self.error_, self.held_out_correlation_ = {}, {}, {}
        return self

    def _sizes(self):
        """Bytes on disk of each way to keep the decoder."""
        n_trials, n_voxels = self._solver.patterns.shape
        n_targets, itemsize = sum(self.groups_.values()), self._solver.patterns.dtype.itemsize
        side = min(n_trials, n_voxels)
        n_factors = 1 if self._solver.chooses else len({a for grid in self._solver.grids.values() for a in grid})
        factor = n_trials * n_voxels * itemsize + 8 * side**2 * n_factors
        return {
            "weights": n_voxels * n_targets * itemsize,
            "targets": factor + self._solver.n_stimuli * n_targets * itemsize,
            "factor": factor,
        }

    def width(self, n_new=0):
        """Columns of a block under the memory budget, `n_new` patterns predicted on the way."""
        return self._solver.width(n_new)

    def layout(self):
        """Tensors of the fitted decoder: dict of name to (shape, dtype); known once the patterns are factorised."""
        solver, dtype = self._solver, self._solver.patterns.dtype
        n_targets, double = sum(self.groups_.values()), np.dtype(np.float64)
        columns = ("target_mean_", "target_scale_", "predicted_mean_", "predicted_scale_", "column_correlation_")
        found = {name: ((solver.patterns.shape[1],), double) for name in ("voxel_mean_", "voxel_scale_")}
        found |= {name: ((n_targets,), double) for name in (*columns, "column_alpha_")}
        if self.kept_ == "weights":
            return found | {"coef_": ((solver.patterns.shape[1], n_targets), dtype)}
        found["training_patterns_"] = (solver.patterns.shape, dtype)
        found["trial_stimuli_"] = ((solver.trials.n_trials,), np.dtype(np.int64))
        vectors, values = solver.factor.shapes
        found |= {"factor_vectors_": (vectors, double), "factor_values_": (values, double)}
        if self.kept_ == "targets":
            found["targets_"] = ((solver.n_stimuli, n_targets), dtype)
        return found

    def choose(self, targets, progress=None):
        """Write what is known of the patterns into `tensors_`, and choose the penalties."""
        solver, known = self._solver, {}
        known["voxel_mean_"], known["voxel_scale_"] = solver.training.mean, solver.training.scale
        if self.kept_ != "weights":
            known["training_patterns_"], known["trial_stimuli_"] = solver.patterns, solver.trials.stimuli
        for name, values in known.items():
            self.tensors_[name][...] = values
        if self.kept_ != "weights":
            solver.factor.move_to(self.tensors_["factor_vectors_"], self.tensors_["factor_values_"])
            # From here on as it stands there: a fit that goes on has it from the same place.
            solver.factor = self._factor(self.tensors_)
        solver.choose(targets, progress)
        self.alpha_, self.error_ = dict(solver.chosen), dict(solver.errors)

    def solve(self, targets, new_patterns=None, *, width=None, start=0, progress=None):
        """Read the targets once, fill `tensors_`, and yield every `SolvedBlock` on the way."""
        solver = self._solver
        solver.chosen = dict(self.alpha_)
        wanted = dict(weights=self.kept_ == "weights", width=width, start=start, progress=progress)
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
            known = correlation[~np.isnan(correlation)]
            self.held_out_correlation_[name] = float(known.mean()) if len(known) else float("nan")
        vars(self).pop("_solver", None)
        return self

    # Patterns to come

    def predict(self, X):
        """Predict all targets.

        Parameters
        ----------
        X : array of shape (n_stimuli, n_voxels)
            Patterns, in the units of the training patterns.

        Returns
        -------
        array of shape (n_stimuli, n_targets)
            Targets side by side, in the order of `groups_`.
        """
        check_is_fitted(self, "tensors_")
        X = self.checked(X)
        predictions = np.empty((len(X), sum(self.groups_.values())), dtype=X.dtype)
        for block, values in self.predict_blocks(X):
            predictions[:, block.place] = values
        return predictions[:, 0] if self._single_output else predictions

    def predict_blocks(self, X, start=0):
        """Yield (TargetBlock, predictions) in column order from block `start` on; X as `checked` returns it.

        A block is a whole target where weights or targets are kept, and some thousand columns where they are read again.
        """
        tensors = self.tensors_
        check_new(self.rescale, self.groups_, len(X))
        dtype = torch.from_numpy(np.empty(0, X.dtype)).dtype
        if self.kept_ == "weights":
            training = TrainingPatterns(X, self.device, tensors["voxel_mean_"], tensors["voxel_scale_"])
            patterns, centred = training.standardised(X).to(dtype), tensors["coef_"]
            rows = {float(alpha): patterns for alpha in np.unique(tensors["column_alpha_"])}
        else:
            rows, centred = self._rows(X, dtype), tensors.get("targets_")
        if centred is None:
            planned = self._blocks_to_read(len(X))[start:]
            values = read_ahead(self._attached(), planned, dtype, self.device)
        else:
            planned = plan(self.groups_, max(self.groups_.values()))[start:]
            values = ((block, torch.from_numpy(centred[:, block.place]).to(self.device, dtype)) for block in planned)
        for block, columns in values:
            if centred is None:
                columns.sub_(torch.from_numpy(tensors["target_mean_"][block.place]).to(columns))
            alphas = tensors["column_alpha_"][block.place]
            product = torch.empty(len(X), columns.shape[1], dtype=dtype, device=columns.device)
            for alpha in np.unique(alphas):
                own = np.flatnonzero(alphas == alpha)
                if len(own) == len(alphas):
                    torch.mm(rows[alpha], columns, out=product)
                else:
                    product[:, own] = rows[alpha] @ columns[:, own]
            yield block, self._rescaled(product.cpu().numpy(), block).astype(X.dtype, copy=False)

    def attach(self, targets):
        """Say where the training targets are, for a decoder that keeps none.

        Parameters
        ----------
        targets : mapping of str to array-like of shape (n_stimuli, n_columns), or a callable that returns one
            As they were when it was fitted.
        """
        self._targets = targets
        return self

    def split(self, targets):
        """Cut an array of shape (n_stimuli, n_targets) into a dict of name to (n_stimuli, n_columns)."""
        return {block.name: targets[:, block.place] for block in plan(self.groups_, max(self.groups_.values()))}

    def describe(self):
        """What the fitted decoder is besides its tensors, JSON-able."""
        return ridge_files.configuration(self)

    def save_pretrained(self, folder):
        """Write `config.json` and `model.safetensors` into `folder`."""
        check_is_fitted(self, "tensors_")
        ridge_files.save(self, folder)

    @classmethod
    def from_pretrained(cls, folder):
        """Open what `save_pretrained` wrote, the tensors memory-mapped.

        An InputError where files are missing or do not belong together.
        """
        return ridge_files.load(cls, folder)

    def __sklearn_is_fitted__(self):
        return "tensors_" in vars(self) and "_solver" not in vars(self)

    def _choice_of_kept(self, targets):
        sizes, again = self.sizes_, all(hasattr(target, "columns") for target in targets.values())
        if self.keep != "auto":
            if self.keep == "factor" and not again:
                raise InputError(
                    "keep is 'factor' but the targets are arrays in memory, which cannot be read again; "
                    "pass keep='targets', or tables of the feature store."
                )
            return self.keep
        smaller = min(("weights", "targets"), key=sizes.get)
        return "factor" if again and sizes[smaller] > MODEST_BYTES else smaller

    def _restored(self, kept, X):
        training = TrainingPatterns(X, self.device, np.array(kept["voxel_mean_"]), np.array(kept["voxel_scale_"]))
        return training, self._factor(kept)

    def _factor(self, tensors):
        vectors = torch.from_numpy(tensors["factor_vectors_"]).to(self.device)
        values = torch.from_numpy(tensors["factor_values_"]).to(self.device)
        if vectors.ndim == 2:
            return Eigendecomposition(values, vectors)
        return Cholesky({float(alpha): factor for alpha, factor in zip(values, vectors)})

    def _rows(self, X, dtype):
        """The smoother of new patterns for each penalty in use, dict of float to tensor (n_stimuli, n_training)."""
        tensors = self.tensors_
        training = TrainingPatterns(
            tensors["training_patterns_"], self.device, tensors["voxel_mean_"], tensors["voxel_scale_"]
        )
        factor, cross = self._factor(tensors), training.cross(X)
        trials = Trials(self._n_stimuli, tensors["trial_stimuli_"])
        return {
            alpha: trials.summed(training.smoother(factor, cross, alpha), dim=1).to(dtype)
            for alpha in map(float, np.unique(tensors["column_alpha_"]))
        }

    def _blocks_to_read(self, n_new):
        n_stimuli, itemsize = self._n_stimuli, np.dtype(self.tensors_["training_patterns_"].dtype).itemsize
        left = np.inf if self.memory is None else self.memory - 4e8
        return plan(self.groups_, width_for(max(left, 0), n_stimuli, n_new, itemsize))

    def _attached(self):
        targets = getattr(self, "_targets", None)
        targets = targets() if callable(targets) else targets
        if targets is None:
            raise InputError(
                "This decoder reads its training targets from the feature store and was not told where that is; "
                "pass features=FOLDER, or fit with keep='targets' or keep='weights'."
            )
        for name, n_columns in self.groups_.items():
            shape = targets[name].shape if name in targets else None
            if shape != (self._n_stimuli, n_columns):
                raise InputError(
                    f"Target {name!r} in the feature store has shape {shape} but the decoder was fitted on "
                    f"{(self._n_stimuli, n_columns)}; fit again, or name the store it was fitted from."
                )
        return targets

    def _rescaled(self, centred, block):
        place = block.place
        mean, scale = self.tensors_["target_mean_"][place], self.tensors_["target_scale_"][place]
        predicted = self.tensors_["predicted_mean_"][place], self.tensors_["predicted_scale_"][place]
        return rescaled(centred, rescaling(self.rescale, block.name), mean, scale, *predicted)

    def checked(self, X):
        """Patterns as an array of floats, finite, with the voxels that the decoder was fitted on; or an InputError."""
        shape = getattr(X, "shape", ())
        if len(shape) == 2 and shape[1] != self.n_features_in_ and not hasattr(self, "feature_names_in_"):
            # scikit-learn's own wording comes first: its conformance tests look for it.
            raise InputError(
                f"X has {shape[1]} features, but RidgeDecoder is expecting {self.n_features_in_} features as input: "
                f"patterns have {shape[1]:,} voxels but the decoder was fitted on {self.n_features_in_:,}; "
                "load the same subject and roi, or fit a decoder on these."
            )
        return validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
