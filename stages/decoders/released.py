"""A network that its authors trained, from the file in which they released it: every tensor accounted for, or one sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from stages.checkpoints.pretrained import fill_network, read_network_tensors
from stages.decoders.numbered_subjects import NumberedSubjects
from stages.ground.errors import InputError
from weights.manifest import CheckpointError

_PARALLEL = "module."
_VALUES_AT_A_TIME = 1 << 22
_OTHERWISE = "leave the settings of its networks as they were published, or fetch the checkpoint again"


@dataclass(frozen=True)
class Released:
    """How a released file becomes the tensors of a network.

    Attributes
    ----------
    voxels : str
        Name, in the network, of the weight whose last axis are the voxels. Of a network of several subjects, with their place
        in braces: ``"ridge.linears.{}.weight"``. Empty of a network that reads any number of voxels.
    tensors : callable
        ``tensors(stored) -> dict``: the tensors of the network, from those of the file by their names there. What the network
        does not read is to be checked, and an `InputError` raised for what does not fit.
    numbered : stages.decoders.numbered_subjects.NumberedSubjects, optional
        Of a file that calls subjects by their numbers: `tensors` is given those of the subjects that are asked for, by their
        places among these.
    """

    voxels: str
    tensors: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict
    numbered: NumberedSubjects | None = None

    def fill(self, network: nn.Module, folder: str | Path, n_voxels: int | Mapping[str, int]) -> nn.Module:
        """Put a released file's tensors into a network.

        Parameters
        ----------
        network : torch.nn.Module
            On the meta device: its tensors are replaced.
        folder : path
            With the file as `model.safetensors`, which `weights.pull` makes of a pickle.
        n_voxels : int, or mapping of str to int
            Of the responses that are to be decoded, for which `network` is made; by subject, if it reads several.

        Returns
        -------
        network : torch.nn.Module
            The same, in float32, in evaluation mode, on the CPU.

        Raises
        ------
        InputError
            The file is absent or damaged, was trained on another number of voxels, or has tensors that are missing, unexpected,
            misshapen, not finite, or other ones where the network has one under several names.
        """
        try:
            tensors = self._read(folder, list(n_voxels) if isinstance(n_voxels, Mapping) else None)
            self._check_voxels(tensors, folder, n_voxels)
            fill_network(network, tensors, folder, described="at these settings", remedy=_OTHERWISE)
        except CheckpointError as error:
            raise InputError(str(error)) from None
        for name, value in tensors.items():
            if value.is_floating_point() and not _all_finite(value):
                raise InputError(
                    f"The tensor {name} in {folder} holds NaN or infinite values, with which nothing can be decoded; fetch the "
                    "checkpoint again."
                )
        for name, value in network.state_dict().items():
            own = tensors[name]
            if value.data_ptr() != own.data_ptr() and not torch.equal(value, own.to(value.dtype)):
                raise InputError(
                    f"The tensor {name} in {folder} differs from what the network shares it with under another name; give the "
                    "file as it was published."
                )
        return network

    def n_voxels(self, folder: str | Path) -> dict[str, int]:
        """Voxels of every subject in a file of several, by their places, "0", "1", ..., or by names if it numbers them.

        Of a network that reads any number of voxels it is the number of what it makes of them.

        Raises
        ------
        InputError
            The file is absent or damaged, or is of no subjects by their places.
        """
        try:
            stored = self._stored(folder)
            tensors = dict(self.tensors(stored)) if self.numbered is None else {}
        except CheckpointError as error:
            raise InputError(str(error)) from None
        found: dict[str, int] = {} if self.numbered is None else self.numbered.lengths(stored)
        while "{}" in self.voxels and (weight := tensors.get(self.voxels.format(len(found)))) is not None:
            found[str(len(found))] = weight.shape[-1]
        if not found:
            known_by = self.voxels if self.numbered is None else self.numbered.length
            raise InputError(f"{folder} holds no {known_by.format(0)}, by which its subjects are known; name another.")
        return found

    def _read(self, folder, names):
        """Tensors of the network by their names there; of a file that numbers subjects, those of these names."""
        stored = self._stored(folder)
        return dict(self.tensors(stored if self.numbered is None else self.numbered.at_places(stored, names)))

    def _stored(self, folder):
        """Tensors of the file."""
        stored = read_network_tensors(folder, remedy="fetch it again with `brainrecon weights pull`")
        if stored and all(name.startswith(_PARALLEL) for name in stored):
            stored = {name.removeprefix(_PARALLEL): value for name, value in stored.items()}
        return stored

    def _check_voxels(self, tensors, folder, n_voxels):
        sizes = list(n_voxels.values()) if isinstance(n_voxels, Mapping) else [n_voxels]
        for place, size in enumerate(sizes):
            weight = tensors.get(self.voxels.format(place))
            if weight is not None and weight.ndim and weight.shape[-1] != size:
                raise other_voxels(folder, weight.shape[-1], size)


def _all_finite(value):
    # In parts: a question about all values at once takes as much memory as they do.
    return all(bool(torch.isfinite(part).all()) for part in value.reshape(-1).split(_VALUES_AT_A_TIME))


def other_voxels(what: str | Path, expected: int, n_voxels: int) -> InputError:
    """The error for a decoder that was trained on another number of voxels.

    >>> print(other_voxels("mindeye2023-subj01-tokens", 15724, 14278))
    mindeye2023-subj01-tokens reads 15,724 voxels but the responses have 14,278; load the subject and roi that it learned from.
    """
    return InputError(
        f"{what} reads {expected:,} voxels but the responses have {n_voxels:,}; load the subject and roi that it learned from."
    )
