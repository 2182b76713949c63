"""Stage one of a run: encode the training stimuli, fit the decoder, predict the test stimuli's embeddings."""

from __future__ import annotations

import json

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from brainrecon.methods import method_class
from brainrecon.runs.captions import captions
from stages.errors import InputError
from stages.whole_files import whole_file


def fit(run, progress=None):
    """Fit the decoder of one run (no folds) and predict its test embeddings; what is there is left alone."""
    if run.is_fitted:
        return
    train, test = run.subject.train, run.subject.test
    method = method_class(run.config.method)(run.config.settings, device=run.device)
    features = encode(run, method, "train", progress)
    if progress:
        progress("fitting the decoder", 0, 1)
    method.fit(train.patterns, features)
    method.save_pretrained(run.folder / "decoder")
    if progress:
        progress("fitting the decoder", 1, 1)
    write_embeddings(run.folder / "embeddings" / "test.safetensors", method.predict(test.patterns), test.stimulus_ids)


def encode(run, method, split_name, progress=None):
    """Target values of one split's stimuli, dict of target name to FeatureTable."""
    return method.encode(
        run.subject,
        split_name,
        captions=captions(run, split_name) if method.settings.text_context else None,
        store=run.store,
        progress=progress,
    )


def write_embeddings(path, embeddings, stimulus_ids):
    """Write named embeddings, float32 (n_stimuli, n_targets), with their stimulus ids, whole or not at all."""
    arrays = {name: np.ascontiguousarray(values, dtype=np.float32) for name, values in embeddings.items()}
    with whole_file(path) as partial:
        save_file(arrays, partial, metadata={"stimulus_ids": json.dumps([str(name) for name in stimulus_ids])})


def read_embeddings(path):
    """Read what `write_embeddings` wrote: (dict of name to array, list of stimulus ids)."""
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
