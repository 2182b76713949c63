"""Epochs as rows: the values of chosen channels and times of one trial beside each other, and which times are chosen."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainrecon.datasets.own_mask import chosen_voxels
from brainrecon.datasets.responses import Responses, Standardized, stored_responses
from brainrecon.datasets.spaces.sensors import Sensors
from stages.ground.errors import InputError
from stages.ground.lazy_rows import LazyRows

WHOLE = "whole"
"""The window of all times that the files hold."""
_WINDOW = re.compile(r"\s*(-?(?:\d+\.?\d*|\.\d+))\s*(?:-|:|to)\s*(-?(?:\d+\.?\d*|\.\d+))\s*")
# Of the times in files, which are sums and products of other numbers.
_DIGITS = 6


class EpochRows(LazyRows):
    """Trials as rows of values.

    >>> epochs = np.arange(12.0).reshape(2, 2, 3)
    >>> rows = EpochRows(epochs.__getitem__, 2, np.array([[0, 1], [1, 2]]), epochs.dtype)
    >>> rows[:].tolist()
    [[1.0, 5.0], [7.0, 11.0]]

    Parameters
    ----------
    epoch_of : callable
        ``epoch_of(row)`` gives the epoch of a trial, (n_channels, n_times) or longer, which is sliced alone.
    n_rows : int
    indices : array of shape (n_values, 2), int
        Channel and sample of each value.
    dtype : numpy.dtype
    """

    takes_any_order = True

    def __init__(self, epoch_of: Callable[[int], Any], n_rows: int, indices: NDArray, dtype: Any) -> None:
        super().__init__((n_rows, len(indices)), dtype)
        self._epoch_of, self._indices = epoch_of, indices
        self._channels, self._samples = indices.T

    def _read(self, rows: NDArray) -> NDArray:
        values = np.empty((len(rows), self.shape[1]), dtype=self.dtype)
        for place, row in enumerate(rows.tolist()):
            values[place] = self._epoch_of(row)[self._channels, self._samples]
        return values

    def _of_columns(self, places: NDArray) -> LazyRows:
        return EpochRows(self._epoch_of, len(self), self._indices[places], self.dtype)


def epoch_responses(
    epoch_of: Callable[[int], Any],
    n_rows: int,
    sensors: Sensors,
    dtype: Any,
    where: object,
    standardized: Standardized = "no",
) -> Responses:
    """Responses of trials at some channels and times, read from their epochs when they are asked for.

    Parameters
    ----------
    epoch_of, n_rows, dtype
        As of `EpochRows`.
    sensors : brainrecon.datasets.spaces.sensors.Sensors
        Those that are wanted.
    where : str or path
        For the message when a value is not finite.
    standardized : {"no", "session"}

    Returns
    -------
    responses : brainrecon.datasets.responses.Responses
    """
    rows = EpochRows(epoch_of, n_rows, sensors.indices, dtype)
    return stored_responses(rows, where, standardized=standardized, remedy="copy the file again")


def sensors_within(channels: Any, times: NDArray, window: Any, where: object) -> Sensors:
    """The channels and times of a window.

    >>> sensors_within(["Oz"], np.arange(-2, 8) / 10, "0-0.3", "the files").time_of.tolist()
    [0.0, 0.1, 0.2]

    Parameters
    ----------
    channels : sequence of str
    times : array of float
        Seconds from onset of all samples.
    window : str or (float, float)
        "0-0.8", seconds from when to when, the end not among them; "whole".
    where : str or path
        Whose times they are, for messages.

    Returns
    -------
    sensors : brainrecon.datasets.spaces.sensors.Sensors

    Raises
    ------
    InputError
        It is no window, or no sample lies in it.
    """
    sensors = Sensors.of_grid(channels, times)
    if isinstance(window, str) and window.strip().lower() == WHOLE:
        return sensors
    is_pair = isinstance(window, tuple | list) and len(window) == 2
    found = _WINDOW.fullmatch(str(window)) if not is_pair else None
    try:
        begin, end = map(float, window if is_pair else found.groups() if found else ())
    except (TypeError, ValueError):
        raise InputError(
            f"window is {window!r}; expected seconds from when to when, such as --option window=0-0.8, or {WHOLE}."
        ) from None
    inside = (sensors.time_of >= round(begin, _DIGITS)) & (sensors.time_of < round(end, _DIGITS))
    if not inside.any():
        raise InputError(
            f"No sample of {where} lies in the window {begin:g} to {end:g} s; they go from {times.min():.3f} to "
            f"{times.max():.3f} s: pass --option window={max(times.min(), 0):g}-{times.max():g}, for example."
        )
    return sensors.columns(inside)


def chosen_sensors(where: object, sensors: Sensors, roi: str | None, mask: Any, with_channels: bool = True) -> Any:
    """The values of a roi within a window, and what each region has of them.

    Parameters
    ----------
    where : str or path
        For messages.
    sensors : brainrecon.datasets.spaces.sensors.Sensors
        Of the window.
    roi : str or None
        Channels, groups of channels and times, see `brainrecon.datasets.spaces.sensors.Sensors.regions`; all by default.
    mask : brainrecon.datasets.own_mask.OwnMask, optional
        Over the values of the window.
    with_channels : bool
        Whether channels have names.

    Returns
    -------
    sensors : brainrecon.datasets.spaces.sensors.Sensors
    rois : dict of str to bool array of shape (n_values,)
    """
    regions = sensors.regions(with_channels)
    chosen, rois = chosen_voxels(where, regions, roi, len(sensors), "all", mask, space=sensors)
    return sensors.columns(chosen), rois
