"""Settings of a network that is trained to decode."""

from __future__ import annotations

from dataclasses import dataclass, replace

from brainrecon.assembly.learn import TRIALS
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError

_COUNT = Number(1, whole=True)
_RULES = {
    "epochs": _COUNT,
    "batch_size": _COUNT,
    "accumulate": _COUNT,
    "learning_rate": Number(0, above=True, example=3e-4),
    "weight_decay": Number(0),
    "validation": Number(0, 0.5),
    "patience": Number(1, whole=True, optional=True, example=10),
    "precision": OneOf("no", "bf16"),
    "trials": OneOf(*TRIALS),
    "features": OneOf("float32", "float16"),
}


def check_parts(batch_size: int, accumulate: int) -> None:
    """Refuse a batch that cannot be cut into so many equal parts.

    >>> check_parts(32, 4)
    """
    if batch_size % accumulate:
        raise InputError(
            f"accumulate is {accumulate} but batch_size is {batch_size}; expected parts of equal size, for example "
            f"batch_size={batch_size + accumulate - batch_size % accumulate}."
        )


@dataclass(frozen=True)
class NetworkSettings:
    """How a network is trained.

    Attributes
    ----------
    epochs : int
        Times that every training stimulus is gone through.
    steps_per_epoch : int, optional
        Batches in an epoch; those that the training stimuli fill, if it is not given.
    batch_size : int
        Stimuli of a step, over all processes.
    accumulate : int
        Parts into which a batch is cut where memory is short; samples are compared with the whole batch all the same.
    learning_rate : float
        At its highest, after two epochs.
    weight_decay : float
        Of everything but biases.
    validation : float
        Share of the training stimuli that chooses which weights are kept; the last are kept without.
    patience : int, optional
        Epochs without a better validation after which training stops; all are gone through, if it is not given.
    trials : {"in turn", "single", "apart", "averaged", "mixed", "virtual"}
        One trial of every stimulus in an epoch, those of each taking turns; every trial by itself, and no two of a stimulus in
        a step if they are apart; averages; or mixtures of the trials of every stimulus, drawn anew in every step: of all of them,
        or of a random subset with one row of weights for all.
    features : {"float32", "float16"}
        How the feature store holds the targets.
    precision : {"no", "bf16"}
        Mixed precision.
    seed : int
        Of the weights before training and of all that is drawn in it.
    """

    epochs: int = 240
    steps_per_epoch: int | None = None
    batch_size: int = 32
    accumulate: int = 1
    learning_rate: float = 3e-4
    weight_decay: float = 1e-2
    validation: float = 0.0
    patience: int | None = None
    trials: str = "in turn"
    features: str = "float32"
    precision: str = "no"
    seed: int = 42

    def __post_init__(self):
        check_all(self, _RULES)
        if self.patience is not None and not self.validation:
            raise InputError(
                f"patience is {self.patience} but validation is 0, so that nothing tells when to stop; set validation to the "
                "share of the training stimuli that is to tell, for example validation=0.1."
            )
        check_parts(self.batch_size, self.accumulate)

    def settled(self, train):
        """These settings with as many steps in an epoch as a training split fills.

        Raises
        ------
        InputError
            The share for validation is none of its stimuli, or all: now rather than after another network was trained.
        """
        from stages.training.batches import held_out

        held_out(train.n_stimuli, self.validation, self.seed)
        if self.steps_per_epoch is not None:
            return self
        n = train.n_stimuli - round(self.validation * train.n_stimuli)
        if self.trials in ("single", "apart"):
            n = round(n * train.n_trials / train.n_stimuli)
        return replace(self, steps_per_epoch=max(n // self.batch_size, 1))

    def recipe(self, published_steps):
        """The recipe of the training loop."""
        from stages.training.recipe import OptimiserSpec, Recipe, Schedule

        steps = self.epochs * (self.steps_per_epoch or published_steps)
        return Recipe(
            steps=steps,
            batch_size=self.batch_size,
            accumulate=self.accumulate,
            optimiser=OptimiserSpec("adamw", self.learning_rate, self.weight_decay, undecayed="biases"),
            schedule=Schedule("one-cycle", rise=min(2 / self.epochs, 0.5), first_divisor=25, last_divisor=1000),
            precision=self.precision,
            validation=self.validation,
            patience=self.patience,
            validate_every=self.steps_per_epoch or published_steps,
            seed=self.seed,
        )
