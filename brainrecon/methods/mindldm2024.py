"""MindLDM (Guo et al., CIVEMSA 2024), as far as its abstract tells: a decoded text and a decoded contour lead latent diffusion.

Only the abstract was found. It names the parts: a masked autoencoder of responses that is aligned to CLIP's text, a VDVAE for
contours, and latent diffusion with ControlNet that joins both. All numbers are borrowed from other systems or guessed; the page
docs/systems/mindldm2024.md marks each of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from brainrecon.assembly.decode import Decode
from brainrecon.assembly.decoder_settings import DecoderSettings
from brainrecon.assembly.encode import Encode
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.learn import Learn
from brainrecon.assembly.network_settings import NetworkSettings
from brainrecon.assembly.pretraining import MaskedBrainSettings, Pretrain
from brainrecon.assembly.redraw import redraw
from brainrecon.assembly.registry import system
from brainrecon.assembly.show import Show
from brainrecon.assembly.system import Needs, System
from brainrecon.assembly.targets import TargetSource, part
from brainrecon.assembly.vdvae_settings import VDVAESettings
from stages.ground.checks import Number, check, check_all

TEXT, LATENTS, PICTURE, CONTOUR = "clip_text", "vdvae", "first_picture", "contour"
# Of 8,859 training pictures, where nothing says how many there are.
_STEPS_PER_EPOCH = 276


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`.

    Attributes
    ----------
    vdvae : str
        Whose picture has the contours.
    generator : str
        Stable Diffusion 1.x, whose text encoder is the one that responses are aligned to.
    control : str
        The control net of edges.
    encoder : str
        A pretrained autoencoder of responses to begin with: the folder of a `brainrecon pretrain`; empty for none.
    """

    vdvae: str = "vdvae-imagenet64"
    generator: str = "stable-diffusion-1-5"
    control: str = "sd-controlnet-canny"
    encoder: str = ""


@dataclass(frozen=True)
class AlignmentSettings(NetworkSettings):
    """How the encoder and its mappers are trained to give the tokens of a text, at one learning rate.

    Attributes
    ----------
    squared, cosine : float
        Weights of the mean squared error and of 1 − cosine.
    """

    epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    trials: str = "averaged"
    squared: float = 1.0
    cosine: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_all(self, {"squared": Number(0), "cosine": Number(0)}, where="alignment")

    def recipe(self, published_steps: int = _STEPS_PER_EPOCH):
        """The recipe of the training loop."""
        from stages.training.recipe import Schedule

        return replace(super().recipe(published_steps), schedule=Schedule("constant"))


@dataclass(frozen=True)
class ContourSettings:
    """How contours are found in the decoded picture.

    Attributes
    ----------
    size : int
        Side in pixels to which it is enlarged first, and of the map.
    quantiles : list of two floats
        Of the picture's own gradient: the thresholds of Canny's detector.
    sigma : float
        Pixels of the Gaussian before it.
    scale : float
        Of the control net's residuals: 0 is the text alone.
    """

    size: int = 512
    quantiles: tuple[float, ...] = (0.7, 0.9)
    sigma: float = 1.0
    scale: float = 1.0

    def __post_init__(self):
        check("contour.scale", self.scale, Number(float("-inf"), example=1.0), typed="--set {name}={example}")
        if len(self.quantiles) == 2:
            self.target()
        else:
            check(
                "contour.quantiles",
                len(self.quantiles),
                Number(2, 2, whole=True),
                typed="--set contour.quantiles=[0.7,0.9]",
            )

    def target(self):
        """The target that finds them."""
        return part("stages.targets.contour:Contour")(self.size, self.quantiles, self.sigma)


