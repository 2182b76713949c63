"""What every copy of the Miyawaki 2008 data comes down to: trials, their patterns, and regions by name."""

from dataclasses import dataclass, field

import numpy as np

from stages.ground.errors import InputError

SIDE = 10
N_CELLS = SIDE * SIDE
REST = -1
HEMISPHERES = ("LH", "RH", "L_", "R_")


@dataclass(eq=False)
class Recording:
    """The trials of one person, rest taken out, train and test together in the order of the files.

    Attributes
    ----------
    responses : array of shape (n_trials, n_voxels), float32
        In the units of the files.
    patterns : array of shape (n_trials, 10, 10), uint8
        0 or 1, upright: row, column.
    test : array of shape (n_trials,), bool
        Whether the trial belongs to the test split.
    runs, sessions : array of shape (n_trials,), int, optional
    kinds : array of shape (n_trials,), str, optional
        The kind of figure that the file names.
    regions : dict of str to bool array of shape (n_voxels,)
    notes : list of str
    details : dict
        JSON-able.
    places : dict
        Where the voxels are, if the files say so: `grid` or `millimetres`, as
        `brainrecon.datasets.own_mask.OwnMask.in_columns` takes them.
    """

    responses: np.ndarray
    patterns: np.ndarray
    test: np.ndarray
    runs: np.ndarray | None = None
    sessions: np.ndarray | None = None
    kinds: np.ndarray | None = None
    regions: dict[str, np.ndarray] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    details: dict = field(default_factory=dict)
    places: dict = field(default_factory=dict)


def pattern_ids(patterns):
    """Name each pattern after itself, so that equal patterns have equal ids in whatever split, and no others.

    Parameters
    ----------
    patterns : array of shape (n, 10, 10), 0 or 1

    Returns
    -------
    ids : array of str, shape (n,)
        ``pattern-`` and the 100 cells, row by row, as 25 hexadecimal digits.
    """
    packed = np.packbits(patterns.reshape(-1, N_CELLS).astype(bool), axis=1)
    # 100 cells fill 12 bytes and a half; the last digit is padding.
    return np.array([f"pattern-{row.tobytes().hex()[: N_CELLS // 4]}" for row in packed], dtype=str)


def read_patterns(cells, where, rest=True):
    """Turn rows of 100 cells in Fortran order into upright patterns.

    Parameters
    ----------
    cells : array of shape (n, 100)
        0 or 1; a row of -1 is rest. Column by column, as MATLAB writes a matrix.
    where : str
        The file, for the error.
    rest : bool
        Whether a row may be rest.

    Returns
    -------
    patterns : array of shape (n, 10, 10), uint8
        Zeros where there is rest.
    shown : array of shape (n,), bool
        False where there is rest.

    Raises
    ------
    InputError
        Another number of cells, or another value.
    """
    if cells.ndim != 2 or cells.shape[1] != N_CELLS:
        raise InputError(
            f"{where} gives {cells.shape[-1]:,} cells for a pattern; expected {N_CELLS} (10 x 10): copy the file again."
        )
    resting = (cells == REST).all(axis=1) & rest
    binary = np.isin(cells, (0, 1)).all(axis=1)
    wrong = np.flatnonzero(~(resting | binary))
    if len(wrong):
        values = ", ".join(f"{value:g}" for value in np.unique(cells[wrong[0]])[:5])
        raise InputError(
            f"{where} gives pattern {wrong[0] + 1:,} of {len(cells):,} the values {values}; expected 0 and 1 alone"
            f"{', or -1 in all cells for rest' if rest else ''}: copy the file again."
        )
    upright = cells.reshape(-1, SIDE, SIDE).transpose(0, 2, 1)
    return np.where(resting[:, None, None], 0, upright).astype(np.uint8), ~resting


def add_unions(regions):
    """Add what people ask for: both hemispheres of an area, and an area of its dorsal and its ventral half.

    Parameters
    ----------
    regions : dict of str to bool array of shape (n_voxels,)
        For example ``LHV1d``, ``RHV1d`` or ``L_V1d``.

    Returns
    -------
    regions : dict of str to bool array of shape (n_voxels,)
        The given ones, then V1d, ..., then V1, LHV1, ...; a name that is given keeps its own voxels.
    """
    named = dict(regions)
    for name, mask in regions.items():
        bare = name[2:]
        if name.startswith(HEMISPHERES) and bare not in regions:
            named[bare] = named[bare] | mask if bare in named else mask
    for dorsal in list(named):
        area = dorsal[:-1]
        if dorsal.endswith("d") and f"{area}v" in named:
            named.setdefault(area, named[dorsal] | named[f"{area}v"])
    return named
