"""A latent of responses by an autoencoder of regions, and the linear links between it and an embedding of pictures, both ways.

After LEA (Qian et al., TMLR 2024).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from brainrecon.assembly.category_matching import regions_of
from brainrecon.assembly.decode_value import DecodeValue
from brainrecon.assembly.decoder_settings import DecoderSettings
from brainrecon.assembly.learn import Learn
from brainrecon.assembly.linear_decoding import DecodingAtOnce
from brainrecon.assembly.network_settings import check_parts
from brainrecon.assembly.step import Step
from brainrecon.assembly.values import RESPONSES
from stages.adapters.disjoint_regions import disjoint_regions
from stages.decoders.ridge.plain_ridge import RESCALINGS, PlainRidge
from stages.decoders.standardised import TOGETHER
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError
from weights.whole_files import write_text

LATENT, HELD = "brain_latent", "latent_of_picture"
_COUNT = Number(1, whole=True)
_SIZES = ("n_tokens", "width", "depth", "n_heads", "decoder_width", "decoder_depth", "dropped")
_RULES = {
    **dict.fromkeys(("steps", "batch_size", "accumulate", "latent", *_SIZES[:-1]), _COUNT),
    "warmup": Number(0, whole=True),
    "dropped": Number(0, 1, below=True),
    "learning_rate": Number(0, above=True, example=5e-5),
    "weight_decay": Number(0),
    "clip": Number(0, above=True, optional=True, example=0.1),
    "latent_weight": Number(0),
    "voxels": OneOf(TOGETHER, "each"),
    "trials": OneOf("averaged", "single"),
    "features": OneOf("float32", "float16"),
    "precision": OneOf("no", "bf16"),
    "validation": Number(0, 0.5),
}


@dataclass(frozen=True)
class RegionAutoencoderSettings:
    """The autoencoder of responses, and how it is trained; what is not given is LEA's, for one subject of GOD.

    Attributes
    ----------
    latent : int
        Values of the latent.
    n_tokens : int
        Of each region.
    width, depth, n_heads, decoder_width, decoder_depth : int
        See `stages.networks.region_autoencoder.RegionAutoencoder`.
    dropped : float
        Share of the voxels that are 0 in training.
    steps, batch_size : int
        Of the training, and patterns of a step.
    accumulate : int
        Parts into which a batch is cut where memory is short.
    learning_rate, weight_decay : float
        Of AdamW with betas of 0.9 and 0.95.
    warmup : int
        Steps in which the learning rate rises, before it falls along a line.
    clip : float, optional
        Largest norm of the gradient.
    latent_weight : float
        Of the squared distance of the latent to the embedding of the picture, beside the error of the voxels. The authors'
        settings name a loss on the latent, of weight 1; what it is, their code does not say. It is left out unless asked for.
    voxels : {"all voxels together", "each"}
        Of which responses one mean is taken off and one standard deviation divided: published are all together.
    trials : {"averaged", "single"}
        Learn from averages over the trials of a stimulus, or from every trial. Of GOD's training stimuli there is one.
    features : {"float32", "float16"}
        How the feature store holds embeddings.
    precision : {"no", "bf16"}
        Mixed precision.
    validation : float
        Share of the training stimuli that chooses which weights are kept; the last are kept without.
    seed : int
        Of the weights before training and of all that is drawn in it.
    """

    latent: int = 1024
    n_tokens: int = 32
    width: int = 1024
    depth: int = 24
    n_heads: int = 16
    decoder_width: int = 512
    decoder_depth: int = 8
    dropped: float = 0.25
    steps: int = 100_000
    batch_size: int = 8
    accumulate: int = 1
    learning_rate: float = 5e-5
    weight_decay: float = 0.01
    warmup: int = 8000
    clip: float | None = 0.1
    latent_weight: float = 0.0
    voxels: str = TOGETHER
    trials: str = "averaged"
    features: str = "float32"
    precision: str = "no"
    validation: float = 0.0
    seed: int = 666

    def __post_init__(self):
        check_all(self, _RULES, where="decoder")
        check_parts(self.batch_size, self.accumulate)

    @property
    def sizes(self):
        """Arguments of the network."""
        return {name: getattr(self, name) for name in _SIZES}

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
            clip=self.clip,
            precision=self.precision,
            validation=self.validation,
            validate_every=min(500, self.steps),
            seed=self.seed,
        )


@dataclass(frozen=True)
class LinkSettings:
    """The ridge between two spaces; what is not given is LEA's.

    Attributes
    ----------
    alpha : float
        Penalty, of values as they are.
    rescale : {"none", "folds", "transductive"}
        Whether predictions are given mean and spread of what they predict, see `stages.decoders.ridge.plain_ridge.PlainRidge`.
        "transductive" is published: by the tested stimuli's own statistics.
    """

    alpha: float = 500.0
    rescale: str = "none"

    def __post_init__(self):
        check_all(self, {"alpha": Number(0, example=500.0), "rescale": OneOf(*RESCALINGS)}, where="link")

    def ridge(self, intercept):
        """The ridge, not yet fitted."""
        return PlainRidge(self.alpha, intercept, self.rescale)


def region_autoencoder(settings, picture, regions, machine, part="autoencoder", start=None):
    """Step from patterns to the latent of an autoencoder that is trained on them.

    Parameters
    ----------
    settings : RegionAutoencoderSettings
    picture : brainrecon.assembly.targets.TargetSource
        The embedding of pictures.
    regions : sequence of str
        In the order in which voxels are given away; all of the subject's in their own order, if there are none.
    machine : brainrecon.assembly.values.Machine
    part : str
    start : callable, optional
        ``start() -> path``: folder of an encoder that it begins with, as far as names and shapes are the same.
    """
    from stages.decoders.trained import TrainedDecoder
    from stages.networks.region_autoencoder import ERROR, RegionAutoencoder
    from stages.objectives.regression import MeanSquare, MeanSquaredError

    def objectives(network):
        held = [MeanSquaredError(HELD, settings.latent_weight)] if settings.latent_weight else []
        if held and picture.outline.shape != (settings.latent,):
            raise InputError(
                f"The latent has {settings.latent} values but the embedding of pictures {picture.outline.shape[0]}, and "
                f"decoder.latent_weight holds one to the other: pass --set decoder.latent={picture.outline.shape[0]}."
            )
        return [MeanSquare(ERROR), *held]

    def begin(network):
        from stages.networks.region_autoencoder import begin_from

        return begin_from(network, start())

    decoder = TrainedDecoder(
        RegionAutoencoder,
        settings.recipe,
        objectives,
        settings.sizes | {"also": [HELD]},
        machine.device,
        begin=begin if start is not None else None,
        standardise=TOGETHER if settings.voxels == TOGETHER else True,
    )
    return Learn(
        {},
        decoder,
        machine.device,
        settings.trials,
        part,
        beside={HELD: picture},
        settings="decoder",
        free={LATENT: lambda: (settings.latent,)},
        arguments=lambda subject: {"regions": disjoint_columns(subject, regions)},
    )


def named_columns(subject, regions):
    """Columns of each region of a subject by its name, every voxel in one: see `stages.adapters.disjoint_regions`."""
    if not regions:
        masks = {name: np.asarray(mask) for name, mask in subject.rois.items()}
    else:
        masks = {name: np.zeros(subject.n_voxels, dtype=bool) for name in regions}
        for mask, columns in zip(masks.values(), regions_of(subject, regions)):
            mask[columns] = True
    return disjoint_regions(masks, subject.n_voxels)


def disjoint_columns(subject, regions):
    """As `named_columns`, a list for each region."""
    return list(named_columns(subject, regions).values())


def latents_of(learned, split):
    """Latents of a split's patterns: those of averages, as they are predicted."""
    return learned.run([], {"patterns": np.asarray(split.patterns[:], dtype=np.float32)})[LATENT]


