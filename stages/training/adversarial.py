"""Training of a generator that draws pictures from responses, end to end, against a discriminator and a comparator.

Losses, the order of the players' turns, the balance between them, and the optimiser are those of Shen et al. 2019 (see
`stages.networks.voxel_gan`): the discriminator is updated first, and its new weights judge the generator.
What is random in a step, which samples, where pictures are cut, dropout, follows from the seed and the number of the step
alone; a checkpoint therefore holds weights and moments and no random state, and training that was interrupted goes on as if
it had not been.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from stages.ground.ending import finished_first
from stages.ground.progress import SILENT
from stages.networks.voxel_gan import GANDiscriminator
from stages.objectives.adversarial_balance import Balance
from stages.training.batches import Shuffled, step_seed
from stages.training.caffe_adam import caffe_adam, updates_of
from stages.training.curves import Curves, check_finite
from stages.training.processes import accelerator_on, check_shared
from stages.training.state import read_checkpoint, write_checkpoint

COLUMNS = ("step", "image", "feature", "adversarial", "shown", "drawn", "validation")
"""What a line of the history holds: losses before weighting, and the correlation of validation pictures where it was taken."""

SHOWN, DRAWN = 0, 1


@dataclass(frozen=True)
class Samples:
    """What is trained on.

    Attributes
    ----------
    responses : array of shape (n_samples, n_voxels), float32
        Standardised.
    pictures : array of shape (n_stimuli, height, width, 3), uint8
        At least as large as the generator's, which is cut from them: anywhere in training, in the middle in validation.
    stimuli : array of int, shape (n_samples,)
        Row of each sample's picture.
    """

    responses: np.ndarray
    pictures: np.ndarray
    stimuli: np.ndarray


def train_generator(
    generator, comparator, samples, validation, losses, settings, *, folder=None, identity="", device="cpu", progress=SILENT,
    seconds_between_checkpoints=60.0,
):  # fmt: skip
    """Train a generator.

    Parameters
    ----------
    generator : stages.networks.voxel_gan.GANGenerator
        As it is initialised; its weights are replaced.
    comparator : stages.judges.comparators.Comparator or None
        Needed where the feature loss has a weight.
    samples : Samples
    validation : Samples or None
        A sample per stimulus.
    losses : LossWeights
    settings : TrainingSettings
    folder : path, optional
        Where checkpoints are written, and read to go on; without it nothing is.
    identity : str
        What training depends on beside the settings, such as a hash of the responses. A checkpoint of another identity is
        not gone on with.
    device : str
        Several processes started by Accelerate take what it gives them.
    progress : callable, optional
        Called with (label, done, total).
    seconds_between_checkpoints : float

    Returns
    -------
    history : list of dict
        A line every `settings.validate_every` steps, with the entries of `COLUMNS`.

    Raises
    ------
    InputError
        A loss is no longer finite, or the batch cannot be shared by the processes.
    """
    training = _Training(generator, comparator, samples, validation, losses, settings, folder, identity, device)
    return training.run(progress, seconds_between_checkpoints)


class _Training:
    """The players, their optimisers, and how far they are."""

    def __init__(self, generator, comparator, samples, validation, losses, settings, folder, identity, device):
        self.samples, self.validation = samples, validation
        self.losses, self.settings, self.seed = losses, settings, settings.seed
        self.folder = None if folder is None else Path(folder)
        self.identity = repr([identity, asdict(losses), asdict(settings), generator.config])
        check_shared("training.batch_size", settings.batch_size)
        self.accelerator = accelerator_on(device, settings.precision)
        self.device = self.accelerator.device
        self.comparator = comparator.to(self.device) if losses.feature else None
        self.plain = generator
        self.judge = None
        if losses.adversarial:
            self.judge = GANDiscriminator(generator.config["channels"], settings.dropout, settings.seed)
        adam = {"lr": settings.learning_rate, "betas": (0.9, 0.999)}
        optimiser = torch.optim.Adam(generator.parameters(), **adam)
        self.generator, self.optimiser = self.accelerator.prepare(generator.to(self.device).train(), optimiser)
        self.discriminator = self.judge_optimiser = None
        if self.judge is not None:
            optimiser = torch.optim.Adam(self.judge.parameters(), weight_decay=settings.discriminator_decay, **adam)
            self.discriminator, self.judge_optimiser = self.accelerator.prepare(
                self.judge.to(self.device).train(), optimiser
            )
        self.step, self.history, self.best, self.best_weights = 0, [], -np.inf, None
        self.balance = Balance()
        self.rows = Shuffled(len(samples.responses), settings.batch_size, settings.seed)

    def run(self, progress, seconds_between_checkpoints):
        self._reopen()
        total, saved = self.settings.iterations, time.monotonic()
        with torch.random.fork_rng():
            while self.step < total and not Curves(self.history).is_waiting_too_long(self.settings.patience, max):
                with finished_first("step") as part:
                    losses = self._take_step()
                    self.step += 1
                    if self.step % self.settings.validate_every == 0 or self.step == total:
                        self._note(losses)
                    if part.is_last or time.monotonic() - saved >= seconds_between_checkpoints:
                        self._checkpoint()
                        saved = time.monotonic()
                progress("training", self.step, total)
        self._checkpoint()
        if self.best_weights is not None:
            self.plain.load_state_dict(self.best_weights)
        self.accelerator.wait_for_everyone()
        # Mixed precision was for training.
        self.accelerator.unwrap_model(self.generator, keep_fp32_wrapper=False)
        return self.history

    # A step

    def _take_step(self):
        """One step of both players, as far as they are to learn; the losses, floats."""
        torch.manual_seed(step_seed(self.seed, self.step, self.accelerator.process_index))
        patterns, shown = self._batch()
        drawn = self.generator(patterns)
        parts = {}
        if self.losses.image:
            parts["image"] = _euclidean(drawn, self.plain.values(shown))
        if self.losses.feature:
            with torch.no_grad():
                wanted = self.comparator(shown)
            parts["feature"] = _euclidean(self.comparator(self.plain.greys(drawn)), wanted)
        learning = Balance(self.balance.discriminator, self.balance.generator)
        verdicts, comes_first = {}, self.settings.turns == "discriminator_first"
        if self.judge is not None:
            verdicts = self._verdicts(drawn.detach(), self.plain.values(shown), learning.discriminator)
            if learning.discriminator and comes_first:
                self._update(self.judge_optimiser)
            self.judge.requires_grad_(False)
            parts["adversarial"] = _verdict(self.judge(drawn), SHOWN)
            self.judge.requires_grad_(True)
            # Of all processes together: they have to agree about who waits.
            of_all = torch.stack([verdicts["shown"], verdicts["drawn"], parts["adversarial"].detach()])
            self.balance.update(*self.accelerator.reduce(of_all, "mean").tolist())
        if learning.generator:
            self.accelerator.backward(sum(getattr(self.losses, name) * loss for name, loss in parts.items()))
            self._update(self.optimiser)
        # Only now, for the generator was to be judged by the weights that made the step's other verdicts.
        if verdicts and learning.discriminator and not comes_first:
            self._update(self.judge_optimiser)
        return {name: loss.detach() for name, loss in (parts | verdicts).items()}

    def _verdicts(self, drawn, shown, learns):
        """The discriminator's losses on shown and on drawn pictures; their gradients where it is to learn."""
        verdicts = self.discriminator(torch.cat([shown, drawn])).chunk(2)
        losses = {"shown": _verdict(verdicts[SHOWN], SHOWN), "drawn": _verdict(verdicts[DRAWN], DRAWN)}
        if learns:
            self.accelerator.backward(sum(losses.values()) * self.losses.adversarial)
        return {name: loss.detach() for name, loss in losses.items()}

    def _batch(self):
        """Patterns and grey levels of this process's part of the step's samples."""
        size, rows = self.settings.batch_size, self.rows(self.step)
        cuts = np.random.default_rng([self.seed, self.step, 1])
        side = self.plain.config["picture"]
        height, width = self.samples.pictures.shape[1:3]
        tops, lefts = cuts.integers(0, height - side + 1, size), cuts.integers(0, width - side + 1, size)
        own = slice(self.accelerator.process_index, None, self.accelerator.num_processes)
        pictures = [
            self.samples.pictures[stimulus, top : top + side, left : left + side]
            for stimulus, top, left in zip(self.samples.stimuli[rows[own]], tops[own], lefts[own])
        ]
        return self._on_device(self.samples.responses[rows[own]]), self._greys(np.stack(pictures))

    def _update(self, optimiser):
        """Apply a player's gradients, and forget them."""
        settings = self.settings
        if settings.adam == "caffe":
            options = caffe_adam(settings.learning_rate, updates_of(optimiser), settings.milestones)
        else:
            halvings = sum(self.step >= milestone for milestone in settings.milestones)
            options = {"lr": settings.learning_rate * 0.5**halvings}
        for group in optimiser.param_groups:
            group.update(options)
        optimiser.step()
        optimiser.zero_grad()

    def _on_device(self, values):
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def _greys(self, pictures):
        return self._on_device(pictures).permute(0, 3, 1, 2).float()

    # Validation

    @torch.no_grad()
    def _note(self, losses):
        """Add a line to the history, and keep the weights where validation has never been better."""
        of_all = {name: self.accelerator.reduce(loss, "mean").item() for name, loss in losses.items()}
        check_finite(of_all, self.step, "lower training.learning_rate or the losses' weights, and fit again")
        line = dict.fromkeys(COLUMNS) | {"step": self.step} | of_all
        if self.validation is not None:
            line["validation"] = self._correlation()
            if line["validation"] > self.best:
                self.best = line["validation"]
                self.best_weights = {name: value.detach().clone() for name, value in self.plain.state_dict().items()}
        self.history.append(line)

    def _correlation(self):
        """Mean correlation, over all values of a picture, of validation pictures with what is drawn."""
        found, side = [], self.plain.config["picture"]
        height, width = self.validation.pictures.shape[1:3]
        top, left = (height - side) // 2, (width - side) // 2
        for start in range(0, len(self.validation.responses), 64):
            rows = slice(start, start + 64)
            pictures = self.validation.pictures[self.validation.stimuli[rows]]
            shown = self._greys(pictures[:, top : top + side, left : left + side])
            drawn = self.plain(self._on_device(self.validation.responses[rows]))
            shown, drawn = (one.flatten(1) - one.flatten(1).mean(1, keepdim=True) for one in (shown, drawn))
            products = (shown * drawn).sum(1) / (shown.norm(dim=1) * drawn.norm(dim=1)).clamp_min(1e-12)
            found.append(products.cpu().numpy())
        mean = torch.tensor(np.concatenate(found).mean(), device=self.device, dtype=torch.float32)
        # The same number everywhere, for it tells when to stop.
        return self.accelerator.reduce(mean, "mean").item()

    # Files

    def _optimisers(self):
        found = {"generator": (self.plain, [self.optimiser])}
        return found if self.judge is None else found | {"discriminator": (self.judge, [self.judge_optimiser])}

    def _checkpoint(self):
        """Write where training is: the first process does, by its own clock, and nobody waits for it here."""
        if self.folder is not None and self.accelerator.is_main_process:
            state = {
                "identity": self.identity,
                "step": self.step,
                "best": self.best if self.best_weights is not None else None,
                "balance": [self.balance.discriminator, self.balance.generator],
                "history": self.history,
            }
            write_checkpoint(self.folder, self._optimisers(), {"best": self.best_weights}, state)

    def _reopen(self):
        """Go on from the folder's checkpoint, where there is one of this training."""
        if self.folder is None:
            return
        found = read_checkpoint(self.folder, self._optimisers(), ("best",), self.identity)
        if found is not None:
            state, parts = found
            self.best_weights = parts["best"]
            self.step, self.history = state["step"], state["history"]
            self.best = -np.inf if state["best"] is None else state["best"]
            self.balance = Balance(*state["balance"])
        self.accelerator.wait_for_everyone()


def _euclidean(one, other):
    """Half the squared distance, summed over values, averaged over pictures."""
    return (one - other).square().sum() / (2 * len(one))


def _verdict(logits, label):
    return cross_entropy(logits.float(), torch.full((len(logits),), label, device=logits.device))
