"""Horikawa & Kamitani (2017), generic object decoding: what was seen or imagined, named by decoded features of a picture.

Sparse linear regression decodes about a thousand units of each of thirteen levels of features, the eight layers of a
convolutional network, HMAX, GIST and SIFT, from ten regions of visual cortex, each unit by itself from the voxels that
correlate with it most. A category is identified by the average features of its pictures, whether it was learned from or not.

The published features are read from `ImageFeatures.h5`; without it the network's layers are computed from pictures, and the other
levels are left out. No picture is drawn: the output are names, and the decoded features are kept on the way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from brainrecon.assembly.class_labels import LabelSettings, NameClasses
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.registry import system
from brainrecon.assembly.system import Needs, System
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.unit_decoding import UnitDecoderSettings
from brainrecon.datasets import parse_source
from stages.ground.checks import Number, OneOf, check, check_all
from stages.ground.errors import InputError
from stages.targets import evaluation_names
from weights.hashes import hash_file
from weights.suggestions import did_you_mean

LEVELS = (*(f"cnn{number}" for number in range(1, 9)), "hmax1", "hmax2", "hmax3", "gist", "sift")
FILES = ("ImageFeatures.h5", "ImageFeatures.mat")
SEED = 2501
# Regions that are made of others: a unit has twice as many of their voxels.
_WIDE = ("LVC", "HVC", "VC")

# Of each network, the layers that are cnn1 to cnn8, before their rectifiers, and the target that reads them.
NETWORKS = {
    "caffenet": (
        ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"),
        "stages.targets.caffenet_layers:CaffeNetLayer",
    ),
    "vgg19": (
        ("conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4", "fc6", "fc7", "fc8"),
        "stages.targets.vgg19_layers:VGG19Layer",
    ),
    # Of the embedded twin, which names drawn things.
    "evaluation": (
        evaluation_names.LAYERS,
        "stages.targets.evaluation_layers:EvaluationLayer",
    ),
}

# What each published program does otherwise than the paper: settings by name.
PRESETS = {
    "paper": {},
    "demo-matlab": {"decoder": {"iterations": 200}},
    # Least squares: a penalty that changes no digit of a prediction that is looked at.
    "demo-python": {"decoder": {"kind": "ridge", "alpha": 1e-6}, "units": 100},
}


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`; read if features are computed from pictures."""

    network: str = "caffenet"


@dataclass(frozen=True)
class NamesSettings:
    """By which decoded features a stimulus is named.

    Attributes
    ----------
    level : str
        A guess: every level and region is scored, and the paper names by none in particular.
    region : str
        By default the last of the regions.
    n : int
        Names of each stimulus, the likeliest first.
    """

    level: str = "cnn8"
    region: str = ""
    n: int = 5


