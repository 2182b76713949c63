"""Ridge regression from voxels to targets, as a scikit-learn estimator.

    minimise over w   ||y - X w||^2 + alpha ||w||^2

Stage one of Brain-Diffuser (Ozcelik & VanRullen 2023) is a ridge regression for each target. Its published scripts
type the penalties in, factorise the same voxels once per token, and rescale the predictions with statistics of
the test set. Here the voxels are factorised once (`stages.decoders.ridge.ridge_solver`), the penalty of each target is chosen
by exact leave-one-out error on the training stimuli, and predictions are rescaled with statistics of held-out training
predictions, so that one pattern can be decoded alone.
"""

from __future__ import annotations

import math

import numpy as np

from stages.decoders import decoder_files
from stages.decoders.decoder_files import from_plain, plain, shapes_of
from stages.decoders.ridge.by_blocks import FittedByBlocks
from stages.decoders.ridge.ridge_prediction import predicted_blocks
from stages.decoders.ridge.ridge_solver import IN_SAMPLE, check_new, penalties, rescaling
from stages.decoders.ridge.ridge_steps import FitInSteps
from stages.decoders.ridge.ridge_storage import note_of_sizes
from stages.ground.devices import AUTO
from stages.ground.progress import SILENT

ALPHAS = tuple(float(alpha) for alpha in np.logspace(0, 7, 22))
ENTRIES = frozenset(
    "parameters stored n_voxels n_stimuli n_trials single_output groups alpha error held_out_correlation sizes".split()
)


