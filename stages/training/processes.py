"""Accelerate, for the device, the precision and the processes of a training."""

from __future__ import annotations

from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, patch_environment

from stages.ground.errors import InputError
from stages.ground.process_group import n_processes


def accelerator_on(device, precision="no", unreached=False):
    """Make an accelerator.

    Parameters
    ----------
    device : str or torch.device
        Several processes that Accelerate or torchrun started take the devices that these give them.
    precision : {"no", "bf16"}
    unreached : bool
        Whether the learner has parameters that its loss does not reach, for whose gradients several processes would wait.

    Returns
    -------
    accelerator : accelerate.Accelerator
    """
    alone = n_processes() == 1
    # What an earlier training in this process asked for would hold for this one too.
    AcceleratorState._reset_state(reset_partial_state=alone)
    handlers = [DistributedDataParallelKwargs(find_unused_parameters=unreached)]
    with patch_environment(**({"ACCELERATE_TORCH_DEVICE": str(device)} if alone else {})):
        return Accelerator(cpu=str(device) == "cpu", mixed_precision=precision, kwargs_handlers=handlers)


def check_shared(name, batch_size, parts=1):
    """Raise InputError unless a batch can be shared by the processes, each of which cuts it into `parts`."""
    processes = n_processes()
    if batch_size % (processes * parts):
        raise InputError(
            f"{name} is {batch_size} but there are {processes} processes"
            + (f" of {parts} parts each" if parts > 1 else "")
            + f"; expected a multiple of {processes * parts}."
        )
