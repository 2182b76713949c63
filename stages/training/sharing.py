"""Batches as they are counted, cut into parts and placed: tensors and arrays by name, samples along the first axis."""

from __future__ import annotations

import numpy as np
import torch

from stages.ground.devices import sent_to


class BySubject(dict):
    """Arrays of several subjects in a batch, whose rows one array after the other are its samples.

    Every `among`-th row of each is every `among`-th row of all if each has a multiple of `among` rows, and only then do they
    stay beside the rows of the batch's other arrays when it is cut.

    >>> batch = {"patterns": BySubject(a=np.zeros((2, 9)), b=np.ones((2, 5))), "targets": np.array([1, 2, 3, 4])}
    >>> n_samples(batch), share_of(batch, 1, 2)["targets"].tolist()
    (4, [2, 4])
    """


def share_of(batch, place, among):
    """Cut every `among`-th sample out of a batch, from `place` on.

    Parameters
    ----------
    batch : tensor, array, or dict, tuple or list of them
        Samples along the first axis; anything else is passed on as it is.
    place, among : int
    """
    return _mapped(batch, lambda values: values[place::among] if values.ndim else values)


def few_of(batch):
    """Two samples of a batch, or as few more as it can be cut to: one of each, if it is of several subjects."""
    lengths = next(_lengths(batch), [1])
    return share_of(batch, 0, max(lengths[0] // 2, 1) if len(lengths) == 1 else lengths[0])


def on_device(batch, device):
    """Put a batch's tensors and arrays on a device."""

    def moved(values):
        # Copied: an array may be a read-only map of a file.
        return sent_to(device, torch.from_numpy(np.array(values)) if isinstance(values, np.ndarray) else values)

    return _mapped(batch, moved)


def n_samples(batch):
    """Count the samples of a batch: the length of its first tensor, or of those of all subjects together."""
    return sum(next(_lengths(batch), []))


def _lengths(batch):
    """Lengths of the tensors and arrays of a batch, each a list: of several numbers if it is of several subjects."""
    if isinstance(batch, BySubject):
        yield [len(values) for values in batch.values()]
    elif isinstance(batch, (torch.Tensor, np.ndarray)):
        if batch.ndim:
            yield [len(batch)]
    elif isinstance(batch, (dict, tuple, list)):
        for values in batch.values() if isinstance(batch, dict) else batch:
            yield from _lengths(values)


def _mapped(batch, change, changed=None):
    """Change every tensor and array of a batch; one that has several names, as a target of several values has, once."""
    changed = {} if changed is None else changed
    if isinstance(batch, (torch.Tensor, np.ndarray)):
        if id(batch) not in changed:
            changed[id(batch)] = change(batch)
        return changed[id(batch)]
    if isinstance(batch, dict):
        return type(batch)({name: _mapped(values, change, changed) for name, values in batch.items()})
    if isinstance(batch, (tuple, list)):
        return type(batch)(_mapped(values, change, changed) for values in batch)
    return batch
