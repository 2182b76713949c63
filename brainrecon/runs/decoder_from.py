"""Decoders that a run takes in place of fitting: what a method's authors released, or those of another run.

``decoder_from`` of a configuration names them: checkpoints of the manifest that say whose responses they decode and which fitted
steps they hold (``subject``, ``needed_by`` and ``parts``), or the folder of one run, of which all steps are taken.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.settings import DESCRIPTION, differences, to_dict
from brainrecon.datasets import load
from brainrecon.runs.config import RunConfig
from brainrecon.runs.layout import Layout
from brainrecon.runs.record import read_environment, response_digest
from stages.decoders.released import other_voxels
from stages.ground.errors import InputError
from weights import store
from weights.own_checkpoints import is_own_folder
from weights.partial_files import partial_name
from weights.seals import broken
from weights.suggestions import did_you_mean
from weights.whole_files import put_in_place

RELEASED = "released"
"""The word for whatever the authors released for the run's subject."""
_LEFT_OUT = "or leave --decoder out to fit one"


def named(words, system, subject):
    """Names of checkpoints, or the path of a run, that some words stand for.

    Parameters
    ----------
    words : sequence of str
        `RELEASED`, names of checkpoints, or the folder of a run.
    system : brainrecon.assembly.system.System
    subject : str
        Name of the run's subject.

    Returns
    -------
    names : tuple of str
        Each once.

    Raises
    ------
    InputError
        A word stands for nothing; nothing is released for the subject, or several checkpoints for one step.
    """
    known, names = store.checkpoints(), []
    for word in words:
        if word == RELEASED:
            names += _released(system, subject, known)
        elif word in known:
            names.append(word)
        elif is_own_folder(word) or Path(word).is_dir():
            names += _taken_by(path := _run_folder(word)) or [str(path)]
        else:
            there = [
                RELEASED,
                *(entry.name for entry in known.values() if system.name in entry.needed_by and entry.parts),
            ]
            raise InputError(
                f"There is no decoder {word!r} of {system.name}; expected one of {', '.join(there)}, or the folder of a run"
                f"{did_you_mean(word, there)}: pass --decoder {RELEASED}."
            )
    names = tuple(dict.fromkeys(names))
    if any(is_path(name) for name in names) and len(names) > 1:
        raise InputError(
            f"All of a run's decoders are taken, so that {' and '.join(names)} do not go together; name one."
        )
    return names


def is_path(name):
    """Whether a decoder is that of a run, and not a checkpoint."""
    return Path(name).is_absolute()


def taken_parts(config, chain):
    """The steps of a chain that a run takes: dict of part to checkpoint, or to the path of a run."""
    learned = [step.part for step in chain.steps if step.is_learned]
    if any(is_path(name) for name in config.decoder_from):
        return dict.fromkeys(learned, config.decoder_from[0])
    entries = [store.entry(name) for name in config.decoder_from]
    return {part: entry.name for entry in entries for part in entry.parts if part in learned}


def check_decoder(config, subject):
    """Refuse decoders that are not of a run's method, subject or stimuli, before anything is fetched or written.

    Parameters
    ----------
    config : brainrecon.runs.config.RunConfig
        With `decoder_from` as `named` gives it.
    subject : brainrecon.datasets.subject.Subject
        As the configuration says.

    Raises
    ------
    InputError
    """
    if not config.decoder_from:
        return
    if config.data.folds:
        raise InputError(
            f"{config.decoder_from[0]} learned from one training split, but --folds {config.data.folds} fits a decoder to each "
            "fold; leave --folds or --decoder out."
        )
    if is_path(config.decoder_from[0]):
        _check_run(config, subject, Path(config.decoder_from[0]))
        return
    seen = {}
    for entry in map(store.entry, config.decoder_from):
        _check_entry(entry, config, subject)
        for part in entry.parts:
            if other := seen.get(part):
                raise InputError(f"{other} and {entry.name} both hold {part} of {config.method}; name one of them.")
            seen[part] = entry.name
    if not taken_parts(config, Chain(config.system)):
        raise InputError(
            f"{', '.join(config.decoder_from)} holds {', '.join(seen)}, which {config.method} does not learn at these settings; "
            "leave --decoder out."
        )
    _check_stimuli(config, subject)


def copy_decoder(config, folder):
    """Copy the fitted steps of the run that a configuration names, if it names one, whole or not at all.

    Parameters
    ----------
    config : brainrecon.runs.config.RunConfig
    folder : path
        The new run's own, of its decoder.
    """
    folder = Path(folder)
    if folder.exists() or not any(map(is_path, config.decoder_from)):
        return
    source = Layout(Path(config.decoder_from[0])).decoder
    if not (source / DESCRIPTION).exists():
        raise InputError(f"{source} holds no fitted decoder any more; put it back, {_LEFT_OUT}.")
    partial = partial_name(folder)
    shutil.copytree(source, partial)
    if damage := broken(partial):
        shutil.rmtree(partial)
        raise InputError(f"In {source}, {damage}; fit that run again.")
    put_in_place(partial, folder)


