"""Takagi & Nishimoto's technical report (arXiv 2306.11536), its second part: a start with the decoded features of a network.

Eight layers of VGG19 are decoded from six regions. Among the pictures that a generator draws, one with these layers is
searched for, as in Shen and others (2019). It takes the place of the small picture of `brainrecon.methods.takagi2023_text`,
and is redrawn under the decoded caption as there.

Defaults are what the scripts do, slips included, but for two. As published they do not run: responses are averaged over the
trials of a stimulus in one script and read trial by trial in the next. Here all layers are decoded from averages. And the
search starts from noise of the stimulus instead of one noise for all pictures of a run, which nobody seeded:
``search.start = "shared noise"`` is such a one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from brainrecon.assembly.draw import Draw
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.registry import system
from brainrecon.assembly.targets import part
from brainrecon.methods.takagi2023 import TEXT, Regression, Takagi2023Settings
from brainrecon.methods.takagi2023_text import CaptionSettings, Takagi2023Text, Takagi2023TextSettings
from stages.generators.diffusion.start_rule import StartRule
from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError
from stages.inverters.picture_search_settings import PictureSearchSettings
from stages.networks import vgg19_names

PENALTIES = (10_000.0, 20_000.0, 40_000.0)
_CHANNELS = OneOf("RGB", "BGR")


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`: `features` has the layers, and `pictures` draws what is searched in."""

    generator: str = "stable-diffusion-1-4"
    captioner: str = "blip-base-capfilt"
    tokenizer: str = "bert-base-uncased-tokenizer"
    features: str = "vgg19-caffe"
    pictures: str = "deepsim-fc7"


@dataclass(frozen=True)
class Takagi2023GANSettings:
    """All settings of the method.

    Attributes
    ----------
    decoder, states : Regression
        How the layers and BLIP's states are decoded.
    search : PictureSearchSettings
    caption : CaptionSettings
    layers : tuple of str
        Of VGG19, before their rectifiers; see `stages.networks.vgg19_names`.
    channels : {"RGB", "BGR"}
        Which colour VGG19 is given first. "RGB" is the scripts' slip: it was trained with blue first, and the mean grey of
        blue is taken off red. The picture that is found is turned accordingly.
    layers_roi, caption_roi : str
        Voxels that the layers and BLIP's states are decoded from, of those that the subject was loaded with.
    start_posterior : {"sample", "mode"}
        What of the posterior denoising starts from.
    noised_to : {"step before", "first step"}
        Noise the start to the timestep before the one that is denoised first (noisier than it expects), or to that one.
    text_context : bool
        Write a caption and draw under it.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: Regression = field(default_factory=lambda: Regression(alpha=PENALTIES, trials="averaged"))
    states: Regression = field(default_factory=lambda: Takagi2023TextSettings().states)
    search: PictureSearchSettings = field(default_factory=PictureSearchSettings)
    caption: CaptionSettings = field(default_factory=CaptionSettings)
    generator: GeneratorSettings = field(default_factory=lambda: Takagi2023Settings().generator)
    layers: tuple[str, ...] = ("conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4", "fc6", "fc7", "fc8")
    channels: str = "RGB"
    layers_roi: str = Takagi2023TextSettings.caption_roi
    caption_roi: str = Takagi2023TextSettings.caption_roi
    start_posterior: str = "sample"
    noised_to: str = "step before"
    text_context: bool = True

    def __post_init__(self):
        check("channels", self.channels, _CHANNELS, typed="--set {name}={example}")
        for layer in self.layers:
            check("layers", layer, OneOf(*vgg19_names.LAYERS), typed="--set {name}='[\"{example}\"]'")
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise InputError(
                f'layers is {list(self.layers)}; expected one or more, each once: pass --set layers=\'["conv5_4", "fc7"]\'.'
            )
        self.start()

    def start(self) -> StartRule:
        """How denoising starts from the picture that was found; refuses what is not known."""
        return StartRule(posterior=self.start_posterior, noised_to=self.noised_to)


@system
class Takagi2023GAN(Takagi2023Text):
    """A picture with decoded features and a caption, each decoded from the brain, with the published checkpoints."""

    name = "takagi2023-gan"
    explanation = "the full method: a picture with decoded features, redrawn under a caption that is decoded, too"
    settings_class = Takagi2023GANSettings
    evidence = Evidence(
        "search equals its steps written out, VGG19 torchvision's network, regression scikit-learn's, on random weights; "
        "published weights not read",
        ("simulated NSD",),
    )
    of_drawing = ("generator", "checkpoints.generator", "checkpoints.pictures", "search")
    tiny = {
        # There is no small picture.
        **{name: value for name, value in Takagi2023Text.tiny.items() if name != "latent_size"},
        "checkpoints": Takagi2023Text.tiny["checkpoints"] | {"features": "tiny-vgg19", "pictures": "tiny-deepsim"},
        # What cross-validation chooses for nearly all columns of its layers.
        "decoder": {"alpha": [300.0, 1000.0, 3000.0], "intercept": True},
        "search": {"steps": 40},
    }

    @property
    def image_embedding(self):
        return f"vgg19_{self.settings.layers[-1]}"

    @property
    def fitted_through(self):
        # Each first picture is the one whose layers of it fit best.
        return (self.settings.checkpoints.features,)

    def steps(self, machine):
        steps, contexts = self._prepared(machine)
        return [*steps, self._redrawn(contexts, machine)]

    def _prepared(self, machine):
        """All steps but the last, and the targets of the values that this one draws under, by name."""
        started = self._started(machine)
        if not self.settings.text_context:
            return started, {}
        captioned, text = self._captioned(machine)
        return [*started, *captioned], {TEXT: text}

    def _started(self, machine):
        """The steps from responses to the picture that denoising starts from."""
        settings = self.settings
        layers = {
            f"vgg19_{layer}": self.target(
                "stages.targets.vgg19_layers:VGG19Layer",
                "features",
                machine,
                layer=layer,
                channels=settings.channels,
            )
            for layer in settings.layers
        }
        nothing_left = not settings.decoder.intercept and settings.search.scaling != "none"
        return [
            self._decode(layers, settings.layers_roi, "layers", machine, settings.decoder),
            Draw(
                lambda: self._search(machine),
                reads=tuple(layers),
                gives="first_picture",
                # The samples of a stimulus start from one picture, as published.
                by_lot=False,
                at_a_time=lambda generator: 1,
                targets=layers,
                no_mean_response="without an intercept nothing is decoded from it but rounding, which scaling enlarges"
                if nothing_left
                else None,
            ),
        ]

    def _search(self, machine):
        settings = self.settings
        return part("stages.inverters.searched_pictures:PictureSearch").from_pretrained(
            self.folder("features"),
            self.folder("pictures"),
            settings.layers,
            machine.device,
            settings.search,
            settings.channels,
        )
