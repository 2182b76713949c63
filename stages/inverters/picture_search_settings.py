"""How a picture is searched for, as plain values; `stages.inverters.picture_search` has the search."""

from __future__ import annotations

from dataclasses import dataclass

from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError
from stages.inverters.feature_distances import DISTANCES
from stages.inverters.feature_scaling import SCALINGS

_SHARE = Number(0, 1, below=True, example=0.01)
_NOT_NEGATIVE = Number(0, example=0.5)
_RULES = {
    "steps": Number(1, whole=True, example=200),
    "optimiser": OneOf("gradient descent", "AdamW", "L-BFGS-B", "none"),
    "varied": OneOf("latent", "pixels"),
    "learning_rate": Number(0, above=True, example=2.0),
    "last_learning_rate": Number(0, example=1e-10),
    "gradient": OneOf("by its mean size", "as it is"),
    "momentum": Number(0, 1, below=True, example=0.9),
    "decay": _SHARE,
    "last_decay": Number(0, 1, below=True, optional=True, example=0.01),
    "weight_decay": _NOT_NEGATIVE,
    "blur": _NOT_NEGATIVE,
    "last_blur": Number(0, optional=True, example=0.5),
    "jitter": Number(0, whole=True, example=4),
    "jittered": OneOf("picture", "picture and velocity"),
    "p_norm": _NOT_NEGATIVE,
    "p_norm_order": Number(1, example=3.0),
    "total_variation": _NOT_NEGATIVE,
    "total_variation_order": Number(0, above=True, example=2.0),
    "clip_extremes": Number(0, 100, below=True, example=1.0),
    "distance": OneOf(*DISTANCES),
    "layers_count": OneOf("by size", "alike"),
    "scaling": OneOf(*SCALINGS),
    "start": OneOf("noise", "shared noise", "zeros", "greys", "decoded"),
    "start_spread": Number(0, above=True, example=1.0),
    "start_seed": Number(whole=True),
    "bounds": OneOf("activation range", "highest", "above 0", "greys", "none"),
    "highest": Number(0, above=True, example=100.0),
    "bounds_hold": OneOf("after each step", "when used"),
    "fitted": OneOf("cut out", "resized"),
    "found": OneOf("before the last step", "after the last step"),
    "clip": Number(0, 100, below=True, example=4.0),
    "clipped": OneOf("what is shown", "all that is drawn"),
    "greys": OneOf("cut off", "rounded"),
    "at_a_time": Number(1, whole=True, example=8),
}
# What regularises a picture makes no sense of a generator's inputs.
_OF_PIXELS = ("blur", "last_blur", "jitter", "p_norm", "total_variation", "clip_extremes")


