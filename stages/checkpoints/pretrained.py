"""A network of ours as a folder: ``config.json`` and ``model.safetensors``, each written whole or not at all.

>>> import torch
>>> network = torch.nn.Linear(3, 2)
>>> folder = getfixture("tmp_path")
>>> save_network(network, folder, {"inputs": 3, "outputs": 2})
>>> again = fill_network(torch.nn.Linear(3, 2, device="meta"), read_network_tensors(folder), folder)
>>> torch.equal(again.weight, network.weight)
True
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from stages.checkpoints.outlines import outlining, tensor_outlines
from stages.checkpoints.strict_loading import check_tensors
from weights.contents import why_no_tensors
from weights.manifest import CheckpointError
from weights.whole_files import whole_file, write_text

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


def save_network(network, folder, config, dtype=None, indent=2):
    """Write a network's tensors and then its configuration.

    Equal tensors and configurations give equal bytes.

    Parameters
    ----------
    network : torch.nn.Module
        On any device.
    folder : path
        Made if it does not exist.
    config : dict
        Content of ``config.json``, in this order.
    dtype : torch.dtype, optional
        What floating-point tensors are stored in; their own type by default. Counters stay integers.
    indent : int
        Of ``config.json``.
    """
    folder = Path(folder)
    save_tensors(network.state_dict(), folder / WEIGHTS_FILE, dtype)
    write_text(folder / CONFIG_FILE, json.dumps(config, indent=indent) + "\n")


def save_tensors(tensors, path, dtype=None):
    """Write tensors to a safetensors file, whole or not at all; equal tensors give equal bytes.

    Parameters
    ----------
    tensors : dict of str to tensor
        On any device.
    path : path
    dtype : torch.dtype, optional
        What floating-point tensors are stored in; their own type by default. Counters stay integers.
    """
    stored, places = {}, set()
    for name, value in tensors.items():
        value = value.detach().cpu()
        value = (value.to(dtype) if dtype is not None and value.is_floating_point() else value).contiguous()
        # Weights that layers share are stored under each of their names, as they are published.
        stored[name] = value.clone() if value.data_ptr() in places else value
        places.add(value.data_ptr())
    with whole_file(path) as partial:
        save_file(stored, partial)


def read_network_tensors(folder, remedy="fetch or export the checkpoint again", file=WEIGHTS_FILE):
    """Read ``model.safetensors``, or another such file.

    Parameters
    ----------
    folder : path
    remedy : str
        The end of an error: what its reader can do.
    file : str
        Its path below the folder.

    Returns
    -------
    tensors : dict of str to tensor
        As stored, on the CPU.

    Raises
    ------
    CheckpointError
        The file is absent or damaged.
    """
    path = Path(folder) / file
    try:
        return tensor_outlines(path) if outlining() else load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is absent; {remedy}.") from None
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged ({why_no_tensors(path, error)}); {remedy}.") from None


def fill_network(network, tensors, source, **told):
    """Put tensors into a network, every one accounted for.

    Parameters
    ----------
    network : torch.nn.Module
        May be on the meta device: its tensors are replaced.
    tensors : dict of str to tensor
        On the CPU.
    source : str or path
        Folder or file that they come from, for the error.
    **told
        What else `check_tensors` is told for it.

    Returns
    -------
    network : torch.nn.Module
        The same, in float32, in evaluation mode, on the CPU.

    Raises
    ------
    CheckpointError
        Tensors are missing, unexpected or misshapen; the message names them.
    """
    check_tensors(type(network).__name__, source, tensors, network.state_dict(), **told)
    floats = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    network.load_state_dict(floats, assign=True)
    return network.eval()
