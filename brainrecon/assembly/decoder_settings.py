"""Settings of a linear decoder: which trials, which voxels, which penalties, what is rescaled."""

from __future__ import annotations

from dataclasses import dataclass

from stages.decoders.ridge.ridge import ALPHAS
from stages.decoders.ridge.ridge_solver import RESCALINGS
from stages.decoders.ridge.ridge_steps import HELD_OUT, KEEP, PENALTIES
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

KINDS = ("ridge", "banded_ridge")
TRIALS = ("averaged", "single")
SELECTIONS = ("all", "noise_ceiling", "correlation")
DTYPES = ("float32", "float16")


@dataclass(frozen=True)
class DecoderSettings:
    """Stage one.

    Attributes
    ----------
    kind : {"ridge", "banded_ridge"}
        One penalty for all voxels, or one for each band of them: `stages.decoders.ridge.banded_ridge`, which needs himalaya.
    bands : tuple of str
        Regions of the subject that are a band each; voxels of none form one more.
    alpha : tuple of float, float, or dict of str to either
        Penalties to choose from; one value fixes it, a table gives each target its own.
    rescale : {"held_out", "none", "transductive", "training", "training_unless_alone"}, or dict of str to one of them
        Give predictions the mean and spread of the training targets, measured on training stimuli that were held out; or
        leave them; or by the test set's own statistics, as some scripts do; or by those of predictions of the training stimuli
        themselves, a prediction by itself left out in the last. A table gives each target its own way.
    penalty : {"group", "target"}
        One penalty for all columns of a target, or one for each column.
    sketch : int
        Columns of a target on which its penalty is chosen.
    held_out : {"tenth", "all", "none"}
        Training stimuli whose held-out predictions give the statistics of `rescale`.
    keep : {"auto", "weights", "targets", "factorisation"}
        How the fitted decoder is stored; "auto" takes the smallest. See `stages.decoders.ridge.ridge.RidgeDecoder`.
    standardise : bool
        The penalty acts on voxels of standard deviation 1; off, on voxels as they are, as in scikit-learn's Ridge.
    trials : {"averaged", "single"}
        Train on patterns, each the average of a stimulus's trials, or on every trial by itself.
    voxels : {"all", "noise_ceiling", "correlation"}
        Rank voxels by the noise ceiling of the training patterns, or by their correlation with the targets of
        the training stimuli, and keep the best.
    top_voxels : int, optional
        How many to keep.
    least_noise_ceiling : float, optional
        Keep voxels from this noise ceiling on, in percent, however many they are.
    features : {"float32", "float16"}
        How the feature store holds the targets.
    """

    kind: str = "ridge"
    bands: tuple[str, ...] = ()
    alpha: tuple[float, ...] | float | dict[str, float] = ALPHAS
    rescale: str | dict[str, str] = "held_out"
    penalty: str = "group"
    sketch: int = 2048
    held_out: str = "tenth"
    keep: str = "auto"
    standardise: bool = True
    trials: str = "averaged"
    voxels: str = "all"
    top_voxels: int | None = None
    least_noise_ceiling: float | None = None
    features: str = "float32"

    def __post_init__(self):
        if self.keep == "factor":
            # As configurations of before have it.
            object.__setattr__(self, "keep", "factorisation")
        allowed = {
            "kind": KINDS,
            "penalty": PENALTIES,
            "held_out": HELD_OUT,
            "keep": KEEP,
            "trials": TRIALS,
            "voxels": SELECTIONS,
            "features": DTYPES,
            "standardise": (True, False),
        }
        for name, choices in allowed.items():
            if (value := getattr(self, name)) not in choices:
                raise InputError(
                    f"decoder.{name} is {value!r}; expected one of {', '.join(choices)}{did_you_mean(value, choices)}."
                )
        ways = self.rescale if isinstance(self.rescale, dict) else {"": self.rescale}
        for name, way in ways.items():
            if way not in RESCALINGS:
                where = f"decoder.rescale.{name}".rstrip(".")
                raise InputError(
                    f"{where} is {way!r}; expected one of {', '.join(RESCALINGS)}{did_you_mean(way, RESCALINGS)}."
                )
        if "held_out" in ways.values() and self.held_out == "none":
            raise InputError("decoder.held_out is 'none' but decoder.rescale is 'held_out'; set one of the two anew.")
        if (self.kind == "banded_ridge") != bool(self.bands):
            raise InputError(
                f"decoder.kind is {self.kind!r} with bands {list(self.bands)}; name regions for banded ridge, "
                'for example --set decoder.kind=banded_ridge --set \'decoder.bands=["V1", "V2"]\', and for ridge none.'
            )
        if self.bands and isinstance(self.rescale, dict):
            raise InputError(
                "decoder.rescale gives each target its own way, which banded ridge does not have; set decoder.rescale=held_out "
                "or none for all."
            )
        if self.bands and not self.standardise:
            raise InputError(
                "decoder.standardise is off, which banded ridge does not have; leave it on, or set decoder.kind=ridge."
            )
        limits = (self.top_voxels is not None) + (self.least_noise_ceiling is not None)
        if self.voxels == "all" and limits:
            raise InputError(
                "decoder.voxels is 'all' but a limit on voxels is set; "
                "say what ranks them with --set decoder.voxels=noise_ceiling or correlation."
            )
        if self.voxels != "all" and limits != 1:
            raise InputError(
                f"decoder.voxels is {self.voxels!r} with {limits} limits; give one, for example "
                "--set decoder.top_voxels=2000"
                + (" or decoder.least_noise_ceiling=10." if self.voxels != "correlation" else ".")
            )
        if self.voxels == "correlation" and self.least_noise_ceiling is not None:
            raise InputError(
                "decoder.least_noise_ceiling is set but voxels are ranked by correlation; set decoder.top_voxels instead."
            )
