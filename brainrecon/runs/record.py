"""What a run records before it begins, and checks when it goes on: data, checkpoints, versions."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from brainrecon.datasets import load, parse_source
from brainrecon.datasets.cohort import Cohort
from brainrecon.datasets.fewer_trials import first_sessions, some_stimuli
from brainrecon.datasets.shuffled import with_shuffled_responses
from brainrecon.evaluation.judges import DRAWN
from brainrecon.evaluation.protocols.protocol import DEFAULT, load_protocol
from brainrecon.features.store import FeatureStore
from brainrecon.runs.beside import settled
from brainrecon.runs.cohort import settled as with_subjects_there
from brainrecon.runs.config import LEAVE_ONE_OUT
from brainrecon.runs.shared_stimuli import of_shared, split_shared
from brainrecon.runs.splitting import DEFAULT_CLIP, clip_image_tokens, split_subject
from stages.ground.errors import InputError
from stages.ground.reading.json_files import read_json
from weights import store as checkpoint_store
from weights.remark import Remark

PACKAGES = (
    "brainrecon",
    "torch",
    "diffusers",
    "transformers",
    "open_clip_torch",
    "scikit-learn",
    "numpy",
    "scipy",
    "h5py",
)


def cohort_of(config, store=None, device="cpu"):
    """The subjects that a run learns from now, the one that it tests first: a `brainrecon.datasets.cohort.Cohort`.

    None of them learns from a stimulus that one of them is tested on, or that a new subject is tested on for whom they are
    learned from.

    Parameters
    ----------
    config : brainrecon.runs.config.RunConfig
    store : brainrecon.features.store.FeatureStore, optional
    device : str
        For a split that looks at pictures.
    """
    data = config.data
    if not data.is_of_several:
        cohort = Cohort([load_one(config, data.subject, store, device)])
    else:
        names = (data.subject, *(name for name in data.subjects if name != data.subject))
        cohort = Cohort(load_one(config, name, store, device) for name in names).apart()
    if data.apart_from is None:
        return cohort
    new = load_one(replace(config, data=replace(data, sessions=None, stimuli=None)), data.apart_from, store, device)
    return cohort.apart([*cohort.tested_ids, *new.test.stimulus_ids])


def load_one(config, name, store=None, device="cpu"):
    """One subject of a `brainrecon.runs.config.RunConfig`, in its fold, split anew and with fewer trials where it says so.

    Parameters
    ----------
    config : brainrecon.runs.config.RunConfig
    name : str, optional
        Of the subject; the first that is there by default.
    store : brainrecon.features.store.FeatureStore, optional
    device : str
    """
    data = config.data
    options = dict(data.options) | ({"fold": (data.fold or 0, data.folds)} if data.folds else {})

    def loaded(one):
        return load(data.source, subject=one, roi=data.roi, **options)

    subject = loaded(name)
    subject = with_shuffled_responses(subject, config.seed) if data.shuffled else subject
    if data.split is not None:
        clip = data.split_checkpoint or split_checkpoint(config)
        others = [loaded(one) for one in data.subjects or () if one != subject.name] if of_shared(data.split) else []
        subject = in_split(subject, data.split, clip, store, device, others)
    subject = subject if data.sessions is None else first_sessions(subject, data.sessions)
    return subject if data.stimuli is None else some_stimuli(subject, data.stimuli, config.seed)


def in_split(subject, split, clip=DEFAULT_CLIP, store=None, device="cpu", others=()):
    """A subject whose stimuli are tested by another rule than the dataset's own.

    Parameters
    ----------
    subject : brainrecon.datasets.subject.Subject
    split : str
        As `brainrecon.runs.splitting.split_subject` takes it.
    clip : str
        Checkpoint whose embeddings make clusters.
    store : brainrecon.features.store.FeatureStore, optional
    device : str
    others : sequence of brainrecon.datasets.subject.Subject
        With whom stimuli are shared, for a rule of these.
    """
    if of_shared(split):
        return split_shared(subject, split, others)
    store = store or FeatureStore()

    def encode(split_name):
        return clip_image_tokens(subject, split_name, clip, store, device)

    parts = [
        subject.fingerprint,
        split,
        _fingerprint(clip),
        [subject.splits[name].n_stimuli for name in ("train", "test")],
    ]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    return split_subject(subject, split, encode, store.folder / "splits" / f"{digest}.json")


def load_subject(config, store=None, device="cpu"):
    """The subject that a `brainrecon.runs.config.RunConfig` tests."""
    return next(iter(cohort_of(config, store, device).values()))


def load_in_folds(source, folds, *, subject=None, roi=None, **options):
    """The subject as it is divided by each fold, a list; `folds` is their number, or `LEAVE_ONE_OUT`."""
    if folds == LEAVE_ONE_OUT:
        # In two folds, for which no dataset needs a split of its own.
        whole = load(source, subject=subject, roi=roi, **options, fold=(0, 2))
        folds = whole.train.n_stimuli + whole.test.n_stimuli
    return [load(source, subject=subject, roi=roi, **options, fold=(fold, folds)) for fold in range(folds)]


def check_checkpoint_names(system):
    """Raise a CheckpointError for a checkpoint that the manifest does not know, before anything is written."""
    for name in system.checkpoints:
        checkpoint_store.folder(name)


def split_checkpoint(config):
    """CLIP checkpoint by which clusters of look-alikes are made: the method's own, or the embedded one if it has none."""
    return config.system.clip or DEFAULT_CLIP


