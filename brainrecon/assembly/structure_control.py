"""The steps that steer a brain-led diffusion model by a structure that is decoded from the same responses.

After Zeng et al. (2024), CMVDM: a decoder of structure, then a control branch with a residual block, trained through the model,
which stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from brainrecon.assembly.learn import Learn
from brainrecon.assembly.network_settings import NetworkSettings
from brainrecon.assembly.step import Step
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.tuned_diffusion import CHANGED_LATENT, LATENT, DenoisingSettings, cropping
from brainrecon.assembly.values import Machine
from stages.ground.checks import Number, check_all

# Of the published training of one subject: 1,200 trials of 24, and of 32.
_STRUCTURE_STEPS, _CONTROL_STEPS = 50, 37


@dataclass(frozen=True)
class StructureSettings(NetworkSettings):
    """How the decoder of structure is trained.

    Attributes
    ----------
    channels : int
        Of its maps; a multiple of 32.
    side : int
        Of the decoded map, a multiple of 8.
    absolute, similarity, variation : float
        Weights of the mean absolute difference, of 1 - SSIM, and of the variation of neighbours.
    convolutions : float
        Weight of the absolute values of the convolutions.
    drops : tuple of int
        Epochs after which the learning rate falls to a fifth.
    """

    epochs: int = 150
    batch_size: int = 24
    learning_rate: float = 5e-3
    weight_decay: float = 0.0
    trials: str = "single"
    channels: int = 64
    side: int = 112
    absolute: float = 1.0
    similarity: float = 0.1
    variation: float = 0.3
    convolutions: float = 1e-4
    drops: tuple[int, ...] = (100, 140)

    def __post_init__(self):
        super().__post_init__()
        rules = dict.fromkeys(("absolute", "similarity", "variation", "convolutions"), Number(0))
        check_all(self, rules | {"channels": Number(32, whole=True), "side": Number(16, whole=True)})

    def recipe(self, published_steps=_STRUCTURE_STEPS):
        """The recipe of the training loop: Adam, whose rate falls twice."""
        from stages.training.recipe import Schedule

        recipe, each = super().recipe(published_steps), self.steps_per_epoch or published_steps
        optimiser = replace(recipe.optimiser, name="adam", undecayed="none")
        falls = Schedule("milestones", milestones=tuple(epoch * each for epoch in self.drops), drop=0.2)
        return replace(recipe, optimiser=optimiser, schedule=falls)


@dataclass(frozen=True)
class ControlSettings(DenoisingSettings):
    """How control branch and residual block are trained."""

    batch_size: int = 32

    def recipe(self, published_steps=_CONTROL_STEPS):
        """The recipe of the training loop."""
        return super().recipe(published_steps)


def structure_decoding(
    name: str, silhouette: TargetSource, settings: StructureSettings, machine: Machine, part: str, table: str
) -> Learn:
    """Step from patterns to a map of structure, three equal colours of which are held to a silhouette.

    Parameters
    ----------
    name : str
        Of the map.
    silhouette : TargetSource
        Maps of one channel, as large as the decoded one.
    settings : StructureSettings
    machine : Machine
    part, table : str
        Folder of what it learns, and the table of the system's settings that `settings` are.
    """
    from stages.decoders.trained import TrainedDecoder
    from stages.networks.structure_decoder import StructureDecoder
    from stages.objectives.structure_error import AbsoluteWeights, StructureError

    def objectives(network):
        weights = (settings.absolute, settings.similarity, settings.variation)
        return [StructureError(name, "silhouette", *weights), AbsoluteWeights(network, settings.convolutions)]

    decoder = TrainedDecoder(
        StructureDecoder,
        settings.recipe(),
        objectives,
        {"channels": settings.channels},
        machine.device,
        standardise="all voxels together",
    )
    return Learn(
        {},
        decoder,
        machine.device,
        settings.trials,
        part,
        beside={"silhouette": silhouette},
        free={name: lambda: (3, settings.side, settings.side)},
        settings=table,
    )


def control_training(
    residual: str,
    latent: TargetSource,
    size: int,
    settings: ControlSettings,
    machine: Machine,
    folder: Callable,
    steered: Learn,
    structure: Learn,
    sizes: Callable[[], dict],
    part: str,
    identity: Callable[[], str],
    table: str,
) -> Learn:
    """Step from patterns to the residual picture of the hint, with which a control branch is trained.

    Parameters
    ----------
    residual : str
        Its name.
    latent, size, machine, folder
        As of `brainrecon.assembly.tuned_diffusion.tuned_diffusion`.
    settings : ControlSettings
    steered, structure : Learn
        The steps before it, of the model and of the decoder of structure.
    sizes : callable
        ``sizes() -> dict``: ``tokens``, ``aligned`` and ``structure`` of `stages.networks.controlled_diffusion`.
    part, table : str
        As of `structure_decoding`.
    identity : callable
        ``identity() -> str``: what identifies the generator's checkpoint.
    """
    from stages.decoders.trained import TrainedDecoder
    from stages.generators.diffusion.vq_diffusion_model import load_vq_unet, unet_config
    from stages.networks.controlled_diffusion import CONTEXT, HINT, TIMES_LARGER, ControlledDiffusion
    from stages.objectives.denoising_error import DenoisingError
    from stages.priors.scheduler_noise import noise_of_scheduler

    changing = settings.cropped > 0
    named = CHANGED_LATENT if changing else LATENT

    def objectives(network):
        process, predicts = noise_of_scheduler(folder(check=False))
        return [DenoisingError((), named, network.denoise, process, predicts=predicts, hidden=(CONTEXT, HINT))]

    def begin(network):
        model, decoder = (step.decoder.network.network for step in (steered, structure))
        if next(model.denoiser.unet.base.parameters()).is_meta:
            model.denoiser.unet.take_base(load_vq_unet(folder()).to(machine.device))
        network.take(model, decoder)
        return f"{identity()} {digest_of(model)} {digest_of(decoder)}"

    def arguments(subject=None):
        return sizes()

    def shape():
        side = TIMES_LARGER * unet_config(folder(check=False))["sample_size"]
        return 3, side, side

    decoder = TrainedDecoder(
        ControlledDiffusion,
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
        beside={named: latent},
        changing={named: cropping(settings, size)} if changing else {},
        free={residual: shape},
        arguments=arguments,
        outlined=arguments,
        settings=table,
    )


class Hint(Step):
    """What a control branch reads: a decoded structure, its nearest pixels enlarged, and a residual picture.

    >>> from brainrecon.assembly.values import Item
    >>> step = Hint("structure", "residual", "hint")
    >>> values = {"structure": np.ones((1, 3 * 2 * 2), np.float32), "residual": np.zeros((1, 3 * 4 * 4), np.float32)}
    >>> step.run([Item("subj01", "nsd00042")], values)["hint"].shape
    (1, 48)

    Parameters
    ----------
    structure, residual, gives : str
        Names of the two, and of their sum; rows of three square colours.
    """

    def __init__(self, structure, residual, gives):
        self.reads, self.gives = (structure, residual), (gives,)

    def run(self, items, values, *, seed=0):
        import torch

        from stages.networks.controlled_diffusion import hint_of

        maps = []
        for name in self.reads:
            rows = np.asarray(values[name], dtype=np.float32)
            side = round((rows.shape[1] / 3) ** 0.5)
            maps.append(torch.from_numpy(np.ascontiguousarray(rows)).view(-1, 3, side, side))
        return {self.gives[0]: hint_of(*maps).flatten(1).numpy()}


def digest_of(network):
    """What identifies the parameters of a network."""
    import hashlib

    digest = hashlib.sha256()
    for name, value in network.named_parameters():
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def steering(control: Learn, hint: str, settings, machine: Machine) -> Callable[[], dict]:
    """What a generator is loaded with so that the trained branch steers it.

    Parameters
    ----------
    control : Learn
        From `control_training`.
    hint : str
    settings : brainrecon.assembly.generator_settings.GeneratorSettings
    machine : Machine

    Returns
    -------
    arguments : callable
    """

    def arguments():
        from stages.generators.diffusion.control_maps import Control
        from stages.generators.diffusion.controls import ControlBranch, ControlBranches
        from stages.generators.diffusion.loading import computing_dtype

        (shape,) = control.decoder.gives.values()
        dtype = computing_dtype(None, settings.acceleration, machine.device)
        # A copy: the trained one is read again in its own type.
        network = copy.deepcopy(control.decoder.network.network.control).to(machine.device)
        # In its own type already: diffusers warns of a cast.
        network = network if network.dtype == dtype else network.to(dtype)
        branch = ControlBranch(network.requires_grad_(False).eval(), Control(hint, "", shape, hint="values"))
        return {"controls": (ControlBranches([branch], shape[-1]),)}

    return arguments
