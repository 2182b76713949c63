"""Predicted values of a run: encode true ones, predict into files, read them."""

from __future__ import annotations

import json

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from brainrecon.assembly import targets
from brainrecon.assembly.values import PATTERNS
from brainrecon.runs.captions import captions
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from stages.ground.reading.numpy_files import read_npy
from stages.ground.reading.wall import reading
from weights.seals import broken
from weights.whole_files import whole_file


def encode(run, chain, split_name, names, progress=SILENT):
    """True values of targets for one split's stimuli, dict of target name to FeatureTable; rows as in the split."""
    return targets.encode(
        chain.targets,
        names,
        run.subject,
        split_name,
        run.store,
        captions=lambda: captions(run, split_name),
        progress=progress,
    )


def predict_patterns(chain, patterns, names, path, progress=SILENT):
    """Predict patterns into a safetensors file, a row for each of `names`; a linear decoder goes on if it was interrupted.

    Parameters
    ----------
    chain : brainrecon.assembly.chain.Chain
        A fitted one.
    patterns : array of shape (n_stimuli, n_voxels), float32
    names : sequence of str, length n_stimuli
    path : path
    progress : callable

    Returns
    -------
    dict of str to tuple of int
        Shape of what was written, by value.
    """
    names = [str(name) for name in names]
    steps = chain.predicting
    if len(steps) == 1 and steps[0].reads == (PATTERNS,):
        steps[0].predict_into(path, names, {PATTERNS: patterns}, progress)
    else:
        with whole_file(path) as partial:
            save_file(chain.predict(patterns), partial, metadata={"stimulus_ids": json.dumps(names)})
    with safe_open(path, framework="numpy") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}


def read_embeddings(path):
    """Embeddings in a file: (dict of name to float32 array (n_stimuli, n_targets), list of stimulus ids)."""
    remedy = f"delete the folder {path.parent} and run `brainrecon fit` again"
    if not path.exists():
        raise InputError(f"There are no embeddings at {path}; run `brainrecon fit` first.")
    if damage := broken(path.parent, [path.name]):
        raise InputError(f"In {path.parent}, {damage}; {remedy}.")
    with reading(path, "embeddings", remedy), safe_open(path, framework="numpy") as file:
        ids = json.loads(file.metadata()["stimulus_ids"])
        if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
            raise ValueError("its stimulus ids are no list of texts")
        return {name: file.get_tensor(name) for name in file.keys()}, ids


def read_patterns(path):
    """Patterns in a .npy file, float32 (n_stimuli, n_voxels), all finite."""
    patterns = read_npy(path, remedy="save patterns with numpy.save")
    if patterns.ndim != 2 or not len(patterns) or patterns.dtype.kind not in "fiu":
        raise InputError(
            f"{path} holds an array of shape {patterns.shape} and type {patterns.dtype}; "
            "expected numbers of shape (n_stimuli, n_voxels)."
        )
    bad = int((~np.isfinite(patterns)).any(axis=0).sum())
    if bad:
        raise InputError(
            f"{bad:,} of {patterns.shape[1]:,} voxels in {path} are NaN or infinite; mend or mask those voxels."
        )
    return patterns.astype(np.float32, copy=False)
