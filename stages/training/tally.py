"""Losses of a training while they add up on its device: nothing waits for them there until somebody reads them."""

from __future__ import annotations

import torch

from stages.ground.devices import float64_device, sent_to
from stages.training.curves import Diverged, check_finite, slower

SKIPPED_AT_MOST = 20
"""Gradients running that may overflow, as now and then one does in bfloat16: their steps change no weight."""

_NEVER = -1


class Tally:
    """Sums of losses over steps, and the first step that was not sound.

    >>> tally = Tally("cpu", learning_rate=0.1)
    >>> for step, loss in enumerate([3.0, 1.0]):
    ...     left_out = tally.add({"loss": torch.tensor(loss), "gradient": torch.tensor(1.0)}, step)
    >>> tally.read()["loss"], tally.n_summed, bool(left_out)
    (4.0, 2, False)
    >>> tally.add({"loss": torch.tensor(torch.nan), "gradient": torch.tensor(torch.nan)}, 2)
    tensor(True)
    >>> tally.read()
    Traceback (most recent call last):
    stages.training.curves.Diverged: The loss is nan at step 2 and was to be finite: training has diverged; learn more slowly, \
for example with recipe.optimiser.learning_rate = 0.01.

    Parameters
    ----------
    device : str or torch.device
    learning_rate : float
        Of the training, for advice.

    Attributes
    ----------
    n_summed : int
        Steps since the sums began.
    """

    def __init__(self, device, learning_rate):
        self.device, self.learning_rate = torch.device(device), learning_rate
        # As Python adds; one device has no such numbers.
        self._kind = torch.float64 if float64_device(self.device) == self.device else torch.float32
        self._sums, self.n_summed = {}, 0
        self._first_bad, self._bad_loss, self._too_many = (self._number(_NEVER) for _ in range(3))
        self._skipped = self._number(0)

    def add(self, losses, step):
        """Add a step's losses.

        Parameters
        ----------
        losses : dict of str to tensor without dimensions, or float
            With `loss`, and the norm of the gradient as `gradient`.
        step : int

        Returns
        -------
        left_out : bool tensor without dimensions, on the device
            Whether the step is to change no weight, since its loss or its gradient is not finite.
        """
        losses = {name: self._number(value) for name, value in losses.items()}
        is_bad = ~losses["loss"].isfinite()
        left_out = is_bad | ~losses["gradient"].isfinite()
        is_first = is_bad & (self._first_bad < 0)
        # Numbers are filled in, for `torch.where` would copy them to the device, which waits for it.
        self._first_bad = self._first_bad.masked_fill(is_first, step)
        self._bad_loss = torch.where(is_first, losses["loss"], self._bad_loss)
        self._skipped = (self._skipped + 1).masked_fill(~left_out, 0)
        too_many_now = (self._skipped >= SKIPPED_AT_MOST) & (self._too_many < 0)
        self._too_many = self._too_many.masked_fill(too_many_now, step)
        self._sums = {name: self._sums[name] + value if name in self._sums else value for name, value in losses.items()}
        self.n_summed += 1
        return left_out

    def mean(self, values):
        """Mean of numbers, tensors or floats, as a tensor without dimensions on the device."""
        return sum(self._number(value) for value in values) / len(values)

    def read(self):
        """Wait for the device, and give the sums.

        Returns
        -------
        sums : dict of str to float

        Raises
        ------
        Diverged
            A loss since the beginning was not finite, or `SKIPPED_AT_MOST` gradients running were not.
        """
        trouble = [self._first_bad, self._bad_loss, self._too_many]
        first_bad, bad_loss, too_many, *sums = torch.stack([*trouble, *self._sums.values()]).tolist()
        if first_bad >= 0 and not 0 <= too_many < first_bad:
            check_finite({"loss": bad_loss}, int(first_bad), *slower(self.learning_rate))
        if too_many >= 0:
            raise Diverged(
                f"{SKIPPED_AT_MOST} gradients running were not finite (step {int(too_many):,})",
                *slower(self.learning_rate),
            )
        return dict(zip(self._sums, sums))

    def forget(self):
        """Begin the sums anew."""
        self._sums, self.n_summed = {}, 0

    # Checkpoints

    def state(self):
        """What a checkpoint keeps, plain data; raises Diverged as `read` does."""
        return {"skipped": int(self._skipped.item()), "sums": self.read(), "summed": self.n_summed}

    def restore(self, state):
        """Go on from what `state` gave."""
        self._skipped, self.n_summed = self._number(state["skipped"]), state["summed"]
        self._sums = {name: self._number(value) for name, value in state["sums"].items()}

    def _number(self, value):
        if torch.is_tensor(value):
            return sent_to(self.device, value.detach().reshape(())).to(self._kind)
        return torch.full((), value, device=self.device, dtype=self._kind)
