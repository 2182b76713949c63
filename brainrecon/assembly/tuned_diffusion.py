"""The steps of a latent diffusion model that is tuned to be led by the brain: tokens of a response, and pictures under them.

After Chen et al. (2023), MinD-Vis: a pretrained encoder of responses takes the place of the model's table of classes. Encoder,
mappers and a part of the UNet are trained at once, by the error of the noise that the UNet finds in the latents of what was seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from brainrecon.assembly.draw import Draw
from brainrecon.assembly.generator_settings import GeneratorSettings
from brainrecon.assembly.learn import Learn
from brainrecon.assembly.network_settings import NetworkSettings
from brainrecon.assembly.redraw import redraw
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Machine
from stages.ground.checks import Number, check_all

LATENT, CHANGED_LATENT = "vq_latent", "changed_vq_latent"
# Of the published training of one subject: 1,200 trials of 5.
_STEPS_PER_EPOCH = 240
# Cross-attention and the normalisation before it: what the published words "attn2" and "norm2" fit in the UNet as it was named.
TUNED = (r".*\.attn2\..*", r".*\.transformer_blocks\.\d+\.norm2\..*")


@dataclass(frozen=True)
class DenoisingSettings(NetworkSettings):
    """How something is trained by the noise that a UNet finds in the latents of pictures; by default as MinD-Vis trains.

    Attributes
    ----------
    trials : str
        By default every trial by itself.
    clip : float, optional
        Largest norm of the gradient.
    cropped : float
        Share of the pictures that are cropped before their latents are found, anew in each step.
    crop : float
        Share of a picture's side that a crop leaves out.
    """

    epochs: int = 500
    learning_rate: float = 5.3e-5
    weight_decay: float = 0.01
    trials: str = "single"
    seed: int = 2022
    clip: float | None = 0.5
    cropped: float = 0.5
    crop: float = 0.2

    def __post_init__(self):
        super().__post_init__()
        rules = {"clip": Number(0, above=True, optional=True, example=0.5)}
        check_all(self, rules | {"cropped": Number(0, 1), "crop": Number(0, 1, below=True)})

    def recipe(self, published_steps: int):
        """The recipe of the training loop: one learning rate, and decay of everything, as published."""
        from stages.training.recipe import Schedule

        recipe = super().recipe(published_steps)
        optimiser = replace(recipe.optimiser, undecayed="none")
        return replace(recipe, optimiser=optimiser, schedule=Schedule("constant"), clip=self.clip)


@dataclass(frozen=True)
class TunedDiffusionSettings(DenoisingSettings):
    """How encoder, mappers and a part of the UNet are trained.

    Attributes
    ----------
    average : float, optional
        Decay of a moving average of what is trained, which is drawn with then; none is published.
    tuned : tuple of str
        Regular expressions: parameters of the UNet that are trained.
    n_tokens : int
        That the UNet reads.
    pooled : bool
        Make one token of the mean of all patches.
    times : bool
        Whether tokens enter the time embedding besides.
    """

    batch_size: int = 5
    average: float | None = None
    tuned: tuple[str, ...] = TUNED
    n_tokens: int = 77
    pooled: bool = False
    times: bool = True

    def __post_init__(self):
        super().__post_init__()
        rules = {
            "average": Number(0, 1, below=True, optional=True, example=0.999),
            "n_tokens": Number(1, whole=True, example=77),
        }
        check_all(self, rules)
        if self.pooled:
            object.__setattr__(self, "n_tokens", 1)

    def recipe(self, published_steps: int = _STEPS_PER_EPOCH):
        """The recipe of the training loop, with the moving average."""
        return replace(super().recipe(published_steps), average=self.average)


@dataclass(frozen=True)
class StartingEncoder:
    """The encoder that a training begins with.

    Attributes
    ----------
    sizes : callable
        ``sizes() -> dict``: see `stages.networks.brain_diffusion.BrainConditioner`.
    begin : callable, optional
        ``begin(encoder) -> str``: puts weights into a `stages.networks.masked_brain.BrainEncoder`, and returns what identifies
        them; without it the encoder begins at random.
    """

    sizes: Callable[[], dict]
    begin: Callable | None = None


def tuned_diffusion(
    tokens: str,
    latent: TargetSource,
    size: int,
    settings: TunedDiffusionSettings,
    machine: Machine,
    folder: Callable,
    encoder: StartingEncoder,
    part: str,
    identity: Callable[[], str] = str,
    further: Callable = lambda network: [],
    beside: dict[str, TargetSource] | None = None,
    released=None,
    table: str = "decoder",
    make: type | None = None,
    more: Callable[[], dict] = dict,
    start: Callable | None = None,
    kept_back: bool = False,
) -> Learn:
    """Step from patterns to the tokens that lead the UNet, with which a part of it is trained.

    Parameters
    ----------
    tokens : str
        Their name.
    latent : TargetSource
        Of the autoencoder: `stages.targets.codebook_latents`.
    size : int
        Side in pixels of the pictures whose latents these are.
    settings : TunedDiffusionSettings
    machine : Machine
    folder : callable
        ``folder(check=True) -> path`` of the generator's checkpoint, `stages.generators.diffusion.vq_diffusion`.
    encoder : StartingEncoder
    part : str
        Folder of what it learns.
    identity : callable
        ``identity() -> str``: what identifies the generator's checkpoint.
    further : callable
        ``further(network) -> list of objectives`` besides.
    beside : dict of str to TargetSource, optional
        What these are held against.
    released : stages.decoders.released.Released, optional
        As `brainrecon.assembly.learn.Learn` takes it.
    table : str
        Of the system's settings, that `settings` are.
    make : type, optional
        The network: `stages.networks.brain_diffusion.BrainDiffusion`, or one that has more.
    more : callable
        ``more() -> dict``: arguments of such a network besides.
    start : callable, optional
        ``start(network) -> str``: puts everything into the network that it begins with, in place of a UNet and an encoder, and
        returns what identifies it.
    kept_back : bool
        As of `brainrecon.assembly.learn.Learn`.
    """
    from stages.decoders.trained import TrainedDecoder
    from stages.generators.diffusion.vq_diffusion_model import load_vq_unet, unet_config
    from stages.networks.brain_diffusion import BrainDiffusion
    from stages.objectives.denoising_error import DenoisingError
    from stages.priors.scheduler_noise import noise_of_scheduler

    changing = settings.cropped > 0
    named = CHANGED_LATENT if changing else LATENT

    def objectives(network):
        process, predicts = noise_of_scheduler(folder(check=False))
        return [DenoisingError(tokens, named, network.denoiser, process, predicts=predicts), *further(network)]

    def begin(network):
        if start is not None:
            return start(network)
        network.take_unet(load_vq_unet(folder()).to(machine.device))
        began = "" if encoder.begin is None else encoder.begin(network.cond_stage_model.mae)
        return f"{identity()} {began}"

    def arguments(subject=None):
        return {
            "encoder": encoder.sizes(),
            "unet": unet_config(folder(check=False)),
            "tuned": list(settings.tuned),
            "pooled": settings.pooled,
            "times": settings.times,
            **more(),
        }

    def shape():
        return settings.n_tokens, unet_config(folder(check=False))["cross_attention_dim"]

    # What else is held against is of the same crop.
    own = {"changing": dict.fromkeys((named, *(beside or {})), cropping(settings, size))} if changing else {}
    decoder = TrainedDecoder(
        make or BrainDiffusion,
        settings.recipe(),
        objectives,
        device=machine.device,
        begin=begin,
        standardise="all voxels together",
    )
    return Learn(
        {},
        decoder,
        machine.device,
        settings.trials,
        part,
        beside={named: latent, **(beside or {})},
        free={tokens: shape},
        arguments=arguments,
        outlined=arguments,
        released=released,
        settings=table,
        kept_back=kept_back,
        **own,
    )


def cropping(settings, size: int):
    """How pictures are cropped before their latents are found: `stages.training.picture_changes.PictureChanges`.

    Parameters
    ----------
    settings : dataclass
        With ``cropped``, ``crop`` and ``seed``, as of `TunedDiffusionSettings`.
    size : int
        Side of the pictures in pixels.
    """
    from stages.training.picture_changes import PictureChanges

    area = (1 - int(settings.crop * size) / size) ** 2
    return PictureChanges(
        size=size,
        scale=(area, area),
        ratio=(1.0, 1.0),
        cropped=settings.cropped,
        cropped_of="pictures",
        mirrored=0.0,
        jittered=0.0,
        grey=0.0,
        seed=settings.seed,
    )


def tuned_drawing(
    learned: Learn,
    tokens: str,
    settings: GeneratorSettings,
    machine: Machine,
    folder: Callable,
    gives: str = "picture",
    arguments: Callable[[], dict] = dict,
    table: str = "generator",
    steered: tuple[str, ...] = (),
) -> Draw:
    """Step from tokens to pictures, with what a `tuned_diffusion` has trained.

    Parameters
    ----------
    learned : Learn
        That step.
    tokens, settings, machine, folder, table
        As of `tuned_diffusion` and `brainrecon.assembly.redraw.redraw`.
    gives : str
        Name of the picture.
    arguments : callable
        ``arguments() -> dict``: what the generator is loaded with besides.
    steered : tuple of str
        Maps that steer it as well, by what `arguments` brings; each may be absent.
    """

    def tuned():
        network = learned.decoder.network.network
        return {
            "tuned": network.denoiser.unet,
            "time_mapper": network.denoiser.time_mapper,
            "n_tokens": learned.decoder.gives[tokens][0],
            "reads": tokens,
            **arguments(),
        }

    return redraw(
        "stages.generators.diffusion.vq_diffusion:VQDiffusionGenerator",
        folder,
        settings,
        machine,
        {tokens: None, **dict.fromkeys(steered)},
        lambda present: {name: 1.0 for name in steered if name in present},
        start=None,
        arguments=tuned,
        needed=(tokens,),
        gives=gives,
        table=table,
    )
