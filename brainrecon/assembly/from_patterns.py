"""What a fitted chain makes of patterns, without a run folder."""

from __future__ import annotations

import warnings

import numpy as np

from brainrecon.assembly.response_size import other_scale
from brainrecon.assembly.step import repeated
from brainrecon.assembly.values import PATTERNS, REPEATS, SHOWN, Item
from stages.ground.errors import InputError
from weights.remark import Remark


def stream(chain, stimulus_ids, patterns, *, samples, seed, batch_size, repeats, subject):
    """Yield (row of the pattern, sample, output) as they are drawn; arguments as of `Chain.run_from_patterns`.

    Patterns are those of `checked`.
    """
    if chain.system.reads_single_trials and samples > 1:
        raise InputError(
            f"Samples of single trials are one per trial, but {samples} of one pattern were asked for; pass every trial as "
            "a pattern of its own, with samples=1."
        )
    if chain.system.chooses_by_shown:
        raise InputError(
            f"{chain.name} chooses by the pictures that were shown, and patterns by themselves have none; draw in a run, or set "
            "it to choose by what was decoded."
        )
    values = measured(chain, patterns, repeats)
    items, each = [Item(subject, str(name)) for name in stimulus_ids], 1
    for step in chain.steps:
        if step.by_lot and each != samples:
            each, rows = samples, np.repeat(np.arange(len(items)), samples)
            values = {name: repeated(value, rows) for name, value in values.items()}
            items = [Item(one.subject, one.stimulus_id, sample) for one in items for sample in range(samples)]
        read = {name: values[name] for name in (*step.reads, *step.optional)}
        if chain.output in step.gives:
            for row, given in step.stream(items, read, seed=seed, batch_size=batch_size or step.batch_size()):
                stimulus, sample = divmod(row, each)
                # Without a lot all samples are the same.
                for one in (sample,) if each == samples else range(samples):
                    yield stimulus, one, given[chain.output]
            return
        values |= step.run(items, read, seed=seed)
    raise AssertionError("a chain ends in its output")


def measured(chain, given, repeats):
    """The values before the first step of a chain: patterns, averages of `repeats` trials, or the pictures that it encodes."""
    return {SHOWN: given} if chain.encodes else {PATTERNS: given, REPEATS: [repeats] * len(given)}


def checked(chain, patterns, subject=""):
    """Patterns as they are, if a chain can read them, see `Chain.checked`; or pictures, if it encodes."""
    if chain.encodes:
        return _checked_pictures(chain, patterns)
    patterns, n_voxels = np.asarray(patterns), chain.n_voxels
    if isinstance(n_voxels, dict):
        if subject not in n_voxels:
            raise InputError(
                f"Patterns are of {subject or 'nobody that is named'} but the method learned from {', '.join(n_voxels)}; "
                "pass subject, one of these."
            )
        n_voxels = n_voxels[subject]
    if patterns.ndim != 2 or (n_voxels is not None and patterns.shape[1] != n_voxels):
        raise InputError(
            f"Patterns have shape {patterns.shape} but the method learned from {n_voxels or 0:,} voxels; load the same "
            "subject and roi."
        )
    if not np.isfinite(patterns).all():
        raise InputError(
            f"{(~np.isfinite(patterns)).any(axis=1).sum():,} of {len(patterns):,} patterns hold NaN or infinite values; "
            "leave them out, or mend these voxels."
        )
    if chain.usual_size is not None and (told := other_scale(patterns, chain.usual_size)):
        warnings.warn(told, Remark, stacklevel=3)
    return patterns


def _checked_pictures(chain, pictures):
    """Pictures as they are, if they are some."""
    pictures = np.asarray(pictures)
    if pictures.ndim != 4 or pictures.shape[-1] != 3 or pictures.dtype != np.uint8:
        raise InputError(
            f"{chain.name} predicts responses to pictures but was given {pictures.dtype} of shape {pictures.shape}; pass "
            "pictures (n, height, width, 3) of uint8."
        )
    return pictures
