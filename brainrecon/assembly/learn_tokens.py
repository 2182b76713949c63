"""The step that trains a network over tokens on the training pictures alone: no response has a part in it.

After LEA (Qian et al. 2024), which goes on from MaskGIT's ImageNet weights under CLIP embeddings of the training pictures.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from brainrecon.assembly.network_settings import check_parts
from brainrecon.assembly.step import Step
from brainrecon.assembly.targets import loaded
from brainrecon.assembly.training_cost import bytes_needed, describe_training
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError

ABOUT = "tokens of pictures"
TOKENS = "vq_tokens"
_COUNT = Number(1, whole=True)
_RULES = {
    **dict.fromkeys(("steps", "batch_size", "accumulate", "width", "depth", "n_heads"), _COUNT),
    "warmup": Number(0, whole=True),
    "learning_rate": Number(0, above=True, example=5e-5),
    "weight_decay": Number(0),
    "least": Number(0, 1),
    "smoothing": Number(0, 1, below=True),
    "norm": OneOf("after", "before"),
    "dropout": Number(0, 1, below=True),
    "precision": OneOf("no", "bf16"),
}


@dataclass(frozen=True)
class TokenLearning:
    """How a network over tokens is trained; what is not given is LEA's.

    Attributes
    ----------
    steps, batch_size : int
        Of the training, and pictures of a step.
    accumulate : int
        Parts into which a batch is cut where memory is short.
    learning_rate, weight_decay : float
        Of AdamW with betas of 0.9 and 0.95.
    warmup : int
        Steps in which the learning rate rises, before it falls along a line.
    least : float
        Of the share of tokens that a step masks: max(cos(pi u / 2), least), u drawn from 0 to 1.
    smoothing : float
        Of the labels.
    mirrored : bool
        Whether each picture is mirrored by lot, its tokens and its embedding with it.
    width, depth, n_heads : int
        Of a network that begins from nothing, see `stages.networks.masked_tokens.MaskedTokensConfig`; one that goes on from a
        checkpoint is as large as that.
    norm : {"after", "before"}
        Where such a network normalises.
    dropout : float
        Of such a network.
    precision : {"no", "bf16"}
        Mixed precision.
    seed : int
        Of the weights before training and of all that is drawn in it.
    """

    steps: int = 300_000
    batch_size: int = 8
    accumulate: int = 1
    learning_rate: float = 5e-5
    weight_decay: float = 0.01
    warmup: int = 20_000
    least: float = 0.5
    smoothing: float = 0.1
    mirrored: bool = True
    width: int = 768
    depth: int = 24
    n_heads: int = 16
    norm: str = "after"
    dropout: float = 0.01
    precision: str = "no"
    seed: int = 666

    def __post_init__(self):
        check_all(self, _RULES)
        check_parts(self.batch_size, self.accumulate)

    @property
    def recipe(self):
        """The recipe of the training loop."""
        from stages.training.recipe import OptimiserSpec, Recipe, Schedule

        return Recipe(
            steps=self.steps,
            batch_size=self.batch_size,
            accumulate=self.accumulate,
            optimiser=OptimiserSpec("adamw", self.learning_rate, self.weight_decay, betas=(0.9, 0.95)),
            schedule=Schedule("linear", warmup=self.warmup),
            precision=self.precision,
            validate_every=min(1000, self.steps),
            seed=self.seed,
        )


class LearnTokens(Step):
    """Train a network to complete the tokens of the training pictures, under an embedding of each or without one.

    Parameters
    ----------
    tokens : brainrecon.assembly.targets.TargetSource
        The tokens of pictures, `stages.targets.vq_tokens.VQTokens`.
    settings : TokenLearning
    machine : brainrecon.assembly.values.Machine
    context : mapping of str to TargetSource
        The embedding, by the name of its value in the chain; empty for none.
    start : callable, optional
        ``start() -> path``: folder of a network that is gone on with, see `stages.networks.masked_tokens.MaskedTokens`. It may
        have a class's place where this one has an embedding's, as MaskGIT's own has.
    part : str
    table : str
        Of the system's settings, that `settings` are.
    encoded : bool
        Whether tokens are predicted by a step of the chain, as `TOKENS`, so that they are encoded anyway.
    """

    is_learned, trains_together = True, True
    reads, gives, about = (), (), ABOUT
    """Nothing is given: what was learned is read by the step that draws."""

    def __init__(
        self, tokens, settings, machine, context=None, start=None, part="tokens", table="tokens", encoded=False
    ):
        self.settings, self.part, self.network = settings, part, None
        self.beside = {} if encoded else {TOKENS: tokens}
        self._tokens, self._context, self._device = tokens, dict(context or {}), machine.device
        self._start, self._table, self._curves = start, table, None

    # Learning

    def fit(self, training, workspace):
        import torch

        from stages.priors.token_learning import TokenLearner
        from stages.training.batches import random_state_kept, seed_all
        from stages.training.loop import train

        settings = self.settings
        pictures = self._pictures(training, workspace.progress)
        with random_state_kept():
            seed_all(settings.seed)
            network, begun = self._begin()
        learner = TokenLearner(network, settings.seed, settings.least, settings.smoothing).to(self._device)
        digest = hashlib.sha256(repr((begun, settings)).encode())
        for one in pictures:
            digest.update(np.ascontiguousarray(one).tobytes())

        def batch(step):
            random = np.random.default_rng([settings.seed, step])
            rows = random.integers(pictures[0].shape[1], size=settings.batch_size)
            sides = random.integers(len(pictures[0]), size=settings.batch_size)
            found = {"tokens": torch.from_numpy(pictures[0][sides, rows]), "step": step}
            return found | ({"context": torch.from_numpy(pictures[1][sides, rows])} if self._context else {})

        self._curves = train(
            learner,
            batch,
            settings.recipe,
            workspace.folder,
            identity=digest.hexdigest(),
            progress=workspace.progress,
            label=f"training on {ABOUT}",
        )
        self.network = network.eval().requires_grad_(False)

    def _pictures(self, training, progress):
        """Tokens, and embeddings if there are some, each float32 (1 or 2, n_pictures, n_values): as they are, and mirrored."""
        sources = {TOKENS: self._tokens, **self._context}
        tables = training.features(tuple(sources))
        sides = {name: [np.asarray(tables[name][:], dtype=np.float32)] for name in sources}
        if self.settings.mirrored:
            images = training.subject.train.images
            for name, source in sources.items():
                target = loaded(source, name, progress)
                blocks = []
                for first in range(0, len(images), 64):
                    blocks.append(target.encode(np.ascontiguousarray(images[first : first + 64][:, :, ::-1])))
                    progress(f"encoding mirrored pictures, {name}", min(first + 64, len(images)), len(images))
                sides[name].append(np.concatenate(blocks).reshape(sides[name][0].shape))
        return [np.stack(own) for own in sides.values()]

    def _begin(self):
        """The network before it is trained, and what identifies it."""
        from stages.networks.masked_tokens import MaskedTokens

        if self._start is None:
            return MaskedTokens(self._config()), "nothing"
        folder = Path(self._start())
        started = MaskedTokens.from_pretrained(folder).requires_grad_(True)
        width = self._width
        if started.config.context == width:
            return started, str(folder)
        if started.config.context or not started.config.has_first:
            raise InputError(
                f"The network in {folder} has a place for {started.config.context} values but the embedding has {width}; name "
                "one that belongs to it, or one with a class's place."
            )
        network = MaskedTokens(replace(started.config, context=width, class_place=False))
        network.load_state_dict(started.state_dict(), strict=False)
        return network, str(folder)

    def _config(self):
        """Sizes of a network that begins from nothing."""
        from stages.networks.masked_tokens import MaskedTokensConfig

        outline = self._tokens.outline
        sizes = {name: getattr(self.settings, name) for name in ("width", "depth", "n_heads", "norm", "dropout")}
        return MaskedTokensConfig(outline.n_codes, 0, outline.n_targets, self._width, **sizes)

    @property
    def _width(self):
        """Values of the embedding; 0 without one."""
        return next((source.outline.shape[0] for source in self._context.values()), 0)

    def save(self, folder):
        import torch

        from stages.training.state import remove_checkpoint

        self.network.save_pretrained(folder, torch.float32)
        remove_checkpoint(folder)

    def open(self, workspace):
        from stages.networks.masked_tokens import MaskedTokens

        self.network = MaskedTokens.from_pretrained(workspace.folder, self._device)

    def summary(self):
        parameters = sum(one.numel() for one in self.network.parameters())
        return [{"network": type(self.network).__name__, "parameters": parameters, "steps": self.settings.steps}]

    def curves(self):
        if self._curves is None:
            return {}
        return {name: self._curves[name] for name in self._curves}

    # Before it begins

    @property
    def precision(self):
        return self.settings.precision

    def cost(self, train):
        if (cost := self._counted()) is None:
            return []
        return describe_training(
            cost,
            self.settings.recipe,
            (ABOUT,),
            self._bytes_of_pictures(train),
            self._device,
            lambda name, value: f"--set {self._table}.{name}={value}",
        )

    def memory(self, train):
        cost = self._counted()
        return None if cost is None else bytes_needed(cost, self._bytes_of_pictures(train), self._device)[self._device]

    def operations(self, train):
        cost = self._counted()
        return {} if cost is None or cost.operations is None else {f"Training on {ABOUT}": cost.operations}

    def _bytes_of_pictures(self, train):
        return 4 * train.n_stimuli * (1 + self.settings.mirrored) * (self._tokens.outline.n_targets + self._width)

    def _counted(self):
        """What the training takes, or None if it cannot be counted."""
        import torch

        from stages.checkpoints.outlines import outlines
        from stages.priors.token_learning import TokenLearner
        from stages.training.cost import cost_of

        n_places = self._tokens.outline.n_targets

        def learner():
            with outlines():
                return TokenLearner(self._begin()[0])

        def batch(n):
            context = {"context": torch.empty(n, self._width)} if self._context else {}
            return {"tokens": torch.zeros(n, n_places), "step": 0} | context

        return cost_of(learner, batch, self.settings.recipe)

    # Running

    def run(self, items, values, *, seed=0):
        return {}
