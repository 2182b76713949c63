"""Fitting and predicting block by block into files, so that both go on where they were interrupted."""

from __future__ import annotations

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from stages.checkpoints.partial_tensors import PartialTensors
from stages.decoders import decoder_files
from stages.ground.progress import SILENT

# What an interruption costs at most; a note waits until everything before it is on the disk.
SECONDS_BETWEEN_NOTES = 30.0


def fit_by_blocks(
    decoder,
    responses,
    targets,
    folder,
    *,
    new_patterns,
    new_ids,
    embeddings,
    stimuli=None,
    before_config=None,
    progress=SILENT,
    seconds_between_notes=SECONDS_BETWEEN_NOTES,
):
    """Fit a decoder to targets on disk and predict new patterns on the way, block by block, into files.

    Interrupted, it goes on at the block where it was; the files come out the same, byte for byte. The patterns are
    factorised once more where the decoder does not keep their factor.

    Parameters
    ----------
    decoder : stages.decoders.ridge.ridge.RidgeDecoder
    responses : array of shape (n_trials, n_voxels), float32
    targets : dict of str to FeatureTable
    folder : path
        Where the decoder is written.
    new_patterns : array of shape (n_new, n_voxels), float32
    new_ids : sequence of str
    embeddings : path
        Where predictions of the new patterns are written.
    stimuli : array of int, shape (n_trials,), optional
        Row of the targets for each trial.
    before_config : callable, optional
        Writes what else belongs to the decoder, before the file that says that it is whole.
    progress : callable
        Called with (label, done, total).
    seconds_between_notes : float
        What an interruption costs at most.
    """
    identity = _identity(decoder, responses, stimuli, targets, new_patterns, new_ids)
    model = PartialTensors(folder / decoder_files.MODEL, identity)
    written = PartialTensors(embeddings, identity)
    state = model.state
    progress("factorising the patterns", 0, 1)
    if state:
        tensors = model.reopen()
        decoder.start(responses, targets, stimuli, stored=tensors)
        decoder.tensors_, decoder.alpha_ = tensors, state["alpha"]
        decoder.error_ = {name: [np.nan if e is None else e for e in errors] for name, errors in state["error"].items()}
    else:
        decoder.start(responses, targets, stimuli)
    progress("factorising the patterns", 1, 1)
    if not state:
        decoder.tensors_ = model.create(decoder.layout())
        decoder.choose(targets, progress)
        width = decoder.width(len(new_patterns))
    else:
        width = state["width"]
    if state and written.state:
        predictions, done = written.reopen(), written.state["blocks"]
    else:
        layout = {name: ((len(new_patterns), n), np.dtype(np.float32)) for name, n in decoder.groups_.items()}
        predictions, done = written.create(layout, _metadata(new_ids)), 0

    known = {"alpha": dict(decoder.alpha_), "error": decoder_files.plain(decoder.error_), "width": width}

    def note(blocks):
        model.save(**known)
        written.save(blocks=blocks)

    with ResumeNotes(note, seconds_between_notes) as notes:
        solving = decoder.solve(targets, new_patterns, width=width, start=done, progress=progress)
        for blocks, solved in enumerate(solving, start=done + 1):
            predictions[solved.block.name][:, solved.block.columns] = solved.predictions
            notes.write_sometimes(blocks)
    written.finish()
    decoder.finish()
    model.finish()
    if before_config:
        before_config()
    decoder_files.write_config(decoder, folder)


def predict_by_blocks(decoder, patterns, names, path, progress=SILENT, seconds_between_notes=SECONDS_BETWEEN_NOTES):
    """Predict into a safetensors file, block by block; interrupted, it goes on at the block where it was.

    Parameters
    ----------
    decoder : a fitted decoder of `stages.decoders`
    patterns : array of shape (n_stimuli, n_voxels), float32
        Of the voxels that the decoder reads.
    names : sequence of str, length n_stimuli
    path : path
    progress : callable

    Returns
    -------
    dict of str to tuple of int
        Shape of what was written, by target.
    """
    patterns = decoder.checked(patterns)
    written = PartialTensors(
        path, _digest(json.dumps([decoder.describe(), list(map(str, names))], sort_keys=True), patterns)
    )
    if written.state:
        predictions, done = written.reopen(), written.state["blocks"]
    else:
        layout = {name: ((len(patterns), n), np.dtype(np.float32)) for name, n in decoder.groups_.items()}
        predictions, done = written.create(layout, _metadata(names)), 0
    ends = dict(zip(decoder.groups_, np.cumsum(list(decoder.groups_.values())).tolist()))
    with ResumeNotes(lambda blocks: written.save(blocks=blocks), seconds_between_notes) as notes:
        for blocks, (name, columns, values) in enumerate(decoder.predict_blocks(patterns, start=done), start=done + 1):
            predictions[name][:, columns] = values
            notes.write_sometimes(blocks)
            progress("predicting targets", ends[name] - decoder.groups_[name] + columns.stop, max(ends.values()))
    written.finish()
    return {name: values.shape for name, values in predictions.items()}


class ResumeNotes:
    """Takes notes of finished blocks beside the work: each waits until what it speaks of is on the disk.

    Parameters
    ----------
    write : callable
        Called with the number of finished blocks.
    seconds : float
        Between two notes, at least.
    """

    def __init__(self, write, seconds):
        self._write, self._seconds = write, seconds
        self._writer, self._pending, self._last = ThreadPoolExecutor(1), None, time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._writer.shutdown()

    def write_sometimes(self, blocks):
        """Note `blocks` unless the last note was just now, or is still being written."""
        if time.monotonic() - self._last < self._seconds:
            return
        if self._pending is not None:
            if self._seconds and not self._pending.done():
                return
            # An error of the last note, such as a full disk, comes up here.
            self._pending.result()
        self._pending, self._last = self._writer.submit(self._write, blocks), time.monotonic()


def _metadata(names):
    return {"stimulus_ids": json.dumps([str(name) for name in names])}


def _identity(decoder, responses, stimuli, targets, new_patterns, new_ids):
    settings = decoder_files.plain(decoder.get_params(deep=False) | {"memory": None, "device": decoder.device})
    tables = {name: str(getattr(target, "folder", target.shape)) for name, target in targets.items()}
    parts = json.dumps([settings, tables, [str(name) for name in new_ids]], sort_keys=True)
    return _digest(parts, responses, np.zeros(0) if stimuli is None else stimuli, new_patterns)


def _digest(*parts):
    """Hex digest of texts and arrays, arrays row block by row block."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode())
            continue
        digest.update(f"{part.shape} {part.dtype}".encode())
        for start in range(0, len(part), 1024):
            digest.update(np.ascontiguousarray(part[start : start + 1024]).data)
    return digest.hexdigest()
