"""The steps from patterns to tokens, or to a vector, by a network of its own that contrast and squared errors train."""

from __future__ import annotations

from dataclasses import dataclass

from brainrecon.assembly.as_decoded import AsDecoded
from brainrecon.assembly.embedding_network import SIZES
from brainrecon.assembly.learn import Learn
from brainrecon.assembly.match_moments import ALL_VALUES, TRAINING, MatchMoments
from brainrecon.assembly.network_settings import NetworkSettings
from brainrecon.assembly.step import Step
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.usual_length import UsualLength
from brainrecon.assembly.values import Machine
from stages.ground.checks import Number, check_all

OF_TRAINING, FIRST_TOKEN, MEAN_AND_SPREAD = "training", "first token", "mean and spread"
LENGTHS = (OF_TRAINING, FIRST_TOKEN, MEAN_AND_SPREAD)


@dataclass(frozen=True)
class HeadSettings(NetworkSettings):
    """How such a network is trained; see `brainrecon.assembly.network_settings` as well.

    Attributes
    ----------
    hidden, n_blocks, projected : int
        See `stages.networks.voxel_mlp.VoxelMLP`.
    temperature : float
        Of the contrast between the tokens of a step.
    contrast_weight : float
        Of that contrast. A vector has none.
    squared_weight : float
        Of the squared error of tokens that are brought to unit length, all of a stimulus as one row.
    """

    epochs: int = 200
    batch_size: int = 50
    validation: float = 0.05
    trials: str = "averaged"
    hidden: int = 2048
    n_blocks: int = 4
    projected: int = 2048
    temperature: float = 0.005
    contrast_weight: float = 1.0
    squared_weight: float = 10_000.0

    def __post_init__(self):
        super().__post_init__()
        rules = {
            "projected": Number(1, whole=True, example=2048),
            "temperature": Number(0, above=True, example=0.005),
            "contrast_weight": Number(0),
            "squared_weight": Number(0, above=True, example=10_000.0),
        }
        check_all(self, SIZES | rules, where="decoder")


def vector_head(
    name: str,
    source: TargetSource,
    settings: HeadSettings,
    published_steps: int,
    machine: Machine,
    part: str,
    roi: str = "all",
) -> Learn:
    """Step from patterns to a vector, held to the true one by the squared error.

    >>> class Latent:
    ...     shape, n_targets = (768,), 768
    >>> vector_head("optimus", TargetSource(Latent, checkpoints=()), HeadSettings(), 168, Machine("cpu"), "caption").gives
    ('optimus',)

    Parameters
    ----------
    name : str
        Of the vector.
    source : TargetSource
    settings : HeadSettings
    published_steps : int
        Of an epoch.
    machine : Machine
    part : str
        Folder of what it learns.
    roi : str
        Region that it reads.
    """
    from stages.objectives.regression import MeanSquaredError

    return _head(name, source, settings, [MeanSquaredError(name)], published_steps, machine, part, roi)


def token_head(
    name: str,
    source: TargetSource,
    settings: HeadSettings,
    published_steps: int,
    machine: Machine,
    part: str,
    roi: str = "all",
    lengths: str = OF_TRAINING,
) -> list[Step]:
    """Steps from patterns to tokens: their directions are trained, and then they are given a length.

    >>> class Tokens:
    ...     shape, n_targets = (24, 64), 1536
    >>> source = TargetSource(Tokens, checkpoints=())
    >>> steps = token_head("clip_image", source, HeadSettings(), 168, Machine("cpu"), "image", lengths="mean and spread")
    >>> [(type(step).__name__, step.gives) for step in steps]
    [('Learn', ('image_direction',)), ('MatchMoments', ('clip_image',))]

    Parameters
    ----------
    name : str
        Of the tokens, for example "clip_image"; what is trained is called "image_direction" then.
    source, settings, published_steps, machine, part, roi
        As of `vector_head`.
    lengths : {"training", "first token", "mean and spread"}
        The mean length of true tokens of the training stimuli; a first token of length 1; or, as the loss leaves open what all
        have in common, the mean and the spread of true ones, by what the network gives for the training responses.
    """
    from stages.objectives.regression import UnitSquaredError
    from stages.objectives.retrieval import SoftContrast

    direction = f"{name.removeprefix('clip_')}_direction"
    objectives = [UnitSquaredError(direction, settings.squared_weight)]
    if settings.contrast_weight:
        objectives.append(SoftContrast(direction, settings.temperature, settings.contrast_weight))
    learned = _head(direction, source, settings, objectives, published_steps, machine, part, roi)
    if lengths == OF_TRAINING:
        return [learned, UsualLength(direction, name, source, f"{part}_length")]
    return [learned, with_length(learned, direction, name, source, lengths, f"{part}_moments")]


def with_length(learned: Learn, direction: str, name: str, source: TargetSource, lengths: str, part: str) -> Step:
    """Step from directions that a network was trained by to tokens of a length, "first token" or "mean and spread"."""
    if lengths == FIRST_TOKEN:
        return AsDecoded(direction, name, source)
    return MatchMoments(learned, direction, name, TRAINING, part, ALL_VALUES)


def _head(name, source, settings, objectives, published_steps, machine, part, roi):
    from stages.decoders.trained import TrainedDecoder
    from stages.networks.token_head import TokenHead

    sizes = {one: getattr(settings, one) for one in ("hidden", "n_blocks", "projected")}
    decoder = TrainedDecoder(TokenHead, settings.recipe(published_steps), objectives, sizes, machine.device)
    return Learn({name: source}, decoder, machine.device, settings.trials, part, settings="decoder", roi=roi)
