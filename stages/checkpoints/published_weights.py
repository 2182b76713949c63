"""Reading weight files as their authors published them: a dict of tensors in a `.pth`, or in safetensors.

A `.pth` is a pickle; `weights.conversion` reads it without running what it says.
"""

from pathlib import Path

import torch

from weights.conversion import read_tensors
from weights.manifest import CheckpointError

# In the order of preference.
SUFFIXES = (".safetensors", ".pth", ".pth.tar")


def weights_file(folder):
    """The one file of weights in a folder.

    Parameters
    ----------
    folder : path

    Returns
    -------
    path : pathlib.Path
        The safetensors file, or else the `.pth` or `.pth.tar` file.

    Raises
    ------
    CheckpointError
        There is none, or several of the preferred suffix.
    """
    folder = Path(folder)
    for suffix in SUFFIXES:
        found = sorted(folder.glob(f"*{suffix}"))
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise CheckpointError(
                f"{folder} holds the weights {names}, but one file was expected; move the others away."
            )
        if found:
            return found[0]
    raise CheckpointError(
        f"{folder} holds no {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}; put the file there that "
        "`brainrecon weights list` names for it."
    )


def read_weights(path):
    """Read a file of weights onto the CPU.

    Parameters
    ----------
    path : path

    Returns
    -------
    tensors : dict of str to tensor
        As stored.

    Raises
    ------
    CheckpointError
        The file cannot be read without running what it says, or holds anything but named tensors.
    """
    return read_tensors(path)


def put_weights(network, tensors, name, where, spare=()):
    """Put tensors into a network, every one accounted for.

    Parameters
    ----------
    network : torch.nn.Module
        May be on the meta device: its tensors are replaced, in float32.
    tensors : dict of str to tensor
    name : str
        What the network is called, for the error.
    where : path
        Where the tensors were read, for the error.
    spare : tuple of str
        Beginnings of names that the file holds and the network does not read.

    Returns
    -------
    network : torch.nn.Module
        The one given, in evaluation mode, without gradients.

    Raises
    ------
    CheckpointError
        Tensors are missing, unexpected or misshapen; the message names them.
    """
    expected = network.state_dict()
    kept = {key: value for key, value in tensors.items() if key in expected or not key.startswith(tuple(spare))}
    for key in expected:
        # Files from before torch 0.4.1 lack this counter, which no network reads in evaluation mode.
        if key.endswith("num_batches_tracked"):
            kept.setdefault(key, torch.zeros((), dtype=torch.int64))
    problems = {
        "missing": sorted(expected.keys() - kept.keys()),
        "unexpected": sorted(kept.keys() - expected.keys()),
        "misshapen": [
            f"{key} {tuple(kept[key].shape)} instead of {tuple(expected[key].shape)}"
            for key in sorted(expected.keys() & kept.keys())
            if kept[key].shape != expected[key].shape
        ],
    }
    told = [
        f"{label}: {', '.join(keys[:3])}" + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
        for label, keys in problems.items()
        if keys
    ]
    if told:
        raise CheckpointError(f"The tensors in {where} do not fit {name} ({'; '.join(told)}); give its published file.")
    floats = {key: value.float() if value.is_floating_point() else value for key, value in kept.items()}
    network.load_state_dict(floats, assign=True)
    return network.eval().requires_grad_(False)
