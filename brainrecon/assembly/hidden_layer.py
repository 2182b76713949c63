"""The step from patterns to one target by a network of one hidden layer, and its settings."""

from __future__ import annotations

from dataclasses import dataclass, replace

from brainrecon.assembly.learn import Learn
from stages.ground.checks import Number, OneOf, check_all

_RULES = {
    "hidden": Number(1, whole=True, example=1024),
    "dropout": Number(0, 1, below=True, example=0.3),
    "epochs": Number(1, whole=True, example=200),
    "batch_size": Number(1, whole=True, example=64),
    "learning_rate": Number(0, above=True, example=3e-3),
    "weight_decay": Number(0),
    "halved_every": Number(1, whole=True, example=60),
    "trials": OneOf("single", "averaged"),
}


@dataclass(frozen=True)
class HiddenLayerSettings:
    """A network of one hidden layer and its training; what is not given is Ferrante and others' (2022).

    >>> HiddenLayerSettings(steps_per_epoch=17).recipe.schedule.milestones
    (1020, 2040, 3060)

    Attributes
    ----------
    hidden : int
        Values of the hidden layer.
    dropout : float
        Share of them that training leaves out.
    epochs : int
        Times that every training sample is gone through; the last weights are kept.
    batch_size : int
        Samples of a step.
    learning_rate : float
        Of Adam, in the first epochs.
    weight_decay : float
        Added to the gradient.
    halved_every : int
        Epochs after which the learning rate is halved.
    trials : {"single", "averaged"}
        Samples are trials, or averages over those of a stimulus.
    steps_per_epoch : int, optional
        Those that the training samples fill, the last one in part, if it is not given.
    seed : int
        Of the first weights, the order and the dropout.
    """

    hidden: int = 1024
    dropout: float = 0.3
    epochs: int = 200
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-5
    halved_every: int = 60
    trials: str = "single"
    steps_per_epoch: int | None = None
    seed: int = 42

    def __post_init__(self):
        check_all(self, _RULES, where="hidden_layer")

    def settled(self, train):
        """These settings with as many steps in an epoch as a training split fills."""
        if self.steps_per_epoch is not None:
            return self
        n = train.n_trials if self.trials == "single" else train.n_stimuli
        return replace(self, steps_per_epoch=-(-n // self.batch_size))

    @property
    def recipe(self):
        """The recipe of the training loop."""
        from stages.training.recipe import OptimiserSpec, Recipe, Schedule

        each = self.steps_per_epoch or 1
        halvings = range(self.halved_every, self.epochs, self.halved_every)
        return Recipe(
            steps=self.epochs * each,
            batch_size=self.batch_size,
            optimiser=OptimiserSpec("adam", self.learning_rate, self.weight_decay),
            schedule=Schedule("milestones", milestones=tuple(epoch * each for epoch in halvings), drop=0.5),
            seed=self.seed,
        )


def hidden_layer(name, source, settings, machine):
    """Step that fits the network to one target, by the mean squared error, and predicts it."""
    from stages.decoders.trained import TrainedDecoder
    from stages.networks.tanh_mlp import TanhMLP

    arguments = {"hidden": settings.hidden, "dropout": settings.dropout}
    decoder = TrainedDecoder(TanhMLP, settings.recipe, arguments=arguments, device=machine.device)
    return Learn({name: source}, decoder, machine.device, settings.trials, settings="hidden_layer")