def default_protocol(system, pictures):
    """Name of the protocol that judges unless another is asked for.

    Judges follow the checkpoints: a method that draws photographs with published networks is judged by published ones, as its
    authors did or as most do; networks that know only drawn pictures, as the embedded ones do, are judged by the embedded ones.

    Parameters
    ----------
    system : brainrecon.assembly.system.System
    pictures : str
        What is shown, as `brainrecon.datasets.subject.Subject.pictures` has it.
    """
    scored = load_protocol(system.protocol).captions_of
    if scored == system.output != load_protocol(DEFAULT).captions_of:
        # Texts of another kind than captions, which only its own protocol knows, and no network judges.
        return system.protocol
    known = checkpoint_store.checkpoints()
    published = any(name not in known or known[name].knows != DRAWN for name in system.checkpoints)
    return system.protocol if published and pictures != DRAWN else DEFAULT


def resolved(config, store=None, device="cpu"):
    """Fill in what depends on the data: subject, roi, by what clusters are made, where captions come from, settings left open.

    Without any captions a system that reads some has the settings that it names for such data. Returns the configuration and
    the subjects that are learned from, the one that is tested first.
    """
    config = with_subjects_there(config)
    if config.data.folds == LEAVE_ONE_OUT:
        # In two folds, for which no dataset needs a split of its own.
        whole = load_one(replace(config, data=replace(config.data, folds=2)), config.data.subject, store, device)
        config = replace(config, data=replace(config.data, folds=whole.train.n_stimuli + whole.test.n_stimuli))
    data, cohort = config.data, cohort_of(config, store, device)
    subject = next(iter(cohort.values()))
    own = subject.train.has_captions or data.captions
    choices = None if own else (data.caption_choices or subject.caption_choices or None)
    data = replace(data, subject=subject.name, roi=subject.roi, caption_choices=choices)
    if data.split and data.split_checkpoint is None:
        data = replace(data, split_checkpoint=split_checkpoint(config))
    settings = config.system.settled_with(cohort)
    if config.system.without_captions and not (own or choices):
        settings = replace(settings, **config.system.without_captions)
    return settled(replace(config, data=data, settings=settings), subject), cohort


def environment(config):
    """Versions, machine and checkpoint fingerprints, JSON-able."""
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "threads": _threads(),
        "packages": {name: _version(name) for name in PACKAGES},
        "checkpoints": {name: _fingerprint(name) for name in (*config.system.checkpoints, *config.checkpoints_taken)},
    }


def _threads():
    """How many threads compute on the CPU; the order of sums, and so the last digits, depends on it."""
    import torch

    return torch.get_num_threads()


def check_threads(folder):
    """Warn if a run goes on with another number of threads than it began with, where equal bytes are asked for."""
    then, now = read_environment(folder).get("threads"), _threads()
    if then not in (None, now):
        warnings.warn(
            f"{folder} was begun with {then} threads and {now} compute now, so that bytes may differ from what is there; set "
            f"OMP_NUM_THREADS={then} and run the same command again where they must not.",
            Remark,
            stacklevel=3,
        )


