"""Training targets by blocks of columns: never all of them in memory, the next block read while one is at work."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from stages.ground.errors import InputError
from stages.ground.item_seeds import name_digest

COLUMNS_PER_BLOCK = 4096
# Neighbouring columns that are stored and drawn together; a table on disk is laid out so.
COLUMN_RUN = 32


@dataclass(frozen=True)
class TargetBlock:
    """Some columns of one target.

    Attributes
    ----------
    name : str
    columns : slice
        Within the target.
    place : slice
        Among the columns of all targets side by side.
    """

    name: str
    columns: slice
    place: slice


def plan(groups: Mapping[str, int], width):
    """Blocks of at most `width` columns that cover every target, in order; none holds columns of two."""
    planned, offset = [], 0
    for name, n_columns in groups.items():
        for start in range(0, n_columns, width):
            stop = min(start + width, n_columns)
            planned.append(TargetBlock(name, slice(start, stop), slice(offset + start, offset + stop)))
        offset += n_columns
    return planned


def width_for(memory, n_stimuli, n_rows, itemsize):
    """Columns of a block for which what a block needs fits into `memory` bytes, up to `COLUMNS_PER_BLOCK`.

    Two blocks are held at a time, one at work and one being read, and copies on the way; and `n_rows` predictions for
    each column.
    """
    bytes_per_column = itemsize * (4 * n_stimuli + 3 * n_rows)
    width = int(min(memory / bytes_per_column, COLUMNS_PER_BLOCK)) // COLUMN_RUN * COLUMN_RUN
    return max(width, COLUMN_RUN)


def read_columns(source, columns, out=None):
    """Columns of a target as an array (n_stimuli, n_columns); `source` has a method ``columns`` or can be sliced.

    `out` is a float32 or float64 array of that shape to write into, where there is one.
    """
    if hasattr(source, "columns"):
        if out is not None and out.dtype == np.float32:
            return source.columns(columns.start, columns.stop, out=out)
        values = source.columns(columns.start, columns.stop)
    else:
        values = np.asarray(source[:, columns])
    if out is None:
        return values
    out[...] = values
    return out


def read_ahead(targets, planned, dtype, device="cpu"):
    """Yield (block, values) with values (n_stimuli, width) on the device, reading the next block meanwhile.

    There are two blocks of memory, used in turn: values hold until the block after next is asked for, and may be changed.
    """
    widest = max((block.columns.stop - block.columns.start for block in planned), default=0)
    n_stimuli = max((targets[block.name].shape[0] for block in planned), default=0)
    empty = torch.empty(2, n_stimuli * widest, dtype=dtype)

    def read(position):
        block = planned[position]
        width = block.columns.stop - block.columns.start
        room = empty[position % 2, : n_stimuli * width].view(n_stimuli, width)
        if hasattr(targets[block.name], "runs") and not block.columns.start % COLUMN_RUN and not width % COLUMN_RUN:
            # As they lie in the file; arranged by the caller's threads, which this one would only take time from.
            return room, torch.from_numpy(targets[block.name].runs(block.columns.start, block.columns.stop))
        read_columns(targets[block.name], block.columns, out=room.numpy())
        return room, None

    with ThreadPoolExecutor(1) as reader:
        pending = reader.submit(read, 0) if planned else None
        for position, block in enumerate(planned):
            values, runs = pending.result()
            if runs is not None:
                values.view(n_stimuli, -1, COLUMN_RUN).copy_(runs.transpose(0, 1))
            if position + 1 < len(planned):
                pending = reader.submit(read, position + 1)
            yield block, values.to(device)


def finite(values, name):
    """The values themselves, tensor of any shape; an InputError if one is NaN or infinite."""
    if not torch.isfinite(values).all():
        raise InputError(
            f"Target {name!r} holds NaN or infinite values; encode it again with `brainrecon features`, or mend the array."
        )
    return values


def sketch(name, n_columns, size, seed):
    """Random runs of neighbouring columns of a target, `size` columns or a few more; all columns where there are no more.

    Returns
    -------
    list of slice
        In order; whole runs of `COLUMN_RUN`, because a table on disk is read by runs.
    """
    n_runs = -(-n_columns // COLUMN_RUN)
    # The last run may be short: one more makes up for it.
    wanted = -(-size // COLUMN_RUN) + (n_columns % COLUMN_RUN > 0)
    if wanted >= n_runs:
        return [slice(0, n_columns)]
    # All 32 bytes as they stand, as fitted decoders have them.
    generator = np.random.default_rng(list(name_digest(f"{seed}/{name}")))
    chosen = np.sort(generator.choice(n_runs, wanted, replace=False))
    return [slice(int(run) * COLUMN_RUN, min((int(run) + 1) * COLUMN_RUN, n_columns)) for run in chosen]