@dataclass(frozen=True)
class Horikawa2017Settings:
    """All settings of the method.

    Attributes
    ----------
    preset : {"paper", "demo-matlab", "demo-python"}
        "paper" runs 2,000 iterations of sparse linear regression, "demo-matlab" 200; "demo-python" is least squares on the first
        hundred units.
    decoder : UnitDecoderSettings
        Of each unit; its `voxels` are those of a region that `voxels` does not name.
    regions : tuple of str
        Of those that the subject was loaded with, as `brainrecon.datasets.voxels` reads them.
    voxels : dict of str to int
        Voxels of a unit in a region that takes another number.
    levels : tuple of str
        Some of cnn1 to cnn8, hmax1 to hmax3, gist and sift; by default all that there are.
    units : int
        Of each level.
    features : str
        "pictures" computes cnn1 to cnn8 by the network. Else the file `ImageFeatures.h5` or `.mat`; "auto" takes the one beside
        the data, or else pictures.
    network : {"caffenet", "vgg19", "evaluation"}
        Whose layers cnn1 to cnn8 are if they are computed.
    candidates : str
        A folder with a folder of labelled features for each level, as `stages.priors.label_memory` writes them; empty for the
        categories of the features' file, or else for those of the stimuli.
    names : NamesSettings
    """

    preset: str = "paper"
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: UnitDecoderSettings = field(
        default_factory=lambda: UnitDecoderSettings(kind="ard", voxels=500, iterations=2000, statistics="trials")
    )
    regions: tuple[str, ...] = ("V1", "V2", "V3", "V4", "LOC", "FFA", "PPA", "LVC", "HVC", "VC")
    voxels: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_WIDE, 1000))
    levels: tuple[str, ...] = ()
    units: int = 1000
    features: str = "auto"
    network: str = "caffenet"
    candidates: str = ""
    names: NamesSettings = field(default_factory=NamesSettings)

    def __post_init__(self):
        choices = {"preset": OneOf(*PRESETS), "network": OneOf(*NETWORKS), "units": Number(1, whole=True, example=1000)}
        check_all(self, choices)
        for level in self.levels:
            check("levels", level, OneOf(*LEVELS), typed="--set {name}='[\"{example}\"]'")
        for name, values in {"regions": self.regions, "levels": self.levels}.items():
            if len(set(values)) < len(values) or (name == "regions" and not values):
                raise InputError(
                    f"{name} is {list(values)}; expected one or more, each once: pass --set '{name}=[\"{(*values, 'V1')[0]}\"]'."
                )
        known = (*self.regions, *_WIDE)
        for name, regions in {"voxels": tuple(self.voxels), "names.region": (self.names.region or known[0],)}.items():
            if unknown := [one for one in regions if one not in known]:
                raise InputError(
                    f"{name} says {unknown[0]!r}; expected a region among {', '.join(self.regions)}"
                    f"{did_you_mean(unknown[0], self.regions)}: name it in regions, too."
                )
        for region, n in self.voxels.items():
            check(f"voxels.{region}", n, Number(1, whole=True, example=1000), typed="--set {name}={example}")
        check("names.level", self.names.level, OneOf(*(self.levels or LEVELS)), typed="--set {name}={example}")
        check("names.n", self.names.n, Number(1, whole=True, example=5), typed="--set {name}={example}")
        self._follow_preset()

    def _follow_preset(self):
        """Put the preset's values in place of defaults; an InputError where something else was set."""
        preset = PRESETS[self.preset]
        usual = type(self).__dataclass_fields__["decoder"].default_factory()
        own = preset.get("decoder", {})
        for name, value in own.items():
            if getattr(self.decoder, name) not in (value, getattr(usual, name)):
                raise InputError(
                    f"decoder.{name} is {getattr(self.decoder, name)!r} but the preset {self.preset} sets {value!r}; leave one "
                    "of the two out."
                )
        object.__setattr__(self, "decoder", replace(self.decoder, **own))
        if preset.get("units", self.units) != self.units:
            if self.units != type(self).units:
                raise InputError(
                    f"units is {self.units} but the preset {self.preset} sets {preset['units']}; leave one of the two out."
                )
            object.__setattr__(self, "units", preset["units"])

    @property
    def file(self):
        """The file that features are read from; None if they are computed."""
        return None if self.features in ("auto", "pictures") else Path(self.features).expanduser()


