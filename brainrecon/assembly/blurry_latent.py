"""The step of a network that decodes the latent of a blurry picture, from which a picture is redrawn.

After Scotti et al. (2023), "Reconstructing the mind's eye": a latent of Stable Diffusion's autoencoder is learned by its absolute
error, and a teacher says what is where in the picture: places of the network's small map are to be as near to the teacher's
places of changed pictures as the teacher's own are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from brainrecon.assembly.embedding_network import SIZES
from brainrecon.assembly.learn import Learn
from brainrecon.assembly.many_subjects import ManySubjectsSettings
from brainrecon.assembly.network_settings import NetworkSettings
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.targets import part as class_at
from brainrecon.assembly.values import Machine
from stages.ground.checks import Number, OneOf, check_all

# A teacher's places of the pictures as they are, and of changed ones.
PLACES, CHANGED_PLACES = "places", "changed_places"
# Scale of Stable Diffusion's latents, by which the published loss divides.
_LATENT_SCALE = 0.18215


@dataclass(frozen=True)
class LatentSettings(NetworkSettings):
    """How the blurry latent is trained.

    Attributes
    ----------
    hidden, n_blocks : int
        Of the residual network.
    map_channels, channels : int, tuple of int
        See `stages.networks.voxel_mlp.BlurryLatent`.
    trials : str
        By default mixtures of the trials of each stimulus.
    teacher : bool
        Whether places of the small map are held against a teacher's.
    teacher_weight, teacher_temperature : float
        Of that contrast.
    teacher_size : int
        Side in pixels of the pictures that the teacher sees: 32 for each place of a side of the map.
    teacher_std : {"published", "ImageNet"}
        By what the teacher's pictures are divided; the scripts have a digit wrong.
    """

    epochs: int = 120
    batch_size: int = 8
    learning_rate: float = 5e-4
    seed: int = 0
    hidden: int = 4096
    n_blocks: int = 4
    map_channels: int = 64
    channels: tuple[int, ...] = (64, 128, 256)
    trials: str = "mixed"
    teacher: bool = True
    teacher_weight: float = 0.1
    teacher_temperature: float = 0.075
    teacher_size: int = 512
    teacher_std: str = "published"

    def __post_init__(self):
        super().__post_init__()
        rules = {
            "teacher_weight": Number(0),
            "teacher_temperature": Number(0, above=True, example=0.075),
            "teacher_size": Number(32, whole=True, example=512),
            "teacher_std": OneOf("published", "ImageNet"),
        }
        check_all(self, SIZES | rules)


def blurry_latent(
    name: str,
    source: TargetSource,
    settings: LatentSettings,
    published_steps: int,
    machine: Machine,
    part: str,
    places: TargetSource | None = None,
    released=None,
    table: str = "latent",
    network: str = "stages.networks.mindeye:MindEyeLatent",
    roi: str = "all",
) -> Learn:
    """Step from patterns to the latent of a blurry picture.

    Parameters
    ----------
    name : str
        Of the latent.
    source : TargetSource
        The target that it is held to.
    settings : LatentSettings
    published_steps : int
        In an epoch, unless the settings say how many.
    machine : Machine
    part : str
        Folder of what it learns.
    places : TargetSource, optional
        The teacher's target; without it the latent is trained by its error alone.
    released : stages.decoders.released.Released, optional
        As `brainrecon.assembly.learn.Learn` takes it.
    table : str
        Of the system's settings, that `settings` are.
    network : str
        ``module:class``: of one subject, or `stages.networks.subjects_latent.SubjectsLatent` of several.
    roi : str
        Voxels to read, as `brainrecon.assembly.learn.Learn` takes it.
    """
    from stages.decoders.trained import TrainedDecoder
    from stages.objectives.regression import MeanAbsoluteError
    from stages.objectives.teacher import PlacesOfTeacher

    recipe, objectives = settings.recipe(published_steps), [MeanAbsoluteError(name, 1 / _LATENT_SCALE)]
    taught = {}
    if places is None:
        # Several processes wait for the gradients of all that is trained.
        recipe = replace(recipe, trains=(r"(?!.*maps_projector).*",))
    else:
        temperature, weight = settings.teacher_temperature, settings.teacher_weight
        objectives.append(PlacesOfTeacher(PLACES, CHANGED_PLACES, temperature, weight))
        changing = {CHANGED_PLACES: _as_the_teacher_sees_them(settings)}
        taught = {"beside": dict.fromkeys((PLACES, CHANGED_PLACES), places), "changing": changing}
    arguments = {one: getattr(settings, one) for one in ("hidden", "n_blocks", "map_channels", "channels")}
    new = {"new_subject": settings.training_of_new} if isinstance(settings, ManySubjectsSettings) else {}
    decoder = TrainedDecoder(class_at(network), recipe, objectives, arguments, machine.device, **new)
    own = {"released": released, "settings": table, "roi": roi, **taught}
    return Learn({name: source}, decoder, machine.device, settings.trials, part, **own)


def _as_the_teacher_sees_them(settings):
    """How pictures are changed for the teacher, by the published script."""
    from stages.training.picture_changes import PictureChanges

    return PictureChanges(
        size=settings.teacher_size,
        scale=(0.5, 1.0),
        cropped=1.0,
        mirrored=0.0,
        jittered=0.8,
        grey=0.2,
        solarised=0.2,
        blurred=0.1,
        crop_last=True,
        seed=settings.seed,
    )
