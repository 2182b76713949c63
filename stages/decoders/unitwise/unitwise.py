"""A linear model for each unit of a network, on the voxels that correlate with it most in training.

How Kamitani's group decodes features (Horikawa & Kamitani 2017, doi 10.1038/ncomms15037; Shen and others 2019): voxels and
units are standardised over the training trials; each unit chooses its voxels by the absolute value of Pearson's correlation;
a column of ones is appended, and its weight penalised like the others; and a unit is fitted by itself, by sparse linear
regression (`stages.decoders.unitwise.sparse_linear_regression`) or, today, by ridge (`stages.decoders.unitwise.selected_ridge`).

What units have in common is done once: a layer of 3.2 million units is read by blocks of columns, and one product of each
block with the patterns gives both the correlations and what its models are solved from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from stages.decoders import decoder_files
from stages.decoders.decoder_files import plain, shapes_of
from stages.decoders.ridge.by_blocks import FittedByBlocks, stimuli_shown
from stages.decoders.ridge.factorisation import TrainingPatterns
from stages.decoders.ridge.leave_one_out import Trials
from stages.decoders.ridge.target_blocks import COLUMNS_PER_BLOCK, TargetBlock, finite, plan, read_ahead
from stages.decoders.unitwise.unit_models import RULES, UnitModels, operations_of_a_unit, width_of_blocks
from stages.decoders.unitwise.unit_storage import bytes_of_each, note_of_sizes, way_to_store
from stages.ground.checks import check_all
from stages.ground.errors import InputError
from stages.ground.progress import SILENT

ENTRIES = frozenset("parameters stored sizes n_voxels n_constant n_chosen single_output groups alpha kept".split())


@dataclass(frozen=True)
class SolvedUnits:
    """A block of units.

    Attributes
    ----------
    block : stages.decoders.ridge.target_blocks.TargetBlock
    predictions : array of shape (n_new, n_units), or None
    """

    block: TargetBlock
    predictions: np.ndarray | None


class UnitwiseDecoder(FittedByBlocks):
    """Linear models from patterns to the units of one target or several, each on voxels of its own.

    >>> random = np.random.default_rng(0)
    >>> patterns = random.normal(size=(60, 30))
    >>> units = 5 + patterns[:, [3, 7]] + 0.1 * random.normal(size=(60, 2))
    >>> decoder = UnitwiseDecoder(voxels=1, alpha=0.1).fit(patterns, units)
    >>> decoder.tensors_["chosen_"].ravel().tolist()
    [3, 7]
    >>> bool(np.abs(decoder.predict(patterns) - units).max() < 0.5)
    True

    Parameters
    ----------
    kind : {"ridge", "ard"}
        Ridge; or sparse linear regression, whose automatic relevance determination prunes voxels.
    voxels : int or "all"
        Voxels of each unit, those whose correlation with it over the training trials is largest in absolute value; of equal
        ones the first. Where fewer vary, those that do: `notes` says so. A voxel that does not vary is never chosen.
    alpha : float
        Penalty of ridge, for standardised voxels and units; above 0.
    iterations, initial, prune, stop
        Of sparse linear regression, as `stages.decoders.unitwise.sparse_linear_regression.fit_sparse` takes them.
    statistics : {"stimuli", "trials"}
        Mean and standard deviation of a unit are over the stimuli, each once, as KamitaniLab's feature-decoding has it; or over
        the trials. Those of voxels are over the trials. One degree of freedom is taken off.
    keep : {"auto", "weights", "patterns"}
        What is stored for patterns to come: each unit's voxels and their weights; or the training patterns alone, from which
        units are fitted once more while their training values are read again from where they came (`attach`). "auto" takes the
        weights up to 2 GB, those of sparse regression, and where values cannot be read again.
    memory : float, optional
        Bytes that a fit may take; the width of its blocks follows.
    device : str
        Torch device.

    Attributes
    ----------
    groups_ : dict of str to int
        Name and number of columns of each target, in column order.
    sizes_ : dict of str to int
        Bytes that each way to store the decoder takes.
    """

    def __init__(
        self,
        kind="ridge",
        voxels=500,
        alpha=100.0,
        iterations=2000,
        initial="variance",
        prune="weights",
        stop="previous iteration",
        statistics="stimuli",
        keep="auto",
        memory=None,
        device="cpu",
    ):
        self.kind = kind
        self.voxels = voxels
        self.alpha = alpha
        self.iterations = iterations
        self.initial = initial
        self.prune = prune
        self.stop = stop
        self.statistics = statistics
        self.keep = keep
        self.memory = memory
        self.device = device

    def operations(self, n_trials, n_voxels, sizes):
        """Operations of a fit, a multiplication and an addition counted as two; of sparse regression at most.

        The product of the patterns with every column, and its model.

        Parameters
        ----------
        n_trials, n_voxels : int
        sizes : mapping of str to int
            Columns of each target.
        """
        own = operations_of_a_unit(self, n_trials, n_voxels)
        return 2 * n_trials * n_voxels**2 + n_voxels**3 + sum(sizes.values()) * (2 * n_trials * n_voxels + own)

    def what_is_stored(self, n_trials, n_voxels, sizes):
        """Sentences, before it is fitted, on what it will store of features in a store, given as `operations` takes them."""
        n_chosen = n_voxels if self.voxels == "all" else min(self.voxels, n_voxels)
        stored = bytes_of_each(n_trials, n_voxels, sum(sizes.values()), n_chosen, itemsize=4)
        return [note_of_sizes(stored, way_to_store(self.keep, self.kind, stored, again=True))]

    # The steps of a fit

    def start(self, X, targets, stimuli=None, stored=None):
        """Check the parameters and make what all units share.

        Parameters
        ----------
        X : array of shape (n_trials, n_voxels), float32 or float64, finite
        targets : mapping of str to array-like of shape (n_stimuli, n_columns)
        stimuli : array of int, shape (n_trials,), optional
        stored : dict of str to array, optional
            What an interrupted fit left; nothing of it is needed.
        """
        check_all(self, RULES)
        n_stimuli = stimuli_shown(len(X), targets, stimuli)
        self.n_features_in_, self._single_output = X.shape[1], False
        self.groups_ = {name: int(target.shape[1]) for name, target in targets.items()}
        self._trials = Trials(n_stimuli, stimuli)
        self._X, self._dtype = X, np.dtype(X.dtype)
        self._widest(0)  # says so now if memory is too small
        self._models = UnitModels(X, self._trials, self)
        self.n_constant_, self.n_chosen_ = self._models.n_constant, self._models.n_chosen
        n_columns, itemsize = sum(self.groups_.values()), self._dtype.itemsize
        self.sizes_ = bytes_of_each(*X.shape, n_columns, self.n_chosen_, itemsize)
        again = all(hasattr(target, "columns") for target in targets.values())
        self.stored_ = way_to_store(self.keep, self.kind, self.sizes_, again)
        self.alpha_ = {name: float(self.alpha) for name in self.groups_}
        self.error_, self.kept_ = {}, {}
        return self

    def width(self, n_new=0):
        """Columns of a block under the memory budget, `n_new` patterns predicted on the way."""
        return self._widest(n_new)

    def _widest(self, n_new):
        n, p = self._X.shape
        return width_of_blocks(self, n, p, self._trials.n_stimuli, n_new)

    def layout(self):
        """Tensors of the fitted decoder: dict of name to (shape, dtype)."""
        n_columns, double = sum(self.groups_.values()), np.dtype(np.float64)
        columns = {name: ((n_columns,), double) for name in ("target_mean_", "target_scale_")}
        columns["n_kept_"] = ((n_columns,), np.dtype(np.int32))
        found = columns | {name: ((self.n_features_in_,), double) for name in ("voxel_mean_", "voxel_scale_")}
        if self.stored_ == "patterns":
            found["training_patterns_"] = (self._X.shape, self._dtype)
            return found | {"trial_stimuli_": ((self._trials.n_trials,), np.dtype(np.int64))}
        found["chosen_"] = ((n_columns, self.n_chosen_), np.dtype(np.int32))
        found["coef_"] = ((n_columns, self.n_chosen_), self._dtype)
        return found | {"intercept_": ((n_columns,), double)}

    def choose(self, targets, progress=SILENT):
        """Write what is known of the patterns into `tensors_`; voxels are chosen with their units."""
        training = self._models.training
        self.tensors_["voxel_mean_"][...], self.tensors_["voxel_scale_"][...] = training.mean, training.scale
        if self.stored_ == "patterns":
            self.tensors_["training_patterns_"][...] = self._X
            self.tensors_["trial_stimuli_"][...] = self._trials.stimuli

    def solve(self, targets, new_patterns=None, *, width=None, start=0, progress=SILENT):
        """Read the targets once, fill `tensors_`, and yield every `SolvedUnits` on the way."""
        models, tensors = self._models, self.tensors_
        reader = None if new_patterns is None else models.reader(new_patterns)
        planned = plan(self.groups_, width or self.width(0 if new_patterns is None else len(new_patterns)))
        for block, units in self._fitted_blocks(models, targets, planned[start:]):
            place = block.place
            tensors["target_mean_"][place], tensors["target_scale_"][place] = units.mean, units.scale
            tensors["n_kept_"][place] = units.n_kept
            if self.stored_ == "weights":
                chosen, weights, intercept = models.weights(units)
                tensors["chosen_"][place], tensors["coef_"][place] = chosen, weights
                tensors["intercept_"][place] = intercept
            yield SolvedUnits(block, None if reader is None else models.predict(units, reader).astype(self._dtype))
            progress("predicting targets", place.stop, sum(self.groups_.values()))

    def _fitted_blocks(self, models, targets, planned):
        dtype = torch.float32 if self._dtype == np.float32 else torch.float64
        for block, values in read_ahead(targets, planned, dtype, models.device):
            yield block, models.fit(finite(values, block.name))

    def finish(self):
        """Sum up what the blocks have found, and let go of what only fitting needs."""
        for block in plan(self.groups_, max(self.groups_.values())):
            self.kept_[block.name] = float(np.mean(self.tensors_["n_kept_"][block.place]))
        for name in ("_models", "_trials", "_X"):
            vars(self).pop(name, None)
        return self

    def fit_targets(self, X, targets, stimuli=None, progress=SILENT):
        super().fit_targets(X, targets, stimuli, progress)
        return self.attach(targets if self.needs_targets else None)

    # Patterns to come

    @property
    def needs_targets(self):
        return self.stored_ == "patterns"

    def attach(self, targets):
        """Say where the training targets are, for a decoder that stores none.

        Parameters
        ----------
        targets : mapping of str to array-like of shape (n_stimuli, n_columns), or a callable that returns one
            As they were when it was fitted.
        """
        self._targets = targets
        return self

    def _blocks(self, X, start):
        planned = plan(self.groups_, COLUMNS_PER_BLOCK)[start:]
        return self._from_patterns(X, planned) if self.needs_targets else self._from_weights(X, planned)

    def _from_patterns(self, X, planned):
        """Fit the units once more, and predict."""
        if getattr(self, "_targets", None) is None:
            raise InputError(
                "This decoder stores no targets; attach the training targets that it was fitted on, or fit it with "
                "keep='weights'."
            )
        targets = self._targets() if callable(self._targets) else self._targets
        stimuli = np.array(self.tensors_["trial_stimuli_"])
        trials = Trials(int(stimuli.max()) + 1, stimuli)
        self._dtype = np.dtype(self.tensors_["training_patterns_"].dtype)
        models = UnitModels(np.array(self.tensors_["training_patterns_"]), trials, self)
        reader = models.reader(X)
        for block, units in self._fitted_blocks(models, targets, planned):
            yield block.name, block.columns, models.predict(units, reader).astype(X.dtype, copy=False)

    def _from_weights(self, X, planned):
        tensors = self.tensors_
        training = TrainingPatterns(X, "cpu", np.array(tensors["voxel_mean_"]), np.array(tensors["voxel_scale_"]))
        rows = training.standardised(X).to(torch.from_numpy(np.empty(0, X.dtype)).dtype)
        for block in planned:
            chosen, coef = (torch.from_numpy(np.array(tensors[name][block.place])) for name in ("chosen_", "coef_"))
            weights = rows.new_zeros(len(chosen), rows.shape[1]).scatter_(1, chosen.long(), coef.to(rows.dtype))
            predicted = (rows @ weights.T).numpy() + np.asarray(tensors["intercept_"][block.place])
            values = predicted * tensors["target_scale_"][block.place] + tensors["target_mean_"][block.place]
            yield block.name, block.columns, values.astype(X.dtype, copy=False)

    def summary(self):
        """A row per target: columns, voxels that each chooses, and those of which a weight is left, on average."""
        return [
            {"target": name, "columns": n_columns, "voxels": self.n_chosen_, "kept_voxels": self.kept_[name]}
            for name, n_columns in self.groups_.items()
        ]

    def notes(self):
        """What is stored and how large, and of voxels that are fewer than asked for, or constant."""
        found = [note_of_sizes(self.sizes_, self.stored_)]
        if self.n_constant_:
            found.append(f"{self.n_constant_:,} of {self.n_features_in_:,} voxels do not vary and are never chosen.")
        if self.voxels != "all" and self.n_chosen_ < self.voxels:
            found.append(f"Each unit takes all {self.n_chosen_:,} voxels that vary: {self.voxels:,} were asked for.")
        return found

    # Files

    def describe(self):
        """What the fitted decoder is besides its tensors, JSON-able; where it ran is left out."""
        return {
            "class": type(self).__name__,
            "parameters": plain(self.get_params(deep=False) | {"memory": None, "device": "cpu"}),
            "stored": self.stored_,
            "sizes": self.sizes_,
            "n_voxels": int(self.n_features_in_),
            "n_constant": self.n_constant_,
            "n_chosen": self.n_chosen_,
            "single_output": self._single_output,
            "groups": self.groups_,
            "alpha": self.alpha_,
            "kept": self.kept_,
            "tensors": shapes_of(self.tensors_),
        }

    @classmethod
    def from_pretrained(cls, folder):
        """Open what `save_pretrained` wrote, the tensors memory-mapped.

        An InputError if files are missing or do not belong together.
        """
        config, tensors = decoder_files.read(cls, folder, ENTRIES)
        decoder = cls(**config["parameters"])
        decoder.tensors_, decoder.groups_, decoder.alpha_ = tensors, config["groups"], config["alpha"]
        for name in ("stored", "sizes", "n_constant", "n_chosen", "kept"):
            setattr(decoder, f"{name}_", config[name])
        decoder.n_features_in_, decoder._single_output = config["n_voxels"], config["single_output"]
        return decoder

    def __sklearn_is_fitted__(self):
        return "tensors_" in vars(self) and "_models" not in vars(self)
