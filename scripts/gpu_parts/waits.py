"""What makes the processor wait for a device, seen while a piece of work runs."""

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
# Their result is a number, or has a shape that depends on numbers; the last one checks a factorisation.
_ASKING = (
    aten._local_scalar_dense,
    aten.equal,
    aten.nonzero,
    aten.masked_select,
    aten.bincount,
    aten._unique2,
    aten.unique_dim,
    aten.unique_consecutive,
    aten.repeat_interleave,
    aten._linalg_check_errors,
)
_COPYING = (aten._to_copy, aten.copy_)
_INDEXING = (aten.index, aten.index_put, aten.index_put_, aten._unsafe_index)


class Waits(TorchDispatchMode):
    """Count, or refuse, operations after which the processor waits until a device has caught up.

    These are numbers asked of the device (``item``, ``bool``, ``tolist``), shapes that depend on its numbers (``nonzero``,
    indexing by a boolean mask), checks of a factorisation, and copies between the device and the processor: those to the
    device too, unless they are ``non_blocking``.

    Every operation is seen that torch dispatches on a tensor of the device. What a kernel does by itself is not: memory that
    the allocator fetches, a library that is loaded or tuned at its first call; nor a ``torch.tensor`` of numbers that is made on
    the device. On a CUDA device ``torch.cuda.set_sync_debug_mode`` sees some of those.

    The device may be torch's "meta", whose tensors have no values: then a loop's operations are checked where there is no
    accelerator. A loop that asks which kind of device it is on may do otherwise on another.

    >>> with Waits("cpu") as waits:
    ...     torch.ones(2).sum().item()
    2.0
    >>> waits.found["aten._local_scalar_dense"]
    1

    Parameters
    ----------
    device : str or torch.device
        Only its type counts.
    forbid : bool
        Raise WouldWait at the first one.

    Attributes
    ----------
    found : Counter
        How often each operation made the processor wait.
    """

    def __init__(self, device, forbid=False):
        super().__init__()
        self.type, self.forbid, self.found = torch.device(device).type, forbid, Counter()

    def __torch_dispatch__(self, operation, types, given=(), told=None):
        told, name = told or {}, operation.overloadpacket
        if name not in _ASKING and operation._can_decompose():
            # In inference mode whole functions come by, such as linalg.solve: what they are made of is what counts.
            with self:
                found = operation.decompose(*given, **told)
            if found is not NotImplemented:
                return found
        if self._waits(name, given, told):
            self.found[str(name)] += 1
            if self.forbid:
                raise WouldWait(f"{name} makes the processor wait for the {self.type} device.")
        return operation(*given, **told)

    def _waits(self, name, given, told):
        if name in _ASKING:
            return any(self._is_here(each) for each in given)
        if name in _INDEXING:
            chosen = [each for each in given[1] if each is not None]
            elsewhere = [each for each in chosen if not self._is_here(each)]
            masks = [each for each in chosen if each.dtype in (torch.bool, torch.uint8)]
            return self._is_here(given[0]) and bool(masks or elsewhere)
        if name is aten._to_copy:
            to = torch.device(told.get("device") or given[0].device).type == self.type
            return to != self._is_here(given[0]) and not (to and told.get("non_blocking"))
        if name is aten.copy_:
            to, source = self._is_here(given[0]), self._is_here(given[1])
            return to != source and not (to and (told.get("non_blocking") or given[2:3] == (True,)))
        return False

    def _is_here(self, value):
        return isinstance(value, torch.Tensor) and value.device.type == self.type


class WouldWait(RuntimeError):
    """An operation was refused because it waits for the device."""
