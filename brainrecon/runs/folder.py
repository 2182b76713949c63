"""The run folder: all state of a run, in files that are whole or absent.

config.toml            what was asked, every default spelled out
environment.json       versions, machine, checkpoint fingerprints
captions.json          captions of the training stimuli, where the dataset had none
decoder/               the fitted decoder
embeddings/test.safetensors   predicted targets of the test stimuli, where the method has targets
stage_one/stim-<id>.png       where the method has two stages
images/stim-<id>_sample-<k>.png
controls/<name>/images/stim-<id>_sample-<k>.png
folds/<k>/             a run folder each, where there are folds
manifest.jsonl         a line for each file written
scores/<protocol>.csv, .json
report.html
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import sys
import time
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from brainrecon.datasets import load
from brainrecon.features.store import FeatureStore
from brainrecon.methods import method_class
from brainrecon.methods.conditions import CONDITIONS, METHOD_ITSELF
from brainrecon.runs.config import LEAVE_ONE_OUT, RunConfig, differences
from brainrecon.runs.splitting import DEFAULT_CLIP, clip_image_tokens, split_subject
from stages.ground.errors import InputError
from weights import store as checkpoint_store
from weights.whole_files import whole_file, write_text

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


class Run:
    """One method on one subject, in a folder.

    Parameters
    ----------
    folder : path
        An existing run folder; `Run.create` makes one.
    features : path, optional
        Folder of the feature store; `brainrecon.features.store.default_folder()` where it is not given.
    device : str
        Torch device for targets, decoder and generator.
    memory : float, optional
        Bytes that fitting the decoder may take.

    Attributes
    ----------
    config : RunConfig
    """

    def __init__(self, folder, features=None, device="cpu", memory=None):
        self.folder = Path(folder)
        if not (self.folder / "config.toml").exists():
            raise InputError(
                f"{self.folder} is no run folder: config.toml is missing; make one with "
                f"`brainrecon run METHOD KIND:PATH --out {self.folder}`."
            )
        self.config = RunConfig.read(self.folder / "config.toml")
        self.store, self.device, self.memory = FeatureStore(features), device, memory

    @classmethod
    def create(cls, folder, config, features=None, device="cpu", memory=None):
        """Make a run folder, or open the one that is there if it was asked for the same.

        What the configuration leaves open is settled first, and nothing is written before the data have been opened.

        Raises
        ------
        InputError
            The folder belongs to a run with other settings, or holds other files; or the data cannot be loaded.
        """
        folder = Path(folder)
        check_checkpoint_names(config.settings)
        config, subject = resolved(config, FeatureStore(features), device)
        if (folder / "config.toml").exists():
            there = RunConfig.read(folder / "config.toml")
            if there.data.split and there.data.split_checkpoint is None:
                there = replace(there, data=replace(there.data, split_checkpoint=split_checkpoint(there)))
            # More samples are more of the same run.
            if found := differences(replace(there, samples=config.samples).to_dict(), config.to_dict()):
                name, before, after = found[0]
                raise InputError(
                    f"{folder} is a run with {name} = {before!r} but {after!r} was asked for; "
                    "name another folder with --out, or repeat the settings of that run to continue it."
                )
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder} exists and is no run folder; name a new or empty folder with --out.")
        if subject.train.images is None:
            raise InputError(
                f"{config.data.source} has no pictures to learn from; put them where `brainrecon data files` says."
            )
        now = environment(config) | {"data": subject.fingerprint, "details": subject.details}
        now["responses"] = _response_digest(subject)
        if (folder / "environment.json").exists():
            _check_checkpoints(folder, now["checkpoints"])
            _check_data(folder, subject, now["responses"])
        config.write(folder / "config.toml")
        if not (folder / "environment.json").exists():
            write_text(folder / "environment.json", json.dumps(now, indent=1) + "\n")
        run = cls(folder, features, device, memory)
        if not config.data.folds or config.data.fold is not None:
            run.subject = subject
        return run

    def __repr__(self):
        return f"Run({str(self.folder)!r}: {self.config.method}, {self.config.data.source})"

    @cached_property
    def parts(self):
        """The run itself, or one run for each of its folds."""
        data = self.config.data
        if not data.folds or data.fold is not None:
            return [self]
        folders = [self.folder / "folds" / str(fold) for fold in range(data.folds)]
        runs = [
            Run(folder, self.store.folder, self.device, self.memory)
            if (folder / "config.toml").exists()
            else Run.create(
                folder, replace(self.config, data=replace(data, fold=fold)), self.store.folder, self.device, self.memory
            )
            for fold, folder in enumerate(folders)
        ]
        for run in runs:
            run.config = replace(run.config, samples=self.config.samples)
        return runs

    @cached_property
    def subject(self):
        """The subject, loaded as the configuration says."""
        subject = load_subject(self.config, self.store, self.device)
        if (self.folder / "environment.json").exists():
            _check_data(self.folder, subject)
        return subject

    @cached_property
    def method(self):
        """The fitted method."""
        if self.config.data.folds and self.config.data.fold is None:
            raise InputError(
                f"{self.folder} has a decoder for each fold; name one, for example {self.folder / 'folds' / '0'}."
            )
        if not self.is_fitted:
            raise InputError(f"{self.folder} is not fitted yet; run `brainrecon fit` or `brainrecon run` first.")
        method = method_class(self.config.method).from_pretrained(
            self.folder / "decoder", device=self.device, store=self.store
        )
        if hasattr(method, "training_images"):
            method.training_images = self.subject.train.images
        return method

    @property
    def is_fitted(self):
        """Whether the fitted method is there, and the embeddings of one that predicts some."""
        is_there = (self.folder / "decoder" / "config.json").exists()
        predicts = method_class(self.config.method).predicts_embeddings
        return is_there and (not predicts or (self.folder / "embeddings" / "test.safetensors").exists())

    def image_path(self, condition, stimulus_id, sample=0):
        """File of a picture, by condition, stimulus and sample."""
        if condition == "stage_one":
            return self.folder / "stage_one" / f"stim-{stimulus_id}.png"
        root = self.folder if condition == METHOD_ITSELF else self.folder / "controls" / condition
        return root / "images" / f"stim-{stimulus_id}_sample-{sample}.png"

    def write_image(self, path, image):
        """Write a picture, uint8 (height, width, 3), whole or not at all, and note it in the manifest."""
        with whole_file(path) as partial:
            Image.fromarray(image).save(partial, format="PNG")
            digest = hashlib.sha256(partial.read_bytes()).hexdigest()
        line = {"file": path.relative_to(self.folder).as_posix(), "sha256": digest, "time": round(time.time(), 3)}
        with open(self.folder / "manifest.jsonl", "a", encoding="utf-8") as manifest:
            manifest.write(json.dumps(line) + "\n")

    # The verbs; their modules bring the heavy libraries

    def fit(self, progress=None):
        """Fit the decoder of every part and predict its test embeddings; what is done is left alone."""
        from brainrecon.runs.fitting import fit

        for part in self.parts:
            fit(part, progress)
        return self

    def reconstruct(self, conditions=(METHOD_ITSELF,), **options):
        """Draw the pictures that are missing; options as in `brainrecon.runs.reconstruction.reconstruct`."""
        from brainrecon.runs.reconstruction import reconstruct

        _check_checkpoints(self.folder, environment(self.config)["checkpoints"])
        conditions = [name for name in conditions if name not in self.not_drawn(conditions)]
        stimuli = options.pop("stimuli", None)
        if stimuli is not None and len(self.parts) > 1:
            found = {str(name) for part in self.parts for name in part.subject.test.stimulus_ids}
            if absent := [name for name in stimuli if name not in found]:
                raise InputError(f"Stimulus {absent[0]!r} is in no fold; see `brainrecon data info`.")
        for part in self.parts:
            own = stimuli
            if stimuli is not None and len(self.parts) > 1:
                own = [name for name in stimuli if name in set(map(str, part.subject.test.stimulus_ids))]
            reconstruct(part, conditions, stimuli=own, **options)
        return self

    def not_drawn(self, conditions):
        """Those of some conditions that this run cannot have, and why: dict of name to reason."""
        drawable = [name for name in conditions if name in CONDITIONS]
        reasons = {
            name: "the method has nothing for it" for name in drawable if name not in self.parts[0].method.conditions
        }
        # Another stimulus of the fold is one that its decoder was not trained on; there has to be one.
        if "shuffled_responses" in conditions and len(self.parts) > 1:
            fewest = min(part.subject.test.n_stimuli for part in self.parts)
            if fewest < 2:
                reasons["shuffled_responses"] = "a fold tests one stimulus, and has no other's response to give"
        if "mean_response" in conditions and _is_transductive(self.config.settings):
            reasons["mean_response"] = "its one prediction has no spread that transductive rescaling could use"
        return reasons

    def evaluate(self, protocol=None, progress=None):
        """Score every condition whose pictures are there and write `scores/<protocol>.csv` and `.json`."""
        from brainrecon.runs.scoring import evaluate

        return evaluate(self, protocol, progress)


def load_subject(config, store=None, device="cpu"):
    """Subject of a `brainrecon.runs.config.RunConfig`, in its fold and split anew where it says so."""
    data = config.data
    options = dict(data.options) | ({"fold": (data.fold or 0, data.folds)} if data.folds else {})
    subject = load(data.source, subject=data.subject, roi=data.roi, **options)
    if data.split is None:
        return subject
    store, clip = store or FeatureStore(), data.split_checkpoint or split_checkpoint(config)

    def encode(split_name):
        return clip_image_tokens(subject, split_name, clip, store, device)

    parts = [
        subject.fingerprint,
        data.split,
        _fingerprint(clip),
        [subject.splits[name].n_stimuli for name in ("train", "test")],
    ]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    return split_subject(subject, data.split, encode, store.folder / "splits" / f"{digest}.json")


def _is_transductive(settings):
    """Whether predictions of any target are rescaled by the statistics of those that are predicted together."""
    ways = getattr(getattr(settings, "decoder", None), "rescale", None)
    return "transductive" in (ways.values() if isinstance(ways, dict) else (ways,))


def checkpoint_names(settings):
    """Names of the checkpoints that a method with these settings reads, sorted."""
    named = vars(settings.checkpoints).values() if hasattr(settings, "checkpoints") else ()
    return sorted({*named, *getattr(settings, "further_checkpoints", ())})


def check_checkpoint_names(settings):
    """Raise a CheckpointError for a checkpoint that the manifest does not know, before anything is written."""
    for name in checkpoint_names(settings):
        checkpoint_store.folder(name)


def split_checkpoint(config):
    """CLIP checkpoint by which clusters of look-alikes are made: the method's own, or the embedded one where it has none."""
    checkpoints = getattr(config.settings, "checkpoints", None)
    return getattr(checkpoints, "clip", DEFAULT_CLIP)


