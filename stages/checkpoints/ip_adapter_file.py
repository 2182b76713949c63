"""The file of an IP-Adapter (Ye and others, 2023): tensors of ``image_proj`` and ``ip_adapter``, in safetensors or a pickle."""

from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from stages.checkpoints.outlines import outlining, tensor_outlines
from weights.contents import why_no_tensors
from weights.manifest import CheckpointError

SUFFIXES = (".safetensors", ".bin")


def read_ip_adapter(path):
    """Read an IP-Adapter of whatever kind.

    Parameters
    ----------
    path : path
        A ``.safetensors`` or ``.bin`` file (read weights-only), or a folder that holds one such file, or one of each, of which
        the safetensors file is read. Nothing is looked for elsewhere.

    Returns
    -------
    path : pathlib.Path
        Of the file.
    tensors : dict of str to tensor
        Names begin with ``image_proj.`` or ``ip_adapter.``. On the meta device within `stages.checkpoints.outlines.outlines`.

    Raises
    ------
    CheckpointError
        There is no such file, or several; it is damaged, or holds anything else.
    """
    path = _file(Path(path))
    return path, _read(path)


def grouped(tensors):
    """Tensors by the part of their name, as diffusers takes them: ``{"image_proj": {...}, "ip_adapter": {...}}``."""
    groups = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in tensors.items():
        part, rest = name.split(".", 1)
        groups[part][rest] = tensor
    return groups


def _file(path):
    if not path.is_dir():
        if not path.is_file() or path.suffix not in SUFFIXES:
            raise CheckpointError(
                f"{path} is no file that ends in {' or '.join(SUFFIXES)} and no folder, but an IP-Adapter's weights "
                "were expected; give ip-adapter_sd15.safetensors, or the folder that holds it."
            )
        return path
    for suffix in SUFFIXES:
        # A network of its own, such as the image encoder that lies in the published folder, has its configuration beside it.
        files = sorted(file for file in path.rglob(f"*{suffix}") if not (file.parent / "config.json").exists())
        if len(files) == 1:
            return files[0]
        if files:
            names = ", ".join(file.name for file in files[:4])
            raise CheckpointError(
                f"{path} holds {len(files)} files that may be an IP-Adapter ({names}), but one was expected; give the "
                "path of the one to be used."
            )
    raise CheckpointError(
        f"{path} holds no file that ends in {' or '.join(SUFFIXES)}, but an IP-Adapter's weights were expected; give "
        "the folder of ip-adapter_sd15.safetensors."
    )


def _read(path):
    if path.suffix == ".safetensors":
        try:
            stored = tensor_outlines(path) if outlining() else load_file(path)
        except SafetensorError as error:
            raise CheckpointError(
                f"{path} is damaged ({why_no_tensors(path, error)}); fetch the IP-Adapter again."
            ) from None
    else:
        stored = _read_weights_only(path)
    strange = sorted(name for name in stored if not name.startswith(("image_proj.", "ip_adapter.")))
    if strange:
        raise CheckpointError(
            f"{path} holds {strange[0]}, but names of image_proj and ip_adapter were expected; give the weights of an "
            "IP-Adapter."
        )
    return stored


def _read_weights_only(path):
    try:
        parts = torch.load(path, map_location="meta" if outlining() else "cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError) as error:
        told = why_no_tensors(path, error)
        raise CheckpointError(
            f"{path} is damaged or holds more than tensors ({told}); expected weights alone; fetch the safetensors "
            "file of the IP-Adapter."
        ) from None
    if not isinstance(parts, dict) or not all(isinstance(part, dict) for part in parts.values()):
        raise CheckpointError(
            f"{path} holds no groups of tensors, but image_proj and ip_adapter were expected; give the weights of an "
            "IP-Adapter."
        )
    stored = {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}
    for name, tensor in stored.items():
        if not isinstance(tensor, torch.Tensor):
            raise CheckpointError(
                f"{path} holds a {type(tensor).__name__} for {name}, but a tensor was expected; fetch the IP-Adapter "
                "again."
            )
    return stored
