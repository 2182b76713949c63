"""Predicted values of a run: encode true ones, predict into files, read them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path

from safetensors import safe_open

from brainrecon.assembly import targets
from brainrecon.assembly.values import PATTERNS
from brainrecon.runs.array_files import check_suffix, write_arrays
from brainrecon.runs.captions import captions
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from stages.ground.reading.wall import reading
from weights.seals import broken


def encode(run, chain, split_name, names, progress=SILENT, subject=None, by="columns"):
    """True values of targets for one split's stimuli, dict of target name to FeatureTable; rows as in the split.

    `subject` is the run's own unless another one is given; `by` is how tables lie, see `FeatureStore.encode`.
    """
    return targets.encode(
        chain.learned_targets,
        names,
        subject or run.subject,
        split_name,
        run.store,
        captions=lambda: captions(run, split_name, subject),
        by=by,
        progress=progress,
    )


def predict_patterns(chain, patterns, names, path, progress=SILENT, subject=""):
    """Predict patterns into a file, a row for each of `names`; a linear decoder goes on if it was interrupted.

    Parameters
    ----------
    chain : brainrecon.assembly.chain.Chain
        A fitted one.
    patterns : array of shape (n_stimuli, n_voxels), float32
    names : sequence of str, length n_stimuli
    path : path
        In the format that its name says, see `brainrecon.runs.array_files.write_arrays`.
    progress : callable
    subject : str
        Whose they are, for a chain of several subjects.

    Returns
    -------
    dict of str to tuple of int
        Shape of what was written, by value.

    Raises
    ------
    InputError
        The name says no format, or one that cannot hold so many values; or the patterns are not those that were learned from.
    """
    names, wanted, patterns = [str(name) for name in names], Path(path), chain.checked(patterns, subject)
    check_suffix(wanted, chain.predicts)
    is_tensors = wanted.suffix.lower() == ".safetensors"
    # Blocks are written one by one, which only tensors allow; other formats are made of them at the end.
    path = wanted if is_tensors else wanted.with_name(f".{wanted.name}.safetensors")
    steps = chain.predicting
    if len(steps) == 1 and steps[0].reads == (PATTERNS,):
        steps[0].predict_into(path, names, {PATTERNS: patterns}, progress, subject=subject)
    else:
        write_arrays(path, chain.predict(patterns, subject), names)
    with safe_open(path, framework="numpy") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
        if not is_tensors:
            write_arrays(wanted, {name: file.get_tensor(name) for name in shapes}, names)
    if not is_tensors:
        path.unlink()
    return shapes


def read_embeddings(path):
    """Embeddings in a file: (dict of name to float32 array (n_stimuli, n_targets), list of stimulus ids)."""
    with _opened(path) as (file, ids):
        return {name: file.get_tensor(name) for name in file.keys()}, ids


@contextmanager
def _opened(path):
    """A file of embeddings, and the stimulus of each row; an InputError if it is not one."""
    remedy = f"delete the folder {path.parent} and run `brainrecon fit` again"
    if not path.exists():
        raise InputError(f"There are no embeddings at {path}; run `brainrecon fit` first.")
    if damage := broken(path.parent, [path.name]):
        raise InputError(f"In {path.parent}, {damage}; {remedy}.")
    with reading(path, "embeddings", remedy), safe_open(path, framework="numpy") as file:
        ids = json.loads(file.metadata()["stimulus_ids"])
        if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
            raise ValueError("its stimulus ids are no list of texts")
        yield file, ids


class StoredColumns:
    """Predicted values of one name in a file, read by columns: those of a convolution are more than memory should hold.

    Attributes
    ----------
    path : Path
    name : str
    stimulus_ids : tuple of str
        Order of the rows.
    shape : tuple of int
        (n_stimuli, n_values).
    """

    def __init__(self, path, name, stimulus_ids, shape):
        self.path, self.name, self.stimulus_ids, self.shape = path, name, tuple(stimulus_ids), tuple(shape)

    def __len__(self):
        return self.shape[0]

    def columns(self, start, stop):
        """Columns `start` to `stop` for all stimuli, float32 (n_stimuli, stop - start)."""
        with safe_open(self.path, framework="numpy") as file:
            return file.get_slice(self.name)[:, start:stop]

    def __array__(self, dtype=None, copy=None):
        return self.columns(0, self.shape[1]).astype(dtype or "float32", copy=False)


def stored_columns(path):
    """What `read_embeddings` reads, by columns: dict of name to `StoredColumns`."""
    with _opened(path) as (file, ids):
        return {name: StoredColumns(path, name, ids, file.get_slice(name).get_shape()) for name in file.keys()}
