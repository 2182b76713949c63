"""Tensors of a diffusers folder, looked at by name and shape before any is read, and then read one at a time.

What a network of several gigabytes is joined from need not lie in memory beside it.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from stages.checkpoints.outlines import outlining
from stages.checkpoints.strict_loading import INDEX_FILE, WEIGHTS_FILE, shard_files
from weights.contents import why_no_tensors
from weights.manifest import CheckpointError

# Tensors that are read before the file is opened anew.
_AT_ONCE = 32


class StoredTensors:
    """The tensors of one network, in one safetensors file or in shards, memory-mapped.

    Parameters
    ----------
    folder : path
        Holds ``diffusion_pytorch_model.safetensors``, or the shards that
        ``diffusion_pytorch_model.safetensors.index.json`` names.

    Attributes
    ----------
    folder : Path
    tensors : dict of str to tensor
        Every stored name with an empty tensor of its shape, on the meta device.

    Raises
    ------
    CheckpointError
        A file is absent, damaged, or holds a tensor that another shard holds too.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.tensors = {}
        self._names = {}
        for path in _files(self.folder):
            with _opened(path) as file:
                self._names[path] = list(file.keys())
                for name in self._names[path]:
                    if name in self.tensors:
                        raise CheckpointError(
                            f"{path} holds {name}, which another shard beside it holds too; fetch the checkpoint again."
                        )
                    self.tensors[name] = torch.empty(file.get_slice(name).get_shape(), device="meta")

    def read(self, names, dtype):
        """Read some of the tensors.

        Parameters
        ----------
        names : collection of str
        dtype : torch.dtype

        Yields
        ------
        name : str
            In the order of the files.
        tensor : tensor of `dtype`, on the CPU
            In memory of its own, so that the file may change or go.
        """
        for path, stored in self._names.items():
            wanted = [name for name in stored if name in names]
            if not wanted:
                continue
            if outlining():
                yield from ((name, self.tensors[name].to(dtype)) for name in wanted)
                continue
            for start in range(0, len(wanted), _AT_ONCE):
                # What was read of a mapped file counts as this process's memory until the file is closed.
                with _opened(path) as file:
                    for name in wanted[start : start + _AT_ONCE]:
                        yield name, file.get_tensor(name).to(dtype, copy=True)


def _opened(path):
    if not path.is_file():
        raise CheckpointError(
            f"{path} is absent; pickled weights are not read here, so convert a .bin or .pth to safetensors first "
            "(`brainrecon weights pull` does)."
        )
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged ({why_no_tensors(path, error)}); fetch the checkpoint again."
        ) from None


def _files(folder):
    """The one file, or the files that the index names."""
    index = folder / INDEX_FILE
    if not index.is_file():
        return [folder / WEIGHTS_FILE]
    return shard_files(index)
