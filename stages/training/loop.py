"""The one training loop: gradient descent with a moving average, validation, early stopping, and checkpoints.

A training is a function of its arguments alone. Batches are looked up by the number of the step, and what is random in a step
is seeded with that number; so a training that was killed and started again ends in the same bytes as one that was left in
peace (one process, on the CPU).
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from stages.ground.ending import finished_first
from stages.ground.errors import InputError
from stages.ground.process_group import n_processes
from stages.ground.progress import SILENT, remark
from stages.training.batches import random_state_kept, seed_all, step_seed
from stages.training.curves import Curves, check_finite, slower
from stages.training.joining import has_unreached, pulls_of
from stages.training.optimisers import learning_rate, make_optimisers, set_rates, step_unless
from stages.training.processes import accelerator_on, check_shared
from stages.training.recipe import Recipe, plain_recipe
from stages.training.sharing import few_of, n_samples, on_device, share_of
from stages.training.state import Pace, read_checkpoint, write_checkpoint
from stages.training.tally import Tally
from stages.training.trainable import only_trained
from stages.training.trouble import telling_of_short_memory

SECONDS_BETWEEN_READINGS = 1.0
"""Reading a loss waits for the device; in between, divergence is not noticed, and nothing is kept."""


class Learner(Protocol):
    """A `torch.nn.Module` with its loss, as `train` takes it.

    >>> class Mean(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.guess = torch.nn.Parameter(torch.zeros(()))
    ...     def forward(self, batch):
    ...         loss = ((batch["values"] - self.guess) ** 2).mean()
    ...         return loss, {"squared error": loss.detach()}
    >>> learner: Learner = Mean()
    >>> loss, parts = learner({"values": torch.ones(3)})
    >>> loss.item()
    1.0

    Whatever it draws at random must come from torch's, numpy's or Python's global generators, which are seeded by the step.

    A loss that compares the samples of a batch is computed on the whole of it, into however many parts it is cut. Such a learner
    has `compares` true, ``compared(batch)``, which gives the rows to be compared (dict of str to tensor, rows first), and
    ``compare(rows, batch)``, which gives that loss and what it is made of. Its `forward` is given `pulls` then: it leaves that
    loss out, adds the sum of pulls times rows instead, and gives the loss that is left as `loss` among the parts.
    """

    def forward(self, batch: Any) -> tuple[torch.Tensor, Mapping[str, torch.Tensor | float]]:
        """Return the loss, averaged over the samples of a batch, and what it is made of, for the curves."""


def train(
    learner,
    batch_at: Callable[[int], Any],
    recipe: Recipe,
    folder=None,
    *,
    held_out: Iterable[Any] = (),
    identity: str = "",
    accelerator=None,
    progress=SILENT,
    label: str = "training",
    seconds_between_checkpoints: float = 60.0,
) -> Curves:
    """Train a learner.

    >>> from stages.training.recipe import OptimiserSpec
    >>> class Line(torch.nn.Linear):
    ...     def forward(self, batch):
    ...         return (super().forward(batch["x"]) - batch["y"]).square().mean(), {}
    >>> x = torch.linspace(-1, 1, 16)[:, None]
    >>> learner = Line(1, 1)
    >>> spec = OptimiserSpec("adam", learning_rate=0.05)
    >>> curves = train(learner, lambda step: {"x": x, "y": 3 * x}, Recipe(steps=200, batch_size=16, optimiser=spec))
    >>> round(learner.weight.item(), 2), curves["loss"][0]
    (3.0, [100, 200])

    Parameters
    ----------
    learner : Learner
        On the device that it is to be trained on. Afterwards it carries what was reached, in evaluation mode: the weights with
        the lowest validation loss if there is validation, else the last ones; averaged ones if the recipe averages.
    batch_at : callable
        ``batch_at(step)`` gives a step's batch, counted from 0: a tensor, array, or dict, tuple or list of them, samples along
        the first axis. It must be the same whenever it is asked for. Several processes take a share of it each.
    recipe : Recipe
    folder : path, optional
        Where checkpoints are written, and read to go on; without it nothing is.
    held_out : iterable of batches
        Validation: stimuli that are not trained on, but are training stimuli. It is gone through at every validation, so that
        a generator, which ends once, does not do.
    identity : str
        What the training depends on beside the recipe and the shapes of the learner's tensors: a hash of the data, the seed of
        the initial weights. A checkpoint of another identity is not gone on with, and replaced.
    accelerator : accelerate.Accelerator, optional
        For the learner's own device and the recipe's precision by default.
    progress : callable
        Called with (label, done, total), first with the steps that a checkpoint holds; told the loss as a remark.
    label : str
        Of the progress.
    seconds_between_checkpoints : float
        At least, see `stages.training.state.Pace`.

    Returns
    -------
    curves : Curves
        Every `recipe.validate_every` steps: mean over the steps since the line before of `loss`, of its parts, and of the
        gradient's norm `gradient`; the learning rate `rate`; the mean loss of the held-out batches, `validation`.

    Raises
    ------
    Diverged
        A loss is not finite, or many gradients are not; noticed when losses are read, every second or so. The last checkpoint
        is of a time when they were.
    OutOfMemory
        Memory does not suffice. The last checkpoint is kept.
    InputError
        A pattern of `recipe.trains` fits no parameter, or the batch cannot be shared.
    KeyboardInterrupt
        It was interrupted: after the step that was under way, which the checkpoint holds, or at once the second time.
    """
    check_shared("recipe.batch_size", recipe.batch_size, recipe.accumulate)
    device = next(learner.parameters()).device
    with random_state_kept(), only_trained(learner, recipe.trains) as trained:
        unreached = False
        if n_processes() > 1:
            # Two samples, or as few as there are, are enough to tell.
            seed_all(step_seed(recipe.seed, 0))
            few = on_device(few_of(batch_at(0)), device)
            unreached = has_unreached(learner.train(), trained.values(), few)
        accelerator = accelerator or accelerator_on(device, recipe.precision, unreached)
        training = _Training(learner, trained, recipe, accelerator)
        training.reopen(folder, identity)
        with telling_of_short_memory(recipe, device, lambda: training.step):
            pace, read = Pace(seconds_between_checkpoints), time.monotonic()
            training.say_to(progress, label)
            while training.step < recipe.steps and not training.curves.is_waiting_too_long(recipe.patience):
                with finished_first("step") as part:
                    training.take_step(batch_at)
                    if training.step % recipe.validate_every == 0 or training.step == recipe.steps:
                        training.note(held_out)
                    elif time.monotonic() - read >= SECONDS_BETWEEN_READINGS:
                        training.read()
                        read = time.monotonic()
                    # Whoever ends a training from outside loses nothing of it.
                    if part.is_last or pace.is_due():
                        with pace.writing():
                            training.write()
                training.say_to(progress, label)
            training.write()
            return training.finish()


class _Training:
    """A learner, its optimisers and its average, and how far they are."""

    def __init__(self, learner, trained, recipe, accelerator):
        self.plain, self.trained, self.recipe, self.accelerator = learner, list(trained.values()), recipe, accelerator
        self.average = None
        if recipe.average is not None:
            self.average = copy.deepcopy(learner).eval().requires_grad_(False)
        self.learner = accelerator.prepare(learner.train())
        self.optimisers = make_optimisers(trained, recipe.optimiser)
        self.step, self.curves = 0, Curves()
        self.tally = Tally(accelerator.device, recipe.optimiser.learning_rate)
        # The mean of the losses that were read last, for people.
        self.latest = {}
        self.best, self.best_weights = math.inf, None

    # A step

    def take_step(self, batch_at):
        """Take a step: gradient, update, average."""
        recipe, step = self.recipe, self.step
        seed_all(step_seed(recipe.seed, step))
        batch = batch_at(step)
        self.check(batch)
        left_out = self.tally.add(self.find_gradient(batch), step)
        set_rates(self.optimisers, recipe, step)
        step_unless(left_out, self.optimisers)
        self.learner.zero_grad(set_to_none=True)
        if self.average is not None:
            follow(self.average, self.plain, min(recipe.average, (1 + step) / (10 + step)))
        self.step += 1

    def check(self, batch):
        """Raise InputError if a batch has not as many samples as the recipe says."""
        if n_samples(batch) != self.recipe.batch_size:
            raise InputError(
                f"The batch of step {self.step:,} has {n_samples(batch)} samples but recipe.batch_size is "
                f"{self.recipe.batch_size}; give as many, along the first axis of its first array."
            )

    def find_gradient(self, batch):
        """Losses of a batch and the norm of its gradient before clipping, tensors by name; the gradient is in place."""
        accelerator, parts = self.accelerator, self.recipe.accumulate
        among = parts * accelerator.num_processes
        places = [part * accelerator.num_processes + accelerator.process_index for part in range(parts)]
        shares = {place: on_device(share_of(batch, place, among), accelerator.device) for place in places}
        compares = among > 1 and getattr(self.plain, "compares", False)
        if compares:
            whole = on_device(batch, accelerator.device)
            pulls, compared = pulls_of(self.plain, shares, whole, among, accelerator, self.seed_part)
        found = []
        for part, (place, own) in enumerate(shares.items()):
            # Every part draws numbers of its own, after all processes have made the same batch.
            self.seed_part(place)
            # Processes exchange their gradients once, with the last part.
            waits = contextlib.nullcontext() if part == parts - 1 else accelerator.no_sync(self.learner)
            with waits:
                loss, details = self.learner(own, pulls[part]) if compares else self.learner(own)
                accelerator.backward(loss / parts)
            found.append({"loss": loss, **details})
        gradients = [parameter.grad for parameter in self.trained if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.recipe.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self.trained, self.recipe.clip, norm)
        means = {name: self.tally.mean([losses[name] for losses in found]) for name in found[0]}
        if compares:
            of_all = {name: self.tally.mean([value]) for name, value in compared.items()}
            means |= of_all | {"loss": means["loss"] + of_all["loss"]}
        return means | {"gradient": norm}

    def seed_part(self, place):
        """Seed what is random in a part of the step's batch."""
        seed_all(step_seed(self.recipe.seed, self.step, 1 + place))

    # Validation and curves

    def read(self):
        """Means of the losses since the last line, dict of str to float; raises Diverged if one was not finite."""
        self.latest = {name: total / self.tally.n_summed for name, total in self.tally.read().items()}
        return self.latest

    def say_to(self, progress, label):
        """Say how far it is, with the loss as it was read last, and what validation found last."""
        shown = {"loss": self.latest.get("loss")}
        shown["validation loss"] = self.curves.lines[-1].get("validation") if self.curves.lines else None
        remark(progress, label, ", ".join(f"{name} {value:.3g}" for name, value in shown.items() if value is not None))
        progress(label, self.step, self.recipe.steps)

    def note(self, held_out):
        """Add a line to the curves, and keep the weights if validation has never been better."""
        line = {"step": self.step} | {name: self.of_all(mean) for name, mean in self.read().items()}
        line["rate"] = learning_rate(self.recipe, self.step - 1)
        self.tally.forget()
        validation = self.validate(held_out)
        if validation is not None:
            line["validation"] = validation
            check_finite({"validation": validation}, self.step, *slower(self.recipe.optimiser.learning_rate))
            if validation < self.best:
                self.best, self.best_weights = validation, _copied(self.reached())
        self.curves.lines.append(line)

    @torch.no_grad()
    def validate(self, held_out):
        """Mean loss of the held-out batches under the weights that would be kept now; None if there are no batches."""
        network, total, n = self.reached().eval(), 0.0, 0
        # The same numbers are drawn every time, so that validations can be compared.
        seed_all(step_seed(self.recipe.seed, 0))
        for batch in held_out:
            with self.accelerator.autocast():
                loss, _ = network(on_device(batch, self.accelerator.device))
            total, n = total + self.tally.mean([loss]) * n_samples(batch), n + n_samples(batch)
        self.plain.train()
        return self.of_all((total / n).item()) if n else None

    def reached(self):
        """The network that would be kept now."""
        return self.plain if self.average is None else self.average

    def of_all(self, value):
        """Mean of a number over the processes, so that all go on or stop together."""
        if self.accelerator.num_processes == 1:
            return value
        device = self.accelerator.device
        return self.accelerator.reduce(torch.tensor(value, device=device, dtype=torch.float32), "mean").item()

    def finish(self):
        """Put what was reached into the learner; returns the curves."""
        weights = self.best_weights or _copied(self.reached())
        # Mixed precision was for training.
        self.accelerator.unwrap_model(self.learner, keep_fp32_wrapper=False)
        self.plain.load_state_dict(weights)
        self.plain.eval()
        self.accelerator.wait_for_everyone()
        return self.curves

    # Files

    def write(self):
        """Write a checkpoint: the first process does, and nobody waits for it here."""
        if self.folder is None or not self.accelerator.is_main_process:
            return
        average = None if self.average is None else self.average.state_dict()
        # The tally raises Diverged before anything is written.
        state = {
            "identity": self.identity,
            "step": self.step,
            **self.tally.state(),
            "best": None if self.best_weights is None else self.best,
            "curves": self.curves.lines,
        }
        parts = {"average": average, "best": self.best_weights}
        write_checkpoint(self.folder, {"learner": (self.plain, self.optimisers)}, parts, state)

    def reopen(self, folder, identity):
        """Go on from the folder's checkpoint, if there is one of this training."""
        self.folder = None if folder is None else Path(folder)
        shapes = {name: tuple(value.shape) for name, value in self.plain.state_dict().items()}
        self.identity = hashlib.sha256(repr([identity, plain_recipe(self.recipe), shapes]).encode()).hexdigest()
        if self.folder is None:
            return
        players = {"learner": (self.plain, self.optimisers)}
        found = read_checkpoint(self.folder, players, ("average", "best"), self.identity)
        if found is not None:
            state, parts = found
            self.step, self.curves = state["step"], Curves(state["curves"])
            self.tally.restore(state)
            if self.average is not None:
                self.average.load_state_dict(parts["average"])
            if parts["best"] is not None:
                self.best, self.best_weights = state["best"], parts["best"]
        self.accelerator.wait_for_everyone()


@torch.no_grad()
def follow(average, network, decay):
    """Move an average's parameters towards a network's: average = decay * average + (1 - decay) * network. Copy the buffers."""
    for kept, current in zip(average.parameters(), network.parameters()):
        kept.lerp_(current, 1 - decay)
    for kept, current in zip(average.buffers(), network.buffers()):
        kept.copy_(current)


def _copied(network):
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
