"""A system in a notebook: from a subject to embeddings and pictures without a run folder."""

from __future__ import annotations

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.registry import system, system_class
from brainrecon.assembly.settings import read_saved, with_weights
from brainrecon.assembly.system import System
from brainrecon.assembly.targets import encode
from brainrecon.assembly.values import Machine
from brainrecon.features.store import FeatureStore
from stages.ground.devices import AUTO, chosen_device
from stages.ground.errors import InputError
from stages.ground.notebook_progress import IN_NOTEBOOKS


class Reconstructor:
    """A published system, assembled at its own settings.

    Parameters
    ----------
    method : str, or a class or an instance of brainrecon.assembly.system.System
        Name of a system, such as "brain-diffuser"; or one of your own, which is then known under its name. An instance has
        its settings already.
    settings : dict, optional
        What differs from the system's defaults, nested as in a run's configuration.
    weights : {"published", "tiny"}, optional
        "tiny" takes the embedded networks wherever a checkpoint has a small twin.
    device : str
        Torch device of targets, decoder and generator; the best there is by default.
    features : path, optional
        Folder of the feature store; the user's cache if it is not given.
    memory : float, optional
        Bytes that fitting may take.

    Attributes
    ----------
    chain : brainrecon.assembly.chain.Chain
        The steps, their targets and their system.

    Examples
    --------
    >>> from brainrecon import load, simulate
    >>> report = simulate("cohort", sessions=2, trials_per_session=30, shared=5, voxels=160)
    >>> subject = load("nsd:cohort")
    >>> reconstructor = Reconstructor("mean-image").fit(subject)
    >>> reconstructor.reconstruct(subject.test.patterns, subject.test.stimulus_ids).shape
    (5, 1, 64, 64, 3)

    A system of your own, as `docs/guide/your-own.md` writes one:

    >>> Reconstructor(MySystem)  # doctest: +SKIP
    >>> Reconstructor(MySystem({"generator": {"strength": 0.5}}))  # doctest: +SKIP
    """

    def __init__(self, method="brain-diffuser", settings=None, weights=None, device=AUTO, features=None, memory=None):
        self.chain = Chain(_system(method, settings, weights), Machine(chosen_device(device), memory))
        self.store = FeatureStore(features)

    def encode(self, subject, split_name="train", captions=None, progress=IN_NOTEBOOKS):
        """True target values of a split's stimuli: dict of target name to FeatureTable (n_stimuli, n_targets)."""
        given = (lambda: captions) if captions else None
        names = tuple(self.chain.targets)
        return encode(self.chain.targets, names, subject, split_name, self.store, captions=given, progress=progress)

    def fit(self, subject, captions=None, progress=IN_NOTEBOOKS, pretrained=None, before=None):
        """Fit every step on the training split of a subject, or of several together.

        Parameters
        ----------
        subject : brainrecon.datasets.subject.Subject or brainrecon.datasets.cohort.Cohort
            Of a cohort see `brainrecon.datasets.cohort.Cohort.apart`.
        captions : list of list of str, optional
            Of the one subject's training stimuli, in place of the dataset's own.
        progress : callable
        pretrained : path, optional
            What `save_pretrained` wrote when the same method was fitted on other subjects: this one is a new one.
        before : brainrecon.datasets.cohort.Cohort, optional
            These other subjects, for a method that looks at their responses.
        """
        self.chain.fit_in_memory(subject, self.store, progress, captions, pretrained, before)
        return self

    def predict(self, patterns, subject=""):
        """Embeddings of patterns (n_stimuli, n_voxels): dict of value name to float32 (n_stimuli, n_targets).

        `subject` is the name of whose they are, if several were learned from.
        """
        return self.chain.predict(patterns, subject)

    def reconstruct(
        self,
        patterns,
        stimulus_ids,
        *,
        samples=1,
        seed=0,
        batch_size=16,
        repeats=None,
        subject="",
        progress=IN_NOTEBOOKS,
    ):
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
            Trials that each pattern is the average of, for systems that learn from single trials (`shen2019-gan`): 1 for
            single trials. By default as many as the test stimuli had in the data that the system was fitted on.
        subject : str
            Whose patterns they are, if several were learned from.
        progress : callable

        Returns
        -------
        array of shape (n_stimuli, samples, height, width, 3), uint8

        Raises
        ------
        NotFinite
            Pictures are NaN or infinite. It names their stimuli; the others can be drawn without them.
        """
        names = [str(name) for name in stimulus_ids]
        if len(names) != len(patterns) or len(set(names)) != len(names):
            raise InputError(
                f"There are {len(patterns):,} patterns and {len(set(names)):,} different stimulus ids; "
                "pass one id per pattern, each once."
            )
        return self.chain.run_from_patterns(
            names,
            patterns,
            samples=samples,
            seed=seed,
            batch_size=batch_size,
            repeats=repeats,
            subject=subject,
            progress=progress,
        )

    def save_pretrained(self, folder):
        """Write settings and fitted steps into `folder`."""
        self.chain.save(folder)

    @classmethod
    def from_pretrained(cls, folder, device=AUTO, features=None):
        """Read what `save_pretrained` wrote, or the `decoder` folder of a run."""
        known = read_saved(folder)
        reconstructor = cls(known["method"], known["settings"], device=device, features=features)
        reconstructor.chain.open(folder, reconstructor.store)
        return reconstructor

    def __repr__(self):
        return f"Reconstructor({self.chain.name!r}, {len(self.chain.steps)} steps, on {self.chain.machine.device})"


def _system(method, settings, weights):
    """The system that is meant by a name, a class or an instance."""
    if isinstance(method, str):
        kind = system_class(method)
    elif isinstance(method, type) and issubclass(method, System):
        kind = system(method)
    elif isinstance(method, System):
        if settings is not None or weights is not None:
            raise InputError(
                f"{method.name} is given with its settings already; leave settings and weights out, or pass the class "
                f"{type(method).__name__}."
            )
        # What is saved is opened again by this name.
        system(type(method))
        return method
    else:
        raise InputError(
            f"A method is {method!r}; expected a name such as 'brain-diffuser', or a class or an instance of "
            "brainrecon.assembly.system.System."
        )
    return kind(with_weights(settings or {}, kind, weights))
