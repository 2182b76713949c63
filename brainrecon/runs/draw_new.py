"""Pictures of new patterns: those of a run's own subject and voxels whose stimuli are not among its test stimuli."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

import numpy as np

from brainrecon.assembly.condition import RECONSTRUCTION
from brainrecon.runs.draw import deterministic
from brainrecon.runs.layout import MEDIA, Layout
from brainrecon.runs.writer import Writer
from stages.ground.ending import finished_first
from stages.ground.errors import InputError
from stages.ground.not_finite import NotFinite
from stages.ground.progress import SILENT
from stages.ground.reading.json_files import read_json
from weights.whole_files import write_text

_RECORD = "patterns.json"


def draw_new(
    run,
    patterns,
    stimulus_ids,
    folder,
    *,
    samples=None,
    stimuli=None,
    batch_size=None,
    shard=(0, 1),
    reproducible=False,
    progress=SILENT,
):
    """Draw the outputs of new patterns that are not there yet, each into a file of its own.

    >>> draw_new(run, patterns, ["cat", "dog"], "new")  # doctest: +SKIP
    PosixPath('new/images')

    Parameters
    ----------
    run : brainrecon.runs.run.Run
        A fitted one, without folds.
    patterns : array of shape (n_stimuli, n_voxels), float32
        Of the voxels that the run was fitted on, in its units, each the average over the trials of a stimulus.
    stimulus_ids : sequence of str, length n_stimuli
        Each once. With the run's seed and the sample's number they determine the noise: a test stimulus's own pattern under
        its own id gives the picture that `Run.reconstruct` draws, to one grey level, unless a step of the system averages outputs
        over trials: here it reads the average.
    folder : path
        Files are called as in a run folder, ``images/stim-<id>_sample-<k>.png``.
    samples : int, optional
        As many as the run has by default.
    stimuli : sequence of str, optional
        Those of `stimulus_ids` to draw; all by default.
    batch_size, shard, reproducible, progress
        As of `brainrecon.runs.draw.reconstruct`.

    Returns
    -------
    pathlib.Path
        Where the files are.

    Raises
    ------
    InputError
        Patterns of other voxels; an unknown stimulus; an id that is empty or too long for a file's name; or a folder that has
        outputs of other patterns.
    NotFinite
        Outputs are NaN or infinite; raised when all others have been drawn.
    """
    check_draws(run)
    folder, ids = Path(folder), [str(name) for name in stimulus_ids]
    patterns, samples = run.chain.checked(patterns, run.subject.name), samples or run.config.samples
    chosen = ids if stimuli is None else list(dict.fromkeys(map(str, stimuli)))
    row = {name: place for place, name in enumerate(ids)}
    if unknown := [name for name in chosen if name not in row]:
        raise InputError(f"Stimulus {unknown[0]!r} is not among the {len(ids):,} patterns; the first is {ids[0]!r}.")
    medium, kind = MEDIA[run.chain.medium(run.chain.output)]
    try:
        paths = {
            name: [Layout(folder).output(RECONSTRUCTION, medium.name, name, sample) for sample in range(samples)]
            for name in chosen
        }
    except ValueError as error:
        raise InputError(f"{error}; call that stimulus otherwise.") from None
    _check_record(folder, run, patterns, ids)
    chosen = chosen[shard[0] :: shard[1]]
    missing = [name for name in chosen if not all(path.exists() for path in paths[name])]
    batch_size = 1 if reproducible else batch_size or run.chain.giver(run.chain.output).batch_size()
    drawing = dict(samples=samples, seed=run.config.seed, batch_size=batch_size, subject=run.subject.name)
    # A batch is what an interruption costs.
    at_once = -(-batch_size // samples)
    spoilt = []
    with deterministic() if reproducible else contextlib.nullcontext(), Writer(medium.write) as writer:
        for start in range(0, len(missing), at_once):
            names = missing[start : start + at_once]
            with finished_first("batch"):
                try:
                    own = patterns[[row[name] for name in names]]
                    for place, sample, output in run.chain.stream_from_patterns(names, own, **drawing):
                        if not (path := paths[names[place]][sample]).exists():
                            writer.write(path, output)
                except NotFinite as error:
                    spoilt.append(error)
            progress("reconstructing", start + len(names), len(missing))
    if spoilt:
        raise NotFinite.together(spoilt)
    return folder / kind


def check_draws(run):
    """Refuse a run whose output is not drawn."""
    if not run.unfitted.draws:
        raise InputError(
            f"{run.config.method} draws nothing at its settings, its output is {run.unfitted.output}; type `brainrecon predict "
            f"{run.folder} --out FILE` for it, or `brainrecon evaluate {run.folder}`."
        )


def _check_record(folder, run, patterns, ids):
    """Note whose outputs a folder holds, or refuse one that holds those of others."""
    # Data may move, and more samples are more of the same.
    config = run.config.to_dict() | {"samples": 0}
    config["data"] = config["data"] | {"source": ""}
    digest = hashlib.sha256(json.dumps([config, ids, str(patterns.dtype)]).encode())
    digest.update(np.ascontiguousarray(patterns))
    record = {"patterns": digest.hexdigest(), "run": str(run.folder.resolve()), "stimulus_ids": ids}
    path = folder / _RECORD
    if path.exists():
        known = read_json(path, dict, "remove that folder, or name another with --out")
        if known.get("patterns") != record["patterns"]:
            raise InputError(
                f"{folder} has pictures of other patterns, of {known.get('run')}; name another folder with --out, or remove it."
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{folder} exists and holds no pictures of new patterns; name a new or empty folder with --out."
        )
    else:
        write_text(path, json.dumps(record, indent=1) + "\n")