class DecodeLatent(DecodeValue):
    """Ridge, through the origin, from the latent of each average pattern to the embedding of its picture.

    Parameters
    ----------
    learned : brainrecon.assembly.learn.Learn
    name : str
        Of the embedding.
    source : brainrecon.assembly.targets.TargetSource
    settings : LinkSettings
    machine : brainrecon.assembly.values.Machine
    part : str
    """

    def __init__(self, learned, name, source, settings, machine, part="link"):
        plain = DecoderSettings(rescale="transductive" if settings.rescale == "transductive" else "none")
        decoding = DecodingAtOnce(settings.ridge(intercept=False))
        super().__init__(learned, LATENT, {name: source}, plain, machine, part, decoding)

    def training(self, split, features, region=None):
        return latents_of(self._learned, split), None


class EvokeResponses(Step):
    """Responses from the embedding of a picture: ridge to the latent, and the autoencoder's way back to voxels.

    Parameters
    ----------
    learned : brainrecon.assembly.learn.Learn
        The autoencoder, which is trained within this step: a chain that predicts responses reads none.
    name : str
        Of the embedding.
    settings : LinkSettings
    part : str
    """

    is_learned = True
    gives = (RESPONSES,)

    def __init__(self, learned, name, settings, part="responses"):
        self.reads, self.part, self.beside = (name,), part, learned.beside
        self.trains_together = learned.trains_together
        self._learned, self._ridge = learned, settings.ridge(intercept=True)
        self._alone_is_refused = settings.rescale == "transductive"

    @property
    def precision(self):
        return self._learned.precision

    def fit(self, training, workspace):
        self._learned.fit(training, replace(workspace, folder=_below(workspace.folder, "autoencoder")))
        embeddings = training.features(self.reads)[self.reads[0]]
        self._ridge.fit_targets(
            np.asarray(embeddings[:], dtype=np.float64), {LATENT: latents_of(self._learned, training.subject.train)}
        )

    def save(self, folder):
        self._learned.save(_below(folder, "autoencoder"))
        self._ridge.save_pretrained(_below(folder, "link"))
        write_text(Path(folder) / "config.json", json.dumps({"class": type(self).__name__}) + "\n")

    def open(self, workspace):
        self._learned.open(replace(workspace, folder=_below(workspace.folder, "autoencoder")))
        self._ridge = PlainRidge.from_pretrained(_below(workspace.folder, "link"))

    def run(self, items, values, *, seed=0):
        import torch

        latents = self._ridge.predict(np.asarray(values[self.reads[0]], dtype=np.float64))
        voxels = self._learned.decoder.network
        blocks = []
        with torch.inference_mode():
            for block in torch.from_numpy(latents.astype(np.float32)).to(voxels.mean.device).split(64):
                blocks.append(voxels.network.decode(block))
        found = torch.cat(blocks) if blocks else voxels.mean.new_empty(0, len(voxels.mean))
        # A voxel that does not vary has no scale: it is what it always was.
        scale = torch.where(torch.isfinite(voxels.scale), voxels.scale, 0.0)
        return {RESPONSES: (found * scale + voxels.mean).cpu().numpy()}

    def cost(self, train):
        return self._learned.cost(train)

    def memory(self, train):
        return self._learned.memory(train)

    def operations(self, train):
        return self._learned.operations(train)

    def summary(self):
        return [*self._learned.summary(), *self._ridge.summary()]

    def curves(self):
        return self._learned.curves()


def _below(folder, name):
    return None if folder is None else Path(folder) / name
