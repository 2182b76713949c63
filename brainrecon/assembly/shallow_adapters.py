"""The step of one network behind a shallow adapter for each subject: tokens by contrast, a prior, and a blurry picture's latent.

After Liu et al. (AAAI 2025), "See Through Their Minds". Everything is trained at once on averages of trials, of one subject or of
several; of a new one the adapter alone is learned. How the latent's part is trained is not published: here it is held to latents
by their absolute error in the same training, and nothing of that reaches the rest of the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from brainrecon.assembly.learn import Learn
from brainrecon.assembly.many_subjects import OWN_LAYERS, ManySubjectsSettings
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Machine
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError

CAPTIONS = "captions"
ONE_AT_RANDOM, AVERAGED, NONE = "one at random", "averaged", "none"
# As `stages.networks.sttm`, `stages.networks.guided_latent` and `stages.objectives.within_then_across` have them, which take
# seconds to import.
HEADS, SCALES, LATENT_READS = ("attention", "linear"), ("mended", "published"), ("both", "guidance", "voxels")
WEIGHTINGS = ("random softmax", "equal")
# Scale of Stable Diffusion's latents, by which MindEye's loss divides.
_LATENT_SCALE = 0.18215


@dataclass(frozen=True)
class ShallowAdapterSettings(ManySubjectsSettings):
    """How STTM's network is trained; see `brainrecon.assembly.many_subjects` as well.

    Attributes
    ----------
    trials : str
        By default averages over the trials of each stimulus.
    new_subject : {"own layers", "all layers"}
        By default the adapter of a new subject alone.
    prior_epochs : int
        Of a new subject whose adapter is learned alone: epochs after that in which the prior is trained alone.
    hidden, n_blocks, narrow, head, attention_heads, attention_width, attention_scale, between, projected, dropout, noise
        See `stages.networks.sttm.STTMNetwork`.
    prior_depth, prior_heads, prior_feed_forward : int
        Layers of the prior's decoder, its attention heads, and values inside a layer.
    hidden_memory : tuple of two floats
        See `stages.networks.memory_prior.MemoryPrior`.
    prior_weight : float
        Of the prior's error; 0 leaves it out.
    loss_weighting : {"random softmax", "equal"}
        What the contrast and the prior's error are multiplied by, if there is a prior.
    mixed_share, mixed_weight, soft_weight, first_temperature, last_temperature, few_epochs, own_partner
        See `stages.objectives.within_then_across.WithinThenAcross`.
    few_samples : int
        Of a subject, that count in a step of these few epochs.
    captions : {"one at random", "averaged", "none"}
        What the first token is held to beside the picture's: one caption of each stimulus, drawn anew in every step; the average
        of their embeddings; or nothing.
    n_captions : int
        Captions of a stimulus that may be drawn.
    latent_weight : float
        Of the latent's absolute error.
    latent_blocks, map_channels, channels, latent_reads
        See `stages.networks.guided_latent.GuidedLatent`.
    """

    epochs: int = 50
    batch_size: int = 16
    batch_size_each: int = 16
    trials: str = "averaged"
    new_subject: str = OWN_LAYERS
    prior_epochs: int = 0
    hidden: int = 4096
    n_blocks: int = 4
    narrow: int = 128
    head: str = "attention"
    attention_heads: int = 8
    attention_width: int = 96
    attention_scale: str = "mended"
    between: int = 1536
    projected: int = 2048
    dropout: float = 0.5
    noise: float = 0.01
    prior_depth: int = 6
    prior_heads: int = 12
    prior_feed_forward: int = 3072
    hidden_memory: tuple[float, ...] = (0.6, 0.65)
    prior_weight: float = 30.0
    loss_weighting: str = "random softmax"
    mixed_share: float = 0.35
    mixed_weight: float = 0.5
    soft_weight: float = 0.2
    first_temperature: float = 0.004
    last_temperature: float = 0.006
    few_epochs: int = 3
    few_samples: int = 12
    own_partner: str = "whole"
    captions: str = ONE_AT_RANDOM
    n_captions: int = 5
    latent_weight: float = 1.0
    latent_blocks: int = 4
    map_channels: int = 64
    channels: tuple[int, ...] = (64, 128, 256)
    latent_reads: str = "both"

    # 8,859 stimuli in batches of 16.
    published_steps = 554

    def __post_init__(self):
        super().__post_init__()
        count, temperature = Number(1, whole=True), Number(0, above=True, example=0.004)
        sizes = ("hidden", "narrow", "attention_heads", "attention_width", "between", "projected")
        sizes += ("prior_depth", "prior_heads", "prior_feed_forward", "few_samples", "n_captions", "map_channels")
        rules = dict.fromkeys(sizes, count)
        rules |= dict.fromkeys(("n_blocks", "latent_blocks", "prior_epochs", "few_epochs"), Number(0, whole=True))
        rules |= dict.fromkeys(("noise", "prior_weight", "mixed_weight", "soft_weight"), Number(0))
        rules |= {
            "head": OneOf(*HEADS),
            "attention_scale": OneOf(*SCALES),
            "dropout": Number(0, 1, below=True, example=0.5),
            "loss_weighting": OneOf(*WEIGHTINGS),
            "mixed_share": Number(0, 1),
            "first_temperature": temperature,
            "last_temperature": temperature,
            "own_partner": OneOf("whole", "rest"),
            "captions": OneOf(ONE_AT_RANDOM, AVERAGED, NONE),
            "latent_weight": Number(0, above=True, example=1.0),
            "latent_reads": OneOf(*LATENT_READS),
        }
        check_all(self, rules)
        self._check_together()

    def _check_together(self):
        shares = self.hidden_memory
        if len(shares) != 2 or not 0 <= shares[0] <= shares[1] < 1:
            raise InputError(
                f"hidden_memory is {list(shares)}; expected the smallest and the largest share of the brain tokens that training "
                "hides, each from 0 to below 1, for example [0.6, 0.65]."
            )
        if self.prior_epochs and self.new_subject != OWN_LAYERS:
            raise InputError(
                f"prior_epochs is {self.prior_epochs} but new_subject {self.new_subject!r}, which trains the prior anyway; pass "
                "--set decoder.prior_epochs=0, or --set decoder.new_subject='own layers'."
            )
        if self.prior_epochs and not self.prior_weight:
            raise InputError(
                f"prior_epochs is {self.prior_epochs} but prior_weight {self.prior_weight}, so that there is no prior; pass "
                "--set decoder.prior_epochs=0, or a weight above 0."
            )

    def _steps_of_an_epoch(self, cohort: Mapping) -> int:
        """As the scripts count: one more than whole batches are in the first subject's stimuli."""
        train = next(iter(cohort.values())).train
        n = train.n_stimuli - round(self.validation * train.n_stimuli)
        if self.trials in ("single", "apart"):
            n = round(n * train.n_trials / train.n_stimuli)
        return n // self.samples_of_each + 1

    def for_pretraining(self):
        """These settings on the subjects before a new one, of whom nothing is trained afterwards."""
        return replace(super().for_pretraining(), prior_epochs=0)

    @property
    def samples_of_each(self) -> int:
        """Samples of a step of each subject."""
        return self.samples_of_a_step // (self.subjects or 1)

    def recipe(self, published_steps: int | None = None):
        """The recipe of the training loop; what has "bias" anywhere in its name does not decay, as published."""
        recipe = super().recipe(published_steps)
        optimiser = replace(recipe.optimiser, undecayed="none", undecayed_names=(".*bias.*",))
        return replace(recipe, optimiser=optimiser)


