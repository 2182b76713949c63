"""Deep image reconstruction (Shen et al. 2019): features of a network are decoded, and a picture that has them is searched for.

All nineteen layers of VGG19 are decoded from visual cortex, each unit by itself. Natural pictures are searched for among those
that a generator draws; shapes, letters and what is imagined pixel by pixel: ``form = "dir-pixels"``, for imagery of VGG19 with
leaky rectifiers and average pooling: ``variant = "leaky"``.

Defaults are what the authors' scripts do for natural pictures. They do not tell the decoder: their paper's was sparse linear
regression, ``decoder.kind = "ard"``, and what they publish today is ridge, which is the default here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from brainrecon.assembly.decode_with_spreads import DecodeWithSpreads
from brainrecon.assembly.draw import Draw
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.linear_decoding import DecodingByBlocks
from brainrecon.assembly.registry import system
from brainrecon.assembly.settings import from_dict, merged, to_dict
from brainrecon.assembly.system import System
from brainrecon.assembly.targets import part
from brainrecon.assembly.unit_decoding import UnitDecoderSettings
from stages.ground.checks import OneOf, check_all
from stages.ground.errors import InputError
from stages.inverters.feature_scaling import ABOUT_THE_TRAINING_MEAN
from stages.inverters.picture_search_settings import PictureSearchSettings
from stages.networks import vgg19_names
from stages.targets import evaluation_names

ALL_LAYERS = tuple(name for name in vgg19_names.LAYERS if name.startswith(("conv", "fc")))
"""The nineteen that are decoded, each before its rectifier."""
FORMS = (
    *("dir-generator", "dir-pixels", "cookbook", "spurious-adamw", "one-noise"),
    *("icnn-generator-lbfgs", "icnn-pixels", "bdpy-pixels"),
)
"""Of the search: those of `stages.inverters.picture_search_presets` that look at pictures."""
_RULES = {
    "form": OneOf(*FORMS),
    "variant": OneOf("original", "leaky"),
    "spreads": OneOf("published", "training"),
}


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`: `features` has the layers, `pictures` draws; `instance` is read if settings say so."""

    features: str = "vgg19-caffe"
    pictures: str = "deepsim-fc7"
    instance: str = "swav-resnet50-800ep"