def resolved(config, store=None, device="cpu"):
    """Fill in what depends on the data: subject, roi, by what clusters are made, where captions come from.

    Without any captions a method that has a text context does without it. Returns the configuration and the subject.
    """
    if config.data.folds == LEAVE_ONE_OUT:
        whole = load_subject(replace(config, data=replace(config.data, folds=0)), store, device)
        config = replace(config, data=replace(config.data, folds=whole.train.n_stimuli + whole.test.n_stimuli))
    data, subject = config.data, load_subject(config, store, device)
    own = subject.train.has_captions or data.captions
    choices = None if own else (data.caption_choices or subject.caption_choices or None)
    data = replace(data, subject=subject.name, roi=subject.roi, caption_choices=choices)
    if data.split and data.split_checkpoint is None:
        data = replace(data, split_checkpoint=split_checkpoint(config))
    settings = config.settings
    if getattr(settings, "text_context", False) and not (own or choices):
        settings = replace(settings, text_context=False)
    return replace(config, data=data, settings=settings), subject


def environment(config):
    """Versions, machine and checkpoint fingerprints, JSON-able."""
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "checkpoints": {name: _fingerprint(name) for name in checkpoint_names(config.settings)},
    }


def _check_checkpoints(folder, now):
    """Refuse to go on under other weights: half of the pictures would come from either."""
    then = json.loads((folder / "environment.json").read_text())["checkpoints"]
    changed = [
        name for name in now if name in then and "absent" not in (now[name], then[name]) and now[name] != then[name]
    ]
    if changed:
        raise InputError(
            f"{folder} was begun with another {changed[0]} ({then[changed[0]][:12]}, now {now[changed[0]][:12]}); "
            "name another folder with --out."
        )


def _response_digest(subject):
    """Hex digest of the first training trial and the last test trial: enough to tell other responses."""
    few = (subject.train.betas[0], subject.test.betas[-1])
    return hashlib.sha256(
        b"".join(np.ascontiguousarray(trial, dtype=np.float32).tobytes() for trial in few)
    ).hexdigest()


def _check_data(folder, subject, responses=None):
    """Refuse to go on with other stimuli, or another vintage of the responses, than the run began with."""
    recorded = json.loads((folder / "environment.json").read_text())
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
