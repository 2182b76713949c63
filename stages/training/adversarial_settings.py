"""Settings of a generator's end-to-end training: what is lost, and how training proceeds."""

from dataclasses import dataclass

from stages.ground.errors import InputError


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
        weights = {name: getattr(self, name) for name in ("image", "feature", "adversarial")}
        for name, value in weights.items():
            if not 0 <= value < float("inf"):
                raise InputError(f"losses.{name} is {value}; expected 0 or more: pass --set losses.{name}=1.")
        if not any(weights.values()):
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
    milestones : tuple of int
        Steps after which the learning rate is halved.
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
    discriminator_decay: float = 4e-4
    dropout: float = 0.5
    validation: float = 0.0
    validate_every: int = 1000
    patience: int = 10
    precision: str = "no"
    seed: int = 0

    def __post_init__(self):
        for name in ("iterations", "batch_size", "validate_every", "patience"):
            if getattr(self, name) < 1:
                raise InputError(f"training.{name} is {getattr(self, name)}; expected 1 or more.")
        if not 0 <= self.validation <= 0.5:
            raise InputError(f"training.validation is {self.validation}; expected a share of 0 to 0.5.")
        if not 0 <= self.dropout < 1:
            raise InputError(f"training.dropout is {self.dropout}; expected 0 or more and less than 1.")
        if not 0 < self.learning_rate < float("inf") or not 0 <= self.discriminator_decay < float("inf"):
            raise InputError(
                f"training.learning_rate is {self.learning_rate} and training.discriminator_decay {self.discriminator_decay}; "
                "expected a positive rate and a decay of 0 or more."
            )
        if self.precision not in ("no", "bf16"):
            raise InputError(f"training.precision is {self.precision!r}; expected no or bf16.")
        if self.seed < 0:
            raise InputError(f"training.seed is {self.seed}; expected 0 or more.")
