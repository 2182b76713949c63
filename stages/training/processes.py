"""Accelerate, for the device, the precision and the processes of a training."""

from __future__ import annotations

import os

from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import patch_environment

from stages.ground.errors import InputError


def accelerator_on(device, precision="no"):
    """Make an accelerator.

    Parameters
    ----------
    device : str or torch.device
        Several processes that Accelerate or torchrun started take the devices that these give them.
    precision : {"no", "bf16"}

    Returns
    -------
    accelerator : accelerate.Accelerator
    """
    alone = n_processes() == 1
    # What an earlier training in this process asked for would hold for this one too.
    AcceleratorState._reset_state(reset_partial_state=alone)
    with patch_environment(**({"ACCELERATE_TORCH_DEVICE": str(device)} if alone else {})):
        return Accelerator(cpu=str(device) == "cpu", mixed_precision=precision)


def n_processes():
    """Count the processes that share a training."""
    return int(os.environ.get("WORLD_SIZE", 1))


def check_shared(name, batch_size, parts=1):
    """Raise InputError unless a batch can be shared by the processes, each of which cuts it into `parts`."""
    processes = n_processes()
    if batch_size % (processes * parts):
        raise InputError(
            f"{name} is {batch_size} but there are {processes} processes"
            + (f" of {parts} parts each" if parts > 1 else "")
            + f"; expected a multiple of {processes * parts}."
        )
