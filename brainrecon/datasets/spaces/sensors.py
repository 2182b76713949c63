"""Where the values of electric or magnetic recordings are: each is one channel at one time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from brainrecon.datasets.spaces.space import checked_values

SENSORS = "sensor_indices.npy"
ABSENT = "n/a"
"""In tables, of a channel at a time that is not among the values."""
_MILLISECONDS = 100
"""Width of the regions of time."""
_DIGITS = 6
"""Decimals of seconds that count."""
_GROUPS = {
    "frontal": ("Fp", "AF", "F"),
    "central": ("FC", "C"),
    "temporal": ("FT", "T", "TP"),
    "parietal": ("CP", "P"),
    "occipital": ("PO", "O", "I"),
}
"""Channels of the 10-20 system by the letters that their names begin with."""


@dataclass(frozen=True, eq=False)
class Sensors:
    """The channel and the time of each of a subject's values.

    >>> sensors = Sensors.of_grid(["Oz", "P7"], [0.0, 0.1])
    >>> sensors.channel_of.tolist(), sensors.time_of.tolist()
    (['Oz', 'Oz', 'P7', 'P7'], [0.0, 0.1, 0.0, 0.1])
    >>> [line.split() for line in sensors.columns([0, 1, 3]).to_table([5, 6, 7]).splitlines()]
    [['channel', '0.0', '0.1'], ['Oz', '5', '6'], ['P7', 'n/a', '7']]

    Parameters
    ----------
    channels : tuple of str
        Names of all channels.
    times : array of float
        Seconds from the onset of the stimulus, of all samples.
    indices : array of shape (n_values, 2), int
        Channel and sample of each value, from 0, in the order of the columns of the patterns.
    """

    kind: ClassVar[str] = "sensors"
    unit: ClassVar[str] = "values"
    channels: tuple[str, ...]
    times: np.ndarray
    indices: np.ndarray

    @classmethod
    def of_grid(cls, channels: Any, times: Any) -> Sensors:
        """All samples of the first channel, then those of the next, as ``epochs.reshape(n_trials, -1)`` puts them."""
        channels, times = tuple(map(str, channels)), np.round(np.asarray(times, dtype=np.float64), _DIGITS)
        indices = np.stack(np.meshgrid(range(len(channels)), range(len(times)), indexing="ij"), axis=-1)
        return cls(channels, times, indices.reshape(-1, 2))

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def channel_of(self) -> np.ndarray:
        """The name of each value's channel, str (n_values,)."""
        return np.array(self.channels)[self.indices[:, 0]]

    @property
    def time_of(self) -> np.ndarray:
        """The time of each value in seconds, float (n_values,)."""
        return self.times[self.indices[:, 1]]

    @property
    def in_words(self) -> str:
        """How many channels and samples there are, and from when to when."""
        return (
            f"{len(np.unique(self.indices[:, 0])):,} channels x {len(np.unique(self.indices[:, 1])):,} samples from "
            f"{self.time_of.min():.3f} s to {self.time_of.max():.3f} s"
        )

    def columns(self, chosen: Any) -> Sensors:
        """As `brainrecon.datasets.spaces.space.Space` says."""
        return Sensors(self.channels, self.times, self.indices[chosen])

    def facts(self) -> dict[str, Any]:
        """As `brainrecon.datasets.spaces.space.Space` says."""
        return {"channels": list(self.channels), "times": self.times.tolist()}

    def arrays(self) -> dict[str, np.ndarray]:
        """As `brainrecon.datasets.spaces.space.Space` says."""
        return {SENSORS: self.indices.astype(np.int64)}

    def files(self, values: Any) -> dict[str, tuple[str, bytes]]:
        """A table, a row per channel and a column per time."""
        return {".tsv": ("", self.to_table(values).encode())}

    def to_table(self, values: Any) -> str:
        """A map, or several, of a value for each channel and time, as text with tabs.

        Parameters
        ----------
        values : array of shape (n_values,) or (n_maps, n_values)

        Returns
        -------
        table : str
            The first row holds the times in seconds, the first column the channels; of several maps a column ``map`` before
            it counts them from 1. What is not among the values is "n/a".

        Raises
        ------
        InputError
            There is another number of values than of places.
        """
        values = checked_values(values, self)
        rows, row_of = np.unique(self.indices[:, 0], return_inverse=True)
        columns, column_of = np.unique(self.indices[:, 1], return_inverse=True)
        lines = ["\t".join(["map"] * (values.ndim - 1) + ["channel", *(str(self.times[one]) for one in columns)])]
        for number, one in enumerate(np.atleast_2d(values), start=1):
            cells = np.full((len(rows), len(columns)), ABSENT, dtype=object)
            cells[row_of, column_of] = [f"{value:.7g}" for value in one.tolist()]
            for row, texts in zip(rows, cells):
                before = [str(number)] * (values.ndim - 1) + [self.channels[row]]
                lines.append("\t".join([*before, *texts]))
        return "\n".join(lines) + "\n"

    def regions(self, with_channels: bool = True) -> dict[str, np.ndarray]:
        """Masks over the values: channels, groups of them, and times.

        Parameters
        ----------
        with_channels : bool
            Whether channels have names by which one would choose them.

        Returns
        -------
        rois : dict of str to bool array of shape (n_values,)
            Each channel by its name; ``frontal``, ``central``, ``temporal``, ``parietal`` and ``occipital`` by the letters of
            the 10-20 system; ``baseline``, before the onset; and ``0-100ms``, ``100-200ms``, ..., the end not among them.
        """
        found = {}
        if with_channels:
            found |= {name: self.channel_of == name for name in self.channels}
            found |= {
                group: np.isin(self.channel_of, [name for name in self.channels if _letters(name) in letters])
                for group, letters in _GROUPS.items()
            }
        thousandths = np.round(self.time_of * 1000, _DIGITS - 3)
        found["baseline"] = thousandths < 0
        last = thousandths.max() if len(self) else -1
        for begin in range(0, int(last) + 1 if last >= 0 else 0, _MILLISECONDS):
            end = begin + _MILLISECONDS
            found[f"{begin}-{end}ms"] = (thousandths >= begin) & (thousandths < end)
        return {name: mask for name, mask in found.items() if mask.any()}


def _letters(name: str) -> str:
    """The letters that a channel's name begins with, without the z of the middle: P for P7 and Pz."""
    return name.rstrip("0123456789").removesuffix("z")
