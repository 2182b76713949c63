"""What the generators by latent diffusion share: named values to pictures, by a list of conditioners and one sampler."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from stages.generators.diffusion.compilation import is_compiled
from stages.generators.diffusion.in_float32 import InFloat32
from stages.generators.diffusion.sampler import Sampling, denoise
from stages.generators.diffusion.start import StartFromLatent, StartFromNoise, StartFromPicture
from stages.generators.diffusion.start_rule import StartRule, denoising_steps
from stages.generators.generator import drawn_in_batches, rows_of, together
from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator
from stages.ground.not_finite import finite_rows
from stages.ground.progress import SILENT
from stages.networks.latent_space import LatentSpace, to_greys

STARTS = ("first_picture", "first_latent")


@dataclass(frozen=True)
class Row:
    """One picture to be drawn.

    Attributes
    ----------
    stimulus_id : str
    sample : int
    values : dict of str to array, or to None
        By name in the generator's `takes`.
    weights : dict of str to float
        By name, for each value that has one.
    strength : float
    """

    stimulus_id: str
    sample: int
    values: dict = field(repr=False)
    weights: dict
    strength: float

    def starts_from(self, rule):
        """Return the name of the value that the picture starts from under a `StartRule`, or None if it starts from noise."""
        given = [name for name in STARTS if self.values.get(name) is not None]
        return given[0] if given and not rule.is_noise_at(self.strength) else None


class LatentDiffusionGenerator:
    """Draw pictures from named values by latent diffusion.

    A first picture is encoded (to the mode of the autoencoder's posterior), noised to the first timestep of the strength's
    share of the steps, and denoised from there. A first latent is noised likewise. Strength 0 keeps the start but for the
    autoencoder; 1, or no start, is noise alone. `StartRule` has what published scripts do otherwise.

    Parameters
    ----------
    pipeline : diffusers.DiffusionPipeline
        Of which the ``unet``, the ``scheduler`` and the autoencoder are used. Its progress bar is switched off.
    conditioners : sequence of Conditioner
        In the order in which they draw noise, and in which their tokens are read.
    takes : dict of str to tuple
        Shapes of what the conditioners read.
    optional : iterable of str
        Of those, what may be absent. A start always may.
    space : LatentSpace, optional
        By default the pipeline's ``vae``, which works on one picture at a time.
    start : StartRule, optional
    latent_size : int, optional
        Height and width of the latents that are drawn; by default those that the UNet's configuration names.
    steering : sequence of Conditioner
        Further ones that read maps: `stages.generators.diffusion.controls.ControlBranches`,
        `stages.generators.diffusion.t2i_adapters.T2IAdapters`. Each map may be absent, and its weight is its scale.

    Attributes
    ----------
    takes, optional, gives, draws_by_lot
        See `stages.generators.generator.Generator`.
    image_size : int
        Height and width of what is drawn.
    takes_weights : str
        What the weights do.
    default_weights : dict of str to float
        For each value that has a weight.
    default_steps : int
        Steps from noise to a picture.
    default_guidance_scale : float
    """

    gives = "picture"
    draws_by_lot = True
    takes_weights = ""
    default_weights = {}
    default_steps = 50
    default_guidance_scale = 7.5
    # Channels that the UNet reads behind those of the latents.
    further_channels = 0
    # Latents are kept in float32 between the steps, whatever the networks compute in; None keeps them as the UNet computes.
    latent_dtype = torch.float32

    def __init__(
        self, pipeline, conditioners, takes, optional=(), space=None, start=None, latent_size=None, steering=()
    ):
        self.pipeline = pipeline
        pipeline.set_progress_bar_config(disable=True)
        self.conditioners = (*conditioners, *steering)
        for each in steering:
            takes, optional = {**takes, **each.takes}, (*optional, *each.takes)
            self.default_weights = self.default_weights | dict.fromkeys(each.takes, 1.0)
            self.takes_weights += "".join(f"; {name}: {each.takes_weights}" for name in each.takes)
        self.space = LatentSpace(pipeline.vae) if space is None else space
        self.start = StartRule() if start is None else start
        config = pipeline.unet.config
        drawn_size = config.sample_size if latent_size is None else latent_size
        self.image_size = drawn_size * self.space.downscaling
        channels = config.in_channels - self.further_channels
        latent_shape = (channels, drawn_size, drawn_size)
        given_size = drawn_size if self.start.latent == "direct" else self.start.latent_size
        self.takes = {
            **takes,
            "first_picture": (None, None, 3),
            "first_latent": (channels, given_size, given_size),
        }
        self.optional = frozenset((*optional, *STARTS))
        self._latent_shape = latent_shape

    def draw(
        self,
        values,
        items,
        *,
        seed=0,
        num_inference_steps=None,
        guidance_scale=None,
        strength=0.75,
        weights=None,
        greys="rounded",
        batch_size=16,
        progress=SILENT,
    ):
        """Draw one picture per item.

        Pictures that start alike share batches. The noise of a picture is its own (see `item_generator`); only the rounding
        of matrix products depends on the batch.

        Parameters
        ----------
        values : mapping of str to rows
            See `stages.generators.generator`. Starts are ``first_picture``, uint8 of any size, or ``first_latent``.
        items : sequence of objects with `stimulus_id` and `sample`
        seed : int
        num_inference_steps : int, optional
            Steps from noise to a picture, of which the strength's share is done; by default `default_steps`.
        guidance_scale : float, optional
            By default `default_guidance_scale`; 1 switches guidance off and halves the work.
        strength : float
            Share of the steps that are done from a start, 0..1.
        weights : mapping of str to float, optional
            What they do is said by `takes_weights`; by default, and for names left out, `default_weights`. A value that is
            absent has no weight.
        greys : {"rounded", "cut off"}
            How a picture becomes 8 bit; published scripts cut off, which is half a grey level darker.
        batch_size : int
            Pictures per batch; the network sees twice as many rows under guidance.
        progress : callable, optional
            Called as ``progress("pictures", done, total)`` after each batch, and as ``progress("denoising", done, total)``
            after each step of a batch.

        Yields
        ------
        position : int
            Into `items`; not in order.
        picture : uint8 array of shape (image_size, image_size, 3)

        Raises
        ------
        InputError
            Values or settings do not fit; raised before anything is drawn.
        NotFinite
            Pictures are NaN or infinite, in float32 too; raised after all others have been yielded.
        """
        steps = self.default_steps if num_inference_steps is None else num_inference_steps
        scale = self.default_guidance_scale if guidance_scale is None else guidance_scale
        check_options(batch_size, steps, scale)
        check("greys", greys, OneOf("rounded", "cut off"))
        denoising_steps(strength, steps)
        weights = self._checked_weights(weights)
        items = list(items)
        by_name = rows_of(self, values, items)
        rows = []
        for position, item in enumerate(items):
            own = {name: by_name[name][position] for name in self.takes}
            self._check_row(item, own)
            rows.append(Row(item.stimulus_id, item.sample, own, self._weights_of(own, weights), strength))
        batches = list(together(rows, batch_size, lambda row: self._group(row, steps)))
        return self._drawn(rows, batches, seed, steps, scale, greys == "rounded", progress, batch_size)

    def _checked_weights(self, weights):
        weights = dict(weights or {})
        for name, weight in weights.items():
            if name not in self.default_weights or not np.isfinite(weight):
                raise InputError(
                    f"The weight of {name} is {weight}; {type(self).__name__} takes a finite number for "
                    f"{' and for '.join(self.default_weights)}."
                )
        return self.default_weights | weights

    def _check_row(self, item, values):
        """Raise InputError if one picture's values do not go together."""
        given = [name for name in STARTS if values[name] is not None]
        if len(given) > 1:
            raise InputError(f"{item.stimulus_id} has {' and '.join(given)}, but starts from one; leave one out.")
        picture = values["first_picture"]
        if picture is not None and picture.dtype != np.uint8:
            raise InputError(
                f"The first picture of {item.stimulus_id} is {picture.dtype} of shape {picture.shape}; expected uint8 of "
                "shape (height, width, 3)."
            )

    def _weights_of(self, values, weights):
        """Return the weights of one picture: an absent value has none, which changes no other value's."""
        return {name: 0.0 if values[name] is None else float(weight) for name, weight in weights.items()}

    def _group(self, row, steps):
        """Return what all pictures of a batch must agree in: where they start, and what conditioners ask for."""
        start = row.starts_from(self.start)
        begins = "noise" if start is None else (start, self.start.steps(row.strength, steps))
        asked = [each.together(row.weights.get(each.reads)) for each in self.conditioners]
        return begins, *asked

    def _drawn(self, rows, batches, seed, steps, scale, rounded, progress, batch_size):
        count = _StepCount(progress, len(batches))

        def pictures(positions):
            chosen = [rows[each] for each in positions]
            return self._pictures(self.latents(chosen, seed, steps, scale, count, batch_size), rounded)

        again = partial(InFloat32.of, self.pipeline)
        return drawn_in_batches(batches, pictures, rows, in_float32=again, progress=progress)

    @torch.inference_mode()
    def latents(self, rows, seed, num_inference_steps, guidance_scale, count=None, batch_size=None):
        """Return the denoised latents of a batch of `Row` that start alike, tensor (n, channels, size, size).

        A compiled network sees as many rows as a full batch of `batch_size` has; what it makes of the others is not used.
        """
        pipeline = self.pipeline
        sampling = self.prepared(rows, seed, num_inference_steps, guidance_scale)
        if is_compiled(pipeline.unet):
            sampling = sampling.of_fixed_shape(batch_size or len(rows))
        stepped = () if count is None else (count.of_a_batch(len(sampling.timesteps)),)
        return denoise(pipeline.unet, pipeline.scheduler, sampling, *stepped)[: len(rows)]

    def prepared(self, rows, seed, num_inference_steps, guidance_scale):
        """Return the complete `Sampling` of a batch of `Row` that start alike."""
        dtype = self.pipeline.unet.dtype
        sampling = Sampling(
            random=tuple(item_generator(seed, row.stimulus_id, row.sample) for row in rows),
            weights={name: tuple(row.weights[name] for row in rows) for name in rows[0].weights},
            num_inference_steps=num_inference_steps,
            strength=rows[0].strength,
            # Where the networks compute, even while they lie elsewhere.
            device=self.pipeline._execution_device,
            dtype=dtype,
            latent_dtype=self.latent_dtype or dtype,
            guidance_scale=guidance_scale,
        )
        for conditioner in (*self.conditioners, self._starting(rows[0].starts_from(self.start))):
            sampling = conditioner.prepare(_read(rows, conditioner.reads), sampling)
        return sampling

    def _starting(self, start):
        if start is None:
            return StartFromNoise(self.pipeline.scheduler, self._latent_shape)
        kind = {"first_picture": StartFromPicture, "first_latent": StartFromLatent}[start]
        return kind(self.pipeline.scheduler, self._latent_shape, self.space, self.start)

    @torch.inference_mode()
    def _pictures(self, latents, rounded):
        """Pictures as a list, None for what is not finite; what is not finite in latents is so in all pixels."""
        pixels = self.space.decode(latents)
        self.pipeline.maybe_free_model_hooks()
        finite = finite_rows(pixels)
        pictures = iter(to_greys(self._shown(pixels if all(finite) else pixels[finite]), rounded))
        return [next(pictures) if is_finite else None for is_finite in finite]

    def _shown(self, pixels):
        """Return what is shown of decoded pictures, float32 (n, 3, height, width), −1 to 1; here all of it."""
        return pixels


def _read(rows, reads):
    """What a conditioner reads of the rows: one value of each, or a tuple of several."""
    if reads is None:
        return None
    if isinstance(reads, str):
        return [row.values[reads] for row in rows]
    return [tuple(row.values[name] for name in reads) for row in rows]


class _StepCount:
    """Counts denoising steps over all batches; a batch that has not begun is taken to have as many as the last."""

    def __init__(self, progress, n_batches):
        self._progress, self._left, self._done = progress, n_batches, 0

    def of_a_batch(self, n_steps):
        """What to call after each of its steps."""
        total = self._done + n_steps * self._left
        # A picture that is drawn again is one batch more.
        self._left = max(self._left - 1, 1)

        def stepped():
            self._done += 1
            self._progress("denoising", self._done, total)

        self._progress("denoising", self._done, total)
        return stepped


def check_options(batch_size, num_inference_steps, guidance_scale):
    """Raise InputError unless there is a picture per batch, a step to do, and guidance that is a finite number."""
    if batch_size < 1 or num_inference_steps < 1:
        raise InputError(
            f"batch_size is {batch_size} and num_inference_steps {num_inference_steps}; both must be 1 or more."
        )
    if not np.isfinite(guidance_scale):
        raise InputError(
            f"guidance_scale is {guidance_scale}; expected a finite number; 1 switches guidance off, None takes the "
            "model's own."
        )
