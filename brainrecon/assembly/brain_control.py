"""The step from patterns to what leads a frozen diffusion model: tokens in the place of a text, and a map for a control branch.

After Huo et al. (2024), "NeuroPictor". One network for several subjects is trained through the model itself: by the error of
the noise that the model finds, and, for one subject, by the captions' tokens besides. In a last phase some tokens are the empty
text's. The model's own tensors never change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from brainrecon.assembly.learn import Learn
from brainrecon.assembly.network_settings import NetworkSettings
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Machine
from brainrecon.datasets.subject_raster import raster_of
from stages.ground.checks import Number, OneOf, check_all

LAYOUTS = ("places", "in order")
FIRST_HALVES = ("without gradient", "with gradient")
# Pictures of an epoch, before it is known how many there are: subjects of NSD saw 8,859 beside those that are tested.
_PICTURES = 8_859


@dataclass(frozen=True)
class BrainControlSettings(NetworkSettings):
    """How the network is trained; what is not given are the authors' numbers.

    >>> settings = BrainControlSettings(steps_per_epoch=10)
    >>> settings.recipe().steps, settings.recipe().schedule.milestones, settings.first_emptied
    (1750, (1600,), 1600)

    Attributes
    ----------
    epochs : int
        Of one subject, before some tokens are empty.
    emptied_epochs : int
        Epochs behind these, with a tenth of the learning rate, in which some tokens are the empty text's; 0 for none.
    emptied_share : float
        Share of the samples whose tokens are empty then.
    batch_size : int
        Pictures of a step, of one subject.
    batch_size_each : int
        Pictures that each subject gives to a step, of several that are learned from together.
    subjects : int, optional
        How many these are; it follows from the data, if it is not given.
    pretraining_epochs, pretraining_emptied_epochs : int
        Of several subjects before one of them, or another, is gone on with.
    text_weight : float
        Of the mean squared error of the tokens against the captions'; 0 needs no captions.
    pretraining_text_weight : float
        The same in a training of several.
    trains : tuple of str
        Regular expressions for the names of what is trained, below `network`: the encoder, both heads, and the control branch.
    first_half : {"without gradient", "with gradient"}
        See `stages.networks.feature_control.ControlledDenoiser`.
    layout : {"places", "in order"}
        Where values lie in the picture that the encoder reads: where they are on the flattened cortex
        (`brainrecon.datasets.subject_raster`), or side by side in the order of the file, for data that do not say.
    size, patch_size, width, depth, n_heads : int
        Of the encoder, see `stages.networks.surface_autoencoder`. Depth and heads are in no file that was read.
    hidden : int
        Tokens between those of the encoder and those in the place of a text.
    pretrained : bool
        Whether the encoder starts from a pretrained one.
    """

    epochs: int = 160
    emptied_epochs: int = 15
    emptied_share: float = 0.05
    batch_size: int = 32
    batch_size_each: int = 12
    subjects: int | None = None
    pretraining_epochs: int = 80
    pretraining_emptied_epochs: int = 20
    learning_rate: float = 1e-4
    weight_decay: float = 1e-2
    text_weight: float = 0.1
    pretraining_text_weight: float = 0.0
    trials: str = "averaged"
    features: str = "float16"
    precision: str = "bf16"
    trains: tuple[str, ...] = (".*",)
    first_half: str = "without gradient"
    layout: str = "places"
    size: int = 256
    patch_size: int = 16
    width: int = 1024
    depth: int = 24
    n_heads: int = 16
    hidden: int = 128
    pretrained: bool = True

    of_new_subject: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self):
        super().__post_init__()
        count = Number(1, whole=True)
        sizes = ("size", "patch_size", "width", "depth", "n_heads", "hidden", "batch_size_each", "pretraining_epochs")
        rules = dict.fromkeys(sizes, count) | {"subjects": Number(1, whole=True, optional=True, example=2)}
        rules |= dict.fromkeys(("emptied_epochs", "pretraining_emptied_epochs"), Number(0, whole=True))
        rules |= dict.fromkeys(("text_weight", "pretraining_text_weight"), Number(0))
        rules |= {
            "emptied_share": Number(0, 1),
            "first_half": OneOf(*FIRST_HALVES),
            "layout": OneOf(*LAYOUTS),
        }
        check_all(self, rules)

    @property
    def samples_of_a_step(self) -> int:
        """Of all subjects that are learned from together."""
        return self.batch_size if self.subjects in (None, 1) else self.batch_size_each * self.subjects

    @property
    def steps_of_an_epoch(self) -> int:
        """As settled by the data; before that, as of one of NSD's subjects."""
        return self.steps_per_epoch or _PICTURES // self.samples_of_a_step

    @property
    def first_emptied(self) -> int:
        """The first step in which some tokens are empty."""
        return self.epochs * self.steps_of_an_epoch

    def settled_with(self, cohort: Mapping) -> BrainControlSettings:
        """These settings with as many subjects as there are, and with as many steps in an epoch as their pictures fill."""
        from stages.training.batches import held_out

        for subject in cohort.values():
            held_out(subject.train.n_stimuli, self.validation, self.seed)
        own = replace(self, subjects=len(cohort))
        if self.steps_per_epoch is not None:
            return own
        learned = sum((1 - self.validation) * subject.train.n_stimuli for subject in cohort.values())
        return replace(own, steps_per_epoch=max(round(learned) // own.samples_of_a_step, 1))

    def for_pretraining(self) -> BrainControlSettings:
        """These settings on the subjects before a new one, whose number and pictures are not yet known."""
        return replace(
            self,
            subjects=None,
            steps_per_epoch=None,
            epochs=self.pretraining_epochs,
            emptied_epochs=self.pretraining_emptied_epochs,
            text_weight=self.pretraining_text_weight,
        )

    def recipe(self, published_steps: int | None = None):
        """The recipe of the training loop: AdamW at a constant rate, and at a tenth of it in the last phase."""
        from stages.training.recipe import OptimiserSpec, Recipe, Schedule

        each = self.steps_of_an_epoch
        phases = {"kind": "milestones", "milestones": (self.first_emptied,), "drop": 0.1} if self.emptied_epochs else {}
        return Recipe(
            steps=(self.epochs + self.emptied_epochs) * each,
            batch_size=self.samples_of_a_step,
            accumulate=self.accumulate,
            optimiser=OptimiserSpec("adamw", self.learning_rate, self.weight_decay),
            schedule=Schedule(**phases),
            trains=tuple(rf"network\.network\.(?:{pattern})" for pattern in self.trains),
            precision=self.precision,
            validation=self.validation,
            validate_every=each,
            patience=self.patience,
            seed=self.seed,
        )


class BrainControl(Learn):
    """Fit the network through a diffusion model that stays as it is, and predict tokens and map.

    Parameters
    ----------
    names : tuple of two str
        Of the tokens, and of the map.
    latent : tuple of str and TargetSource
        Name and target of the latents in which the model finds the noise.
    text : TargetSource, optional
        What the tokens are held to besides; nothing, if its weight is 0.
    settings : BrainControlSettings
    machine : Machine
    folder : callable
        ``folder() -> path`` of the model, in diffusers' layout; ``folder(check=False)`` does not prove its files.
    encoder : callable, optional
        ``encoder() -> path`` of the pretrained encoder.
    part : str
        Folder of what it learns.
    """

    def __init__(
        self,
        names: tuple[str, str],
        latent: tuple[str, TargetSource],
        text: TargetSource | None,
        settings: BrainControlSettings,
        machine: Machine,
        folder: Callable,
        encoder: Callable | None = None,
        part: str = "network",
    ):
        from stages.decoders.trained import TrainedDecoder
        from stages.networks.neuropictor import NeuroPictorNetwork

        self._own, self._folder, self._encoder, self._latent = settings, folder, encoder, latent[0]
        tokens, feature_map = names
        held = {} if text is None or not settings.text_weight else {tokens: text}
        free = {} if held else {tokens: self._token_shape}
        sizes = ("size", "patch_size", "width", "depth", "n_heads", "hidden")
        decoder = TrainedDecoder(
            NeuroPictorNetwork,
            settings.recipe(),
            self._objectives,
            {name: getattr(settings, name) for name in sizes},
            machine.device,
            begin=self._begin,
        )
        self._names, self._rasters, self._sketched, self._loaded = names, {}, None, None
        super().__init__(
            held,
            decoder,
            machine.device,
            settings.trials,
            part,
            beside={latent[0]: latent[1]},
            free={**free, feature_map: self._map_shape},
            settings="decoder",
            outlined=self._outlined,
        )

    def fit(self, training, workspace):
        # Now, and not when the network is there: who does not say where voxels lie learns of it before anything is encoded.
        self._rasters = {name: self._raster_of(subject) for name, subject in training.subjects.items()}
        self.decoder.arguments |= self._outlined()
        super().fit(training, workspace)
        self._loaded = None

    @property
    def branch(self):
        """The trained control branch."""
        return self.decoder.network.network.control_model

    # Of the model

    @property
    def _unet(self):
        """The model's UNet in outline."""
        if self._sketched is None:
            from stages.checkpoints.outlines import outlines

            with outlines():
                self._sketched = self._load_unet(check=False)
        return self._sketched

    def _load_unet(self, check=True):
        import torch

        from stages.generators.diffusion.loading import load_unet

        folder = self._folder(check=check)
        return load_unet(folder, torch.float32, "Stable Diffusion", addition_embed_type=None, class_embed_type=None)

    def _outlined(self):
        from stages.networks.feature_control import branch_config

        return {"branch": branch_config(self._unet)}

    def _token_shape(self):
        from stages.checkpoints.strict_loading import read_json_object

        config = read_json_object(self._folder(check=False) / "text_encoder" / "config.json", "text encoder")
        return (config["max_position_embeddings"], self._unet.config.cross_attention_dim)

    def _map_shape(self):
        config = self._unet.config
        return (config.block_out_channels[0], config.sample_size, config.sample_size)

    # Of the training

    def _raster_of(self, subject):
        from stages.adapters.subject_rasters import in_order

        if self._own.layout == "in order":
            return in_order(subject.n_voxels, self._own.size)
        return raster_of(subject, self._own.size)

    def _begin(self, network):
        """Put into a new network where voxels lie, the model's first half, and the pretrained encoder; hashes of these."""
        from stages.networks.feature_control import with_first_half
        from stages.networks.surface_autoencoder import read_encoder
        from weights.hashes import hash_file

        for name, raster in self._rasters.items():
            network.rasters.put(name, raster)
        # Read once, for the training that follows.
        self._loaded = self._load_unet()
        with_first_half(network.control_model, self._loaded)
        known = [hash_file(path) for path in sorted((Path(self._folder()) / "unet").glob("*.safetensors"))]
        if self._encoder is not None:
            read_encoder(network.encoder, self._encoder())
            known.append(hash_file(Path(self._encoder()) / "model.safetensors"))
        return " ".join(known)

    def _objectives(self, network):
        """The error of the noise, under tokens some of which are empty in the end, and that of the tokens."""
        from stages.networks.feature_control import ControlledDenoiser
        from stages.objectives.denoising_error import DenoisingError
        from stages.objectives.emptied_context import EmptiedContext
        from stages.objectives.regression import MeanSquaredError
        from stages.priors.scheduler_noise import noise_of_scheduler

        own, is_outline = self._own, next(network.parameters()).is_meta
        unet = self._unet if is_outline else self._loaded
        process, predicts = noise_of_scheduler(self._folder(check=False))
        denoiser = ControlledDenoiser(unet, network.control_model, own.first_half)
        config = unet.config
        shape = (config.in_channels, config.sample_size, config.sample_size)
        error = DenoisingError(self._names, self._latent, denoiser, process, latent_shape=shape, predicts=predicts)
        tokens = self._names[0]
        if own.emptied_epochs and not is_outline:
            from stages.generators.diffusion.empty_text import stored_empty_text

            empty = stored_empty_text(self._folder(), config.cross_attention_dim)
            error = EmptiedContext(error, tokens, empty, own.emptied_share, own.first_emptied)
        return [error, *([MeanSquaredError(tokens, own.text_weight)] if tokens in self.targets else [])]