@dataclass(frozen=True)
class MindLDMSettings:
    """All settings of the method.

    Attributes
    ----------
    pretraining : MaskedBrainSettings
        How the encoder is pretrained on the responses; as MinD-Vis pretrains.
    alignment : AlignmentSettings
    decoder : DecoderSettings
        How the VDVAE's latents are decoded.
    starts : bool
        Whether denoising starts from the decoded picture, by the strength of the generator's settings, and not from noise.
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    pretraining: MaskedBrainSettings = field(default_factory=MaskedBrainSettings)
    alignment: AlignmentSettings = field(default_factory=AlignmentSettings)
    decoder: DecoderSettings = field(default_factory=lambda: DecoderSettings(alpha=50_000.0))
    vdvae: VDVAESettings = field(default_factory=VDVAESettings)
    contour: ContourSettings = field(default_factory=ContourSettings)
    generator: GeneratorSettings = field(
        default_factory=lambda: GeneratorSettings(
            guidance_scale=7.5, image_weight=0.0, text_weight=1.0, scheduler="ddim"
        )
    )
    starts: bool = False


@system
class MindLDM2024(System):
    """An aligned encoder of responses for the text, a VDVAE for contours, and a control net."""

    name = "mindldm2024"
    explanation = (
        "a reimplementation of an abstract: latent diffusion under a decoded text and a decoded picture's contours"
    )
    citation = (
        "Guo, J., Yi, C., Li, F., Xu, P. & Tian, Y. (2024). MindLDM: Reconstruct visual stimuli from fMRI using latent diffusion "
        "model. IEEE CIVEMSA 2024."
    )
    settings_class = MindLDMSettings
    evidence = Evidence(
        "only the abstract was found, so that every number is borrowed or guessed; control nets equal diffusers' own pipeline on "
        "random weights",
        ("simulated NSD",),
    )
    needs = Needs(captions=True)
    image_embedding = TEXT
    of_drawing = ("generator", "starts", "contour", "checkpoints.control", "vdvae.temperature", "vdvae.greys")
    tiny = {
        "checkpoints": {"vdvae": "tiny-vdvae", "generator": "tiny-stable-diffusion", "control": "tiny-control"},
        "pretraining": {
            **{"width": 64, "depth": 2, "n_heads": 4, "decoder_width": 32, "decoder_depth": 1, "decoder_heads": 2},
            **{"epochs": 30, "warmup_epochs": 3, "batch_size": 32, "learning_rate": 1e-3},
        },
        "alignment": {"epochs": 60, "learning_rate": 1e-3},
        "decoder": {"alpha": [100.0, 300.0, 1000.0, 3000.0, 10_000.0]},
        "contour": {"size": 64},
        "generator": {"guidance_scale": 3.5},
    }

    def settled(self, train):
        return replace(self.settings, alignment=self.settings.alignment.settled(train))

    @property
    def notes(self):
        return (
            "Only the abstract of MindLDM was found: all numbers of this method are borrowed or guessed, and "
            "docs/systems/mindldm2024.md lists them; no published figure can be compared with its scores.",
        )

    def steps(self, machine):
        settings = self.settings
        text = self.target("stages.targets.diffusion_text:DiffusionTextTokens", "generator", machine)
        latents = self.target(
            "stages.targets.vdvae:VDVAELatents", "vdvae", machine, sample_seed=settings.vdvae.sample_seed
        )
        contour = TargetSource(settings.contour.target, checkpoints=(), identity=lambda: "contours, no network")
        pretrained = self._pretrained(machine)
        return [
            pretrained,
            self._aligned(text, pretrained, machine),
            Decode({LATENTS: latents}, settings.decoder, machine, LATENTS),
            Show(LATENTS, latents, options=settings.vdvae.showing, draws=settings.vdvae.draws),
            Encode(PICTURE, CONTOUR, contour),
            redraw(
                "stages.generators.diffusion.stable_diffusion:StableDiffusionGenerator",
                lambda: self.folder("generator"),
                settings.generator,
                machine,
                {TEXT: text, CONTOUR: contour},
                self._weights,
                start=PICTURE if settings.starts else None,
                arguments=self._arguments,
            ),
        ]

    def _pretrained(self, machine):
        """The step that pretrains the encoder."""
        start = (lambda: self.folder("encoder")) if self.settings.checkpoints.encoder else None
        return Pretrain(self.settings.pretraining, machine.device, "encoder", start)

    def _aligned(self, text, pretrained, machine):
        """The step that goes on with the encoder, until its tokens are those of the text."""
        from stages.decoders.trained import TrainedDecoder
        from stages.networks.brain_text import BrainText
        from stages.objectives.regression import CosineDistance, MeanSquaredError

        own = self.settings.alignment
        decoder = TrainedDecoder(
            BrainText,
            own.recipe(),
            [MeanSquaredError(TEXT, own.squared), CosineDistance(TEXT, own.cosine)],
            {"encoder": self.settings.pretraining.encoder_sizes},
            machine.device,
            begin=lambda network: pretrained.begin(network.conditioner.mae),
            # As the encoder was pretrained.
            standardise="all voxels together",
        )
        return Learn({TEXT: text}, decoder, machine.device, own.trials, "alignment", settings="alignment")

    def _weights(self, present):
        """Each one's own: what one loses the other does not take over."""
        own = {TEXT: self.settings.generator.text_weight, CONTOUR: self.settings.contour.scale}
        return {name: weight if name in present else 0.0 for name, weight in own.items()}

    def _arguments(self):
        from stages.generators.diffusion.control_maps import Control

        size = self.settings.contour.size
        return {"controls": [Control(CONTOUR, self.folder("control"), (size, size))]}
