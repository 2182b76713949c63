"""Settings of a generator's end-to-end training: what is lost, and how training proceeds."""

from dataclasses import dataclass

from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError

_RULES = {
    "iterations": Number(1, whole=True, example=2000),
    "batch_size": Number(1, whole=True, example=32),
    "learning_rate": Number(0, above=True, example=2e-4),
    "turns": OneOf("discriminator_first", "together"),
    "adam": OneOf("caffe", "standard"),
    "discriminator_decay": Number(0),
    "dropout": Number(0, 1, below=True),
    "validation": Number(0, 0.5),
    "validate_every": Number(1, whole=True, example=1000),
    "patience": Number(1, whole=True, example=10),
    "precision": OneOf("no", "bf16"),
    "seed": Number(0, whole=True),
}


@dataclass(frozen=True)
class LossWeights:
    """Weights of the three losses, and the scale of the pictures they belong to.

    The image and the feature loss are half the squared Euclidean distance, summed over values and averaged over pictures, as
    Caffe has it; the adversarial one is the cross-entropy of the discriminator's verdict. Published, for grey levels of 0 to
    255 less their means: 2e-6, 0.01, 100. A later study, for pictures of 0 to 1: 100, 100, 10,000.

    Attributes
    ----------
    image, feature, adversarial : float
        0 leaves a loss out.
    brightness : {255.0, 1.0}
        What the pictures of the image loss, and of the discriminator, are divided by: 1 for grey levels, 255 for 0 to 1.
    """

    image: float = 2e-6
    feature: float = 0.01
    adversarial: float = 100.0
    brightness: float = 1.0

    def __post_init__(self):
        check_all(self, dict.fromkeys(("image", "feature", "adversarial"), Number(0, example=1.0)), where="losses")
        if not (self.image or self.feature or self.adversarial):
            raise InputError(
                "losses.image, losses.feature and losses.adversarial are all 0; leave one of them above it."
            )
        if self.brightness not in (1.0, 255.0):
            raise InputError(
                f"losses.brightness is {self.brightness}; expected 1 (grey levels) or 255 (pictures of 0 to 1)."
            )


@dataclass(frozen=True)
class TrainingSettings:
    """How training proceeds.

    Attributes
    ----------
    iterations : int
        Steps; published: up to 1,000,000, the released models had 500,000.
    batch_size : int
        Samples of a step, over all processes.
    learning_rate : float
        Of both players, before it is halved.
    milestones : tuple of int
        Steps after which the learning rate is halved.
    turns : {"discriminator_first", "together"}
        "discriminator_first", as published: the discriminator is updated before it judges for the generator. "together": one
        state of the discriminator gives all verdicts of a step, and both players are updated after them.
    adam : {"caffe", "standard"}
        "caffe", as published: see `stages.training.caffe_adam`. Each player then counts milestones in its own updates.
    discriminator_decay : float
        Weight decay of the discriminator; the generator has none.
    dropout : float
        In the discriminator.
    validation : float
        Share of the training stimuli that are not trained on but drawn now and then; training stops when they get no better,
        and keeps the weights that drew them best. 0: no validation, and the last weights.
    validate_every : int
        Steps between validations, and between lines of the history.
    patience : int
        Validations without a better one after which training stops.
    precision : {"no", "bf16"}
        Mixed precision, as Accelerate names it. (Half precision would need a scale of the losses for each player.)
    seed : int
        Of initial weights, of the order of samples, and of everything else that is random.
    """

    iterations: int = 500_000
    batch_size: int = 64
    learning_rate: float = 2e-4
    milestones: tuple[int, ...] = (300_000, 500_000, 700_000, 900_000, 1_100_000)
    turns: str = "discriminator_first"
    adam: str = "caffe"
    discriminator_decay: float = 4e-4
    dropout: float = 0.5
    validation: float = 0.0
    validate_every: int = 1000
    patience: int = 10
    precision: str = "no"
    seed: int = 0

    def __post_init__(self):
        check_all(self, _RULES, where="training")
