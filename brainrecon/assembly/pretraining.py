"""The step that pretrains an encoder on responses alone, before a network that reads them is trained with it.

After Chen et al. (CVPR 2023), "MinD-Vis": a masked autoencoder (`stages.networks.masked_brain`), on the responses that the chain
learns from, of one subject or of several; from nothing, or from a checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from brainrecon.assembly.network_settings import check_parts
from brainrecon.assembly.step import Step
from brainrecon.assembly.training_cost import bytes_needed, describe_training
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError

NAME = "masked responses"
TRIALS = ("single", "averaged")
_COUNT = Number(1, whole=True)
_RULES = {
    **dict.fromkeys(
        ("patch_size", "width", "depth", "n_heads", "decoder_width", "decoder_depth", "decoder_heads", "epochs"), _COUNT
    ),
    "batch_size": _COUNT,
    "accumulate": _COUNT,
    "warmup_epochs": Number(0, whole=True),
    "mlp_ratio": Number(0, above=True, example=1.0),
    "mask_ratio": Number(0, 1, above=True, below=True, example=0.75),
    "focus_rate": Number(0, 1, above=True, below=True, example=0.6),
    "learning_rate": Number(0, above=True, example=2.5e-4),
    "weight_decay": Number(0),
    "clip": Number(0, above=True, optional=True, example=0.8),
    "precision": OneOf("no", "bf16"),
    "validation": Number(0, 0.5),
    "trials": OneOf(*TRIALS),
}


@dataclass(frozen=True)
class MaskedBrainSettings:
    """A masked autoencoder of responses, and how it is trained; as published unless it is said otherwise.

    >>> MaskedBrainSettings(epochs=2, warmup_epochs=1).recipe(n_responses=1200).steps
    24

    Attributes
    ----------
    patch_size : int
        Voxels of a token.
    width, depth, n_heads : int
        Of the encoder.
    mlp_ratio : float
        Values inside the feed-forward layers, in widths.
    decoder_width, decoder_depth, decoder_heads : int
        Of what tells masked patches, and is left behind.
    mask_ratio : float
        Share of the patches that are masked.
    focus : list of two ints
        Voxels, the first and the one after the last, whose patches are masked rather than others; empty for none.
    focus_rate : float
        Weight of these in the lots.
    epochs, warmup_epochs : int
        Times that every response is gone through; and in how many first ones the learning rate rises, before it falls along half
        a cosine.
    batch_size : int
        Responses of a step.
    accumulate : int
        Parts into which a batch is cut where memory is short.
    learning_rate, weight_decay : float
        Vectors do not decay.
    clip : float, optional
        Largest norm of the gradient.
    precision : {"no", "bf16"}
        Mixed precision; published is a third, float16.
    validation : float
        Share of the responses that are held out, and choose which weights are kept. Published: none.
    trials : {"single", "averaged"}
        Every trial by itself, or averages over those of a stimulus.
    transductive : bool
        Learn from the responses to tested stimuli in place of those to training stimuli, single trials and averages, as published
        for the second pretraining. It is not known then how well unseen responses would be decoded.
    seed : int
        Of the first weights, the order and the masks.
    """

    about: ClassVar[str] = NAME

    patch_size: int = 16
    width: int = 1024
    depth: int = 24
    n_heads: int = 16
    mlp_ratio: float = 1.0
    decoder_width: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16
    mask_ratio: float = 0.75
    focus: tuple[int, ...] = ()
    focus_rate: float = 0.6
    epochs: int = 500
    warmup_epochs: int = 40
    batch_size: int = 100
    accumulate: int = 1
    learning_rate: float = 2.5e-4
    weight_decay: float = 0.05
    clip: float | None = 0.8
    precision: str = "no"
    validation: float = 0.0
    trials: str = "single"
    transductive: bool = False
    seed: int = 2022

    def __post_init__(self):
        check_all(self, _RULES)
        if len(self.focus) not in (0, 2):
            raise InputError(
                f"focus is {self.focus}; expected the first voxel and the one after the last: focus=[0,1500]."
            )
        if self.warmup_epochs >= self.epochs:
            raise InputError(
                f"warmup_epochs is {self.warmup_epochs} but epochs is {self.epochs}, so that the learning rate would never fall; "
                f"set warmup_epochs to fewer, for example warmup_epochs={self.epochs // 12}."
            )
        check_parts(self.batch_size, self.accumulate)

    @property
    def sizes(self):
        """Arguments of the autoencoder but the number of voxels."""
        names = (
            "patch_size",
            "width",
            "depth",
            "n_heads",
            "mlp_ratio",
            "decoder_width",
            "decoder_depth",
            "decoder_heads",
        )
        focus = list(self.focus) or None
        return {name: getattr(self, name) for name in (*names, "mask_ratio", "focus_rate")} | {"focus": focus}

    @property
    def encoder_sizes(self):
        """Arguments of the encoder alone (`stages.networks.masked_brain.BrainEncoder`) but the number of voxels."""
        return {name: getattr(self, name) for name in ("patch_size", "width", "depth", "n_heads", "mlp_ratio")}

    def recipe(self, n_responses):
        """The recipe of the training loop, for so many responses."""
        from stages.training.recipe import OptimiserSpec, Recipe, Schedule

        learned = max(n_responses - round(self.validation * n_responses), 1)
        in_epoch = -(-learned // self.batch_size)
        return Recipe(
            steps=self.epochs * in_epoch,
            batch_size=self.batch_size,
            accumulate=self.accumulate,
            optimiser=OptimiserSpec(
                "adamw", self.learning_rate, self.weight_decay, undecayed="vectors", betas=(0.9, 0.95)
            ),
            schedule=Schedule("cosine after warm-up", warmup=self.warmup_epochs * in_epoch),
            clip=self.clip,
            precision=self.precision,
            validation=self.validation,
            validate_every=in_epoch,
            seed=self.seed,
        )

    def pretraining(self, n_responses, device="cpu", start=None, subjects=None):
        """What is fitted: a `stages.decoders.masked_pretraining.MaskedPretraining`; where voxels lie is nothing to it."""
        from stages.decoders.masked_pretraining import MaskedPretraining

        return MaskedPretraining(self.recipe(n_responses), self.sizes, start, device)


class Pretrain(Step):
    """Pretrain an encoder on responses alone; a step behind it begins with what was learned.

    >>> import torch
    >>> from brainrecon.assembly.values import Training, Workspace
    >>> from brainrecon.datasets.split import Split
    >>> from brainrecon.datasets.subject import Subject
    >>> from stages.networks.masked_brain import BrainEncoder
    >>> small = {"width": 32, "depth": 1, "n_heads": 2, "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    >>> settings = MaskedBrainSettings(**small, epochs=2, warmup_epochs=1, batch_size=4)
    >>> responses = torch.randn(8, 70).numpy()
    >>> splits = {name: Split(responses, [f"{name}{row}" for row in range(8)]) for name in ("train", "test")}
    >>> subject = Subject("subj01", "arrays", "arrays:memory", splits, roi="all")
    >>> step = Pretrain(settings)
    >>> step.fit(Training({"subj01": subject}, dict), Workspace(store=None))
    >>> encoder = BrainEncoder(70, **settings.encoder_sizes)
    >>> _ = step.begin(encoder)
    >>> torch.equal(encoder.cls_token, step.pretraining.network.cls_token)
    True

    Another step is given this one, and puts what was learned into its network before it trains: a `TrainedDecoder` by its
    ``begin=lambda network: step.begin(network.encoder)``.

    Parameters
    ----------
    settings : MaskedBrainSettings
        Sizes are those of the checkpoint, if there is one.
    device : str
    part : str
    start : callable, optional
        ``start() -> path``: folder of the checkpoint that is gone on with, such as ``lambda: system.folder("encoder")``.
    table : str
        Of the system's settings, that `settings` are.
    """

    is_learned, trains_together, reads_subjects, for_new_subject = True, True, True, "go on"
    gives, about = (), NAME
    """Nothing is given: what was learned is in the network of another step."""

    def __init__(self, settings, device="cpu", part="encoder", start=None, table="pretraining"):
        self.settings, self.part, self.pretraining = settings, part, None
        self._device, self._start, self._table, self._costs = device, start, table, {}

    @property
    def precision(self):
        return self.settings.precision

    def begin(self, encoder):
        """Put what was learned into an encoder, for as many voxels as this reads.

        Parameters
        ----------
        encoder : stages.networks.masked_brain.BrainEncoder
            Of the same sizes.

        Returns
        -------
        identity : str
            Of what was put there.
        """
        from stages.networks.masked_brain import put_encoder

        return put_encoder(encoder, self.pretraining.network)

    # Learning

    def fit(self, training, workspace):
        responses = {name: self._responses_of(subject) for name, subject in training.subjects.items()}
        start = workspace.pretrained or (self._start and self._start())
        self.pretraining = self.settings.pretraining(sum(map(len, responses.values())), self._device, start)
        self.pretraining.fit(responses, folder=workspace.folder, progress=workspace.progress)

    def _responses_of(self, subject):
        if self.settings.transductive:
            return np.concatenate([np.asarray(subject.test.patterns), np.asarray(subject.test.betas)])
        train = subject.train
        return train.betas if self.settings.trials == "single" else train.patterns

    def save(self, folder):
        self.pretraining.save_pretrained(folder)

    def open(self, workspace):
        from stages.decoders.masked_pretraining import MaskedPretraining

        self.pretraining = MaskedPretraining.from_pretrained(Path(workspace.folder), self._device)

    def summary(self):
        return self.pretraining.summary()

    def curves(self):
        return self.pretraining.curves()

    def remarks(self):
        if not self.settings.transductive:
            return []
        return ["The encoder was pretrained on responses to tested stimuli, single trials and averages, as published."]

    # Before it begins

    def cost(self, train):
        if (counted := self._counted(train)) is None:
            return []
        recipe, cost = counted
        return describe_training(
            cost, recipe, (NAME,), 0, self._device, lambda name, value: f"--set {self._table}.{name}={value}"
        )

    def memory(self, train):
        counted = self._counted(train)
        return None if counted is None else bytes_needed(counted[1], 0, self._device)[self._device]

    def operations(self, train):
        counted = self._counted(train)
        known = counted is not None and counted[1].operations is not None
        return {f"Pretraining on {NAME}": counted[1].operations} if known else {}

    def _counted(self, train):
        """The recipe and what it takes; None if it cannot be counted, as of responses that nobody has told of."""
        if self.settings.transductive:
            return None
        n_voxels = max(train.n_voxels.values()) if isinstance(train.n_voxels, Mapping) else train.n_voxels
        n_responses = train.n_trials if self.settings.trials == "single" else train.n_stimuli
        # Memory, operations and sentences follow from one count, which takes some seconds.
        if (n_voxels, n_responses) not in self._costs:
            pretraining = self.settings.pretraining(n_responses, self._device)
            self._costs[n_voxels, n_responses] = pretraining.recipe, pretraining.cost(n_voxels)
        recipe, cost = self._costs[n_voxels, n_responses]
        return None if cost is None else (recipe, cost)

    # Running

    def run(self, items, values, *, seed=0):
        return {}

    def told(self, present):
        return {"pretrained on": "tested responses" if self.settings.transductive else "training responses"}
