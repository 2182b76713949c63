"""Stage one of a run: encode the training stimuli, fit the decoder, predict embeddings; all of it can be interrupted."""

from __future__ import annotations

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from safetensors import safe_open

from brainrecon.methods import method_class
from brainrecon.runs.captions import captions
from brainrecon.runs.partial_tensors import PartialTensors
from stages.decoders import decoder_files
from stages.ground.errors import InputError

# What an interruption costs at most; a note waits until everything before it is on the disk.
SECONDS_BETWEEN_NOTES = 30.0


def fit(run, progress=None):
    """Fit the method of one run (no folds) and predict its test embeddings, if any; what is there is left alone."""
    if run.is_fitted:
        return
    train, test = run.subject.train, run.subject.test
    method = method_class(run.config.method)(run.config.settings, device=run.device, memory=run.memory)
    if not method.targets:
        method.fit(run.subject, progress=progress, folder=run.folder / "decoder")
        method.save_pretrained(run.folder / "decoder")
        return
    method.features = encode(run, method, "train", progress)
    embeddings = run.folder / "embeddings" / "test.safetensors"
    if not hasattr(method.decoder, "solve"):
        # A decoder that is not made of blocks: fitted in memory, from the beginning where it was interrupted.
        method.fit(run.subject, method.features, progress)
        method.save_pretrained(run.folder / "decoder")
        predict(method, test.patterns, test.stimulus_ids, embeddings, progress)
        return
    responses, stimuli = method.decoding.training(train, method.features)
    fit_decoder(
        method.decoder,
        responses,
        method.features,
        run.folder / "decoder",
        stimuli=stimuli,
        new_patterns=method.decoding.patterns(test.patterns),
        new_ids=test.stimulus_ids,
        embeddings=embeddings,
        before_config=lambda: method.save_description(run.folder / "decoder"),
        progress=progress,
    )


def fit_decoder(
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
    progress=None,
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
    progress : callable, optional
        Called with (label, done, total).
    """
    identity = _identity(decoder, responses, stimuli, targets, new_patterns, new_ids)
    model = PartialTensors(folder / decoder_files.MODEL, identity)
    written = PartialTensors(embeddings, identity)
    state = model.state
    if progress:
        progress("factorising the patterns", 0, 1)
    if state:
        tensors = model.reopen()
        decoder.start(responses, targets, stimuli, stored=tensors)
        decoder.tensors_, decoder.alpha_ = tensors, state["alpha"]
        decoder.error_ = {name: [np.nan if e is None else e for e in errors] for name, errors in state["error"].items()}
    else:
        decoder.start(responses, targets, stimuli)
    if progress:
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

    with _Notes(note) as notes:
        solving = decoder.solve(targets, new_patterns, width=width, start=done, progress=progress)
        for blocks, solved in enumerate(solving, start=done + 1):
            predictions[solved.block.name][:, solved.block.columns] = solved.predictions
            notes.take(blocks)
    written.finish()
    decoder.finish()
    model.finish()
    if before_config:
        before_config()
    decoder_files.write_config(decoder, folder)


def predict(method, patterns, names, path, progress=None):
    """Predict embeddings into a file, block by block; interrupted, it goes on at the block where it was.

    Parameters
    ----------
    method : a fitted method
    patterns : array of shape (n_stimuli, n_voxels), float32
    names : sequence of str, length n_stimuli
    path : path
    progress : callable, optional
    """
    decoder = method.decoder
    patterns = decoder.checked(method.decoding.patterns(patterns))
    written = PartialTensors(
        path, _digest(json.dumps([decoder.describe(), list(map(str, names))], sort_keys=True), patterns)
    )
    if written.state:
        predictions, done = written.reopen(), written.state["blocks"]
    else:
        layout = {name: ((len(patterns), n), np.dtype(np.float32)) for name, n in decoder.groups_.items()}
        predictions, done = written.create(layout, _metadata(names)), 0
    ends = dict(zip(decoder.groups_, np.cumsum(list(decoder.groups_.values())).tolist()))
    with _Notes(lambda blocks: written.save(blocks=blocks)) as notes:
        for blocks, (name, columns, values) in enumerate(decoder.predict_blocks(patterns, start=done), start=done + 1):
            predictions[name][:, columns] = values
            notes.take(blocks)
            if progress:
                progress("predicting targets", ends[name] - decoder.groups_[name] + columns.stop, max(ends.values()))
    written.finish()
    return {name: values.shape for name, values in predictions.items()}


def encode(run, method, split_name, progress=None, targets=None):
    """Target values of one split's stimuli, dict of target name to FeatureTable; all targets, or those named."""
    named = method.targets if targets is None else targets
    takes_captions = any(method.targets[name].takes == "captions" for name in named)
    return method.encode(
        run.subject,
        split_name,
        captions=captions(run, split_name) if takes_captions else None,
        targets=targets,
        store=run.store,
        progress=progress,
    )


def read_embeddings(path):
    """Embeddings in a file: (dict of name to float32 array (n_stimuli, n_targets), list of stimulus ids)."""
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["stimulus_ids"])
    except FileNotFoundError:
        raise InputError(f"There are no embeddings at {path}; run `brainrecon fit` first.") from None
    except Exception as error:
        raise InputError(f"{path} cannot be read ({error}); delete the run's decoder folder and fit again.") from None


def read_patterns(path):
    """Patterns in a .npy file, float32 (n_stimuli, n_voxels), all finite."""
    try:
        patterns = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as a .npy array ({error}); save patterns with numpy.save.") from None
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


class _Notes:
    """Takes notes of finished blocks beside the work: each waits until what it speaks of is on the disk.

    Parameters
    ----------
    write : callable
        Called with the number of finished blocks.
    """

    def __init__(self, write):
        self._write, self._writer, self._pending, self._last = write, ThreadPoolExecutor(1), None, time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._writer.shutdown()

    def take(self, blocks):
        """Note `blocks` unless the last note was just now, or is still being written."""
        if time.monotonic() - self._last < SECONDS_BETWEEN_NOTES:
            return
        if self._pending is not None:
            if SECONDS_BETWEEN_NOTES and not self._pending.done():
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
