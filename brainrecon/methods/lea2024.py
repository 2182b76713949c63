"""LEA (Qian et al., TMLR 2024): an autoencoder of responses and one of pictures, whose latents ridge regression links both ways.

A transformer over tokens of regions puts a response through one vector of 1,024 values. Ridge leads from it to the CLIP embedding
of the picture, under which MaskGIT's transformer draws tokens in eleven steps; and ridge leads from an embedding to the vector,
of which the autoencoder makes a response. The setting `output` chooses the direction.

docs/systems/lea2024.md says what the authors' code does, what of it is not known, and what is done otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from brainrecon.assembly.encode import Encode
from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.learn_tokens import LearnTokens, TokenLearning
from brainrecon.assembly.region_latents import (
    DecodeLatent,
    EvokeResponses,
    LinkSettings,
    RegionAutoencoderSettings,
    region_autoencoder,
)
from brainrecon.assembly.registry import system
from brainrecon.assembly.system import Needs, System
from brainrecon.assembly.token_drawing import TokenDrawingSettings, draw_tokens
from brainrecon.assembly.values import RESPONSES, SHOWN
from stages.ground.checks import OneOf, check_all

IMAGE, PICTURE = "clip_image", "picture"


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`.

    Attributes
    ----------
    clip : str
        The authors' model has another text encoder, which nothing reads, beside this image encoder.
    tokenizer, generator : str
        The autoencoder whose codes tokens are, and the network over them.
    encoder : str
        What the autoencoder of responses begins with; from nothing if it is empty.
    """

    clip: str = "clip-vit-h-14-laion2b"
    tokenizer: str = "maskgit-imagenet256"
    generator: str = "maskgit-imagenet256"
    encoder: str = "mindvis-hcp-encoder"


@dataclass(frozen=True)
class LEA2024Settings:
    """All settings of the method.

    Attributes
    ----------
    output : {"picture", "responses"}
        Pictures from responses, or responses from pictures.
    decoder : RegionAutoencoderSettings
        The autoencoder of responses.
    regions : tuple of str
        In the order in which voxels are given to them, a voxel to the first that has it; expressions over the regions that the
        subject was loaded with. All of these in their own order, as published, if there are none.
    link : LinkSettings
    learn_tokens : bool
        Whether the network over tokens goes on learning, from the training pictures under their embeddings, as published; else
        the checkpoint draws as it is.
    tokens : TokenLearning
    generator : TokenDrawingSettings
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    output: str = PICTURE
    decoder: RegionAutoencoderSettings = field(default_factory=RegionAutoencoderSettings)
    regions: tuple[str, ...] = ()
    link: LinkSettings = field(default_factory=LinkSettings)
    learn_tokens: bool = True
    tokens: TokenLearning = field(default_factory=TokenLearning)
    generator: TokenDrawingSettings = field(default_factory=TokenDrawingSettings)

    def __post_init__(self):
        check_all(self, {"output": OneOf(PICTURE, RESPONSES), "learn_tokens": OneOf(True, False)})


@system
class LEA2024(System):
    """The method of one subject, at its published settings."""

    name = "lea2024"
    explanation = "a latent of responses, linked to a CLIP embedding, under which masked tokens are drawn"
    citation = (
        "Qian, X., Wang, Y., Sun, X., Fu, Y., Xue, X. & Feng, J. (2024). LEA: learning latent embedding alignment model for fMRI "
        "decoding and encoding. TMLR."
    )
    settings_class = LEA2024Settings
    evidence = Evidence(
        "networks, masks, decoding and links equal their formulas on random weights, under the names of the authors' parameters; "
        "published weights not read",
        ("simulated NSD",),
    )
    needs = Needs(pictures=True)
    protocol = "mindvis-2023"
    image_embedding = IMAGE
    of_drawing = ("generator",)
    tiny = {
        "checkpoints": {
            "clip": "tiny-clip",
            "tokenizer": "tiny-label2img",
            "generator": "tiny-maskgit",
            "encoder": "",
        },
        "decoder": {
            "latent": 64,
            "n_tokens": 4,
            "width": 96,
            "depth": 2,
            "n_heads": 4,
            "decoder_width": 64,
            "decoder_depth": 1,
            "steps": 1200,
            "batch_size": 32,
            "learning_rate": 1e-3,
            "warmup": 100,
            "clip": 1.0,
            # Beside a small latent that is held to nothing, ridge finds little.
            "latent_weight": 1.0,
        },
        # What ridge leaves of the spread of embeddings makes pictures of no thing in particular.
        "link": {"alpha": 10.0, "rescale": "folds"},
        "learn_tokens": False,
    }

    def __init__(self, settings=None):
        super().__init__(settings)
        if self.settings.output == RESPONSES:
            self.output, self.explanation = (
                RESPONSES,
                "responses to pictures, through a latent linked to a CLIP embedding",
            )

    @property
    def checkpoints(self):
        named = self.settings.checkpoints
        read = [named.clip, named.encoder]
        read += [] if self.output == RESPONSES else [named.tokenizer, named.generator]
        return tuple(sorted({name for name in read if name}))

    @property
    def notes(self):
        settings, said = self.settings, []
        if settings.link.rescale == "transductive":
            said.append("Predictions are rescaled by statistics of all tested stimuli together, as published.")
        if self.output == PICTURE and settings.learn_tokens:
            said.append("The network that draws was trained on the training pictures.")
        return tuple(said)

    def steps(self, machine):
        settings = self.settings
        image = self.target("stages.targets.clip:CLIPImageVector", "clip", machine, normalise=True)
        start = partial(self.folder, "encoder") if settings.checkpoints.encoder else None
        learned = region_autoencoder(settings.decoder, image, settings.regions, machine, start=start)
        if self.output == RESPONSES:
            return [Encode(SHOWN, IMAGE, image), EvokeResponses(learned, IMAGE, settings.link)]
        return [learned, DecodeLatent(learned, IMAGE, image, settings.link, machine), *self._drawn(image, machine)]

    def _drawn(self, image, machine):
        """The steps from an embedding to pictures."""
        settings, network, before = self.settings, partial(self.folder, "generator"), []
        if settings.learn_tokens:
            tokens = self.target("stages.targets.vq_tokens:VQTokens", "tokenizer", machine)
            learned = LearnTokens(tokens, settings.tokens, machine, {IMAGE: image}, start=network)
            before, network = [learned], lambda: learned.network
        draw = draw_tokens(
            network,
            partial(self.folder, "tokenizer"),
            settings.generator,
            machine,
            reads=(IMAGE,),
            targets={IMAGE: image},
        )
        return [*before, draw]
