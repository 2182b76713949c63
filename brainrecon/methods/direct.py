"""Methods that go from patterns to pictures in one step, with no embeddings between that others could ask for."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brainrecon.assembly.settings import from_dict, read_saved, to_dict
from brainrecon.datasets.folds import check_pictures_disjoint
from brainrecon.methods.conditions import METHOD_ITSELF
from stages.ground.errors import InputError
from weights.whole_files import write_text


@dataclass(frozen=True, eq=False)
class PatternRequest:
    """One picture to draw.

    Attributes
    ----------
    condition : str
        As in `brainrecon.methods.conditions`.
    stimulus_id : str
        With the seed and the sample it determines whatever is drawn by lot.
    sample : int
    pattern : array of shape (n_voxels,), float32
        The response to draw from: under a control not the stimulus' own.
    repeats : int, optional
        Trials that it is the average of, where that is known.
    """

    condition: str
    stimulus_id: str
    sample: int
    pattern: np.ndarray
    repeats: int | None = None


class DirectMethod(ABC):
    """What all such methods have in common; each adds what it learns and how it draws.

    Parameters
    ----------
    settings : settings_class or dict, optional
    device : str
    memory : float, optional
        Bytes that fitting may take.

    Attributes
    ----------
    predicts_embeddings : bool
        False: nothing is predicted that could be compared with true features, so `targets` is empty.
    conditions : tuple of str
        What can be drawn: the method itself, and controls that need nothing but patterns.
    always_drawn : tuple of str
        Conditions that are drawn beside the method without being asked for.
    single_trials : bool
        Whether the samples of a stimulus are drawn from its trials, one from each, and not all from their average.
    explanation : str
        How its pictures are made, in a line.
    needs_disjoint_pictures : bool
        Whether a picture that is both trained and tested on is refused; reading all of them takes a while.
    fitted_through : tuple of str
        Names of checkpoints whose networks took part in a loss: where they also judge, scores say so.
    notes : tuple of str
        What a reader of its scores has to know, a sentence each.
    picture_shape : (int, int)
        Height and width of the training pictures.
    n_voxels : int
        Of the training patterns.
    training_images : array-like of shape (n_stimuli, height, width, 3), uint8, or None
        The pictures of the split it was fitted on, for a method that shows them; a run hands them over when it opens
        the fitted method.
    """

    name: str
    settings_class: type
    explanation: str
    predicts_embeddings = False
    targets: dict = {}
    conditions: tuple[str, ...] = (METHOD_ITSELF, "shuffled_responses", "mean_response", "ridge_to_pixels")
    always_drawn: tuple[str, ...] = ()
    single_trials = False
    needs_disjoint_pictures = True
    notes: tuple[str, ...] = ()
    fitted_through: tuple[str, ...] = ()
    training_images = None

    def __init__(self, settings=None, device="cpu", memory=None):
        if not isinstance(settings, self.settings_class):
            settings = from_dict(self.settings_class, settings or {})
        self.settings, self.device, self.memory = settings, device, memory

    def encode(self, subject, split_name="train", **options):
        """Nothing: there are no targets."""
        return {}

    def fit(self, subject, features=None, progress=None, folder=None):
        """Learn from a subject's training split.

        Parameters
        ----------
        subject : brainrecon.datasets.subject.Subject
        features : None or empty
            There are no targets; taken so that all methods are fitted alike.
        progress : callable, optional
            Called with (label, done, total).
        folder : path, optional
            Where a method that learns for hours leaves what it needs to go on after an interruption.

        Returns
        -------
        self

        Raises
        ------
        InputError
            There are no pictures; or one of them stands in another split under another id, and the method would be tested on
            what it has seen.
        """
        images = subject.train.images
        if images is None:
            raise InputError(
                f"{subject.source} has no pictures to learn from; put them where `brainrecon data files` says."
            )
        if self.needs_disjoint_pictures:
            check_pictures_disjoint(subject)
        self.training_images, self.picture_shape, self.n_voxels = images, images.shape[1:3], subject.n_voxels
        self.learn(subject, progress, folder)
        return self

    @abstractmethod
    def learn(self, subject, progress=None, folder=None):
        """Learn from ``subject.train``."""

    @abstractmethod
    def draw(self, requests, seed):
        """Pictures of requests, uint8 (n, height, width, 3), in their order."""

    def curves(self):
        """The course of training, for people: dict of label to (steps, values); empty where there was none."""
        return {}

    def summary(self):
        """What was learnt, for people: a list of dicts, a row each, the first value its name and the others numbers."""
        return []

    def predict(self, patterns):
        """Refuse: there are no embeddings."""
        raise InputError(f"{self.name} predicts no embeddings, only pictures; reconstruct with it instead.")

    def requests(self, condition, stimulus_ids, patterns, samples=(0,), repeats=None):
        """What to draw for patterns (n_stimuli, n_voxels): a list of PatternRequest, the samples of a stimulus in a row."""
        return [
            PatternRequest(condition, str(stimulus_id), sample, pattern, repeats)
            for stimulus_id, pattern in zip(stimulus_ids, patterns, strict=True)
            for sample in samples
        ]

    def plan(self, stimulus_ids, patterns, samples, repeats=None):
        """Requests of the method itself for patterns (n_stimuli, n_voxels), each the average of so many trials.

        Raises
        ------
        InputError
            Another number of voxels than in training, values that are not finite, or several samples of single trials.
        """
        patterns = np.asarray(patterns)
        if patterns.ndim != 2 or patterns.shape[1] != self.n_voxels:
            raise InputError(
                f"Patterns have shape {patterns.shape} but the method learnt from {self.n_voxels:,} voxels; load the same "
                "subject and roi."
            )
        if not np.isfinite(patterns).all():
            raise InputError(
                f"{(~np.isfinite(patterns)).any(axis=1).sum():,} of {len(patterns):,} patterns hold NaN or infinite values; "
                "leave them out, or mend these voxels."
            )
        if self.single_trials and len(samples) > 1:
            raise InputError(
                f"Samples of single trials are one per trial, but {len(samples)} of one pattern were asked for; pass every "
                "trial as a pattern of its own, with samples=1."
            )
        return self.requests(METHOD_ITSELF, stimulus_ids, patterns, samples, repeats)

    def generate(self, requests, *, seed=0, batch_size=16, progress=None):
        """Yield (position in requests, picture) as batches finish."""
        for start in range(0, len(requests), batch_size):
            batch = requests[start : start + batch_size]
            yield from enumerate(self.draw(batch, seed), start=start)
            if progress:
                progress("reconstructing", start + len(batch), len(requests))

    def batch_size(self):
        """Pictures to draw at a time."""
        return 16

    # Files

    @abstractmethod
    def save_fitted(self, folder):
        """Write what was learnt into `folder`, `config.json` last."""

    @abstractmethod
    def read_fitted(self, folder):
        """Read what `save_fitted` wrote."""

    def save_pretrained(self, folder):
        """Write settings and what was learnt into `folder`; where `config.json` stands, it is whole."""
        settings = {"method": self.name, "settings": to_dict(self.settings)}
        settings |= {"picture_shape": list(self.picture_shape), "n_voxels": self.n_voxels}
        write_text(Path(folder) / "method.json", json.dumps(settings, indent=1) + "\n")
        write_text(Path(folder) / "summary.json", json.dumps(self.summary(), indent=1) + "\n")
        self.save_fitted(folder)

    @classmethod
    def from_pretrained(cls, folder, device="cpu", store=None):
        """Read what `save_pretrained` wrote."""
        known = read_saved(folder)
        method = cls(known["settings"], device=device)
        method.picture_shape, method.n_voxels = tuple(known["picture_shape"]), known["n_voxels"]
        method.read_fitted(folder)
        return method