def read_environment(folder):
    """What `environment.json` of a run folder says, of the types that `environment` gives."""
    path = Path(folder) / "environment.json"
    remedy = "remove it, if nothing has changed since, and the same command writes it anew"
    known = read_json(path, dict, remedy)
    kinds = {"checkpoints": dict, "packages": dict, "details": dict, "data": str, "responses": str, "threads": int}
    for name, kind in kinds.items():
        value = known.get(name, kind())
        if not isinstance(value, kind) or (name == "checkpoints" and not all(map(_is_text, value.values()))):
            raise InputError(f"{path} has {json.dumps(value)[:100]} as {name}; {remedy}.")
    return {"checkpoints": {}} | known


def _is_text(value):
    return isinstance(value, str)


def check_checkpoints(folder, now):
    """Refuse to go on under other weights: half of the pictures would come from either."""
    then = read_environment(folder)["checkpoints"]
    changed = [
        name for name in now if name in then and "absent" not in (now[name], then[name]) and now[name] != then[name]
    ]
    if changed:
        raise InputError(
            f"{folder} was begun with another {changed[0]} ({then[changed[0]][:12]}, now {now[changed[0]][:12]}); "
            "name another folder with --out."
        )


def response_digest(subject):
    """Hex digest of the first training trial and the last test trial, if they are there: enough to tell other responses."""
    few = (subject.train.betas[0] if subject.train.has_responses else np.empty(0), subject.test.betas[-1])
    return hashlib.sha256(
        b"".join(np.ascontiguousarray(trial, dtype=np.float32).tobytes() for trial in few)
    ).hexdigest()


def cohort_digests(cohort):
    """What tells the stimuli and responses of each of several subjects from others: dict of name to two hex digests."""
    return {name: [subject.fingerprint, response_digest(subject)] for name, subject in cohort.items()}


def check_cohort(folder, cohort):
    """Refuse to go on with other stimuli or responses of a subject that is learned from than the run began with."""
    known = read_environment(folder).get("cohort", {})
    for name, digests in cohort_digests(cohort).items() if known else ():
        if known.get(name) != digests:
            raise InputError(
                f"{folder} was begun on other stimuli or responses of {name} ({known.get(name)}) than are at "
                f"{cohort[name].source} now ({digests}); name another folder with --out."
            )


def check_place(folder, config):
    """Raise an InputError, with two ways to mend it, if the data of a run are no longer where they were."""
    _, path = parse_source(config.data.source)
    if not path.exists():
        raise InputError(
            f"{folder} was begun on data at {path}, where nothing is now; if they lie elsewhere, write their place as "
            f"data.source into {Path(folder) / 'config.toml'}, or type `brainrecon fit {config.method} KIND:PATH --config "
            f"{Path(folder) / 'config.toml'} --out {folder}`, which takes them if they are the same."
        )


def check_data(folder, subject, responses=None):
    """Refuse to go on with other stimuli, or another vintage of the responses, than the run began with."""
    recorded = read_environment(folder)
    then, details = recorded.get("data", subject.fingerprint), recorded.get("details", {})
    for name, before in details.items():
        now = json.loads(json.dumps(subject.details.get(name)))
        if before != now:
            raise InputError(
                f"{folder} was begun on responses with {name} = {before!r} but at {subject.source} it is {now!r}; "
                "name another folder with --out."
            )
    if responses != recorded.get("responses", responses) and responses is not None:
        raise InputError(
            f"{folder} was begun on other responses ({recorded['responses'][:12]}) than are at {subject.source} now "
            f"({responses[:12]}); name another folder with --out."
        )
    if then != subject.fingerprint:
        raise InputError(
            f"{folder} was begun on other stimuli ({then[:12]}) than are at {subject.source} now "
            f"({subject.fingerprint[:12]}); name another folder with --out."
        )


def _fingerprint(checkpoint):
    try:
        return checkpoint_store.fingerprint(checkpoint)
    except checkpoint_store.CheckpointError:
        # Predicting embeddings needs no generator; who needs an absent checkpoint is told when loading it.
        return "absent"


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
