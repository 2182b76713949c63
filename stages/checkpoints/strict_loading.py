"""Loading of diffusers' models that refuses what does not fit.

diffusers' own ``from_pretrained`` warns about a missing or an unexpected tensor and carries on with whatever
the constructor left there. A network that was loaded by half still draws pictures; so here it is an error.
"""

import json
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from stages.checkpoints.outlines import outlining, tensor_outlines
from stages.checkpoints.quiet_loading import quietly
from weights.contents import why_no_tensors
from weights.manifest import CheckpointError
from weights.names import trouble_with_part

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
INDEX_FILE = "diffusion_pytorch_model.safetensors.index.json"


def load_strictly(model_class, folder, dtype=torch.float32):
    """Load a diffusers model from its folder, with every tensor accounted for.

    Parameters
    ----------
    model_class : type
        A subclass of ``diffusers.ModelMixin`` and ``diffusers.ConfigMixin``.
    folder : path
        Holds ``config.json`` and ``diffusion_pytorch_model.safetensors``, or the shards named in
        ``diffusion_pytorch_model.safetensors.index.json``.
    dtype : torch.dtype
        What the parameters are computed in, whatever they are stored in.

    Returns
    -------
    model : model_class
        In evaluation mode, on the CPU.

    Raises
    ------
    CheckpointError
        A file is absent or unreadable; the configuration was written by another class or holds a value that this
        one cannot be built with; tensors are missing, unexpected or misshapen. The message names them.
    """
    folder = Path(folder)
    config = read_config(model_class, folder / "config.json")
    with refusing_values(model_class.__name__, folder / "config.json"), torch.device("meta" if outlining() else "cpu"):
        model = model_class.from_config(config)
    state = read_tensors(folder)
    # diffusers renames the attention parameters of files from before 2023 (the published kl-f8 is one).
    model._fix_state_dict_keys_on_load(state)
    check_tensors(model_class.__name__, folder, state, model.state_dict())
    model.load_state_dict(state, assign=outlining())
    # torch's own `to`: diffusers' warns about modules that it was never told to keep in float32.
    return torch.nn.Module.to(model, dtype).eval()


def read_config(component_class, path):
    """Read the JSON configuration that diffusers wrote for a component.

    Parameters
    ----------
    component_class : type
        The class that is about to be built from it.
    path : path
        ``config.json``, ``scheduler_config.json`` or ``model_index.json``.

    Returns
    -------
    config : dict

    Raises
    ------
    CheckpointError
        The file is absent, is no JSON object, or was written by a class that `component_class` does not descend from.
    """
    name = component_class.__name__
    config = read_json_object(path, name)
    written_by = config.get("_class_name", name)
    if written_by not in {base.__name__ for base in component_class.__mro__}:
        raise CheckpointError(
            f"{path} describes a {written_by}, but a {name} was expected; give that component's folder."
        )
    return config


def read_json_object(path, network):
    """Read a JSON file that describes a network.

    Parameters
    ----------
    path : path
    network : str
        What the file is part of, for the error.

    Returns
    -------
    entries : dict

    Raises
    ------
    CheckpointError
        The file is absent or is no JSON object.
    """
    path = Path(path)
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} is absent, so that folder holds no {network}; `brainrecon weights verify` lists what is missing."
        ) from None
    # Of bytes that are no text, of text that is no JSON, of a number that is too long; and of brackets within brackets.
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON ({error}); fetch or export the checkpoint again.") from None
    if not isinstance(entries, dict):
        raise CheckpointError(
            f"{path} holds a {type(entries).__name__}, but a JSON object was expected; "
            "fetch or export the checkpoint again."
        )
    return entries


@contextmanager
def refusing_values(network, path):
    """Turn what a constructor raises over the values of a configuration into a CheckpointError that names its file.

    Its remarks are not shown.
    """
    try:
        with quietly():
            yield
    except (TypeError, ValueError, AttributeError, LookupError, RuntimeError) as error:
        told = " ".join(str(error).split())
        raise CheckpointError(
            f"{path} does not describe a {network} ({told}); fetch or export the checkpoint again."
        ) from error


def outlined(network_class, folder):
    """Make a network on the meta device, from a folder's ``config.json``.

    Parameters
    ----------
    network_class : type
        Of diffusers.
    folder : path

    Raises
    ------
    CheckpointError
        The file is absent or describes no such network.
    """
    path = Path(folder) / "config.json"
    config = read_config(network_class, path)
    with refusing_values(network_class.__name__, path), torch.device("meta"):
        return network_class.from_config(config)


def read_tensors(folder):
    """Return name -> tensor from the safetensors file, or from all shards of the index."""
    folder = Path(folder)
    index = folder / INDEX_FILE
    files = shard_files(index) if index.is_file() else [folder / WEIGHTS_FILE]
    state = {}
    for path in files:
        if not path.is_file():
            raise CheckpointError(
                f"{path} is absent; pickled weights are never read, so convert a .bin or .pth to safetensors first."
            )
        try:
            state.update(tensor_outlines(path) if outlining() else load_file(path))
        except SafetensorError as error:
            told = why_no_tensors(path, error)
            raise CheckpointError(f"{path} is damaged ({told}); fetch or export the checkpoint again.") from None
    return state


def shard_files(index):
    """Return the sorted files that an index names, which lie beside it.

    Raises
    ------
    CheckpointError
        The index is absent, no JSON, names no files, or files elsewhere.
    """
    shards = read_json_object(index, "sharded network").get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(name, str) for name in shards.values()):
        raise CheckpointError(
            f"{index} has no weight_map from names of tensors to files; fetch or export the checkpoint again."
        )
    for name in sorted(set(shards.values())):
        if trouble := trouble_with_part(name):
            raise CheckpointError(
                f"{index} names the file {name[:80]!r}, but {trouble}; expected a file beside it: fetch the checkpoint again."
            )
    return [index.parent / name for name in sorted(set(shards.values()))]


def check_tensors(
    network,
    folder,
    stored,
    expected,
    described="as its config.json describes it",
    remedy="fetch or export the checkpoint again",
):
    """Raise CheckpointError unless both dicts of tensors have the same names and shapes."""
    problems = []
    missing = sorted(expected.keys() - stored.keys())
    unexpected = sorted(stored.keys() - expected.keys())
    misshapen = [
        f"{name} {tuple(stored[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in sorted(expected.keys() & stored.keys())
        if stored[name].shape != expected[name].shape
    ]
    for label, names in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen)):
        if names:
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            problems.append(f"{label}: {shown}")
    if problems:
        raise CheckpointError(
            f"The tensors in {folder} do not fit {network} {described} ({'; '.join(problems)}); {remedy}."
        )
