"""One safetensors file that holds several networks, looked at by name and shape and then read one tensor at a time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from stages.checkpoints.outlines import outlining, tensor_outlines
from stages.checkpoints.published_weights import weights_file
from stages.checkpoints.single_file_names import Stored
from stages.checkpoints.strict_loading import INDEX_FILE, WEIGHTS_FILE, check_tensors
from weights.contents import why_no_tensors
from weights.manifest import CheckpointError

# Tensors that are read before the file is opened anew.
_AT_ONCE = 32


def is_single_file(folder, part="unet"):
    """Whether a folder's weights lie in one file, and not in diffusers' ``unet/`` or the folder of another part."""
    return not any((Path(folder) / part / name).is_file() for name in (WEIGHTS_FILE, INDEX_FILE))


class SingleFile:
    """The file of weights in a folder, every tensor of which is accounted for.

    >>> from weights import store
    >>> file = SingleFile(store.path("tiny-unclip-xl"))
    >>> file.tensors["model.diffusion_model.out.2.weight"].shape
    torch.Size([12, 80, 3, 3])

    Networks are filled one after the other (`fill`); `check_all_read` then refuses what nobody read.

    Parameters
    ----------
    folder : path
        Holds one safetensors file; what lies in folders below is not looked at.

    Attributes
    ----------
    path : pathlib.Path
    tensors : dict of str to tensor
        Every stored name with an empty tensor of its shape, on the meta device.

    Raises
    ------
    CheckpointError
        There is no such file, it is a pickle, or it is damaged.
    """

    def __init__(self, folder):
        self.path = weights_file(folder)
        if self.path.suffix != ".safetensors":
            raise CheckpointError(
                f"{self.path} is a pickle, and those are converted before they are read; run `brainrecon weights pull`, or "
                "save its tensors as safetensors."
            )
        try:
            self.tensors = tensor_outlines(self.path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{self.path} is damaged ({why_no_tensors(self.path, error)}); fetch the checkpoint again."
            ) from None
        self._read = set()

    def fill(self, network: torch.nn.Module, places: Mapping[str, Stored], dtype: torch.dtype, part: str = ""):
        """Put tensors into a network.

        Parameters
        ----------
        network : torch.nn.Module
            May be on the meta device: its tensors are replaced.
        places : mapping of str to Stored
            Of every tensor that it has.
        dtype : torch.dtype
            What it computes in, whatever is stored.
        part : str
            Beginning of names that belong to it alone: another tensor below it is unexpected.

        Returns
        -------
        network
            The one given, in evaluation mode.

        Raises
        ------
        CheckpointError
            Tensors are missing, unexpected or misshapen; the message names them.
        """
        wanted = network.state_dict()
        needed = {place.name for place in places.values()}
        stored = {
            name: value for name, value in self.tensors.items() if name in needed or (part and name.startswith(part))
        }
        expected = {}
        for name, place in places.items():
            found = stored.get(place.name)
            expected[place.name] = _as_stored(wanted[name], place, found)
        check_tensors(type(network).__name__, self.path, stored, expected)
        self._read |= needed
        state = {name: value for name, value in self._values(places, wanted, dtype)}
        network.load_state_dict(state, assign=True)
        return network.eval()

    def check_all_read(self, spare: tuple[str, ...] = ()):
        """Raise CheckpointError if the file holds a tensor that no network took and whose name begins with none of `spare`."""
        left = sorted(name for name in self.tensors.keys() - self._read if not name.startswith(spare))
        if left:
            shown = ", ".join(left[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
            raise CheckpointError(
                f"{self.path} holds {shown}, which nothing reads; give the file of the model that is named."
            )

    def read(self, name: str) -> torch.Tensor | None:
        """Return one tensor as it is stored, or None if there is none of that name."""
        if name not in self.tensors:
            return None
        self._read.add(name)
        if outlining():
            return self.tensors[name]
        with safe_open(self.path, framework="pt") as file:
            return file.get_tensor(name).clone()

    def _values(self, places, wanted, dtype):
        if outlining():
            yield from ((name, torch.empty(value.shape, dtype=dtype, device="meta")) for name, value in wanted.items())
            return
        names = list(places)
        for start in range(0, len(names), _AT_ONCE):
            # What was read of a mapped file counts as this process's memory until the file is closed.
            with safe_open(self.path, framework="pt") as file:
                for name in names[start : start + _AT_ONCE]:
                    value = _taken(file.get_tensor(places[name].name), places[name])
                    kind = dtype if wanted[name].is_floating_point() else wanted[name].dtype
                    yield name, value.reshape(wanted[name].shape).to(kind, copy=True).contiguous()


def _as_stored(wanted, place, found):
    """The shape that a tensor has in the file: a linear layer may be stored as a convolution of 1 x 1."""
    shape = tuple(wanted.shape)
    if place.third is not None:
        shape = (3 * shape[0], *shape[1:])
    if place.transposed:
        shape = shape[::-1]
    if found is not None and len(shape) == 2 and tuple(found.shape) == (*shape, 1, 1):
        shape = (*shape, 1, 1)
    return torch.empty(shape, device="meta")


def _taken(value, place):
    if place.third is not None:
        value = value.chunk(3)[place.third]
    return value.T if place.transposed else value
