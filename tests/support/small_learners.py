"""Small learners with their batches and recipes: every law of training holds for all of them.

Run as a program by several processes, it trains one of them and writes its weights and curves.
"""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from stages.training.recipe import OptimiserSpec, Recipe, Schedule
from stages.training.sharing import BySubject


class WithDropout(torch.nn.Module):
    """A perceptron."""

    def __init__(self):
        super().__init__()
        self.trunk = torch.nn.Linear(6, 16)
        self.head = torch.nn.Linear(16, 3)

    def forward(self, batch):
        hidden = functional.dropout(torch.relu(self.trunk(batch["x"])), 0.4, self.training)
        error = self.head(hidden) - batch["y"]
        return error.square().mean(), {"absolute": error.abs().mean()}


class WithStatistics(torch.nn.Module):
    """Running means, and a weight that two layers share."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(6, 8, bias=False)
        self.norm = torch.nn.BatchNorm1d(8)
        self.second = torch.nn.Linear(8, 8)
        self.third = torch.nn.Linear(8, 8, bias=False)
        self.third.weight = self.second.weight
        self.last = torch.nn.Linear(8, 3)

    def forward(self, batch):
        hidden = torch.relu(self.second(self.norm(self.first(batch["x"]))))
        return functional.mse_loss(self.last(self.third(hidden)), batch["y"]), {}


class WithALooseEnd(WithStatistics):
    """A layer that no loss reaches."""

    def __init__(self):
        super().__init__()
        self.teacher = torch.nn.Linear(8, 2)


class WithTemperature(torch.nn.Module):
    """Two embeddings that find each other, a parameter without dimensions, and noise from three generators."""

    def __init__(self):
        super().__init__()
        self.one, self.other = torch.nn.Linear(6, 4), torch.nn.Linear(3, 4)
        self.temperature = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, batch):
        x = batch["x"] + 0.1 * torch.randn_like(batch["x"]) + 0.01 * float(np.random.standard_normal())
        one, other = functional.normalize(self.one(x), dim=1), functional.normalize(self.other(batch["y"]), dim=1)
        similarity = self.temperature.exp() * one @ other.T
        loss = functional.cross_entropy(similarity, torch.arange(len(x)))
        return loss, {"temperature": self.temperature.item()}


class Comparing(torch.nn.Module):
    """Two embeddings that find each other among all samples of a batch, and an error of each by itself."""

    compares = True

    def __init__(self):
        super().__init__()
        self.one, self.norm = torch.nn.Linear(6, 3), torch.nn.BatchNorm1d(3)

    def compared(self, batch):
        return {"found": self.norm(self.one(batch["x"]))}

    def compare(self, rows, batch):
        one, other = functional.normalize(rows["found"], dim=1), functional.normalize(batch["y"], dim=1)
        loss = functional.cross_entropy(one @ other.T / 0.2, torch.arange(len(one)))
        return loss, {"contrast": loss.detach()}

    def forward(self, batch, pulls=None):
        rows = self.compared(batch)
        error = (rows["found"] - batch["y"]).square().mean()
        if pulls is None:
            loss, parts = self.compare(rows, batch)
            return error + loss, parts | {"error": error.detach()}
        return error + (rows["found"] * pulls["found"]).sum(), {"error": error.detach(), "loss": error.detach()}


class OfSubjects(Comparing):
    """The same of two subjects, of whom each has a layer of its own; their rows stand one after the other."""

    def __init__(self):
        super().__init__()
        self.own = torch.nn.ModuleDict({"first": torch.nn.Linear(4, 6), "second": torch.nn.Linear(2, 6)})

    def compared(self, batch):
        hidden = torch.cat([self.own[subject](values) for subject, values in batch["subjects"].items()])
        return {"found": self.norm(self.one(hidden))}


def batch_at(step, n=8):
    """Noise, and a linear function of it that is not quite to be seen."""
    random = np.random.default_rng([5, step])
    x = random.standard_normal((n, 6), dtype=np.float32)
    y = x[:, :3] - 0.5 * x[:, 3:] + 0.1 * random.standard_normal((n, 3), dtype=np.float32)
    # As of two subjects with other voxels, half of the samples each.
    subjects = BySubject(first=x[: n // 2, :4].copy(), second=x[n // 2 :, 4:].copy())
    return {"x": torch.from_numpy(x), "y": y.astype(np.float32), "subjects": subjects, "step": step}


@dataclass(frozen=True)
class Case:
    """A learner's class, its recipe, and the parameters that are to keep their values."""

    make: type
    recipe: Recipe
    left_alone: tuple[str, ...] = ()
    held_out: tuple[int, ...] = field(default=())

    def learner(self, seed=0):
        """Make the learner, with initial weights that follow from the seed."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self.make()

    def validation(self):
        """Batches that training never sees."""
        return [batch_at(step) for step in self.held_out]


def recipe(optimiser=None, **changes):
    """Twelve steps, and a line of the curves every four."""
    return Recipe(
        **{"steps": 12, "batch_size": 8, "validate_every": 4, "optimiser": optimiser or OptimiserSpec()} | changes
    )


CASES = {
    "dropout, average, validation": Case(
        WithDropout,
        recipe(
            OptimiserSpec("adamw", 1e-2, weight_decay=0.1, undecayed="vectors"),
            schedule=Schedule("cosine", warmup=3),
            clip=0.5,
            average=0.9,
        ),
        held_out=(100, 101),
    ),
    "running statistics, tied weights, momentum": Case(
        WithStatistics,
        recipe(OptimiserSpec("sgd", 1e-2, momentum=0.9), schedule=Schedule("one-cycle"), average=0.5),
    ),
    "a scalar, validation": Case(
        WithTemperature,
        recipe(OptimiserSpec("adam", 1e-2), schedule=Schedule("milestones", milestones=(4, 8))),
        held_out=(100,),
    ),
    "two optimisers, parts of a batch": Case(
        WithDropout, recipe(OptimiserSpec("muon", 1e-2, momentum=0.95, weight_decay=0.01), accumulate=2)
    ),
    "samples that are compared, parts of a batch": Case(
        Comparing, recipe(OptimiserSpec("adamw", 1e-2), accumulate=4, average=0.9), held_out=(100,)
    ),
    "two subjects, parts of a batch": Case(
        OfSubjects, recipe(OptimiserSpec("adamw", 1e-2), accumulate=2, average=0.9), held_out=(100,)
    ),
    "a head alone": Case(
        WithDropout,
        recipe(OptimiserSpec("adamw", 1e-2, weight_decay=0.1), trains=(r"head\..*",), average=0.9),
        left_alone=("trunk.weight", "trunk.bias"),
    ),
}


def main():
    """Train a named learner by as many processes as there are; the first writes its weights and curves."""
    from accelerate import PartialState

    from stages.training.loop import train

    torch.set_num_threads(1)
    place, changes = Path(sys.argv[1]), json.loads(sys.argv[2])
    make = {one.__name__: one for one in (WithStatistics, WithALooseEnd, Comparing, OfSubjects)}[
        changes.pop("learner", "WithStatistics")
    ]
    learner = Case(make, recipe(OptimiserSpec("sgd", 0.05), **changes)).learner()
    # Statistics of half a batch are no statistics of a whole one.
    learner.norm = torch.nn.Identity()
    curves = train(learner, lambda step: batch_at(step, 16), recipe(OptimiserSpec("sgd", 0.05), **changes))
    if PartialState().is_main_process:
        weights = torch.cat([value.flatten() for value in learner.state_dict().values()]).tolist()
        place.write_text(
            json.dumps({"processes": PartialState().num_processes, "lines": curves.lines, "weights": weights})
        )


if __name__ == "__main__":
    main()
