"""Systems of equations whose matrices are rows and columns of one matrix: many, of which neighbours have most in common.

Units that lie side by side in a layer see nearly the same of a picture and choose nearly the same voxels. Neighbours are
therefore solved together where that costs less: what all of them have in common, the core, is factored and eliminated once,
and each solves the rest, its own rows of one Schur complement.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import get_lapack_funcs
from threadpoolctl import threadpool_limits

from stages.decoders.unitwise.chosen_voxels import places_of
from stages.ground.threads import in_order

# Units that may be solved together, twice as many each time.
LARGEST_GROUP = 64
# Costs in operations of a factorisation: of copying a number, and of beginning a group or a unit.
COPY, GROUP, UNIT = 8.0, 4e6, 2e5
# Of matrices that are factored at a time: what stays in the processor's cache; an accelerator wants many.
BYTES_AT_A_TIME = {"cpu": 2**22, "accelerator": 2**30}


def solve_principal(matrix, places, right):
    """Solve, for each unit, the rows and columns of a matrix that are its own.

    >>> matrix = torch.tensor([[2.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 4.0]])
    >>> own = torch.tensor([[True, True, False], [False, True, True]])
    >>> solve_principal(matrix, own, torch.tensor([[3.0, 3.0, 9.0], [9.0, 2.0, 4.0]])).round(decimals=5).tolist()
    [[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]

    Parameters
    ----------
    matrix : tensor of shape (size, size)
        Symmetric, positive definite.
    places : bool tensor of shape (n_units, size)
        Equally many of each row are true.
    right : tensor of shape (n_units, size)
        Right sides, of which a unit's own places are read.

    Returns
    -------
    tensor of shape (n_units, size)
        Solutions, 0 elsewhere.
    """
    if matrix.device.type != "cpu":
        parts = batches(len(places), int(places[:1].sum()), matrix)
        return torch.cat([_each(matrix, places[rows], right[rows]) for rows in parts])

    def work(job):
        rows, together = job
        return (_together if together else _each)(matrix, places[rows], right[rows])

    # A thread for each group: LAPACK's own threads gain nothing on small matrices.
    with threadpool_limits(1):
        return torch.cat(list(in_order(work, _jobs(matrix, places))))


def positive_solve(matrices, right):
    """Solve symmetric positive definite systems (n, size, size) for one right side (n, size) each."""
    factors, failed = torch.linalg.cholesky_ex(matrices)
    if failed.any():
        # Rounding to 32 bits made one indefinite.
        return torch.linalg.solve(matrices.double(), right.double()).to(right.dtype)
    return torch.cholesky_solve(right[:, :, None], factors)[:, :, 0]


def batches(n_units, size, matrix):
    """Slices of units whose matrices of a size are factored at a time, where `matrix` is and in its numbers."""
    room = BYTES_AT_A_TIME["cpu" if matrix.device.type == "cpu" else "accelerator"]
    together = max(1, room // (max(size, 1) ** 2 * matrix.element_size()))
    return [slice(start, min(start + together, n_units)) for start in range(0, n_units, together)]


# Groups


def _jobs(matrix, places):
    """(rows, whether they are solved together), in order: of all ways to halve and halve again the cheapest."""
    n_units, size = places.shape
    n_own = int(places[:1].sum())
    # In a group every unit is at home: the last group is filled up with the last unit.
    n_whole = -(-n_units // LARGEST_GROUP) * LARGEST_GROUP
    common = any_of = torch.cat([places, places[-1:].expand(n_whole - n_units, -1)])
    best, chosen = torch.full((n_whole,), _cost(n_own, size), dtype=torch.float64), []
    number = 1
    while number < LARGEST_GROUP:
        number *= 2
        common, any_of = common[0::2] & common[1::2], any_of[0::2] | any_of[1::2]
        core = common.sum(dim=1, dtype=torch.float64)
        rest = any_of.sum(dim=1, dtype=torch.float64) - core
        shared = core**3 / 3 + core**2 * rest + core * rest**2 + COPY * (core + rest) * size + GROUP
        shared += number * _cost(n_own - core, rest)
        halves = best[0::2] + best[1::2]
        chosen.append(shared < halves)
        best = torch.minimum(shared, halves)
    found, level, start = [], len(chosen) - 1, 0
    while start < n_units:
        # The largest group that begins here and was found cheaper than its halves.
        level = min(len(chosen) - 1, (start & -start).bit_length() - 2 if start else len(chosen) - 1)
        while level >= 0 and not chosen[level][start >> (level + 1)]:
            level -= 1
        stop = min(start + (1 << (level + 1)), n_units)
        found.append((slice(start, stop), level >= 0))
        start = stop
    return _joined(found, n_own, matrix)


def _joined(jobs, n_own, matrix):
    """Jobs, units that are solved by themselves joined to batches."""
    alone = None
    for rows, together in [*jobs, (slice(0, 0), True)]:
        if not together:
            alone = slice(alone.start if alone else rows.start, rows.stop)
            continue
        if alone:
            for part in batches(alone.stop - alone.start, n_own, matrix):
                yield slice(alone.start + part.start, alone.start + part.stop), False
            alone = None
        if rows.stop > rows.start:
            yield rows, True


def _cost(n_own, size):
    """Operations of one unit by itself, and of copying its matrix out of one of a size."""
    return n_own**3 / 3 + COPY * n_own * size + UNIT


# Solutions


def _each(matrix, places, right):
    """Each unit by itself."""
    own = places_of(places)
    if matrix.device.type == "cpu":
        return _one_after_the_other(matrix, own, right)
    found = positive_solve(_principal(matrix, own), right.gather(1, own))
    return torch.zeros_like(right).scatter_(1, own, found)


def _one_after_the_other(matrix, own, right):
    """As `_each`: in the processor's cache a matrix is copied and factored in place in a third of the time of a batch."""
    found = torch.zeros_like(right)
    if not own.shape[1]:
        return found
    whole, sides, solutions = matrix.numpy(), right.numpy(), found.numpy()
    (solve,) = get_lapack_funcs(("posv",), (whole,))
    for unit, places in enumerate(own.numpy()):
        side = sides[unit, places]
        # Symmetric: its transpose is the same in the order of LAPACK.
        _, solution, failed = solve(whole.take(places, 0).take(places, 1).T, side, lower=1, overwrite_a=1)
        if failed:
            # Rounding to 32 bits made it indefinite.
            solution = np.linalg.solve(whole[np.ix_(places, places)].astype(np.float64), side.astype(np.float64))
        solutions[unit, places] = solution
    return found


def _together(matrix, places, right):
    """What all units have in common once, then each its own."""
    common = places.all(dim=0)
    core, rest = common.nonzero()[:, 0], (places.any(dim=0) & ~common).nonzero()[:, 0]
    rows = matrix.index_select(0, core)
    factor = torch.linalg.cholesky(rows.index_select(1, core))
    across = torch.linalg.solve_triangular(factor, rows.index_select(1, rest), upper=False)
    solved = torch.linalg.solve_triangular(factor, right.index_select(1, core).T, upper=False)
    reduced = torch.addmm(matrix.index_select(0, rest).index_select(1, rest), across.T, across, alpha=-1)
    dense = right.index_select(1, rest) - solved.T @ across
    if len(rest):
        dense = _each(reduced, places.index_select(1, rest), dense)
    in_core = torch.linalg.solve_triangular(factor.T, solved - across @ dense.T, upper=True)
    return torch.zeros_like(right).index_copy_(1, core, in_core.T).index_copy_(1, rest, dense)


def _principal(matrix, places):
    """Rows and columns of a symmetric matrix at places (n, n_own): (n, n_own, n_own)."""
    n, size = places.shape
    rows = matrix.index_select(0, places.reshape(-1)).view(n, size, -1)
    return rows.gather(2, places[:, None, :].expand(n, size, size))
