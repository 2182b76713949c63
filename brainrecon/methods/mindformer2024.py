"""MindFormer (Han et al. 2024): image tokens of an IP-Adapter from the brains of several people, and Stable Diffusion under them.

Only the abstract was found, with summaries of the paper and a review; no code of the authors'. They tell that each subject has a
linear layer and a learned token, that a transformer encoder is shared, that 16 tokens of 768 values are learned by their absolute
error and by contrast, and that these lead Stable Diffusion. All other numbers are guessed, are settings, and are listed in
docs/systems/mindformer2024.md. The captions that the authors write from the same tokens are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.learn import Learn
from brainrecon.assembly.many_subjects import OWN_LAYERS, ManySubjectsSettings
from brainrecon.assembly.redraw import redraw
from brainrecon.assembly.registry import system
from brainrecon.assembly.target_means import TrainingMean
from brainrecon.assembly.together_system import TogetherSystem
from stages.ground.checks import Number, OneOf, check_all

TOKENS, TEXT, MEAN = "ip_tokens", "clip_text", "ip_tokens_mean"
# As `stages.networks.mindformer` and `stages.objectives.contrastive` have them, which take seconds to import.
SUBJECT_TOKENS = ("prepended", "added", "none")
NORMS = ("before", "after")
DIRECTIONS = ("prediction", "both")
SCHEDULES = ("cosine", "one-cycle", "constant")


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`.

    Attributes
    ----------
    clip : str
        The image encoder that the adapter was trained with.
    adapter : str
        An IP-Adapter-Plus: its resampler makes the tokens, its matrices read them.
    generator : str
        Stable Diffusion 1.x; "realistic-vision-4-0" is another.
    autoencoder : str
        Another autoencoder than the generator's own, such as "sd-vae-ft-mse"; empty for its own.
    """

    clip: str = "clip-vit-h-14-laion2b"
    adapter: str = "ip-adapter-plus-sd15"
    generator: str = "stable-diffusion-1-5"
    autoencoder: str = ""


@dataclass(frozen=True)
class MindFormerDecoderSettings(ManySubjectsSettings):
    """How MindFormer's network is trained; see `brainrecon.assembly.many_subjects` as well.

    Attributes
    ----------
    depth, n_heads, feed_forward, dropout, norm, positions, subject_token, token_spread
        Of the network, see `stages.networks.mindformer.MindFormerNetwork`.
    contrast_weight : float
        Of the contrast beside the mean absolute error; 0 leaves it out.
    temperature : float
        Of the contrast.
    learned_temperature : bool
        Whether it is trained.
    directions : {"prediction", "both"}
        Whether predictions look for their true tokens alone, or these for their predictions, too.
    centred : bool
        Whether the mean of all training tokens is taken off before they are compared.
    schedule : {"cosine", "one-cycle", "constant"}
        Of the learning rate.
    """

    epochs: int = 50
    batch_size: int = 32
    batch_size_each: int = 8
    new_subject: str = OWN_LAYERS
    trials: str = "averaged"
    depth: int = 2
    n_heads: int = 8
    feed_forward: int = 3072
    dropout: float = 0.1
    norm: str = "before"
    positions: bool = True
    subject_token: str = "prepended"
    token_spread: float = 0.02
    contrast_weight: float = 0.1
    temperature: float = 0.07
    learned_temperature: bool = False
    directions: str = "prediction"
    centred: bool = False
    schedule: str = "cosine"

    # Of 8,859 training pictures, where no data say how many there are.
    published_steps: ClassVar[int] = 276

    def __post_init__(self):
        super().__post_init__()
        count = Number(1, whole=True)
        rules = dict.fromkeys(("depth", "n_heads", "feed_forward"), count)
        rules |= dict.fromkeys(("token_spread", "contrast_weight"), Number(0))
        rules |= {
            "dropout": Number(0, 1, below=True, example=0.1),
            "temperature": Number(0, above=True, example=0.07),
            "norm": OneOf(*NORMS),
            "subject_token": OneOf(*SUBJECT_TOKENS),
            "directions": OneOf(*DIRECTIONS),
            "schedule": OneOf(*SCHEDULES),
        }
        check_all(self, rules)

    @property
    def sizes(self):
        """What the network is made with."""
        names = ("depth", "n_heads", "feed_forward", "dropout", "norm", "positions", "subject_token", "token_spread")
        return {name: getattr(self, name) for name in names}

    def recipe(self, published_steps: int | None = None):
        """The recipe of the training loop."""
        from stages.training.recipe import Schedule

        recipe = super().recipe(published_steps)
        return recipe if self.schedule == "one-cycle" else replace(recipe, schedule=Schedule(self.schedule))


