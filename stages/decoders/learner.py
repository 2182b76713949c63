"""What is trained where a decoder is: a network with its objectives, and the batches that these have changed."""

from __future__ import annotations

import torch
from torch import nn

from stages.ground.errors import InputError
from stages.ground.process_group import n_processes
from stages.training.joining import check_parameters
from stages.training.sharing import BySubject


class NetworkWithObjectives(nn.Module):
    """A network with the sum of its objectives, `stages.training.loop.Learner`.

    >>> from stages.objectives.regression import MeanSquaredError
    >>> class Linear(nn.Linear):
    ...     def forward(self, patterns):
    ...         return {"value": super().forward(patterns)}
    >>> learner = NetworkWithObjectives(Linear(5, 2), [MeanSquaredError("value")])
    >>> loss, parts = learner({"patterns": torch.zeros(4, 5), "targets": {"value": torch.ones(4, 2)}, "step": 0})
    >>> loss.shape, list(parts)
    (torch.Size([]), ['value error'])

    Parameters
    ----------
    network : torch.nn.Module
        From patterns, a tensor or a dict of them by subject, to a dict of named values; from patterns and the targets of its
        `reads_in_training`, if it has such names: None in place of one that is not known.
    objectives : sequence of stages.objectives.objective.Objective
    accumulate : int
        Parts of a batch.
    """

    def __init__(self, network, objectives, accumulate=1):
        super().__init__()
        n_parts = n_processes() * accumulate
        if n_parts > 1 and getattr(network, "sees_whole_batches", False):
            raise InputError(
                f"A batch is cut into {n_parts} parts, but the network looks at all of its samples together; train in one "
                "process with accumulate=1, and with smaller batches if memory is short."
            )
        self.network = network
        self.with_parameters = nn.ModuleList(one for one in objectives if isinstance(one, nn.Module))
        self._objectives = tuple(objectives)
        self._comparing = [one for one in objectives if getattr(one, "compares", False)]
        if n_processes() > 1 or accumulate > 1:
            check_parameters(self._comparing)

    @property
    def compares(self):
        """Whether an objective compares the samples of a batch."""
        return bool(self._comparing)

    def compared(self, batch):
        """Outputs that are compared."""
        outputs = self._outputs(batch)
        return {name: outputs[name] for objective in self._comparing for name in objective.reads}

    def compare(self, rows, batch):
        """Judge the outputs of a whole batch."""
        return self._judged(self._comparing, rows, batch)

    def forward(self, batch, pulls=None):
        outputs = self._outputs(batch)
        if pulls is None:
            return self._judged(self._objectives, outputs, batch)
        others = [one for one in self._objectives if one not in self._comparing]
        loss, parts = self._judged(others, outputs, batch)
        pulled = sum((outputs[name].float() * pull).sum() for name, pull in pulls.items())
        return loss + pulled, {**parts, "loss": torch.as_tensor(loss).detach()}

    def _outputs(self, batch):
        others = [batch["targets"].get(name) for name in getattr(self.network, "reads_in_training", ())]
        return self.network(batch["patterns"], *others)

    def _judged(self, objectives, outputs, batch):
        judged = [objective(outputs, batch["targets"], batch["step"]) for objective in objectives]
        return sum(loss for loss, _ in judged), {name: value for _, parts in judged for name, value in parts.items()}


def change_patterns(objectives, batch):
    """A batch whose patterns are what the objectives want the network to read; of several subjects, they are given all."""
    for objective in objectives:
        if (before := getattr(objective, "before", None)) is not None:
            batch["patterns"] = before(_as_tensors(batch["patterns"]), batch["step"])
            if isinstance(batch["patterns"], dict):
                batch["patterns"] = BySubject(batch["patterns"])
    return batch


def _as_tensors(patterns):
    if isinstance(patterns, dict):
        return {subject: torch.as_tensor(values) for subject, values in patterns.items()}
    return torch.as_tensor(patterns)


class ChangedBatches:
    """Changed batches, made anew whenever they are gone through."""

    def __init__(self, change, batches):
        self.change, self.batches = change, batches

    def __iter__(self):
        return map(self.change, self.batches)