@dataclass(frozen=True)
class PictureSearchSettings:
    """How a picture is searched for; the defaults are those of KamitaniLab's scripts for natural pictures, but for the start.

    >>> [round(PictureSearchSettings().rate(step), 2) for step in (0, 100, 199)]
    [2.0, 1.0, 0.01]

    `stages.inverters.picture_search_presets` has the published forms.

    Attributes
    ----------
    steps : int
        How often the picture is drawn, looked at and changed; of "L-BFGS-B" the most iterations.
    optimiser : {"gradient descent", "AdamW", "L-BFGS-B", "none"}
        "none" draws the start as it is.
    varied : {"latent", "pixels"}
        The input of a generator, or the picture itself.
    learning_rate, last_learning_rate : float
        Of the first step, and what it falls to in a straight line. L-BFGS-B has none.
    gradient : {"by its mean size", "as it is"}
        Whether gradient descent divides a gradient by the mean of its absolute values.
    momentum : float
        Share of the step before that each step of gradient descent goes on with.
    decay, last_decay : float
        Share that is taken off what is varied after the first step of gradient descent, and what it becomes in a straight line;
        None keeps it.
    weight_decay : float
        AdamW's.
    blur, last_blur : float
        Standard deviation in pixels of the blur after the first step, and what it becomes; 0 blurs nothing, None keeps it.
    jitter : int
        A picture is looked at shifted by up to so many pixels either way, anew in each step.
    jittered : {"picture", "picture and velocity"}
        Whether momentum is shifted with the picture, as icnn has it, or not, as bdpy. Where icnn shifts back, the newest gradient
        stays where it is.
    p_norm, total_variation : float
        Weights of two regularisers, whose gradients are added to the velocity.
    p_norm_order, total_variation_order : float
        The p of the norm, and the power of the distances between neighbours.
    clip_extremes : float
        Percent of the values that are cut off in every fourth step, half of them at either end.
    distance : {"squares", "absolute", "inner product", "Gram", "DISTS and squares"}
        See `stages.inverters.feature_distances`.
    layers_count : {"by size", "alike"}
        Share of each layer in the sum of distances: by ``1 / |f|^2`` of its wanted features, or the same.
    scaling : {"feature_std", "spread", "feature_std_train_mean_center", "spread_train_mean_center", "none"}
        How decoded features get the spread of true ones; see `stages.inverters.feature_scaling`.
    start : {"noise", "shared noise", "zeros", "greys", "decoded"}
        Normal noise of each stimulus and sample, or one such noise for all pictures, or nothing (of pixels the mean colour), or
        whole greys of 0 to 255 by lot, or decoded features that the generator draws from.
    start_spread : float
        Standard deviation of the noise.
    start_seed : int
        Of the shared noise.
    bounds : {"activation range", "highest", "above 0", "greys", "none"}
        Keep what is varied between 0 and the range of the layer that the generator draws from, or 0 and `highest`, or above 0,
        or pixels between black and white, or leave it free.
    highest : float
        Largest input of the generator under the bounds "highest".
    bounds_hold : {"after each step", "when used"}
        Whether bounds change what is varied, or only what is drawn of it, while its gradient passes. L-BFGS-B never leaves them.
    fitted : {"cut out", "resized"}
        A network looks at the middle of a larger picture, or at all of it made smaller.
    found : {"before the last step", "after the last step"}
        The picture that is given.
    clip : float
        Percent of the pixels' values that are cut off, half of them at either end, before the rest is stretched to 0 to 255.
    clipped : {"what is shown", "all that is drawn"}
        Pixels that the two limits are taken of: the middle, or the generator's whole picture cut off at black and white before.
    greys : {"cut off", "rounded"}
        How a picture becomes 8 bit.
    at_a_time : int
        Pictures that are searched for together, for a GPU. At 1 a picture does not depend on other pictures, to the byte. More
        are rounded otherwise with other rows beside them, and the steps enlarge that.
    """

    steps: int = 200
    optimiser: str = "gradient descent"
    varied: str = "latent"
    learning_rate: float = 2.0
    last_learning_rate: float = 1e-10
    gradient: str = "by its mean size"
    momentum: float = 0.9
    decay: float = 0.01
    last_decay: float | None = None
    weight_decay: float = 0.01
    blur: float = 0.0
    last_blur: float | None = None
    jitter: int = 0
    jittered: str = "picture"
    p_norm: float = 0.0
    p_norm_order: float = 3.0
    total_variation: float = 0.0
    total_variation_order: float = 2.0
    clip_extremes: float = 0.0
    distance: str = "squares"
    layers_count: str = "by size"
    scaling: str = "feature_std"
    start: str = "noise"
    start_spread: float = 1.0
    start_seed: int = 0
    bounds: str = "activation range"
    highest: float = 100.0
    bounds_hold: str = "after each step"
    fitted: str = "cut out"
    found: str = "before the last step"
    clip: float = 4.0
    clipped: str = "what is shown"
    greys: str = "cut off"
    at_a_time: int = 1

    def __post_init__(self):
        check_all(self, _RULES, where="search")
        pixels = self.varied == "pixels"
        senseless = [("bounds", "activation range"), ("bounds", "highest"), ("bounds", "above 0"), ("start", "decoded")]
        senseless = senseless if pixels else [("bounds", "greys"), ("start", "greys")]
        for name, value in senseless:
            if getattr(self, name) == value:
                raise InputError(
                    f"search.{name} is {value!r} and search.varied {self.varied!r}; expected {name} of what is varied: pass "
                    f"--set {name}={'none' if name == 'bounds' else 'noise'}."
                )
        for name in _OF_PIXELS:
            if getattr(self, name) and not (pixels and self.optimiser == "gradient descent"):
                raise InputError(
                    f"search.{name} is {getattr(self, name)}, search.varied {self.varied!r} and search.optimiser "
                    f"{self.optimiser!r}; expected 0: it is for pixels and gradient descent; pass --set {name}=0."
                )

    def rate(self, step):
        """Learning rate of a step, counted from 0."""
        return self._between(step, self.learning_rate, self.last_learning_rate)

    def share(self, step):
        """Share that is taken off after a step, counted from 0."""
        return self._between(step, self.decay, self.last_decay)

    def sigma(self, step):
        """Standard deviation of the blur after a step, counted from 0."""
        return self._between(step, self.blur, self.last_blur)

    def _between(self, step, first, last):
        return first if last is None else first + step * (last - first) / self.steps