_SIZES = ("hidden", "n_blocks", "narrow", "head", "attention_heads", "attention_width", "attention_scale", "between")
_SIZES += ("projected", "dropout", "noise")
_OF_THE_PRIOR = ("prior_depth", "prior_heads", "prior_feed_forward", "hidden_memory")
_OF_THE_LATENT = ("latent_blocks", "map_channels", "channels", "latent_reads")


def behind_adapters(
    names,
    source: TargetSource,
    settings: ShallowAdapterSettings,
    machine: Machine,
    part: str,
    latent: tuple[str, TargetSource] | None = None,
    captions: TargetSource | None = None,
    table: str = "decoder",
) -> Learn:
    """Step from patterns of one or several subjects to tokens, and to the latent of a blurry picture.

    Parameters
    ----------
    names : sequence of str
        Of the rough tokens, which may be left out, and of those for retrieval.
    source : TargetSource
        The target that both are held to.
    settings : ShallowAdapterSettings
        With `prior_weight` 0 there is no prior, and rough tokens are held to the true ones.
    machine : Machine
    part : str
        Folder of what it learns.
    latent : tuple of str and TargetSource, optional
        Its name and its target.
    captions : TargetSource, optional
        Of the vectors that the first token is held to besides.
    table : str
        Of the system's settings, that `settings` are.
    """
    from stages.decoders.trained import TrainedDecoder
    from stages.networks.sttm import STTMNetwork
    from stages.objectives.regression import MeanSquaredError
    from stages.objectives.within_then_across import BalancedPriorError, MixedAbsoluteError, WithinThenAcross

    *rough, retrieval = names
    recipe, has_prior = settings.recipe(), bool(rough) and settings.prior_weight > 0

    def objectives(network):
        contrast = WithinThenAcross(
            retrieval,
            None if captions is None else CAPTIONS,
            n_epochs=settings.epochs,
            steps_per_epoch=recipe.validate_every,
            mixed_share=settings.mixed_share,
            first=settings.first_temperature,
            last=settings.last_temperature,
            mixed_weight=settings.mixed_weight,
            soft_weight=settings.soft_weight,
            few_epochs=settings.few_epochs,
            few_share=min(settings.few_samples / settings.samples_of_each, 1.0),
            own_partner=settings.own_partner,
            weighting=settings.loss_weighting if has_prior else NONE,
        )
        found = [contrast]
        if has_prior:
            found.append(BalancedPriorError(rough[0], prior_of(network), settings.prior_weight, contrast))
        elif rough:
            found.append(MeanSquaredError(rough[0]))
        if latent is not None:
            found.append(MixedAbsoluteError(latent[0], settings.latent_weight / _LATENT_SCALE, contrast))
        return found

    targets, asked = dict.fromkeys(names, source), [*_SIZES, *(_OF_THE_PRIOR if has_prior else ())]
    if latent is not None:
        targets[latent[0]], asked = latent[1], [*asked, *_OF_THE_LATENT]
    arguments = {name: getattr(settings, name) for name in asked} | ({} if has_prior else {"prior": "none"})
    after = _of_the_prior_alone(recipe, settings) if settings.prior_epochs and has_prior else None
    new = replace(settings.training_of_new, afterwards=after)
    decoder = TrainedDecoder(STTMNetwork, recipe, objectives, arguments, machine.device, new_subject=new)
    beside = {} if captions is None else {CAPTIONS: captions}
    return Learn(targets, decoder, machine.device, settings.trials, part, beside=beside, settings=table)


def _of_the_prior_alone(recipe, settings):
    """The recipe of the training in which the prior goes on when the adapter of a new subject is learned."""
    steps = settings.prior_epochs * recipe.validate_every
    schedule = replace(recipe.schedule, rise=min(2 / settings.prior_epochs, 0.5))
    # As the learner calls the prior's parameters; its random numbers are others than those of the first training.
    trains = (r"network\.network\.net\..*",)
    return replace(recipe, steps=steps, schedule=schedule, trains=trains, seed=recipe.seed + 1)


def prior_of(network):
    """The diffusion prior whose network belongs to a `stages.networks.sttm.STTMNetwork`."""
    from stages.priors.diffusion import DiffusionPrior

    return DiffusionPrior(network.net)
