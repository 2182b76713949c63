"""VQ-fMRI (Chen, Du, Zhou & He, ICML 2023): some tokens of a picture are decoded, and a network over tokens completes it.

Neither code nor a readable text of this method was found: known are one sentence of a survey, and what is remembered. A
classifier for each place decodes tokens; those that it is surest of are the visual cues; a network that has seen pictures alone
(the experience) completes the others around them.

docs/systems/vqfmri2023.md says which values are guesses, and what is known at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

from brainrecon.assembly.evidence import Evidence
from brainrecon.assembly.learn import Learn
from brainrecon.assembly.learn_tokens import TOKENS, LearnTokens, TokenLearning
from brainrecon.assembly.network_settings import NetworkSettings
from brainrecon.assembly.registry import system
from brainrecon.assembly.system import Needs, System
from brainrecon.assembly.token_cues import CUES, WEIGHTS, CueSettings, SelectCues
from brainrecon.assembly.token_drawing import TokenDrawingSettings, draw_tokens
from stages.ground.checks import Number, OneOf, check_all

SCORES = "vq_scores"
# Of 1,200 stimuli, a tenth of them held out, in batches of 32.
_STEPS_PER_EPOCH = 33


@dataclass(frozen=True)
class Checkpoints:
    """Names in `weights/manifest.toml`: the autoencoder whose codes tokens are, and the network over them."""

    tokenizer: str = "maskgit-imagenet256"
    generator: str = "maskgit-imagenet256"


@dataclass(frozen=True)
class ClassifierSettings(NetworkSettings):
    """The classifier of tokens, and how it is trained. Nothing of it is known; all of these are guesses.

    Attributes
    ----------
    hidden : int
        Values of the wide layer and of the residual block.
    width : int
        Values of a place.
    dropout : float
        Share of the hidden values that training leaves out.
    smoothing : float
        Of the labels.
    """

    epochs: int = 200
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    validation: float = 0.1
    patience: int | None = 20
    trials: str = "averaged"
    hidden: int = 1024
    width: int = 64
    dropout: float = 0.5
    smoothing: float = 0.1

    def __post_init__(self):
        super().__post_init__()
        some, share = Number(1, whole=True), Number(0, 1, below=True)
        check_all(self, {"hidden": some, "width": some, "dropout": share, "smoothing": share}, where="decoder")

    def recipe(self, published_steps):
        """As other networks', at one learning rate: patience ends the training."""
        from stages.training.recipe import Schedule

        return replace(super().recipe(published_steps), schedule=Schedule())


@dataclass(frozen=True)
class VQfMRI2023Settings:
    """All settings of the method; they are guesses.

    Attributes
    ----------
    decoder : ClassifierSettings
    cues : CueSettings
    experience : {"checkpoint", "training pictures"}
        What completes pictures: a network that was trained elsewhere; or one that is trained here on the training pictures alone,
        whose experience holds no tested picture for sure.
    tokens : TokenLearning
        The training of the latter.
    generator : TokenDrawingSettings
    """

    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    decoder: ClassifierSettings = field(default_factory=ClassifierSettings)
    cues: CueSettings = field(default_factory=CueSettings)
    experience: str = "checkpoint"
    tokens: TokenLearning = field(
        default_factory=lambda: TokenLearning(
            learning_rate=1e-4, weight_decay=0.05, width=512, depth=8, n_heads=8, norm="before", dropout=0.1
        )
    )
    generator: TokenDrawingSettings = field(default_factory=TokenDrawingSettings)

    def __post_init__(self):
        check_all(self, {"experience": OneOf("checkpoint", "training pictures")})


@system
class VQfMRI2023(System):
    """The method as far as it can be told."""

    name = "vqfmri2023"
    explanation = "decoded tokens that are sure enough, completed by a network that has seen pictures alone"
    citation = (
        "Chen, J., Du, C., Zhou, Q. & He, H. (2023). Rethinking visual reconstruction: experience-based content completion "
        "guided by visual cues. ICML 2023."
    )
    settings_class = VQfMRI2023Settings
    evidence = Evidence("built from one sentence of a survey: nothing to compare it with", ("simulated NSD",))
    needs = Needs(pictures=True, disjoint_pictures=True)
    protocol = "mindvis-2023"
    of_drawing = ("generator",)
    tiny = {
        "checkpoints": {"tokenizer": "tiny-label2img", "generator": "tiny-maskgit"},
        "decoder": {"epochs": 60, "hidden": 512, "width": 32},
    }

    @property
    def checkpoints(self):
        named = self.settings.checkpoints
        generator = {named.generator} if self.settings.experience == "checkpoint" else set()
        return tuple(sorted({named.tokenizer} | generator))

    @property
    def notes(self):
        said = ["Nothing of this method is known but a sentence of a survey: every number of it is a guess."]
        if self.settings.experience == "checkpoint":
            said.append(
                f"The network that completes pictures may have seen the tested ones: {self.settings.checkpoints.generator}."
            )
        return tuple(said)

    def settled(self, train):
        return replace(self.settings, decoder=self.settings.decoder.settled(train))

    def steps(self, machine):
        settings = self.settings
        tokens = self.target("stages.targets.vq_tokens:VQTokens", "tokenizer", machine)
        classifier = token_classifier(tokens, settings.decoder, machine)
        cues = SelectCues(classifier, SCORES, tokens, TOKENS, settings.cues)
        network, before = partial(self.folder, "generator"), []
        if settings.experience != "checkpoint":
            learned = LearnTokens(tokens, settings.tokens, machine, encoded=True)
            before, network = [learned], lambda: learned.network
        optional = (CUES, WEIGHTS) if settings.cues.soft else (CUES,)
        draw = draw_tokens(
            network,
            partial(self.folder, "tokenizer"),
            settings.generator,
            machine,
            optional=optional,
            targets={CUES: tokens},
        )
        return [classifier, cues, *before, draw]


def token_classifier(tokens, settings, machine):
    """Step from patterns to the most probable tokens, and to scores of all codes at all places."""
    from stages.decoders.trained import TrainedDecoder
    from stages.networks.token_classifier import TokenClassifier
    from stages.objectives.token_classes import TokenClasses

    sizes = {name: getattr(settings, name) for name in ("hidden", "width", "dropout")}
    objectives = [TokenClasses(TOKENS, settings.smoothing)]
    decoder = TrainedDecoder(TokenClassifier, settings.recipe(_STEPS_PER_EPOCH), objectives, sizes, machine.device)
    return Learn(
        {TOKENS: tokens},
        decoder,
        machine.device,
        settings.trials,
        settings="decoder",
        free={SCORES: lambda: (*tokens.outline.shape, tokens.outline.n_codes)},
    )