@system
class Horikawa2017(System):
    """The method as its authors ran it, on their features or on those of their network."""

    name = "horikawa2017"
    explanation = "names of what was seen or imagined, by features of thirteen levels that ten regions tell"
    citation = (
        "Horikawa, T. & Kamitani, Y. (2017). Generic decoding of seen and imagined objects using hierarchical visual features. "
        "Nature Communications 8, 15037."
    )
    settings_class = Horikawa2017Settings
    evidence = Evidence(
        "sparse regression equals its formula, the network its layers written out, identification the published count, on random "
        "weights; the published features and weights not read",
        ("simulated NSD", "GOD's file layout"),
    )
    output = "labels"
    needs = Needs()
    protocol = "horikawa-2017"
    tiny = {
        "checkpoints": {"network": "tiny-evaluation"},
        "network": "evaluation",
        "features": "pictures",
        # In seconds, where sparse regression takes hours.
        "decoder": {"kind": "ridge"},
        "regions": ["V1", "V2", "V3", "hV4", "ventral", "lateral", "all"],
    }
    of_drawing = ("names",)

    def __init__(self, settings=None):
        super().__init__(settings)
        if self.settings.file is not None:
            self.needs = Needs(pictures=False)

    def settled_by(self, subject):
        settings = self.settings
        if settings.features != "auto":
            return settings
        _, folder = parse_source(subject.source)
        found = next((path for name in FILES if (path := Path(folder) / name).is_file()), None)
        return replace(settings, features="pictures" if found is None else str(found))

    @property
    def checkpoints(self):
        return super().checkpoints if self.settings.file is None else ()

    @property
    def fitted_through(self):
        # Its features are what is decoded: as a judge it would be partial.
        return self.checkpoints

    @property
    def image_embedding(self):
        return self._value(self.settings.names.level, self._naming_region)

    @property
    def notes(self):
        found, absent = [], [level for level in LEVELS if level not in self._computed]
        if self.settings.file is None and not self.settings.levels:
            found.append(
                f"{', '.join(absent)} are left out: they are read from ImageFeatures.h5 alone, figshare 7387130, which goes "
                "beside the data or into --set features=FILE."
            )
        if self.settings.file is None and not self.settings.candidates:
            found.append(
                "Names are those of the training categories, and no other can be given; --set candidates=FOLDER brings others. "
                "Identification is among the categories of all stimuli."
            )
        return tuple(found)

    def category_means(self, target):
        settings = self.settings
        if settings.candidates:
            from stages.priors.category_means import open_category_means

            return open_category_means(Path(settings.candidates).expanduser() / target)
        if self._file is None:
            return None
        found = self._file.category_means(target)
        return replace(found, means=found.means[:, : settings.units])

    def steps(self, machine):
        settings = self.settings
        sources = {level: self._source(level, machine) for level in self._levels}
        steps = []
        for region in settings.regions:
            target_of = {self._value(level, region): level for level in sources}
            decoder = replace(settings.decoder, voxels=settings.voxels.get(region, settings.decoder.voxels))
            targets = {value: sources[level] for value, level in target_of.items()}
            steps.append(decoder.decode(targets, region, _named(region), machine, target_of=target_of))
        level = settings.names.level
        known = bool(settings.candidates) or settings.file is not None
        names = NameClasses(
            self._value(level, self._naming_region),
            sources[level],
            LabelSettings(by="averages", n=settings.names.n),
            averages=(lambda: self.category_means(level)) if known else None,
        )
        return [*steps, names]

    @property
    def _naming_region(self):
        return self.settings.names.region or self.settings.regions[-1]

    @property
    def _computed(self):
        return LEVELS[: len(NETWORKS[self.settings.network][0])]

    @property
    def _levels(self):
        """Levels that are decoded, in their order."""
        settings = self.settings
        there = self._computed if settings.file is None else self._file.levels
        wanted = settings.levels or tuple(level for level in LEVELS if level in there)
        if absent := [level for level in (*wanted, settings.names.level) if level not in there]:
            where = "computed from pictures" if settings.file is None else f"in {settings.file}"
            raise InputError(
                f"{', '.join(dict.fromkeys(absent))} cannot be decoded: {', '.join(there)} are {where}, and the others are in "
                "ImageFeatures.h5 of figshare 7387130 alone; name that file with --set features=FILE, or leave them out."
            )
        return wanted

    def _value(self, level, region):
        """Name of a level as one region tells it."""
        return level if len(self.settings.regions) == 1 else f"{level}_{_named(region)}"

    @cached_property
    def _file(self):
        if self.settings.file is None:
            return None
        from brainrecon.datasets.kamitani.image_features import ImageFeatures

        return ImageFeatures(self.settings.file)

    @cached_property
    def _digest(self):
        return hash_file(self.settings.file)

    def _source(self, level, machine):
        settings = self.settings
        if settings.file is not None:
            from brainrecon.datasets.kamitani.image_features import PublishedLevel

            return TargetSource(
                lambda: PublishedLevel(self._file, level, settings.units),
                (),
                settings.decoder.features,
                identity=lambda: self._digest,
            )
        from stages.targets.network_layers import Units

        layers, place = NETWORKS[settings.network]
        return self.target(
            place,
            "network",
            machine,
            layer=layers[self._computed.index(level)],
            units=Units(settings.units, SEED, layers),
        )


def _named(region):
    """A region as a part of the names of values and folders."""
    return re.sub(r"[^\w.-]+", "_", region).strip("_")
