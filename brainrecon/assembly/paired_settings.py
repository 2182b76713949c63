"""Settings of networks that learn from pictures beside trials of their category."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stages.ground.checks import Number, OneOf, check_all

_COUNT = Number(1, whole=True)


@dataclass(frozen=True)
class PairedSettings:
    """How a network is trained on pictures beside trials of a category.

    Attributes
    ----------
    epochs : int
        Times that every training picture is gone through.
    steps_per_epoch : int, optional
        Batches in an epoch; those that the training pictures fill, if it is not given.
    batch_size : int
        Pictures of a step, among which all are compared.
    learning_rate : float
        At first.
    category : {"any", "own"}
        Trials beside a picture are of a category that is drawn anew, or of its own.
    shared : bool
        One choice of trials and one row of weights for all pictures of a step, or one for each.
    depth, n_heads : int
        Of the encoder of regions.
    places : {"none", "learned"}
        What tells its regions apart beside their voxels; see `stages.networks.region_encoder.RegionEncoder`.
    precision : {"no", "bf16"}
        Mixed precision.
    seed : int
        Of the weights before training and of all that is drawn in it.
    """

    epochs: int = 30
    steps_per_epoch: int | None = None
    batch_size: int = 1024
    learning_rate: float = 2e-5
    category: str = "any"
    shared: bool = True
    depth: int = 12
    n_heads: int = 8
    places: str = "none"
    precision: str = "no"
    seed: int = 42

    def __post_init__(self):
        rules = {
            **dict.fromkeys(("epochs", "batch_size", "depth", "n_heads"), _COUNT),
            "steps_per_epoch": Number(1, whole=True, optional=True, example=10),
            "learning_rate": Number(0, above=True, example=2e-5),
            "category": OneOf("any", "own"),
            "places": OneOf("none", "learned"),
            "precision": OneOf("no", "bf16"),
            "seed": Number(0, whole=True),
        }
        check_all(self, rules | self._own_rules())

    def _own_rules(self):
        return {}

    def settled(self, train):
        """These settings with as many steps in an epoch as the pictures of a training split fill."""
        if self.steps_per_epoch is not None:
            return self
        return replace(self, steps_per_epoch=max(train.n_stimuli // self.batch_size, 1))

    @property
    def pairs(self):
        """`stages.training.pairs.Pairs` without categories."""
        from stages.training.pairs import Pairs

        return Pairs(self.category, self.shared)

    def recipe(self, published_steps, optimiser, schedule):
        """The recipe of the training loop."""
        from stages.training.recipe import Recipe

        steps = self.steps_per_epoch or published_steps
        return Recipe(
            steps=self.epochs * steps,
            batch_size=self.batch_size,
            optimiser=optimiser,
            schedule=schedule,
            precision=self.precision,
            validate_every=steps,
            seed=self.seed,
        )


@dataclass(frozen=True)
class MatchingSettings(PairedSettings):
    """How the encoder is matched to pictures.

    Attributes
    ----------
    hidden : int
        Values inside the branch for pictures.
    graph_heads, n_rounds : int
        Of the graph of a batch.
    dustbin : float
        Score of what belongs to nothing.
    n_iterations : int
        Of Sinkhorn's.
    """

    hidden: int = 256
    graph_heads: int = 4
    n_rounds: int = 3
    dustbin: float = 1.0
    n_iterations: int = 100

    def _own_rules(self):
        return dict.fromkeys(("hidden", "graph_heads", "n_iterations"), _COUNT) | {"n_rounds": Number(0, whole=True)}

    @property
    def sizes(self):
        """What the network is made of, beside its regions."""
        named = ("depth", "n_heads", "places", "hidden", "graph_heads", "n_rounds")
        return {name: getattr(self, name) for name in named}


@dataclass(frozen=True)
class CaptioningSettings(PairedSettings):
    """How the caption model is trained.

    Attributes
    ----------
    weight_decay : float
        Of all weights.
    factor : int
        By which the inner width of the language model's cross-attention is divided.
    class_weight : float
        Of the error of the first state, which is held to the picture's class token, beside that of the words.
    longest : int
        Tokens of a caption that are learned.
    """

    epochs: int = 60
    batch_size: int = 32
    learning_rate: float = 1e-4
    category: str = "own"
    shared: bool = False
    depth: int = 16
    n_heads: int = 16
    places: str = "learned"
    weight_decay: float = 1e-4
    factor: int = 16
    class_weight: float = 10.0
    longest: int = 25

    def _own_rules(self):
        return {"weight_decay": Number(0), "factor": _COUNT, "class_weight": Number(0), "longest": _COUNT}
