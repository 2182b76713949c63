"""The forward model: how a simulated visual cortex answers a picture.

V1 to hV4 pool light, colour and oriented contrast within receptive fields that grow with eccentricity and
from area to area, and compress the sum (compressive spatial summation, Kay et al. 2013, J. Neurophysiol.
110). Higher areas are tuned to what the pictures show (thing, background, colour, digit, place): they are told
these labels and do not work them out from pixels. Which of them a voxel cares about depends on its area, and
its own preferences are drawn at random. No embedding that is later to be predicted from these responses takes part.

The one liberty: voxels keep a preference for light or dark and for single hues, where real voxels average
much of it away. With a thousand pictures, instead of NSD's nine thousand, layout and colour would hardly be
decodable otherwise.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, softmax

from brainrecon.simulation.brain.anatomy import ATLASES, PICTURE_DEGREES, Anatomy
from brainrecon.simulation.brain.filters import (
    CHANNELS,
    COLOUR,
    LIGHT,
    MAP_SIDE,
    ORIENTATIONS,
    WAVELENGTHS,
    channel_maps,
    coarser,
    receptive_fields,
)
from brainrecon.simulation.brain.smooth_maps import smooth_maps
from brainrecon.simulation.world.digits import DIGIT_WORDS
from brainrecon.simulation.world.pictures import BACKGROUNDS, COLOURS, LABELS, Picture
from brainrecon.simulation.world.scenes import PLACES

TARGET_CEILING = 35.0
"""Median noise ceiling of nsdgeneral for averages of three trials, percent of variance."""

SHARES = ("picture", "thing", "background", "colour", "digit", "place")
"""What a response can be made of."""

# Share of a voxel's signal variance, in the order of SHARES.
_MIXTURES = {
    "V1": (1.0, 0, 0, 0, 0, 0),
    "V2": (1.0, 0, 0, 0, 0, 0),
    "V3": (1.0, 0, 0, 0, 0, 0),
    "hV4": (0.75, 0.10, 0, 0.15, 0, 0),
    "ventral": (0.25, 0.45, 0.15, 0.10, 0.05, 0),
    "lateral": (0.25, 0.45, 0.05, 0.05, 0.05, 0.15),
    "parietal": (0.30, 0.20, 0.10, 0, 0, 0.40),
    "faces": (0.10, 0.70, 0.10, 0.05, 0, 0.05),
    "bodies": (0.10, 0.70, 0.10, 0.05, 0, 0.05),
    "places": (0.15, 0.20, 0.60, 0.05, 0, 0),
    "words": (0.20, 0.35, 0, 0.05, 0.40, 0),
}

# Size of a receptive field: degrees at the centre of gaze, and growth per degree of eccentricity.
_FIELD_SIZES = {"V1": (0.30, 0.06), "V2": (0.38, 0.09), "V3": (0.50, 0.13), "hV4": (0.75, 0.22)}
_HIGHER_FIELD_SIZE = (1.3, 0.30)

# How much of an early voxel's pooled drive is light, colour and oriented contrast.
_DRIVES = {
    "V1": (0.25, 0.20, 0.55),
    "V2": (0.25, 0.25, 0.50),
    "V3": (0.30, 0.25, 0.45),
    "hV4": (0.25, 0.40, 0.35),
}
_HIGHER_DRIVE = (0.30, 0.30, 0.40)

_KINDS_OF_THING = {
    "animate": ("fish", "bird", "cat", "butterfly"),
    "plant": ("tree", "flower", "mushroom", "apple", "cactus"),
    "building": ("house", "boat", "car", "rocket"),
    "sign": ("digit", "clock", "pattern", "bottle"),
    "sky": ("star", "moon", "balloon"),
}
_PREFERRED = {"faces": "animate", "bodies": "animate", "places": "building", "words": "sign"}

_COMPRESSION = 0.6
"""Exponent of the pooled drive."""

_COLUMN_SIGMA, _COLUMN_SHARE = 1.5, 0.9
"""Reach of shared preferences, voxels, and the share of their variance that neighbours have in common."""

_SINGLE_THING = 0.30
"""How much a thing differs, for a voxel, from others of its kind; relative to how much kinds differ."""

_CHUNK = 64


class Cortex:
    """One subject's tuning.

    Parameters
    ----------
    anatomy : Anatomy
        Where the voxels lie and what they are called.
    generator : numpy.random.Generator
        Source of every preference, gain and noise level.
    calibration : sequence of Picture
        Pictures that fix the scale of the responses; the same for a cohort of whatever size.

    Attributes
    ----------
    baseline, signal_sd, noise_sd : arrays of shape (n_cortex,), float32
        Mean response, standard deviation of the noise-free response over pictures, and of the noise of a
        single trial, all in percent signal change.
    receptive_fields : dict of str to array of shape (n_cortex,), float32
        "eccentricity", "angle" (counter-clockwise from the right) and "size", degrees.
    patterns : array of shape (n_calibration, n_cortex), float32
        Standardised noise-free responses to the calibration pictures.
    """

    def __init__(self, anatomy: Anatomy, generator: np.random.Generator, calibration: Sequence[Picture]):
        self.anatomy = anatomy
        self.areas = _areas(anatomy)
        self._draw_fields(generator)
        self._draw_drives(generator)
        self._draw_tuning(generator)
        self._draw_levels(generator)
        self._calibrate(calibration)

    def respond(self, pictures: Sequence[Picture]) -> np.ndarray:
        """Noise-free responses.

        Parameters
        ----------
        pictures : sequence of Picture
            What is shown, one row each.

        Returns
        -------
        array of shape (n_pictures, n_cortex), float32
            Percent signal change.
        """
        responses = np.empty((len(pictures), self.anatomy.n_cortex), np.float32)
        for start in range(0, len(pictures), _CHUNK):
            shares = self._shares(pictures[start : start + _CHUNK])
            level = (_compress(self._mix(shares)) - self._level_mean) / self._level_sd
            responses[start : start + _CHUNK] = self.baseline + self.signal_sd * level
        return responses

    def mean_response(self, category: str) -> np.ndarray:
        """Mean noise-free response to the calibration pictures of a thing, (n_cortex,) float32, percent signal change."""
        rows = [row for row, shown in enumerate(self._calibrated) if shown == category]
        return (self.baseline + self.signal_sd * self.patterns[rows].mean(axis=0)).astype(np.float32)

    # What a voxel is like

    def _draw_fields(self, generator):
        anatomy, n = self.anatomy, self.anatomy.n_cortex
        eccentricity = anatomy.eccentricity * generator.lognormal(0, 0.05, n)
        angle = np.deg2rad(anatomy.polar_angle + generator.normal(0, 4, n))
        x, y = eccentricity * np.cos(angle), eccentricity * np.sin(angle)
        sizes = np.array([_FIELD_SIZES.get(area, _HIGHER_FIELD_SIZE) for area in self.areas])
        sigma = (sizes[:, 0] + sizes[:, 1] * eccentricity) * generator.lognormal(0, 0.15, n)
        self.receptive_fields = {
            "eccentricity": np.hypot(x, y).astype(np.float32),
            "angle": (np.rad2deg(np.arctan2(y, x)) % 360).astype(np.float32),
            "size": sigma.astype(np.float32),
        }
        self._early = np.isin(self.areas, list(_FIELD_SIZES))
        early, higher = self._early, ~self._early
        self._fine_fields = receptive_fields(x[early], y[early], sigma[early], PICTURE_DEGREES, MAP_SIDE)
        self._coarse_fields = receptive_fields(x[higher], y[higher], sigma[higher], PICTURE_DEGREES, MAP_SIDE // 2)

    def _draw_drives(self, generator):
        """Weights of the channels, (n_channels, n_cortex), not negative."""
        n = self.anatomy.n_cortex
        shares = np.array([_DRIVES.get(area, _HIGHER_DRIVE) for area in self.areas])
        shares = shares * generator.gamma(1.5, 1, shares.shape)
        shares /= shares.sum(1, keepdims=True)
        light = ndtr(self._columns(generator, 1)[0])
        hue = softmax(2.0 * self._columns(generator, len(COLOUR)), axis=0)
        orientation = np.arange(ORIENTATIONS)[:, None] * np.pi / ORIENTATIONS
        preferred = np.arctan2(*self._columns(generator, 2)) / 2
        tuned = np.exp(1.5 * np.cos(2 * (orientation - preferred)))
        # Fine gratings at the centre of gaze, coarse ones outside.
        octave = np.log2(WAVELENGTHS)[:, None] - 2 - np.clip(self.anatomy.eccentricity / 3, 0, 2)
        scale = np.exp(-0.5 * (octave + generator.normal(0, 0.5, n)) ** 2)
        contrast = (scale[:, None] * tuned[None]).reshape(-1, n)
        parts = (np.stack([light, 1 - light]), hue, contrast / contrast.sum(0))
        weights = np.concatenate([part * share for part, share in zip(parts, shares.T, strict=True)])
        assert weights.shape == (len(LIGHT) + len(COLOUR) + ORIENTATIONS * len(WAVELENGTHS), n)
        self._weights = weights.astype(np.float32)

    def _draw_tuning(self, generator):
        mixture = np.array([_MIXTURES[area] for area in self.areas])
        mixture = mixture * generator.gamma(2.0, 1, mixture.shape)
        self._mixture = np.sqrt(mixture / mixture.sum(1, keepdims=True)).T.astype(np.float32)
        self._tuning = {
            "thing": self._tune_to_things(generator),
            "background": self._columns(generator, len(BACKGROUNDS)),
            "colour": self._columns(generator, len(COLOURS)),
            "digit": self._columns(generator, len(DIGIT_WORDS) + 1),
            "place": self._tune_to_places(generator),
        }
        self._tuning = {share: tuning.astype(np.float32) for share, tuning in self._tuning.items()}

    def _columns(self, generator, count):
        """Preferences that neighbouring voxels mostly share, (count, n_cortex), variance one."""
        maps = smooth_maps(self.anatomy, generator, count, _COLUMN_SIGMA)
        shared = maps[:, self.anatomy.in_brain]
        own = generator.normal(0, 1, shared.shape)
        return np.sqrt(_COLUMN_SHARE) * shared + np.sqrt(1 - _COLUMN_SHARE) * own

    def _tune_to_things(self, generator):
        """Draw preferences for kinds of things and, weaker, single ones; functional areas prefer one kind."""
        kinds = (*_KINDS_OF_THING, "other")
        kind_of = {label: kind for kind, labels in _KINDS_OF_THING.items() for label in labels}
        belongs = np.array([[kind_of.get(label, "other") == kind for kind in kinds] for label in LABELS], float)
        liking = self._columns(generator, len(kinds))
        for area, kind in _PREFERRED.items():
            liking[kinds.index(kind), self.areas == area] += 2.0
        return belongs @ liking + _SINGLE_THING * self._columns(generator, len(LABELS))

    def _tune_to_places(self, generator):
        """Wide bumps over the nine places, centred in the opposite half of the picture."""
        columns = np.array([("right" in place) * 1.0 - ("left" in place) for place in PLACES])
        rows = np.array([("top" in place) * 1.0 - ("bottom" in place) for place in PLACES])
        n = self.anatomy.n_cortex
        x = np.where(self.anatomy.right, -1, 1) * generator.uniform(0, 1.2, n)
        y = generator.uniform(-1.2, 1.2, n)
        return np.exp(-0.5 * ((columns[:, None] - x) ** 2 + (rows[:, None] - y) ** 2) / 0.7**2)

    def _draw_levels(self, generator):
        anatomy, n = self.anatomy, self.anatomy.n_cortex
        general = anatomy.labels["nsdgeneral"] == 1
        self.baseline = np.where(general, generator.normal(1.0, 0.6, n), generator.normal(0.2, 0.4, n))
        self.noise_sd = generator.lognormal(np.log(1.5), 0.25, n)
        ratio = generator.lognormal(0, 0.45, n) * np.where(np.isin(self.areas, ("V1", "V2", "V3")), 1.1, 1.0)
        ratio[~general] *= 0.4
        wanted = TARGET_CEILING / 100
        ratio *= np.sqrt(wanted / (1 - wanted) / 3) / np.median(ratio[general])
        self.signal_sd = self.noise_sd * ratio
        for name in ("baseline", "noise_sd", "signal_sd"):
            setattr(self, name, getattr(self, name).astype(np.float32))

    # What it does with a picture

    def _shares(self, pictures):
        """Raw response of each share, (n_shares, n_pictures, n_cortex)."""
        fine = channel_maps(np.stack([picture.image for picture in pictures]))
        drive = np.zeros((len(pictures), self.anatomy.n_cortex), np.float32)
        for voxels, maps, fields in (
            (self._early, fine, self._fine_fields),
            (~self._early, coarser(fine), self._coarse_fields),
        ):
            weights = self._weights[:, voxels]
            for channel in range(len(CHANNELS)):
                drive[:, voxels] += (maps[channel] @ fields) * (weights[channel] * _CHANNEL_GAINS[channel])
        shares = [np.power(drive + 1e-4, _COMPRESSION)]
        shares += [one_hot @ self._tuning[share] for share, one_hot in _attributes(pictures).items()]
        return np.stack(shares)

    def _mix(self, shares):
        return np.einsum("spv,sv->pv", (shares - self._share_mean) / self._share_sd, self._mixture)

    def _calibrate(self, pictures):
        shares = np.concatenate(
            [self._shares(pictures[start : start + _CHUNK]) for start in range(0, len(pictures), _CHUNK)],
            axis=1,
        )
        self._share_mean = shares.mean(1, keepdims=True)
        self._share_sd = np.maximum(shares.std(1, keepdims=True), 1e-6)
        level = _compress(self._mix(shares))
        self._level_mean, self._level_sd = level.mean(0), np.maximum(level.std(0), 1e-6)
        self.patterns = (level - self._level_mean) / self._level_sd
        self._calibrated = [picture.category for picture in pictures]


# Brings the channels to comparable size: contrast at one orientation and scale is weaker than light itself.
_CHANNEL_GAINS = np.repeat([1.0, 2.0, 3.0], [len(LIGHT), len(COLOUR), ORIENTATIONS * len(WAVELENGTHS)])


def _compress(level):
    """Compress large deviations smoothly; slope one around the mean."""
    return np.arcsinh(level * 0.8) / 0.8


def _areas(anatomy):
    """Name of the tuning of every cortical voxel, a key of `_MIXTURES`."""
    areas = np.full(anatomy.n_cortex, "ventral", dtype="<U8")
    areas[anatomy.within("streams", "lateral", "midlateral")] = "lateral"
    areas[anatomy.within("streams", "parietal", "midparietal")] = "parietal"
    for area in ("faces", "words", "places", "bodies"):
        areas[anatomy.labels[f"floc-{area}"] > 0] = area
    for name in ATLASES["prf-visualrois"]:
        areas[anatomy.within("prf-visualrois", name)] = name if name == "hV4" else name[:2]
    return areas


def _attributes(pictures):
    """What pictures are of: one-hot arrays (n_pictures, n_values), in the order of SHARES but the first."""

    def one_hot(values, names):
        return np.array([[value == name for name in names] for value in values], np.float32)

    return {
        "thing": one_hot([picture.category for picture in pictures], LABELS),
        "background": one_hot([picture.background for picture in pictures], BACKGROUNDS),
        "colour": one_hot([picture.colour for picture in pictures], COLOURS),
        "digit": one_hot([picture.digit for picture in pictures], range(-1, len(DIGIT_WORDS))),
        "place": one_hot([picture.place for picture in pictures], PLACES),
    }
