"""An encoding model: from network features of a picture to the response pattern it would evoke.

Brain correlation scores a reconstruction by what it would evoke: its features go through the encoding model, and the
predicted pattern is correlated across voxels with the measured one. The measure comes from MindEye2 (Scotti et al. 2024),
which uses GNet, a network trained on several subjects' responses. Here it is ridge regression on the training pictures of
the same subject, so values compare between conditions of one protocol and not with published ones.

The model limits the measure. Its held-out correlation, and the brain correlation of the very pictures that were shown,
say how much.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from stages.checkpoints.mapped_tensors import create_tensors, map_tensors
from stages.decoders.decoder_files import plain
from stages.decoders.ridge.ridge import RidgeDecoder
from stages.ground.checks import is_constant
from stages.ground.errors import InputError
from weights.whole_files import whole_file, write_text

# Half a decade apart. Memory holds a matrix (n_features, n_stimuli) for each that some voxel chose, and penalties a third of
# a decade apart predict no better: by less than a hundredth of the correlation.
ALPHAS = tuple(float(alpha) for alpha in np.logspace(1, 7, 13))

_CONFIG, _MODEL, _RIDGE = "config.json", "model.safetensors", "ridge"
_GROUP = "voxels"
_VOXELS_PER_BLOCK = 2048


class EncodingModel:
    """Ridge regression from features of pictures to z-scored patterns.

    Patterns are z-scored voxel by voxel with the mean and standard deviation of training patterns, and predictions are in
    these units. Otherwise differences between voxels' means, which are the same for all stimuli, would dominate a
    correlation across voxels, and any prediction would score high.

    Parameters
    ----------
    alphas, penalty, held_out, seed, memory, device
        As for `stages.decoders.ridge.ridge.RidgeDecoder`, which chooses the penalty by leave-one-out on training pictures:
        one for each voxel (`penalty="target"`), for voxels without signal need a stronger one, or one for all
        (`penalty="group"`), which costs less time and memory.

    Attributes
    ----------
    mean_, std_ : array of shape (n_voxels,), float64
        Of the training patterns; the std is 0 for voxels that did not vary.
    voxel_correlation_ : array of shape (n_voxels,), float64
        Between training responses and held-out predictions of them; NaN if one of the two does not vary.
    held_out_correlation_ : float
        Their mean, NaN left out: how good the model is. Noise limits it as well.
    alpha_ : float
        The median penalty.
    """

    def __init__(self, alphas=ALPHAS, penalty="target", held_out="tenth", seed=0, memory=None, device="cpu"):
        # No rescaling: a prediction's size says how sure the model is of a voxel.
        self._ridge = RidgeDecoder(
            alphas, rescale="none", penalty=penalty, held_out=held_out, seed=seed, memory=memory, device=device
        )

    def fit(self, features, patterns):
        """Fit on training pictures.

        Parameters
        ----------
        features : array of shape (n_stimuli, n_features)
            Of the training pictures; standardised here, column by column.
        patterns : array of shape (n_stimuli, n_voxels)
            Responses averaged over repeats, in the same order and any unit.

        Returns
        -------
        self

        Raises
        ------
        InputError
            If shapes do not match, there are fewer than three stimuli, or a value is not finite.
        """
        features, patterns = _finite(features, "Features"), _finite(patterns, "Patterns")
        if len(features) != len(patterns) or len(features) < 3:
            raise InputError(
                f"There are features of {len(features):,} pictures and patterns of {len(patterns):,}; expected the same "
                "pictures, at least 3. Pass both for the training stimuli."
            )
        self.mean_, self.std_ = _statistics(patterns)
        self._ridge.fit_targets(features, {_GROUP: self.standardise(patterns)})
        return self

    def predict(self, features):
        """Patterns that pictures would evoke.

        Parameters
        ----------
        features : array of shape (n_pictures, n_features)
            From the same network and layer as those it was fitted on.

        Returns
        -------
        patterns : array of shape (n_pictures, n_voxels), float32
            In the units of `standardise`. All voxels, also those that the model cannot predict.

        Raises
        ------
        InputError
            If the model is not fitted, or the features have another width or are not finite.
        """
        self._check_fitted()
        features = _finite(features, "Features")
        if features.shape[1] != self.n_features:
            raise InputError(
                f"The pictures have {features.shape[1]:,} features but the encoding model was fitted on "
                f"{self.n_features:,}; compute them with the same network and layer."
            )
        return self._ridge.predict(features).astype(np.float32, copy=False)

    def standardise(self, patterns):
        """Z-score patterns with the training patterns' statistics.

        Parameters
        ----------
        patterns : array of shape (n_stimuli, n_voxels)
            In the units of the training patterns.

        Returns
        -------
        standardised : array of shape (n_stimuli, n_voxels), float32
            0 in voxels that did not vary in training, whatever they do here.

        Raises
        ------
        InputError
            If the model is not fitted, or the patterns have another width or are not finite.
        """
        self._check_fitted()
        patterns = _finite(patterns, "Patterns")
        if patterns.shape[1] != len(self.mean_):
            raise InputError(
                f"Patterns have {patterns.shape[1]:,} voxels but the encoding model was fitted on {len(self.mean_):,}; "
                "load the same subject and roi, or fit an encoding model on these."
            )
        standardised = np.empty(patterns.shape, dtype=np.float32)
        for voxels in _blocks(len(self.mean_)):
            std = self.std_[voxels]
            factor = np.divide(1.0, std, out=np.zeros_like(std), where=std > 0)
            standardised[:, voxels] = (patterns[:, voxels] - self.mean_[voxels]) * factor
        return standardised

    def describe(self):
        """What changes a fit, JSON-able: the settings of its ridge regression but for device and memory."""
        settings = self._ridge.get_params(deep=False)
        return {name: plain(value) for name, value in settings.items() if name not in ("device", "memory")}

    @property
    def n_features(self):
        return self._ridge.n_features_in_

    @property
    def voxel_correlation_(self):
        return np.array(self._ridge.tensors_["column_correlation_"])

    @property
    def held_out_correlation_(self):
        return self._ridge.held_out_correlation_[_GROUP]

    @property
    def alpha_(self):
        return self._ridge.alpha_[_GROUP]

    def save_pretrained(self, folder):
        """Write `config.json`, `model.safetensors` (the voxels' statistics) and the ridge decoder in `ridge`."""
        self._check_fitted()
        folder = Path(folder)
        # Away first and back last: if it stands, the model is whole.
        (folder / _CONFIG).unlink(missing_ok=True)
        self._ridge.save_pretrained(folder / _RIDGE)
        statistics = {"mean": self.mean_, "std": self.std_}
        with whole_file(folder / _MODEL) as partial:
            layout = {name: (values.shape, values.dtype) for name, values in statistics.items()}
            for name, mapped in create_tensors(partial, layout).items():
                mapped[...] = statistics[name]
                mapped.flush()
        config = {"class": type(self).__name__, "n_features": int(self.n_features), "n_voxels": len(self.mean_)}
        write_text(folder / _CONFIG, json.dumps(config, indent=1) + "\n")

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Open what `save_pretrained` wrote.

        Raises
        ------
        InputError
            If files are missing or do not belong together.
        """
        folder = Path(folder)
        try:
            config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
            statistics, _ = map_tensors(folder / _MODEL)
        except FileNotFoundError as error:
            raise InputError(
                f"No encoding model in {folder}: {Path(error.filename).name} is missing; fit one and save it there."
            ) from None
        except (ValueError, RecursionError) as error:
            raise InputError(f"The encoding model in {folder} cannot be read ({error}); fit it again.") from None
        found = config.get("class") if isinstance(config, dict) else config
        if found != cls.__name__:
            raise InputError(f"{folder} holds a {found!r}, expected an encoding model; name another folder.")
        model = cls()
        model._ridge = RidgeDecoder.from_pretrained(folder / _RIDGE).set_params(device=device)
        n_features, n_voxels = config.get("n_features"), config.get("n_voxels")
        shapes = {name: values.shape for name, values in statistics.items()}
        found = (model.n_features, model._ridge.groups_, shapes)
        if found != (n_features, {_GROUP: n_voxels}, {"mean": (n_voxels,), "std": (n_voxels,)}):
            raise InputError(f"The files of the encoding model in {folder} do not belong together; fit it again.")
        model.mean_, model.std_ = np.array(statistics["mean"]), np.array(statistics["std"])
        return model

    def _check_fitted(self):
        if not hasattr(self, "mean_"):
            raise InputError("The encoding model is not fitted; call fit with training pictures, or from_pretrained.")


def _finite(values, what):
    """Values as a floating array of two dimensions, finite."""
    values = np.asarray(values)
    if values.ndim != 2 or not values.shape[1]:
        raise InputError(f"{what} have shape {values.shape}; expected one row per picture and at least one column.")
    values = values if values.dtype in (np.float32, np.float64) else values.astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(
            f"{what} of {int((~np.isfinite(values)).any(axis=1).sum()):,} of {len(values):,} pictures hold NaN or infinite "
            "values; expected finite numbers. Look at what produced them."
        )
    return values


def _statistics(patterns):
    """Mean and standard deviation of each voxel, float64; the deviation is 0 if only rounding varies."""
    mean, std = np.empty(patterns.shape[1]), np.empty(patterns.shape[1])
    for voxels in _blocks(patterns.shape[1]):
        block = patterns[:, voxels].astype(np.float64)
        mean[voxels], std[voxels] = block.mean(axis=0), block.std(axis=0)
    std[is_constant(mean, std)] = 0.0
    return mean, std


def _blocks(n_voxels):
    return [slice(start, start + _VOXELS_PER_BLOCK) for start in range(0, n_voxels, _VOXELS_PER_BLOCK)]
