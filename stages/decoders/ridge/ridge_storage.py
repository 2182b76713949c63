"""What serves patterns to come: the ways to store a fitted ridge decoder, how large each is, and which arrays it has.

weights         a weight for every voxel and column
targets         training patterns, the factor of their Gram matrix, and the training targets
factorisation   training patterns and factor alone; the targets are read again from where they came
"""

from __future__ import annotations

import numpy as np
import torch

from stages.decoders.ridge.factorisation import Cholesky, Eigendecomposition
from stages.ground.devices import float64_device
from stages.ground.errors import InputError

STORED = ("weights", "targets", "factorisation")
CONTENTS = {
    "weights": "a weight for every voxel and column",
    "targets": "training patterns, their factor and the targets",
    "factorisation": "training patterns and their factor; targets are read from the feature store",
}
# What `keep="auto"` is willing to write if targets can be read again from where they came.
MODEST_BYTES = 2e9


def bytes_of_each(solver):
    """Bytes on disk of each way, dict of str to int; `solver` is a `RidgeSolver`."""
    n_trials, n_voxels = solver.patterns.shape
    n_targets, itemsize = sum(solver.groups.values()), solver.patterns.dtype.itemsize
    side = min(n_trials, n_voxels)
    n_factors = 1 if solver.chooses else len({alpha for grid in solver.grids.values() for alpha in grid})
    factorisation = n_trials * n_voxels * itemsize + 8 * side**2 * n_factors
    return {
        "weights": n_voxels * n_targets * itemsize,
        "targets": factorisation + solver.n_stimuli * n_targets * itemsize,
        "factorisation": factorisation,
    }


def choose_way(keep, sizes, targets):
    """Choose what is stored.

    Parameters
    ----------
    keep : {"auto", "weights", "targets", "factorisation"}
        As the user has it. "auto" takes the smaller of the first two ways, and the third if both pass 2 GB and the targets
        can be read again.
    sizes : dict of str to int
        As `bytes_of_each`.
    targets : mapping of str to array-like
        Those with a method ``columns`` can be read again.

    Returns
    -------
    {"weights", "targets", "factorisation"}
    """
    again = all(hasattr(target, "columns") for target in targets.values())
    if keep == "factorisation" and not again:
        raise InputError(
            "keep is 'factorisation' but the targets are arrays in memory, which cannot be read again; "
            "pass keep='targets', or tables of the feature store."
        )
    if keep != "auto":
        return keep
    smaller = min(("weights", "targets"), key=sizes.get)
    return "factorisation" if again and sizes[smaller] > MODEST_BYTES else smaller


def layout(solver, stored):
    """Tensors of the fitted decoder: dict of name to (shape, dtype); known once the patterns are factorised."""
    dtype, double = solver.patterns.dtype, np.dtype(np.float64)
    n_targets = sum(solver.groups.values())
    columns = ("target_mean_", "target_scale_", "predicted_mean_", "predicted_scale_", "column_correlation_")
    found = {name: ((solver.patterns.shape[1],), double) for name in ("voxel_mean_", "voxel_scale_")}
    found |= {name: ((n_targets,), double) for name in (*columns, "column_alpha_")}
    if stored == "weights":
        return found | {"coef_": ((solver.patterns.shape[1], n_targets), dtype)}
    found["training_patterns_"] = (solver.patterns.shape, dtype)
    found["trial_stimuli_"] = ((solver.trials.n_trials,), np.dtype(np.int64))
    vectors, values = solver.factor.shapes
    found |= {"factor_vectors_": (vectors, double), "factor_values_": (values, double)}
    if stored == "targets":
        found["targets_"] = ((solver.n_stimuli, n_targets), dtype)
    return found


def factor_of(tensors, device):
    """The factor of the Gram matrix that stands in a decoder's tensors."""
    device = float64_device(device)
    vectors = torch.from_numpy(tensors["factor_vectors_"]).to(device)
    values = torch.from_numpy(tensors["factor_values_"]).to(device)
    if vectors.ndim == 2:
        return Eigendecomposition(values, vectors)
    return Cholesky({float(alpha): factor for alpha, factor in zip(values, vectors)})


def note_of_sizes(sizes, stored):
    """Sentence that says what is stored, how large it is, and how large the other ways would be."""
    others = ", ".join(f"{way} {size_in_words(sizes[way])}" for way in STORED if way != stored)
    return f"The decoder stores {CONTENTS[stored]}: {size_in_words(sizes[stored])} ({others}: --set decoder.keep=...)."


def size_in_words(n_bytes):
    """Bytes in GB or MB: ``"1.5 GB"``."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"
