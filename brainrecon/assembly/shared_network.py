"""The step of one network for several subjects: tokens that lead a prior, tokens for retrieval, and a blurry picture's latent.

After Scotti et al. (2024), "MindEye2": a layer of each subject's own, and layers that all share. Everything is trained at once,
by trials. A new subject goes on from what was learned of the others, with a layer of its own that starts anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from brainrecon.assembly.learn import Learn
from brainrecon.assembly.many_subjects import ManySubjectsSettings
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.trial_outputs import OUTPUTS
from brainrecon.assembly.values import Machine
from stages.ground.checks import Number, OneOf, check_all

# A teacher's places of the pictures as they are, and of changed ones.
PLACES, CHANGED_PLACES = "places", "changed_places"
# As `stages.networks.mindeye2` has them, which takes seconds to import.
MIXERS = ("published", "linear", "residual", "tokens")
SAMPLES_PER_EPOCH = 30_000
"""Of the published training: 40 sessions of 750 trials."""
# Every bias but those of the subjects' own layers, and the prior's table of relative positions, whose name has the word.
_UNDECAYED = (r"(?!.*\bridge\.).*bias.*",)


@dataclass(frozen=True)
class SharedNetworkSettings(ManySubjectsSettings):
    """How MindEye2's network is trained; see `brainrecon.assembly.many_subjects` as well.

    Attributes
    ----------
    trials : str
        By default every trial by itself, with no two of one stimulus in a step.
    hidden : int
        Values that subjects share. The light version has 1024.
    mixer, mixer_tokens
        See `stages.networks.mindeye2.Backbone`.
    prior_depth, prior_heads, prior_head_width : int
        Blocks of the prior's network, its attention heads, and values in each.
    prior_weight, contrast_weight, latent_weight : float
        Of the prior's error, of the contrast of retrieval, and of the blurry latent; 0 leaves the prior's out.
    mixed_share : float
        Of the epochs, in which samples are mixed; in the others labels are soft.
    own_partner : {"whole", "rest"}
        Label of a sample that is mixed with itself; "rest" is what the scripts do, "whole" what is meant.
    partners_in : {"batch", "group"}
        Where labels of several subjects look for the sample that was mixed in; "group" is what the scripts do, "batch" what is
        meant.
    map_channels, channels : int, tuple of int
        Of the blurry latent, see `stages.networks.mindeye2.MindEye2Network`.
    teacher : bool
        Whether places of the small map before the latent are held against a teacher's.
    teacher_weight, teacher_temperature : float
        Of that contrast, beside the latent's error.
    teacher_size : int
        Side in pixels of the pictures that the teacher sees: 32 for each place of a side of the map.
    teacher_std : {"published", "ImageNet"}
        By what the teacher's pictures are divided; the scripts have a digit wrong.
    """

    epochs: int = 150
    batch_size: int = 24
    batch_size_each: int = 6
    trials: str = "apart"
    hidden: int = 4096
    mixer: str = "published"
    mixer_tokens: int = 16
    prior_depth: int = 6
    prior_heads: int = 32
    prior_head_width: int = 52
    prior_weight: float = 30.0
    contrast_weight: float = 1.0
    latent_weight: float = 0.5
    mixed_share: float = 0.33
    own_partner: str = "whole"
    partners_in: str = "batch"
    map_channels: int = 64
    channels: tuple[int, ...] = (32, 64, 128)
    teacher: bool = True
    teacher_weight: float = 0.1
    teacher_temperature: float = 0.2
    teacher_size: int = 224
    teacher_std: str = "published"

    def __post_init__(self):
        super().__post_init__()
        count = Number(1, whole=True)
        sizes = ("hidden", "mixer_tokens", "prior_depth", "prior_heads", "prior_head_width", "map_channels")
        rules = dict.fromkeys(sizes, count)
        rules |= dict.fromkeys(("prior_weight", "latent_weight", "teacher_weight"), Number(0))
        rules |= {
            "mixer": OneOf(*MIXERS),
            "mixed_share": Number(0, 1),
            "own_partner": OneOf("whole", "rest"),
            "partners_in": OneOf("batch", "group"),
            "contrast_weight": Number(0, above=True, example=1.0),
            "teacher_temperature": Number(0, above=True, example=0.2),
            "teacher_size": Number(32, whole=True, example=224),
            "teacher_std": OneOf("published", "ImageNet"),
        }
        check_all(self, rules)

    def _steps_of_an_epoch(self, cohort: Mapping) -> int:
        """As published, an epoch has as many samples as the sessions have trials, those that are tested among them.

        Of several subjects it has as many as the sessions of the one with most.
        """
        return steps_by_sessions(self, cohort)

    def recipe(self, published_steps: int | None = None):
        """The recipe of the training loop; in an epoch 30,000 samples, unless it is settled."""
        recipe = super().recipe(published_steps or SAMPLES_PER_EPOCH // self.samples_of_a_step)
        optimiser = replace(recipe.optimiser, undecayed="none", undecayed_names=_UNDECAYED)
        return replace(recipe, optimiser=optimiser)


@dataclass(frozen=True)
class Variant:
    """What differs where another network takes the place of MindEye2's.

    Attributes
    ----------
    network : type
        Made like `stages.networks.mindeye2.MindEye2Network`.
    arguments : mapping
        Further ones of it.
    beside : mapping of str to brainrecon.assembly.targets.TargetSource
        As `brainrecon.assembly.learn.Learn` takes it.
    objectives : callable
        ``objectives(network) -> list``, of further ones.
    of_new, and_shared
        The `arguments`, and the `and_shared`, of `stages.decoders.new_subject.NewSubject`.
    outlined : callable
        ``outlined() -> dict``: further arguments of the network that follow from targets, which are not read before.
    """

    network: type
    arguments: Mapping = field(default_factory=dict)
    beside: Mapping[str, TargetSource] = field(default_factory=dict)
    objectives: Callable = lambda network: []
    of_new: Mapping = field(default_factory=dict)
    and_shared: tuple[str, ...] = ()
    outlined: Callable[[], Mapping] = dict


def shared_network(
    names: Sequence[str],
    source: TargetSource,
    settings: SharedNetworkSettings,
    machine: Machine,
    part: str,
    latent: tuple[str, TargetSource] | None = None,
    places: TargetSource | None = None,
    released=None,
    table: str = "decoder",
    averages: str = OUTPUTS,
    n_trials: int = 3,
    variant: Variant | None = None,
) -> Learn:
    """Step from patterns of one or several subjects to tokens, and to the latent of a blurry picture.

    Parameters
    ----------
    names : sequence of str
        Of the rough tokens, which may be left out, and of those for retrieval.
    source : TargetSource
        The target that both are held to.
    settings : SharedNetworkSettings
        With `prior_weight` 0 there is no prior, and rough tokens are held to the true ones.
    machine : Machine
    part : str
        Folder of what it learns.
    latent : tuple of str and TargetSource, optional
        Its name and its target.
    places : TargetSource, optional
        The teacher's target; without it the latent is trained by its error alone.
    released : stages.decoders.released.Released, optional
        As `brainrecon.assembly.learn.Learn` takes it.
    table : str
        Of the system's settings, that `settings` are.
    averages : {"outputs", "responses"}
    n_trials : int
        As `brainrecon.assembly.learn.Learn` takes them.
    variant : Variant, optional
        Of another network than MindEye2's.
    """
    from stages.decoders.trained import TrainedDecoder
    from stages.networks.mindeye2 import MindEye2Network
    from stages.objectives.prior_error import PriorError
    from stages.objectives.regression import MeanAbsoluteError, MeanSquaredError
    from stages.objectives.retrieval import MixedThenSoft
    from stages.objectives.teacher import PlacesOfTeacher

    variant = variant or Variant(MindEye2Network)
    *rough, retrieval = names
    recipe = settings.recipe()
    has_prior = bool(rough) and settings.prior_weight > 0

    def objectives(network):
        found = [
            MixedThenSoft(
                retrieval,
                settings.epochs,
                recipe.validate_every,
                mixed_share=settings.mixed_share,
                weight=settings.contrast_weight,
                own_partner=settings.own_partner,
                partners_in=settings.partners_in,
            )
        ]
        if has_prior:
            found.append(PriorError(rough[0], prior_of(network), settings.prior_weight))
        elif rough:
            found.append(MeanSquaredError(rough[0]))
        if latent is not None:
            found.append(MeanAbsoluteError(latent[0], settings.latent_weight))
        if latent is not None and places is not None:
            weight = settings.latent_weight * settings.teacher_weight
            found.append(PlacesOfTeacher(PLACES, CHANGED_PLACES, settings.teacher_temperature, weight))
        return [*found, *variant.objectives(network)]

    own, targets = {"beside": dict(variant.beside)}, dict.fromkeys(names, source)
    sizes = ["hidden", "mixer", "mixer_tokens"]
    sizes += ["prior_depth", "prior_heads", "prior_head_width"] if has_prior else []
    if latent is not None:
        targets[latent[0]], sizes = latent[1], [*sizes, "map_channels", "channels"]
        if places is None:
            # Several processes wait for the gradients of all that is trained.
            recipe = replace(recipe, trains=(r"(?!.*b_maps_projector).*",))
        else:
            changing = {CHANGED_PLACES: _as_the_teacher_sees_them(settings)}
            own["beside"] |= dict.fromkeys((PLACES, CHANGED_PLACES), places)
            own["changing"] = changing
    arguments = {name: getattr(settings, name) for name in sizes} | ({} if has_prior else {"prior": "none"})
    new = replace(settings.training_of_new, arguments=variant.of_new, and_shared=variant.and_shared)
    arguments |= dict(variant.arguments)
    decoder = TrainedDecoder(variant.network, recipe, objectives, arguments, machine.device, new_subject=new)
    own |= {"arguments": lambda subjects: variant.outlined(), "outlined": variant.outlined}
    own |= {"released": released, "settings": table, "averages": averages, "n_trials": n_trials}
    return Learn(targets, decoder, machine.device, settings.trials, part, **own)


def prior_of(network):
    """The diffusion prior whose network belongs to a `MindEye2Network`: of tokens on their own scale."""
    from stages.priors.diffusion import DiffusionPrior

    return DiffusionPrior(network.diffusion_prior["net"], scale=1.0)


def _as_the_teacher_sees_them(settings):
    """How pictures are changed for the teacher, by the published script; of its crops the area alone is known."""
    from stages.training.picture_changes import PictureChanges

    return PictureChanges(
        size=settings.teacher_size,
        scale=(0.9, 0.9),
        cropped=1.0,
        mirrored=0.0,
        jittered=0.8,
        grey=0.1,
        solarised=0.1,
        crop_last=True,
        seed=settings.seed,
    )


def steps_by_sessions(settings: ManySubjectsSettings, cohort: Mapping) -> int:
    """Steps of an epoch with as many samples as the sessions of the subject with most have trials, tested ones among them."""
    most = max(_trials_of_sessions(subject) for subject in cohort.values())
    return max(round((1 - settings.validation) * most) // settings.samples_of_a_step, 1)


def _trials_of_sessions(subject):
    """Trials of the sessions that a subject learns from, in whatever split; of data without sessions those learned from."""
    train, test = subject.train, subject.test
    if train.sessions is None or test.sessions is None:
        return train.n_trials
    return train.n_trials + int(np.isin(test.sessions, np.unique(train.sessions)).sum())
