"""The parts of a generator from its folder in diffusers' layout, every tensor accounted for."""

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from stages.checkpoints.strict_loading import load_strictly
from stages.ground.errors import InputError
from weights.manifest import CheckpointError


def computing_dtype(dtype, acceleration, device):
    """Return the torch.dtype that networks are loaded in; InputError if it is said twice."""
    if acceleration is None:
        return torch.float32 if dtype is None else dtype
    if dtype is not None:
        raise InputError(
            f"dtype is {dtype} and the acceleration's {acceleration.dtype!r}; expected one of the two; leave dtype out."
        )
    return acceleration.dtype_for(device)


def placed(pipeline, device, acceleration):
    """Bring a pipeline to a device, under an acceleration's settings where there is one, and return it."""
    return pipeline.to(device) if acceleration is None else acceleration.apply(pipeline, device)


def load_unet(folder, dtype, network, **expected):
    """Load ``unet/`` strictly, and refuse that of another network.

    Parameters
    ----------
    folder : path
        The generator's.
    dtype : torch.dtype
    network : str
        What is expected, for the error.
    **expected
        Names and values of its configuration.

    Returns
    -------
    unet : diffusers.UNet2DConditionModel

    Raises
    ------
    CheckpointError
        As `load_strictly`; or the configuration has another value than expected.
    """
    unet = load_strictly(UNet2DConditionModel, Path(folder) / "unet", dtype)
    check_unet(unet, folder, network, **expected)
    return unet


def check_unet(unet, folder, network, **expected):
    """Refuse the UNet of another network; arguments as of `load_unet`."""
    for name, value in expected.items():
        if unet.config[name] != value:
            raise CheckpointError(
                f"The UNet in {folder} has {name} {unet.config[name]!r}, but that of {network} has {value!r}; give the "
                f"folder of a {network}."
            )
