"""The step of a network that decodes an image embedding by contrast, and of the prior that is trained beside it.

After Scotti et al. (2023), "Reconstructing the mind's eye": a residual network makes a rough embedding, a projector makes of it
one for retrieval, which is held to the true one by contrast, and a diffusion prior is led by the rough one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from brainrecon.assembly.learn import Learn
from brainrecon.assembly.network_settings import NetworkSettings
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Machine
from stages.ground.checks import Number, OneOf, check_all

SIZES = {"hidden": Number(1, whole=True), "n_blocks": Number(0, whole=True)}
"""Rules of a residual network's."""


@dataclass(frozen=True)
class TokenSettings(NetworkSettings):
    """How tokens, retrieval and the prior are trained, in one.

    Attributes
    ----------
    hidden, n_blocks : int
        Of the residual network.
    projected : int
        Values inside the projector.
    prior_depth : int, optional
        6 of tokens and 12 of a vector, if it is not given.
    prior_heads, prior_head_width : int
        Attention heads of the prior's network, and values in each.
    prior_weight : float, optional
        Of the prior's error beside the contrast, or without a prior of that of the rough embedding itself; 30 of tokens and 0.03
        of a vector, if it is not given.
    prior_begins : {"random", "published"}, optional
        The prior's weights before training; published ones of a vector of CLIP ViT-L/14, if it is not given, else random ones.
    mixed_share : float
        Of the epochs, in which samples are mixed; in the others labels are soft.
    own_partner : {"rest", "whole"}
        Label of a sample that is mixed with itself; "rest" is what the scripts do, "whole" what is meant.
    changes : {"published", "none"}
        Whether training is held to embeddings of pictures that are cropped, mirrored and recoloured anew in every step.
    """

    hidden: int = 4096
    n_blocks: int = 4
    projected: int = 2048
    prior_depth: int | None = None
    prior_heads: int = 12
    prior_head_width: int = 64
    prior_weight: float | None = None
    prior_begins: str | None = None
    mixed_share: float = 0.33
    own_partner: str = "rest"
    changes: str = "published"

    def __post_init__(self):
        super().__post_init__()
        rules = {"prior_weight": Number(0, optional=True), "changes": OneOf("published", "none")}
        check_all(self, SIZES | rules)
        if self.prior_begins is not None:
            check_all(self, {"prior_begins": OneOf("random", "published")})


def embedding_network(
    names: Sequence[str],
    source: TargetSource,
    settings: TokenSettings,
    prior: str,
    published_steps: int,
    machine: Machine,
    part: str,
    begin: Callable | None = None,
    changing: Mapping | None = None,
    released=None,
    table: str = "decoder",
) -> Learn:
    """Step from patterns to a rough embedding and to one for retrieval, or to that one alone.

    Parameters
    ----------
    names : sequence of str
        Of the rough one, which may be left out, and of that for retrieval; as `stages.networks.mindeye.MindEyeTokens` takes them.
    source : TargetSource
        The target that both are held to.
    settings : TokenSettings
        Complete ones. Of `prior_weight` 0 there is contrast alone.
    prior : {"tokens", "vector", "none"}
        The prior's network. Without any the rough embedding is held to the true one, by the mean squared error on the scale of
        the prior's.
    published_steps : int
        In an epoch, unless the settings say how many.
    machine : Machine
    part : str
        Folder of what it learns.
    begin : callable, optional
        As `stages.decoders.trained.TrainedDecoder` takes it.
    changing : mapping of str to stages.training.picture_changes.PictureChanges, optional
    released : stages.decoders.released.Released, optional
        As `brainrecon.assembly.learn.Learn` takes them.
    table : str
        Of the system's settings, that `settings` are.
    """
    from stages.decoders.trained import TrainedDecoder
    from stages.networks.mindeye import MindEyeTokens
    from stages.objectives.prior_error import PriorError
    from stages.objectives.regression import MeanSquaredError
    from stages.objectives.retrieval import MixedThenSoft

    *rough, retrieval = names

    def objectives(network):
        contrast = MixedThenSoft(
            retrieval,
            settings.epochs,
            settings.steps_per_epoch or published_steps,
            mixed_share=settings.mixed_share,
            own_partner=settings.own_partner,
        )
        if not rough or not settings.prior_weight:
            return [contrast]
        if prior == "none":
            return [contrast, MeanSquaredError(rough[0], settings.prior_weight * network.shape[-1])]
        return [contrast, PriorError(rough[0], prior_of(network), settings.prior_weight)]

    sizes = ["hidden", "n_blocks", "projected"]
    if prior != "none":
        sizes += ["prior_depth", "prior_heads", "prior_head_width"]
    arguments = {name: getattr(settings, name) for name in sizes} | ({} if prior == "tokens" else {"prior": prior})
    recipe = settings.recipe(published_steps)
    decoder = TrainedDecoder(MindEyeTokens, recipe, objectives, arguments, machine.device, begin=begin)
    targets = dict.fromkeys(names, source)
    own = {"changing": changing, "released": released, "settings": table}
    return Learn(targets, decoder, machine.device, settings.trials, part, **own)


def prior_of(network):
    """The diffusion prior whose network belongs to a `MindEyeTokens`, as it was published for tokens and for one vector."""
    from stages.networks.vector_prior import VectorPrior
    from stages.priors.diffusion import DiffusionPrior
    from stages.priors.noise_process import NoiseProcess

    if isinstance(network.net, VectorPrior):
        return DiffusionPrior(network.net, NoiseProcess(network.net.n_times), without_brain=0.1, without_image=0.1)
    return DiffusionPrior(network.net)