def _released(system, subject, known):
    """Checkpoints with every step that a system learns, of one subject."""
    entries = [entry for entry in known.values() if system.name in entry.needed_by and entry.parts and entry.subject]
    subjects = list(dict.fromkeys(entry.subject for entry in entries))
    if subject not in subjects:
        there = (
            f"there are some for {', '.join(subjects)}" if subjects else "its authors released none that is known here"
        )
        raise InputError(
            f"No decoder of {system.name} is released for {subject}; {there}: name another subject, {_LEFT_OUT}."
        )
    names = []
    for part in (step.part for step in Chain(system).steps if step.is_learned):
        found = [entry.name for entry in entries if entry.subject == subject and part in entry.parts]
        if len(found) != 1:
            what = f"{', '.join(found)} are released" if found else "nothing is released"
            raise InputError(
                f"For {part or 'the decoder'} of {system.name} and {subject} {what}; name one with --decoder NAME."
            )
        names += found
    return names


def _run_folder(word):
    """Absolute path of the run that a folder is of."""
    path = Path(word).expanduser().resolve()
    if not Layout(path).config.exists() and Layout(path.parent).config.exists():
        path = path.parent
    if Layout(path).config.exists() and RunConfig.read(Layout(path).config).shared_decoder:
        path = Layout(path).above
    return path


def _taken_by(folder):
    """The checkpoints that a run took all of its decoder from: whoever takes it takes them."""
    if not Layout(folder).config.exists():
        return []
    config = RunConfig.read(Layout(folder).config)
    chain = Chain(config.system)
    learned = {step.part for step in chain.steps if step.is_learned}
    return list(config.checkpoints_taken) if learned == set(taken_parts(config, chain)) else []


def _check_entry(entry, config, subject):
    """Refuse a checkpoint that decodes something else."""
    if not entry.parts or config.method not in entry.needed_by:
        of = f"it is of {', '.join(entry.needed_by)}" if entry.parts else "it holds no fitted step"
        raise InputError(f"{entry.name} is no decoder of {config.method}, {of}; name another, {_LEFT_OUT}.")
    if entry.subject is None:
        raise InputError(
            f"{entry.name} is of several subjects, before a new one; pass --pretrained {entry.name} --new-subject {subject.name}."
        )
    if entry.subject != subject.name:
        raise InputError(
            f"{entry.name} decodes responses of {entry.subject}, but the run is of {subject.name}; pass --subject "
            f"{entry.subject}, {_LEFT_OUT}."
        )
    if entry.n_voxels not in (None, subject.n_voxels):
        raise other_voxels(entry.name, entry.n_voxels, subject.n_voxels)
    if entry.standardized not in (None, "no") and subject.train.standardized == "no":
        raise InputError(
            f"{entry.name} reads responses that are z-scored within each session, but those of {subject.source} are not; pass "
            f"--option zscore=true if the data have it, {_LEFT_OUT}."
        )


def _check_stimuli(config, subject):
    """Refuse to test stimuli that a released decoder has learned from."""
    data = config.data
    if data.split is None and not data.shuffled:
        return
    own = load(data.source, subject=data.subject, roi=data.roi, **data.options).train
    seen = np.isin(subject.test.stimulus_ids, own.stimulus_ids)
    if seen.any():
        raise InputError(
            f"{config.decoder_from[0]} learned from {seen.sum():,} of the {len(seen):,} stimuli that --split {data.split} tests; "
            "leave --split or --decoder out."
        )


def _check_run(config, subject, folder):
    """Refuse the decoder of a run that learned something else, or from something else."""
    if not Layout(folder).config.exists():
        raise InputError(
            f"{folder} is no run folder: config.toml is missing; name a run, a checkpoint, or {RELEASED}, {_LEFT_OUT}."
        )
    other = RunConfig.read(Layout(folder).config)
    if other.method != config.method:
        raise InputError(
            f"{folder} is a run of {other.method}, whose decoder {config.method} cannot take; name a run of {config.method}, "
            f"{_LEFT_OUT}."
        )
    chain = Chain(other.system)
    if not chain.is_fitted(Layout(folder).decoder):
        raise InputError(
            f"{folder} is not fitted yet; type `brainrecon fit --config {folder}/config.toml --out {folder}` first."
        )
    for what, then, now in (("data", other.data, config.data), ("settings", other.settings, config.settings)):
        free = ("source", "beside") if what == "data" else config.system.of_drawing
        for name, before, after in differences(to_dict(then), to_dict(now)):
            if not any(name == one or name.startswith(f"{one}.") for one in free):
                raise InputError(
                    f"The decoder of {folder} was fitted with {what}.{name} = {before!r}, but {after!r} is asked for; repeat the "
                    f"settings of that run, {_LEFT_OUT}."
                )
    known = read_environment(folder)
    if (known.get("data"), known.get("responses")) != (subject.fingerprint, response_digest(subject)):
        raise InputError(
            f"The decoder of {folder} was fitted on other stimuli or responses than are at {subject.source} now; name the data "
            f"of that run, {_LEFT_OUT}."
        )
