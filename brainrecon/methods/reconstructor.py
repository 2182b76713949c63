"""A method in a notebook: from a subject to embeddings and pictures without a run folder."""

from __future__ import annotations

import numpy as np

from brainrecon.assembly.settings import read_saved, with_weights
from brainrecon.features.store import FeatureStore
from brainrecon.methods import method_class
from stages.ground.errors import InputError


class Reconstructor:
    """A published method, assembled at its own settings.

    Parameters
    ----------
    method : str
        Name of a method, such as "brain-diffuser".
    settings : dict, optional
        What differs from the method's defaults, nested as in a run's configuration.
    weights : {"published", "tiny"}, optional
        "tiny" takes the embedded networks wherever a checkpoint has a small twin.
    device : str
        Torch device of targets and generator.
    features : path, optional
        Folder of the feature store; the user's cache where it is not given.
    memory : float, optional
        Bytes that fitting may take.

    Attributes
    ----------
    method : object
        The method itself, for example `brainrecon.methods.brain_diffuser.BrainDiffuser`, with `targets` and `decoder`.

    Examples
    --------
    >>> subject = brainrecon.load("nsd:/data/nsd", subject="subj01")
    >>> reconstructor = brainrecon.Reconstructor("brain-diffuser", weights="tiny").fit(subject)
    >>> embeddings = reconstructor.predict(subject.test.patterns)
    >>> pictures = reconstructor.reconstruct(subject.test.patterns, subject.test.stimulus_ids)
    """

    def __init__(self, method="brain-diffuser", settings=None, weights=None, device="cpu", features=None, memory=None):
        kind = method_class(method)
        self.method = kind(with_weights(settings or {}, kind, weights), device=device, memory=memory)
        self.store = FeatureStore(features)

    def encode(self, subject, split_name="train", captions=None, progress=None):
        """True target values of a split's stimuli: dict of target name to FeatureTable (n_stimuli, n_targets)."""
        return self.method.encode(subject, split_name, captions=captions, store=self.store, progress=progress)

    def fit(self, subject, captions=None, progress=None):
        """Fit the decoder on a subject's training split; `captions` in place of the dataset's own."""
        self.method.fit(subject, self.encode(subject, "train", captions, progress), progress)
        return self

    def predict(self, patterns):
        """Embeddings of patterns (n_stimuli, n_voxels): dict of target name to float32 (n_stimuli, n_targets)."""
        return self.method.predict(patterns)

    def reconstruct(self, patterns, stimulus_ids, *, samples=1, seed=0, batch_size=16, repeats=None, progress=None):
        """Pictures from patterns.

        Parameters
        ----------
        patterns : array of shape (n_stimuli, n_voxels), float32
        stimulus_ids : sequence of str, length n_stimuli
            With `seed` and the sample's number they determine the noise, so they have to differ.
        samples : int
        seed : int
        batch_size : int
            Changes a picture by one grey level at most.
        repeats : int, optional
            Trials that each pattern is the average of, for methods that learn from single trials (`shen2019-gan`): 1 for
            single trials. By default as many as the test stimuli had in the data that the method was fitted on.

        Returns
        -------
        array of shape (n_stimuli, samples, height, width, 3), uint8
        """
        names = [str(name) for name in stimulus_ids]
        if len(names) != len(patterns) or len(set(names)) != len(names):
            raise InputError(
                f"There are {len(patterns):,} patterns and {len(set(names)):,} different stimulus ids; "
                "pass one id per pattern, each once."
            )
        requests = self.method.plan(names, patterns, range(samples), repeats)
        pictures = [None] * len(requests)
        for position, picture in self.method.generate(requests, seed=seed, batch_size=batch_size, progress=progress):
            pictures[position] = picture
        return np.stack(pictures).reshape(len(names), samples, *pictures[0].shape)

    def save_pretrained(self, folder):
        """Write settings and fitted decoder into `folder`."""
        self.method.save_pretrained(folder)

    @classmethod
    def from_pretrained(cls, folder, device="cpu", features=None):
        """Read what `save_pretrained` wrote, or the `decoder` folder of a run."""
        name = read_saved(folder)["method"]
        reconstructor = cls(name, device=device, features=features)
        reconstructor.method = method_class(name).from_pretrained(folder, device=device, store=reconstructor.store)
        return reconstructor
