"""What trainings on responses alone have in common: rows of several subjects, a batch for every step, and a checkpoint folder."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np

from stages.checkpoints.pretrained import save_network
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from stages.training.batches import Shuffled, held_out
from stages.training.curves import Curves
from stages.training.loop import train
from stages.training.reading_ahead import ReadingAhead
from stages.training.state import remove_checkpoint


class SubjectRows:
    """Responses of one or several subjects, by the rows of all: those of one subject after those of the one before.

    Parameters
    ----------
    responses : mapping of str to rows of shape (n_responses, n_voxels)
        By subject.

    Raises
    ------
    InputError
        There is no subject, or one has no row.
    """

    def __init__(self, responses):
        if not responses or not all(len(rows) for rows in responses.values()):
            raise InputError("There are no responses to learn from; give some of one subject or more.")
        self.responses = dict(responses)
        self._ends = np.cumsum([len(rows) for rows in self.responses.values()])

    def __len__(self):
        return int(self._ends[-1])

    @property
    def are_read(self):
        """Whether any lie in files."""
        return not all(type(rows) is np.ndarray for rows in self.responses.values())

    def by_subject(self, rows):
        """Yield each subject among some rows, their places in `rows`, and its patterns, float32 (n, n_voxels)."""
        whose = np.searchsorted(self._ends, rows, side="right")
        for place in np.unique(whose):
            (chosen,), subject = np.nonzero(whose == place), list(self.responses)[place]
            own = self.responses[subject]
            yield subject, chosen, np.asarray(own[rows[chosen] - self._ends[place] + len(own)], dtype=np.float32)


class ResponsePretraining:
    """The training of an autoencoder on responses alone.

    Parameters
    ----------
    recipe : stages.training.recipe.Recipe
        Its `validation` is the share of the responses that are held out.
    sizes : dict, optional
        Arguments of the autoencoder, as JSON keeps them.
    start : path, optional
        Folder of an autoencoder that is gone on with.
    device : str
    seconds_between_checkpoints : float
        Of a training that is given a folder.

    Attributes
    ----------
    network_class : type
    error : str
        What the loss is called.
    label : str
        Of the progress.
    """

    network_class: type
    error: str
    label: str

    def __init__(self, recipe, sizes=None, start=None, device="cpu", seconds_between_checkpoints=60.0):
        self.recipe, self.sizes, self.start, self.device = recipe, dict(sizes or {}), start, device
        self.seconds_between_checkpoints = seconds_between_checkpoints
        self._network, self._config, self._curves = None, {}, Curves()

    @property
    def network(self):
        """The pretrained autoencoder."""
        if self._network is None:
            raise InputError("This pretraining has not been fitted; call fit, or open one with from_pretrained.")
        return self._network

    def learn(self, learner, rows, identity, folder=None, progress=SILENT):
        """Train a learner on rows of responses, but for those that are held out.

        Parameters
        ----------
        learner : stages.training.loop.Learner
            On its device.
        rows : SubjectRows
            ``rows[numbers]`` is what the learner reads.
        identity : str
            What the training depends on beside the recipe.
        folder, progress
            As of `stages.training.loop.train`.
        """
        recipe = self.recipe
        kept_away = held_out(len(rows), recipe.validation, recipe.seed)
        learned = np.setdiff1d(np.arange(len(rows)), kept_away)
        order = Shuffled(len(learned), recipe.batch_size, recipe.seed)

        def read(step):
            return rows[learned[order(step)]]

        with ReadingAhead(read, recipe.steps) if rows.are_read else nullcontext() as ahead:
            self._curves = train(
                learner,
                ahead or read,
                recipe,
                folder,
                held_out=_Batches(rows, kept_away, recipe.batch_size, ahead),
                identity=identity,
                progress=progress,
                label=self.label,
                seconds_between_checkpoints=self.seconds_between_checkpoints,
            )

    def summary(self):
        """How large the network is and what it reached: one row. An error of 1 is the variance of the responses."""
        parameters = sum(one.numel() for one in self.network.parameters())
        row = {"network": self.network_class.__name__, "parameters": parameters}
        if self._curves.lines:
            line = self._curves.lines[-1]
            row |= {"steps": line["step"], self.error: line["loss"]}
            row |= {"validation error": line["validation"]} if line.get("validation") is not None else {}
        return [row]

    def curves(self):
        """The course of training: dict of label to (steps, values)."""
        labels = {"loss": self.error, "validation": "validation error", "gradient": "norm of the gradient"}
        return {labels.get(name, name): self._curves[name] for name in self._curves}

    def save_pretrained(self, folder):
        """Write ``model.safetensors`` and ``config.json``, a checkpoint folder; remove that of the training."""
        save_network(self.network, folder, self._config)
        remove_checkpoint(folder)


class _Batches:
    """Batches of the rows that are held out, made anew whenever they are gone through."""

    def __init__(self, rows, kept_away, batch_size, ahead):
        self._rows, self._kept_away, self._size, self._ahead = rows, kept_away, batch_size, ahead

    def __iter__(self):
        for start in range(0, len(self._kept_away), self._size):
            chosen = self._kept_away[start : start + self._size]
            yield self._rows[chosen] if self._ahead is None else self._ahead.now(self._rows.__getitem__, chosen)
