"""Settings of the pretraining of an encoder of flattened cortices on responses alone, as NeuroPictor has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from brainrecon.assembly.network_settings import check_parts
from brainrecon.datasets.subject_raster import raster_of
from stages.ground.checks import Number, OneOf, check_all

LAYOUTS = ("places", "in order")
_COUNT = Number(1, whole=True)
_RULES = {
    **dict.fromkeys(("size", "patch_size", "width", "depth", "n_heads", "bottleneck"), _COUNT),
    **dict.fromkeys(("decoder_width", "decoder_depth", "decoder_heads", "epochs", "batch_size", "accumulate"), _COUNT),
    "layout": OneOf(*LAYOUTS),
    "learning_rate": Number(0, above=True, example=1e-4),
    "weight_decay": Number(0),
    "precision": OneOf("no", "bf16"),
    "validation": Number(0, 0.5),
    "trials": OneOf("single", "averaged"),
}


@dataclass(frozen=True)
class SurfaceAutoencoderSettings:
    """An autoencoder of flattened cortices with a bottleneck, and how it is trained.

    Of the authors' numbers, size, patch, width and bottleneck are known; all others stand in a file that is not read here.

    Attributes
    ----------
    layout : {"places", "in order"}
        Where voxels lie in the picture: where they are on the cortex (`brainrecon.datasets.subject_raster`), or in their order.
        Responses without stimuli, of a folder, are pictures already, row by row, or lie in their order.
    size, patch_size, width, depth, n_heads : int
        See `stages.networks.surface_autoencoder.SurfaceEncoder`.
    bottleneck, decoder_width, decoder_depth, decoder_heads : int
        See `stages.networks.surface_autoencoder.SurfaceAutoencoder`.
    epochs, batch_size, accumulate : int
    learning_rate, weight_decay : float
        Of AdamW, at a constant rate.
    precision : {"no", "bf16"}
    validation : float
        Share of the responses that are held out, and choose which weights are kept.
    trials : {"single", "averaged"}
    seed : int
    """

    transductive: ClassVar[bool] = False
    about: ClassVar[str] = "pictures of responses"

    layout: str = "places"
    size: int = 256
    patch_size: int = 16
    width: int = 1024
    depth: int = 24
    n_heads: int = 16
    bottleneck: int = 2048
    decoder_width: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16
    epochs: int = 100
    batch_size: int = 96
    accumulate: int = 1
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    precision: str = "no"
    validation: float = 0.0
    trials: str = "single"
    seed: int = 42

    def __post_init__(self):
        check_all(self, _RULES)
        check_parts(self.batch_size, self.accumulate)

    @property
    def sizes(self):
        """Arguments of the autoencoder."""
        encoder = ("size", "patch_size", "width", "depth", "n_heads")
        decoder = ("bottleneck", "decoder_width", "decoder_depth", "decoder_heads")
        return {name: getattr(self, name) for name in (*encoder, *decoder)}

    def recipe(self, n_responses):
        """The recipe of the training loop, for so many responses."""
        from stages.training.recipe import OptimiserSpec, Recipe

        learned = max(n_responses - round(self.validation * n_responses), 1)
        in_epoch = max(learned // self.batch_size, 1)
        return Recipe(
            steps=self.epochs * in_epoch,
            batch_size=self.batch_size,
            accumulate=self.accumulate,
            optimiser=OptimiserSpec("adamw", self.learning_rate, self.weight_decay),
            precision=self.precision,
            validation=self.validation,
            validate_every=in_epoch,
            seed=self.seed,
        )

    def pretraining(self, n_responses, device="cpu", start=None, subjects: Mapping | None = None):
        """What is fitted: a `stages.decoders.surface_pretraining.SurfacePretraining`.

        Parameters
        ----------
        n_responses : int
        device : str
        start : path, optional
        subjects : mapping of str to brainrecon.datasets.subject.Subject, optional
            Those that say where their voxels lie, by the names of their responses.
        """
        from stages.decoders.surface_pretraining import SurfacePretraining

        places = {} if self.layout == "in order" else subjects or {}
        rasters = {name: raster_of(subject, self.size) for name, subject in places.items()}
        return SurfacePretraining(self.recipe(n_responses), self.sizes, start, device, rasters)
