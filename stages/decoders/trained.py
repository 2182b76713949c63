"""A decoder that is trained by gradient descent: any network from patterns to named values, behind the decoder's protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from stages.checkpoints.named_networks import name_of, network_named
from stages.checkpoints.pretrained import CONFIG_FILE
from stages.checkpoints.strict_loading import read_json_object, refusing_values
from stages.decoders.fitting import AFTERWARDS, cost_of_fit, fit_network
from stages.decoders.network_files import read_network, write_network
from stages.decoders.new_subject import NewSubject
from stages.decoders.standardised import ROWS_AT_A_TIME, WAYS, standardised
from stages.decoders.trials import EPOCHS
from stages.ground.checks import OneOf, check, finite
from stages.ground.errors import InputError
from stages.ground.lazy_rows import Rows
from stages.ground.progress import SILENT
from stages.training.curves import Curves
from stages.training.pairs import Pairs
from stages.training.recipe import plain_recipe, read_recipe
from stages.training.state import remove_checkpoint
from weights.manifest import CheckpointError

_LABELS = {"validation": "validation loss", "gradient": "norm of the gradient", "rate": "learning rate"}


@dataclass(frozen=True)
class Training:
    """What a decoder learns from.

    Attributes
    ----------
    responses : mapping of str to rows of shape (n_trials, n_voxels)
        By subject; a row may be a trial or a pattern.
    stimulus_rows : mapping of str to int array of shape (n_trials,)
        By subject: the row in `features` of each trial's stimulus.
    features : mapping of str to rows of shape (n_stimuli, ...)
        By predicted value: true ones of the stimuli. Two values may be held to one target: both names then stand for one array.
    epoch_of : {"trials", "trials apart", "stimuli", "mixtures", "virtual trials", "pictures"}
        What an epoch of a training goes through: every trial, or nearly every one, with no two of a stimulus in a batch
        (`stages.training.apart.Apart`); or every stimulus once, the trials of each taking turns from step to step, or mixed
        anew in each (`stages.training.batches.Mixtures`, or `VirtualTrials` there); or every picture once, beside the trials
        that `pairs` says. Losses that compare samples should not meet a stimulus twice in a batch. Every subject has epochs of
        its own.
    beside : mapping of str to rows of shape (n_stimuli, ...)
        True values that objectives read and that are not predicted; the network has outputs of their names in training.
    live : mapping of str to callable
        ``live[name](stimuli, step)`` gives the true values (n, ...) of a training step for some rows of `features`, in place of
        those in `features` or `beside`, which are still what validation looks at. It has to be a function of what it is given;
        its `identity`, a str, says which. Several names may have one.
    pairs : stages.training.pairs.Pairs, optional
        For an epoch of "pictures": which trials stand beside each. The numbers of both categories are targets then,
        `stages.training.pairs.CATEGORIES`.
    free : mapping of str to tuple of int
        Shapes of predicted values for which nothing is true: objectives train them with others, or not at all.
    companions : tuple of str
        Subjects, some of those in `responses`, of which one in each step gives samples beside those that are learned from, each
        in turn. They are not validated.
    same : int array of shape (n_stimuli,), optional
        Rows of `features` with one number show one picture, as several subjects may have seen it, and are held out together.
    """

    responses: Mapping[str, Rows | np.ndarray]
    stimulus_rows: Mapping[str, np.ndarray]
    features: Mapping[str, Rows | np.ndarray]
    epoch_of: str = "trials"
    beside: Mapping[str, Rows | np.ndarray] = field(default_factory=dict)
    live: Mapping[str, Callable[[np.ndarray, int], np.ndarray]] = field(default_factory=dict)
    pairs: Pairs | None = None
    free: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    same: np.ndarray | None = None
    companions: tuple[str, ...] = ()

    def __post_init__(self):
        check("epoch_of", self.epoch_of, OneOf(*EPOCHS))
        if (self.pairs is None) == (self.epoch_of == "pictures"):
            raise InputError(
                f"epoch_of is {self.epoch_of!r} and pairs is {self.pairs!r}; expected pairs with an epoch of 'pictures' and "
                "none with another: give both, or leave pairs out."
            )


class TrainedDecoder:
    """A network from patterns to named values, for one subject or for several.

    Patterns are standardised first, with the mean and the standard deviation of every voxel over the responses that are
    learned from; a voxel that does not vary is 0. `standardise` says otherwise.

    >>> class Linear(torch.nn.Module):
    ...     def __init__(self, n_voxels, gives):
    ...         super().__init__()
    ...         self.heads = torch.nn.ModuleDict({name: torch.nn.Linear(n_voxels, n) for name, (n,) in gives.items()})
    ...     def forward(self, patterns):
    ...         return {name: head(patterns) for name, head in self.heads.items()}
    >>> from stages.training.recipe import Recipe
    >>> random = np.random.default_rng(0)
    >>> responses, clip = random.standard_normal((50, 9)), random.standard_normal((50, 4))
    >>> training = Training({"subj01": responses}, {"subj01": np.arange(50)}, {"clip_image": clip})
    >>> decoder = TrainedDecoder(Linear, Recipe(steps=20, batch_size=10)).fit(training)
    >>> [(name, columns, values.shape) for name, columns, values in decoder.predict_blocks(responses[:3])]
    [('clip_image', slice(0, 4, None), (3, 4))]

    Parameters
    ----------
    make : type
        A `torch.nn.Module`: ``make(n_voxels, gives, **arguments)``, whose `forward` takes standardised patterns, float32 (n,
        n_voxels), and returns a tensor ``(n, *shape)`` for each name and shape of `gives`. It is found again by its module and
        name. If it has `reads_in_training`, a tuple of names of targets, training gives `forward` their true values besides, None
        in place of one that this training does not know; with
        `sees_whole_batches` true, no batch of it is cut into parts. If it has `reads_subjects` true, it is of several subjects:
        `n_voxels` is a dict of subject to int, patterns are a dict of subject to tensor, outputs have their rows in that order,
        and ``subject_tensors(subject)`` names what belongs to a subject alone (see
        `stages.decoders.standardised.StandardisedSubjects`).
    recipe : Recipe
        Its `validation` is the share of the training stimuli that are held out; its `seed` is also that of the weights.
    objectives : sequence of Objective, or callable, optional
        Their sum is minimised. By default the mean squared error of every value. A callable is given the network and returns
        them: an objective may belong to a part of the network, which is then trained and saved with it.
    arguments : dict, optional
        Further arguments of `make`, as they are written to JSON.
    device : str
    seconds_between_checkpoints : float
        Of a training that is given a folder.
    begin : callable, optional
        ``begin(network) -> str``: puts weights into the new network before it is trained, and returns what identifies them.
    standardise : bool or "all voxels together"
        False: the network reads patterns as they are. "all voxels together": one mean and one standard deviation, over all trials
        and voxels of a subject, so that what differs between voxels stays.
    new_subject : stages.decoders.new_subject.NewSubject, optional
        What is done otherwise where a training goes on from a decoder of other subjects (`fit` with `pretrained`).
    """

    trains_together = True

    def __init__(
        self,
        make,
        recipe,
        objectives=None,
        arguments=None,
        device="cpu",
        seconds_between_checkpoints=60.0,
        begin=None,
        standardise=True,
        new_subject=None,
    ):
        self.make, self.recipe, self.objectives, self.begin = make, recipe, objectives, begin
        self.seconds_between_checkpoints = seconds_between_checkpoints
        self.arguments, self.device = dict(arguments or {}), device
        self.standardise = check("standardise", standardise, OneOf(*WAYS))
        self.new_subject = new_subject or NewSubject()
        self._gives, self._network, self._curves, self._was_opened = {}, None, Curves(), False
        self._released = None

    @property
    def reads_subjects(self):
        """Whether the network is of several subjects."""
        return getattr(self.make, "reads_subjects", False)

    @property
    def network(self):
        """The trained network, a `torch.nn.Module` behind the standardisation of its voxels."""
        self._check_fitted()
        return self._network

    @property
    def gives(self):
        """Name and shape of each predicted value, dict of str to tuple of int."""
        self._check_fitted()
        return self._gives

    def fit(self, training, *, folder=None, progress=SILENT, pretrained=None):
        """Train the network.

        Parameters
        ----------
        training : Training
            Of one subject; of one or more, if the network reads several.
        folder : path, optional
            Where checkpoints are written, and read to go on with a training that was interrupted.
        progress : callable
            Called with (label, done, total).
        pretrained : path, optional
            The folder of a decoder of the same network, fitted on other subjects: what belongs to no subject starts from there,
            and so does what belongs to a subject that it knows; other subjects start anew. Nothing in it is changed.

        Returns
        -------
        self
        """
        if self._was_opened:
            raise InputError("This decoder was opened, and its folder holds no objectives; make a new one to fit it.")
        if pretrained is not None:
            self.arguments |= dict(self.new_subject.arguments)
        fitted = fit_network(self, training, folder, progress, pretrained)
        self._network, self._gives, self._curves = fitted
        return self

    def take(self, folder, name, released, n_voxels, gives):
        """Read the network from a file in which its authors released it, in place of training it.

        Voxels are read as they are, with a mean of 0 and a scale of 1: what authors standardise, they do before they train.

        Parameters
        ----------
        folder : path
            Of the checkpoint.
        name : str
            What it is called.
        released : stages.decoders.released.Released
            How its file is read.
        n_voxels : int, or dict of str to int, or None
            By subject, in the order of the file, if the network reads several; None takes the subjects of the file, whose names
            are their places in it.
        gives : mapping of str to tuple of int
            Name and shape of each predicted value.

        Returns
        -------
        self

        Raises
        ------
        InputError
            The file does not fit; the sentence says in what.
        """
        gives = {name: tuple(shape) for name, shape in gives.items()}
        n_voxels = released.n_voxels(folder) if n_voxels is None else n_voxels
        with torch.device("meta"):
            network = self.make(n_voxels, gives, **self.arguments)
        network = standardised(released.fill(network, folder, n_voxels), n_voxels)
        self._gives, self._network, self._curves, self._released = gives, network, Curves(), name
        self._was_opened = True
        self._network.to(self.device).requires_grad_(False)
        return self

    def cost(self, n_voxels, gives, beside=None):
        """Count what a fit will take, on outlines: `stages.training.cost.Cost`, or None if the network cannot be made in outline.

        Parameters
        ----------
        n_voxels : int, or dict of str to int
            By subject, if the network reads several.
        gives : dict of str to tuple of int
            Name and shape of each value to predict.
        beside : dict of str to tuple of int, optional
            Likewise, of what objectives are held against besides.
        """
        return cost_of_fit(self, n_voxels, gives, beside or {})

    def prepared(self, patterns, *, subject=None):
        """What the network's method `prepared` makes of standardised patterns, (n_stimuli, ...) float32.

        Parameters
        ----------
        patterns, subject
            As of `predict_blocks`.
        """
        patterns = self._checked(patterns, subject)
        blocks = [
            self._network.prepared(block, subject).float().cpu().numpy() for block in self._blocks(patterns, subject)
        ]
        return np.concatenate(blocks) if blocks else patterns

    def predict_blocks(
        self, patterns, *, subject=None, start=0, are_prepared=False
    ) -> Iterator[tuple[str, slice, np.ndarray]]:
        """Predict one value after the other, all its columns at once.

        Parameters
        ----------
        patterns : array of shape (n_stimuli, n_voxels)
            In the units of the training responses.
        subject : str, optional
            Whose they are; it is not looked at if the network is of one subject.
        start : int
            Values that are there already, and are left out.
        are_prepared : bool
            Whether they are what `prepared` gave, or averages of that: the network is to take these for patterns, too.

        Yields
        ------
        name : str
        columns : slice
        values : array of shape (n_stimuli, n_columns), float32
        """
        patterns = np.asarray(patterns, np.float32) if are_prepared else self._checked(patterns, subject)
        return self._predicted(patterns, subject, start, are_prepared)

    def _checked(self, patterns, subject):
        self._check_fitted()
        patterns, n_voxels = np.asarray(patterns, dtype=np.float32), len(self._network.voxels(subject).mean)
        if patterns.shape[-1] != n_voxels:
            raise InputError(
                f"Patterns have {patterns.shape[-1]:,} voxels but the decoder was fitted on {n_voxels:,}; load the same "
                "subject and roi, or fit a decoder on these."
            )
        finite(patterns, "patterns", axis=1, units="voxels")
        return patterns

    def _blocks(self, patterns, subject):
        """Patterns in blocks, on the network's device, within inference."""
        device = self._network.voxels(subject).mean.device
        with torch.inference_mode():
            for first in range(0, len(patterns), ROWS_AT_A_TIME):
                # Copied: torch takes no reversed array, and warns of a read-only one.
                yield torch.from_numpy(np.array(patterns[first : first + ROWS_AT_A_TIME])).to(device)

    def _predicted(self, patterns, subject, start, are_prepared):
        found = {name: [] for name in list(self.gives)[start:]}
        with torch.inference_mode():
            for block in self._blocks(patterns, subject):
                of_subject = self._network.of_prepared if are_prepared else self._network.of_subject
                outputs = of_subject(block, subject)
                for name, blocks in found.items():
                    blocks.append(outputs[name].float().flatten(1).cpu().numpy())
        for name in list(found):
            n_columns = int(np.prod(self.gives[name]))
            values = np.concatenate([np.empty((0, n_columns), np.float32), *found.pop(name)])
            yield name, slice(0, n_columns), values

    def summary(self):
        """How large the network is and what it reached: one row."""
        parameters = sum(parameter.numel() for parameter in self._network.network.parameters())
        lines = self._curves.lines
        if self._released is not None:
            return [{"network": self.make.__name__, "parameters": parameters}]
        _, validations = self._curves["validation"]
        reached = lines[validations.index(min(validations)) if validations else -1]
        row = {
            "network": self.make.__name__,
            "parameters": parameters,
            "steps": reached["step"],
            "loss": reached["loss"],
        }
        return [row | ({"validation loss": reached["validation"]} if validations else {})]

    def notes(self):
        """What else people have to know: whether it was trained elsewhere."""
        if self._released is None:
            return []
        return [f"{self.make.__name__}: as its authors released it ({self._released}), not trained here."]

    def curves(self):
        """The course of training: dict of label to (steps, values)."""
        return {_LABELS.get(name, name): self._curves[name] for name in self._curves}

    def save_pretrained(self, folder):
        """Write ``model.safetensors`` and ``config.json``, and remove the checkpoint of the training.

        What belongs to a subject alone is a file of its own, if the network reads several: ``subjects/<name>.safetensors``.
        """
        self._check_fitted()
        config = {
            "architecture": type(self).__name__,
            "network": name_of(self.make),
            "arguments": self.arguments,
            "n_voxels": self._network.n_voxels,
            "gives": self.gives,
            "recipe": plain_recipe(self.recipe) if self._released is None else None,
            "curves": self._curves.lines,
        }
        if self._released is not None:
            config["released"] = self._released
        write_network(self._network, folder, config)
        remove_checkpoint(folder)
        afterwards = Path(folder) / AFTERWARDS
        remove_checkpoint(afterwards)
        if afterwards.is_dir():
            afterwards.rmdir()

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Open what `save_pretrained` wrote, for predicting.

        Raises
        ------
        InputError
            A file is absent or damaged, the network's class cannot be imported, or its tensors are others.
        """
        folder = Path(folder)
        try:
            config = read_json_object(folder / CONFIG_FILE, cls.__name__)
            with refusing_values(cls.__name__, folder / CONFIG_FILE):
                make, recipe = network_named(config["network"]), config["recipe"]
                recipe = None if recipe is None else read_recipe(recipe)
                decoder = cls(make, recipe, arguments=config["arguments"], device=device)
                decoder._gives = {name: tuple(shape) for name, shape in config["gives"].items()}
                network = standardised(
                    make(config["n_voxels"], decoder._gives, **decoder.arguments), config["n_voxels"]
                )
                decoder._curves, decoder._was_opened = Curves(config["curves"]), True
                decoder._released = config.get("released")
            decoder._network = read_network(network, folder)
        except CheckpointError as error:
            raise InputError(
                f"No decoder can be opened in {folder} ({error}); fit again with `brainrecon fit`."
            ) from None
        decoder._network.to(device).requires_grad_(False)
        return decoder

    def _check_fitted(self):
        if self._network is None:
            raise InputError("This decoder is not fitted; call fit, or open one with from_pretrained.")