@dataclass(frozen=True)
class MindFormerSettings:
    """All settings of the method. The image weight of the generator is the adapter's scale; its text is empty."""

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: MindFormerDecoderSettings = field(default_factory=MindFormerDecoderSettings)
    generator: GeneratorSettings = field(
        default_factory=lambda: GeneratorSettings(
            strength=1.0,
            num_inference_steps=100,
            guidance_scale=7.5,
            image_weight=1.0,
            text_weight=0.0,
            scheduler="ddim",
        )
    )


@system
class MindFormer2024(TogetherSystem):
    """The method of one subject or of several."""

    name = "mindformer2024"
    explanation = "a reimplementation of an abstract: decoded image tokens of an IP-Adapter, drawn by Stable Diffusion"
    citation = (
        "Han, I., Lee, J. & Ye, J. C. (2024). MindFormer: Semantic alignment of multi-subject fMRI for brain decoding. "
        "arXiv:2405.17720."
    )
    settings_class = MindFormerSettings
    evidence = Evidence(
        "only the abstract was found, so that all sizes are guessed; drawing under tokens equals diffusers' own IP-Adapter-Plus "
        "on random weights",
        ("simulated NSD",),
        ("MindFormer",),
    )
    image_embedding = TOKENS
    of_drawing = ("generator", "checkpoints.generator", "checkpoints.autoencoder")
    tiny = {
        "checkpoints": {
            "clip": "tiny-clip",
            "adapter": "tiny-ip-adapter-plus",
            "generator": "tiny-stable-diffusion",
        },
        "decoder": {"epochs": 40, "feed_forward": 512},
        # As the embedded adapter was measured.
        "generator": {"num_inference_steps": 50, "guidance_scale": 2.0},
    }

    @property
    def notes(self):
        return (
            "Only the abstract of MindFormer was found: sizes, the contrast's weight, training and guidance are guessed, and "
            "docs/systems/mindformer2024.md lists them; published figures are of another network.",
        )

    def steps(self, machine):
        source = self.target("stages.targets.ip_tokens:IPTokens", "clip", machine, folders={"adapter": "adapter"})
        return [self._learned(source, machine), self._drawn(source, machine)]

    def _learned(self, source, machine):
        """The step from patterns to tokens."""
        from stages.decoders.trained import TrainedDecoder
        from stages.networks.mindformer import MindFormerNetwork
        from stages.objectives.regression import MeanAbsoluteError
        from stages.objectives.retrieval import HardContrast

        own = self.settings.decoder
        centre = MEAN if own.centred and own.contrast_weight else None

        def objectives(network):
            found = [MeanAbsoluteError(TOKENS)]
            if own.contrast_weight:
                learned = own.learned_temperature
                found.append(
                    HardContrast(TOKENS, own.temperature, own.contrast_weight, own.directions, learned, centre)
                )
            return found

        decoder = TrainedDecoder(
            MindFormerNetwork,
            own.recipe(),
            objectives,
            own.sizes,
            machine.device,
            new_subject=own.training_of_new,
        )
        derived = {} if centre is None else {centre: TrainingMean(TOKENS, source)}
        return Learn(
            {TOKENS: source}, decoder, machine.device, own.trials, "network", settings="decoder", derived=derived
        )

    def _drawn(self, source, machine):
        """The step from tokens to a picture."""
        settings = self.settings.generator
        weights = {TOKENS: settings.image_weight, TEXT: 0.0}
        return redraw(
            "stages.generators.diffusion.ip_tokens:StableDiffusionIPTokensGenerator",
            lambda: self.folder("generator"),
            settings,
            machine,
            {TOKENS: source},
            lambda present: weights,
            start=None,
            arguments=self._arguments,
        )

    def _arguments(self):
        found = {"ip_adapter": self.folder("adapter"), "clip": self.folder("clip")}
        return found | ({"autoencoder": self.folder("autoencoder")} if self.settings.checkpoints.autoencoder else {})
