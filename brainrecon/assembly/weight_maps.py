"""What a linear decoder gives each voxel: its coefficients, in units of the data."""

import numpy as np

from brainrecon.assembly.values import PATTERNS, Item
from stages.ground.errors import InputError
from stages.ground.progress import SILENT

BLOCK_BYTES = 256 * 2**20
NEAR = 1e-4
"""By so much, relative to the largest, a decoder's answer to the sum of two patterns may differ from the sum of its answers."""


def weight_maps(chain, columns=(), progress=SILENT):
    """Coefficients of a fitted linear decoder, however it is stored.

    A decoder that is linear answers ``offset + patterns @ coef``. Its coefficient of a voxel is by how much its answer
    changes when that voxel's response grows by one unit: a pattern of one voxel is decoded, and that of none taken off.
    Standardisation of voxels and rescaling of predictions are within.

    >>> maps = weight_maps(run.chain)  # doctest: +SKIP
    >>> maps["clip_image"].shape  # doctest: +SKIP
    (15724,)

    Parameters
    ----------
    chain : brainrecon.assembly.chain.Chain
        A fitted one.
    columns : sequence of (str, int)
        Columns whose own coefficients are wanted: the name of a value, and the column, counted from 0, of it laid flat.
    progress : callable, optional
        Called as ``progress(label, voxels_done, n_voxels)``.

    Returns
    -------
    maps : dict of str to array of shape (n_voxels,), float64
        By the name of a value: the root of the sum over its columns of squared coefficients, in the value's unit for each
        unit of response. By ``name[column]``: the coefficients of that column, with their sign.

    Raises
    ------
    InputError
        Nothing is predicted from patterns alone, a column is not there, or the decoder is not linear.
    """
    steps = [step for step in chain.predicting if step.reads == (PATTERNS,)]
    if not steps:
        raise InputError(f"{chain.name} predicts no values from patterns alone, so that it has no weights of voxels.")
    maps = {}
    for step in steps:
        _check_linear(step, chain)
        offset = _answers(step, np.zeros((1, chain.n_voxels)))
        sizes = {name: values.shape[1] for name, values in offset.items()}
        rows = max(1, BLOCK_BYTES // (8 * (sum(sizes.values()) + chain.n_voxels)))
        maps |= {name: np.empty(chain.n_voxels) for name in sizes}
        own = [(name, column) for name, column in columns if name in sizes]
        for name, column in own:
            if not 0 <= column < sizes[name]:
                raise InputError(f"{name} has no column {column}; it has {sizes[name]:,}, counted from 0.")
        maps |= {f"{name}[{column}]": np.empty(chain.n_voxels) for name, column in own}
        for start in range(0, chain.n_voxels, rows):
            voxels = np.arange(start, min(start + rows, chain.n_voxels))
            patterns = np.zeros((len(voxels), chain.n_voxels))
            patterns[np.arange(len(voxels)), voxels] = 1
            coef = {name: values - offset[name] for name, values in _answers(step, patterns).items()}
            for name, values in coef.items():
                maps[name][voxels] = np.sqrt((values**2).sum(axis=1))
            for name, column in own:
                maps[f"{name}[{column}]"][voxels] = coef[name][:, column]
            progress("weights of voxels", int(voxels[-1]) + 1, chain.n_voxels)
    if absent := [name for name, _ in columns if name not in maps]:
        raise InputError(f"{chain.name} does not predict {absent[0]!r} from patterns; it predicts {', '.join(maps)}.")
    return maps


def _answers(step, patterns):
    """Predicted values of patterns, dict of name to float64 array (n_patterns, n_columns)."""
    items = [Item("", str(row)) for row in range(len(patterns))]
    answers = step.run(items, {PATTERNS: patterns})
    return {name: np.asarray(values, dtype=np.float64).reshape(len(patterns), -1) for name, values in answers.items()}


def _check_linear(step, chain):
    two = np.random.default_rng(0).standard_normal((2, chain.n_voxels))
    # One at a time: what looks at all patterns together is not linear either.
    nothing, first, second, both = (
        _answers(step, rows[None]) for rows in (0 * two[0], two[0], two[1], two[0] + two[1])
    )
    together = _answers(step, two)
    for name in nothing:
        apart = np.abs(both[name] - first[name] - second[name] + nothing[name]).max()
        joint = np.abs(together[name] - np.concatenate([first[name], second[name]])).max()
        size = np.abs([both[name] - nothing[name], first[name] - nothing[name]]).max()
        if not max(apart, joint) <= NEAR * max(size, np.finfo(np.float32).tiny):
            raise InputError(
                f"{chain.name} does not predict {name} linearly, by {max(apart, joint):.2g} of {size:.2g}, so that it has no "
                "weights of voxels; a linear decoder has, unless it rescales predictions together (decoder.rescale=held_out)."
            )