class RidgeDecoder(FitInSteps, FittedByBlocks):
    """Ridge regression from patterns to one or several targets.

    >>> random = np.random.default_rng(0)
    >>> patterns, targets = random.normal(size=(40, 90)), random.normal(size=(40, 7))
    >>> decoder = RidgeDecoder(alphas=[10, 100]).fit(patterns, targets, groups={"clip": 4, "vdvae": 3})
    >>> decoder.predict(patterns[:1]).shape
    (1, 7)
    >>> [row["target"] for row in decoder.summary()]
    ['clip', 'vdvae']

    Parameters
    ----------
    alphas : float, sequence of float, or dict of str to either
        Penalties to choose from, in units of standardised voxels, or of voxels as they are if `standardise` is off. One
        value fixes the penalty; a dict gives each target its own. By default 22 from 1 to 10,000,000, evenly spread on a
        logarithmic scale.
    rescale : {"held_out", "none", "transductive", "training", "training_unless_alone"}, or dict of str to one of them
        Ridge predictions vary less than what they predict. "held_out" gives every column of a prediction the
        mean and standard deviation it has in training, measured against leave-one-out predictions of training stimuli.
        "transductive" is the published recipe: against the very patterns that are passed to `predict`, all together, so
        that predicting one item is impossible; both its standard deviations are those of NumPy, without a degree of freedom
        taken off, as in the scripts. "training" measures against predictions of the training trials by the fit that knows
        them, which vary more than those of new patterns; "training_unless_alone" leaves one pattern by itself as it is, as
        Ferrante et al. (2024) do. "none" leaves predictions as they are. A dict gives each target its own way.
    penalty : {"group", "target"}
        One penalty for all columns of a target, or one for each column; see `RidgeSolver`.
    sketch : int
        Columns of a target on which its penalty is chosen.
    held_out : {"tenth", "all", "none"}
        Training stimuli whose held-out predictions give the statistics and `held_out_correlation_`: a random tenth
        (500 at least, as far as there are), all, or none.
    keep : {"auto", "weights", "targets", "factorisation"}
        What is stored for patterns to come: a weight for every voxel and column; or training patterns, the factor of their
        Gram matrix and the training targets; or patterns and factor alone, with the targets read again from where they came
        (`attach`). "auto" takes the smaller of the first two, and the third if both pass 2 GB and targets can
        be read again. `notes` says how large each is.
    standardise : bool
        Whether the penalty acts on voxels of standard deviation 1 (one degree of freedom taken off), so that their units do not
        matter; or on voxels as they are, as in scikit-learn's Ridge. Their mean is taken off in any case.
    seed : int
        Of the sketch and of the tenth.
    memory : float, optional
        Bytes that `fit` may take; the width of its blocks follows.
    device : str
        Torch device; the best there is by default.

    Attributes
    ----------
    groups_ : dict of str to int
        Name and number of columns of each target, in column order.
    stored_ : {"weights", "targets", "factorisation"}
        What is stored.
    sizes_ : dict of str to int
        Bytes that each way to store the decoder takes.
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
        standardise=True,
        seed=0,
        memory=None,
        device=AUTO,
    ):
        self.alphas = alphas
        self.rescale = rescale
        self.penalty = penalty
        self.sketch = sketch
        self.held_out = held_out
        self.keep = keep
        self.standardise = standardise
        self.seed = seed
        self.memory = memory
        self.device = device

    def fit_targets(self, X, targets, stimuli=None, progress=SILENT):
        super().fit_targets(X, targets, stimuli, progress)
        return self.attach(targets if self.stored_ == "factorisation" else None)

    def operations(self, n_trials, n_voxels, sizes):
        """Operations of a fit, a multiplication and an addition counted as two: what takes the time, to a third.

        The Gram matrix and its eigenvectors, once more where trials are held out; then two products of trials by trials with
        every column, and where each column chooses its penalty one more for each to choose from.

        Parameters
        ----------
        n_trials, n_voxels : int
        sizes : mapping of str to int
            Columns of each target.
        """
        times = 1 if self.held_out == "none" else 2
        factorised = 2 * n_trials**2 * n_voxels + 9 * n_trials**3
        tried = sum(
            size * (len(penalties(self.alphas, name)) if self.penalty == "target" else 0)
            for name, size in sizes.items()
        )
        own = sum(size for name, size in sizes.items() if rescaling(self.rescale, name) in IN_SAMPLE)
        return times * factorised + 2 * n_trials**2 * (2 * sum(sizes.values()) + tried + own)

    # Patterns to come

    def _blocks(self, X, start):
        check_new(self.rescale, self.groups_, len(X))
        return ((block.name, block.columns, values) for block, values in predicted_blocks(self, X, start))

    @property
    def needs_targets(self):
        return self.stored_ == "factorisation"

    def attach(self, targets):
        """Say where the training targets are, for a decoder that stores none.

        Parameters
        ----------
        targets : mapping of str to array-like of shape (n_stimuli, n_columns), or a callable that returns one
            As they were when it was fitted.
        """
        self._targets = targets
        return self

    def summary(self):
        """A row per target: columns, penalty, held-out correlation, and the error (1: the training mean's) of the penalty."""
        return [
            {
                "target": name,
                "columns": n_columns,
                "penalty": self.alpha_[name],
                "held_out_correlation": self.held_out_correlation_[name],
                "held_out_error": min(
                    (error for error in self.error_[name] if not math.isnan(error)), default=math.nan
                ),
            }
            for name, n_columns in self.groups_.items()
        ]

    def notes(self):
        """What is stored, and how large that and the other ways are."""
        return [note_of_sizes(self.sizes_, self.stored_)]

    # Files

    def describe(self):
        """What the fitted decoder is besides its tensors, JSON-able; where it ran is left out."""
        return {
            "class": type(self).__name__,
            "parameters": plain(self.get_params(deep=False) | {"memory": None, "device": "cpu"}),
            "stored": self.stored_,
            "n_voxels": int(self.n_features_in_),
            "n_stimuli": int(self._n_stimuli),
            "n_trials": int(self._n_trials),
            "single_output": self._single_output,
            "groups": self.groups_,
            "alpha": self.alpha_,
            "error": plain(self.error_),
            "held_out_correlation": plain(self.held_out_correlation_),
            "sizes": self.sizes_,
            "tensors": shapes_of(self.tensors_),
        }

    @classmethod
    def from_pretrained(cls, folder):
        """Open what `save_pretrained` wrote, the tensors memory-mapped.

        An InputError if files are missing or do not belong together.
        """
        config, tensors = decoder_files.read(cls, folder, ENTRIES, _renamed)
        decoder = cls(**config["parameters"] | {"device": AUTO})
        decoder.tensors_, decoder.stored_ = tensors, config["stored"]
        decoder.groups_, decoder.alpha_, decoder.sizes_ = config["groups"], config["alpha"], config["sizes"]
        decoder.error_ = from_plain(config["error"])
        decoder.held_out_correlation_ = from_plain(config["held_out_correlation"])
        decoder.n_features_in_, decoder._single_output = config["n_voxels"], config["single_output"]
        decoder._n_stimuli, decoder._n_trials = config["n_stimuli"], config["n_trials"]
        return decoder

    def __sklearn_is_fitted__(self):
        return "tensors_" in vars(self) and "_solver" not in vars(self)


def _renamed(config):
    """A configuration of before "factorisation" was called so and trials were counted, under today's names."""
    now = {"factor": "factorisation"}
    if "kept" in config:
        config["stored"] = now.get(config["kept"], config["kept"])
    if isinstance(parameters := config.get("parameters"), dict) and parameters.get("keep") in now:
        parameters["keep"] = now[parameters["keep"]]
    if isinstance(sizes := config.get("sizes"), dict):
        config["sizes"] = {now.get(way, way): size for way, size in sizes.items()}
    if "n_stimuli" in config:
        # Patterns, unless it was fitted on single trials: then "transductive" is off by less than 1 / n_stimuli.
        config.setdefault("n_trials", config["n_stimuli"])
