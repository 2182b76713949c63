"""Ferrante, Boccato & Toschi (2022): what was seen as a name, and a picture of that name.

Ridge regression decodes the 2,048 values that ImageNet's ResNet-50 has behind its average pooling. Its own head, or the nearest
of many labelled pictures, names the five likeliest classes. Each becomes the text "An image of a ...", from which Stable
Diffusion 1.4 draws a picture. Nothing of the brain but a name reaches a picture.

Departures, each for a reason: noise is seeded per stimulus and sample, for the notebooks have no seed; the network's batch
norms use what they learned, for otherwise features depend on the other pictures of a batch (`batchnorm = "train"` is
published); all training stimuli are learned from, of which the notebooks hold a tenth back; the safety checker, which paints
pictures black, is not run. docs/systems/ferrante2022.md has them all.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from brainrecon.assembly.class_labels import LabelPrompt, LabelSettings, NameClasses
from brainrecon.assembly.decode import Decode
from brainrecon.assembly.decoder_settings import DecoderSettings
from brainrecon.assembly.each_sample import EachSample
from brainrecon.assembly.encode import Encode
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.hidden_layer import HiddenLayerSettings, hidden_layer
from brainrecon.assembly.redraw import redraw
from brainrecon.assembly.registry import system
from brainrecon.assembly.system import System
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError

FEATURES, TEXT = "class_features", "clip_text"


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`; `classifier` gives features and, unless neighbours do, names."""

    classifier: str = "resnet50-imagenet1k-v1"
    generator: str = "stable-diffusion-1-4"


@dataclass(frozen=True)
class Ferrante2022Settings:
    """All settings of the method.

    The notebooks rescale decoded features by the test set's own statistics (`decoder.rescale = "transductive"`) before
    neighbours are looked for and before labels are scored, and not before the head names what is drawn.

    Attributes
    ----------
    decoded_by : {"ridge", "hidden layer"}
        `decoder` or `hidden_layer`; the network was worse than ridge.
    hidden_layer : HiddenLayerSettings
    size : int
        Pixels of the short side of the pictures that the classifier sees.
    batchnorm : {"eval", "train"}
        Statistics that were learned, or those of each 64 pictures that are encoded together; see
        `stages.targets.class_features.ResNetFeatures`.
    labels : LabelSettings
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: DecoderSettings = field(
        default_factory=lambda: DecoderSettings(alpha=1000.0, rescale="none", standardise=False, trials="single")
    )
    decoded_by: str = "ridge"
    hidden_layer: HiddenLayerSettings = field(default_factory=HiddenLayerSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    generator: GeneratorSettings = field(
        default_factory=lambda: GeneratorSettings(guidance_scale=7.5, image_weight=0.0, text_weight=1.0)
    )
    size: int = 224
    batchnorm: str = "eval"

    def __post_init__(self):
        ways = {"decoded_by": OneOf("ridge", "hidden layer"), "batchnorm": OneOf("eval", "train")}
        check_all(self, ways | {"size": Number(1, whole=True, example=224)})
        if self.decoded_by != "ridge" and self.decoder.rescale != "none":
            raise InputError(
                f"decoder.rescale is {self.decoder.rescale!r} but decoded_by {self.decoded_by!r}, which does not rescale; leave "
                "one of the two out."
            )


@system
class Ferrante2022(System):
    """The method as its notebooks run it, with the published checkpoints."""

    name = "ferrante2022"
    explanation = "the full method: five class names from decoded features, and a picture of each name"
    citation = (
        "Ferrante, M., Boccato, T. & Toschi, N. (2022). Semantic brain decoding: from fMRI to conceptually similar image "
        "reconstruction of visual stimuli. arXiv 2212.06726."
    )
    settings_class = Ferrante2022Settings
    evidence = Evidence(
        "regression and neighbours equal scikit-learn, features and names torchvision, drawing diffusers' own pipeline, on "
        "random weights; published weights not read",
        ("simulated NSD", "GOD's file layout"),
        ("Ferrante et al.",),
    )
    image_embedding = FEATURES
    tiny = {
        "checkpoints": {"classifier": "tiny-evaluation", "generator": "tiny-stable-diffusion"},
        # As the embedded network was trained and measured.
        "generator": {"guidance_scale": 3.5, "greys": "cut off"},
        # A sentence of the drawn world.
        "labels": {"prompt": "picture of a {label}"},
    }
    of_drawing = ("generator", "checkpoints.generator", "labels.prompt", "labels.n")

    @property
    def fitted_through(self):
        # Its features are what is decoded: as a judge it would be partial.
        return (self.settings.checkpoints.classifier,)

    def settled(self, train):
        if self.settings.decoded_by == "ridge":
            return self.settings
        return replace(self.settings, hidden_layer=self.settings.hidden_layer.settled(train))

    def steps(self, machine):
        settings = self.settings
        features = self.target(
            "stages.targets.class_features:ClassFeatures",
            "classifier",
            machine,
            size=settings.size,
            batchnorm=settings.batchnorm,
        )
        text = self.target("stages.targets.diffusion_text:DiffusionTextTokens", "generator", machine)
        drawn = redraw(
            "stages.generators.diffusion.stable_diffusion:StableDiffusionGenerator",
            lambda: self.folder("generator"),
            settings.generator,
            machine,
            {TEXT: text},
            lambda present: {TEXT: settings.generator.text_weight},
            start=None,
        )
        decode = Decode({FEATURES: features}, settings.decoder, machine)
        if settings.decoded_by == "hidden layer":
            decode = hidden_layer(FEATURES, features, settings.hidden_layer, machine)
        return [
            decode,
            NameClasses(FEATURES, features, settings.labels),
            EachSample([LabelPrompt(settings.labels), Encode("caption", TEXT, text), drawn]),
        ]