@dataclass(frozen=True)
class Shen2019DIRSettings:
    """All settings of the method.

    Attributes
    ----------
    decoder : UnitDecoderSettings
        How each unit of the layers is decoded.
    form : str
        How pictures are searched for: "dir-generator", "dir-pixels", "cookbook", "spurious-adamw" and others, see
        `stages.inverters.picture_search_presets`.
    search : dict of str to plain values
        What differs from the form, by names of `stages.inverters.picture_search_settings.PictureSearchSettings`.
    layers : tuple of str
        Of VGG19, `stages.networks.vgg19_names`; or of the embedded evaluation network, `stages.targets.evaluation_names`.
    variant : {"original", "leaky"}
        Of VGG19; "leaky" is for imagery.
    instance : bool
        Decode the features of a whole picture by another network, and compare by them, too. The authors do not.
    spreads : {"published", "training"}
        The usual spread of each layer, which scaling gives decoded features: from a file beside VGG19, or over the training
        pictures. Of other networks there is no such file.
    roi : str
        Voxels that layers are decoded from, of those that the subject was loaded with.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: UnitDecoderSettings = field(default_factory=UnitDecoderSettings)
    form: str = "dir-generator"
    search: dict[str, str | int | float | bool] = field(default_factory=dict)
    layers: tuple[str, ...] = ALL_LAYERS
    variant: str = "original"
    instance: bool = False
    spreads: str = "published"
    roi: str = "all"

    def __post_init__(self):
        check_all(self, _RULES)
        is_of_one = any(set(self.layers) <= set(names) for names in (vgg19_names.LAYERS, evaluation_names.LAYERS))
        if not self.layers or len(set(self.layers)) < len(self.layers) or not is_of_one:
            raise InputError(
                f"layers is {list(self.layers)}; expected some of VGG19, or of {', '.join(evaluation_names.LAYERS)}, each once: "
                'pass --set layers=\'["conv5_4", "fc7"]\'.'
            )
        scaled = self.searching.scaling != "none"
        if (
            scaled
            and self.spreads == "published"
            and (self.instance or set(self.layers) <= set(evaluation_names.LAYERS))
        ):
            raise InputError(
                "spreads is 'published' but of the evaluation network and of instance features no spreads are: pass --set "
                "spreads=training, or --set search.scaling=none."
            )

    @property
    def searching(self) -> PictureSearchSettings:
        """How pictures are searched for: the form, and what differs from it."""
        from stages.inverters.picture_search_presets import PRESETS

        return from_dict(PictureSearchSettings, merged(to_dict(PRESETS[self.form]), self.search), "search")


@system
class Shen2019DIR(System):
    """The method as its authors run it for natural pictures, with the published checkpoints."""

    name = "shen2019-dir"
    explanation = (
        "the full method: a picture with the decoded layers of VGG19, searched for through a generator or by pixels"
    )
    citation = (
        "Shen, G., Horikawa, T., Majima, K. & Kamitani, Y. (2019). Deep image reconstruction from human brain activity. PLOS "
        "Computational Biology 15(1), e1006633."
    )
    settings_class = Shen2019DIRSettings
    evidence = Evidence(
        "search equals bdpy's and SciPy's, VGG19 torchvision's network, decoding KamitaniLab's packages, on random weights; "
        "published weights not read",
        ("simulated NSD", "digits69"),
    )
    of_drawing = ("form", "search", "checkpoints.pictures")
    tiny = {
        "checkpoints": {"features": "tiny-vgg19", "pictures": "tiny-deepsim", "instance": "tiny-clip"},
        "search": {"steps": 40},
    }

    @property
    def checkpoints(self):
        settings, unused = self.settings, set()
        if settings.searching.varied == "pixels":
            unused.add("pictures")
        if not settings.instance:
            unused.add("instance")
        return tuple(sorted({name for role, name in self._roles.items() if role not in unused}))

    @property
    def image_embedding(self):
        return f"{self._prefix}{self.settings.layers[-1]}"

    @property
    def fitted_through(self):
        # A picture is the one whose layers of them fit best.
        own = self.settings.checkpoints
        return (own.features, own.instance) if self.settings.instance else (own.features,)

    @property
    def _is_vgg19(self):
        return set(self.settings.layers) <= set(vgg19_names.LAYERS)

    @property
    def _prefix(self):
        if not self._is_vgg19:
            return evaluation_names.PREFIX
        return "vgg19_leaky_" if self.settings.variant == "leaky" else "vgg19_"

    def steps(self, machine):
        settings, targets, searching = self.settings, self._targets(machine), self.settings.searching
        decode = DecodeWithSpreads(
            targets,
            settings.decoder.of_the_step(),
            machine,
            roi=settings.roi,
            decoding=DecodingByBlocks(settings.decoder.decoder(machine)),
            kept=settings.spreads == "training",
        )
        centred = searching.scaling in ABOUT_THE_TRAINING_MEAN
        return [
            decode,
            Draw(
                lambda: self._search(machine, decode),
                reads=tuple(targets),
                by_lot=searching.start in ("noise", "greys") or bool(searching.jitter),
                at_a_time=lambda generator: searching.at_a_time,
                targets=targets,
                no_mean_response="what is decoded from it is the mean of the training features, and scaling enlarges its rounding"
                if centred
                else None,
            ),
        ]

    def _targets(self, machine):
        settings, targets = self.settings, {}
        place = (
            "stages.targets.vgg19_layers:VGG19Layer"
            if self._is_vgg19
            else "stages.targets.evaluation_layers:EvaluationLayer"
        )
        options = {"variant": settings.variant} if self._is_vgg19 else {}
        for layer in settings.layers:
            targets[self._prefix + layer] = self.target(place, "features", machine, layer=layer, **options)
        if settings.instance:
            targets["instance"] = self.target("stages.targets.instance_features:InstanceFeatures", "instance", machine)
        return targets

    def _search(self, machine, decode):
        settings, searching = self.settings, self.settings.searching
        return part("stages.inverters.searched_pictures:PictureSearch").from_pretrained(
            self.folder("features"),
            self.folder("pictures") if searching.varied == "latent" else None,
            settings.layers,
            machine.device,
            searching,
            variant=settings.variant,
            means=decode.training_means if searching.scaling in ABOUT_THE_TRAINING_MEAN else None,
            spreads=decode.spreads if settings.spreads == "training" else None,
            instance_folder=self.folder("instance") if settings.instance else None,
        )
