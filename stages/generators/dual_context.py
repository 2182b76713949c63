"""Pictures from predicted embeddings: requests in, pictures out, batched over stimuli and conditions."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from stages.errors import InputError
from stages.generators.dual_context_pipeline import DualContextImg2ImgPipeline
from stages.generators.noise import item_generator

PUBLISHED_WEIGHTS = (0.6, 0.4)


@dataclass(frozen=True)
class GenerationRequest:
    """One picture to be drawn.

    Attributes
    ----------
    stimulus_id : str
    sample : int
        Which of several pictures of this stimulus; with the stimulus and the seed it decides the noise.
    image_context : float32 array of shape (image_tokens, width), or None
    text_context : float32 array of shape (text_tokens, width), or None
        None where that context is absent; its weight must then be 0.
    context_weights : pair of float
        Of image and of text context.
    init_image : uint8 array of shape (height, width, 3), or None
        Where to start from; None starts from noise.
    strength : float
        Share of the denoising steps that are done from there, 0..1; 1 ignores `init_image`.
    """

    stimulus_id: str
    sample: int
    image_context: np.ndarray | None
    text_context: np.ndarray | None
    context_weights: tuple[float, float] = PUBLISHED_WEIGHTS
    init_image: np.ndarray | None = None
    strength: float = 0.75

    @property
    def from_noise(self):
        """Whether the picture starts from noise alone."""
        return self.init_image is None or self.strength == 1


class DualContextGenerator:
    """Draw pictures with a `DualContextImg2ImgPipeline`.

    Parameters
    ----------
    pipeline : DualContextImg2ImgPipeline
        Its progress bar is switched off; `generate` reports progress.

    Attributes
    ----------
    image_size : int
        Height and width of what is drawn.
    image_context_shape, text_context_shape : tuple of int
        (n_tokens, width) of each context.
    """

    def __init__(self, pipeline):
        self.pipeline = pipeline
        pipeline.set_progress_bar_config(disable=True)
        self.image_size = pipeline.image_size
        self.image_context_shape = tuple(pipeline.unconditional_contexts.image.shape)
        self.text_context_shape = tuple(pipeline.unconditional_contexts.text.shape)

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Load a checkpoint in diffusers' folder layout; computed in float32, whatever it is stored in."""
        return cls(DualContextImg2ImgPipeline.from_pretrained(folder).to(device))

    def generate(self, requests, *, seed=0, num_inference_steps=50, guidance_scale=None, batch_size=16, progress=None):
        """Draw the requested pictures.

        Requests of all conditions share batches; those that start at different steps do not. A request's picture
        is the same, to one grey level, whatever else is asked for: its noise is its own (see `item_generator`), and
        only the rounding of matrix products depends on the batch.

        Parameters
        ----------
        requests : sequence of GenerationRequest
        seed : int
        num_inference_steps : int
            Steps from noise to a picture, of which a request does its strength's share.
        guidance_scale : float, optional
            By default the checkpoint's own; 1 switches guidance off and halves the work.
        batch_size : int
            Pictures per batch; the network sees twice as many rows under guidance.
        progress : callable, optional
            Called as ``progress("pictures", done, total)``.

        Yields
        ------
        position : int
            Into `requests`; not in order.
        image : uint8 array of shape (image_size, image_size, 3)

        Raises
        ------
        InputError
            A request does not fit this generator; raised before anything is drawn.
        """
        requests = list(requests)
        for request in requests:
            self._check(request)
        if batch_size < 1 or num_inference_steps < 1:
            raise InputError(
                f"batch_size is {batch_size} and num_inference_steps {num_inference_steps}; both must be 1 or more."
            )
        return self._generate(requests, seed, num_inference_steps, guidance_scale, batch_size, progress)

    def _generate(self, requests, seed, num_inference_steps, guidance_scale, batch_size, progress):
        groups = {}
        for position, request in enumerate(requests):
            steps = self.pipeline.denoising_steps(request.strength, num_inference_steps)
            groups.setdefault("noise" if request.from_noise else steps, []).append(position)
        done = 0
        for positions in groups.values():
            for start in range(0, len(positions), batch_size):
                batch = positions[start : start + batch_size]
                chosen = [requests[position] for position in batch]
                images = self._draw(chosen, seed, num_inference_steps, guidance_scale)
                done += len(batch)
                if progress is not None:
                    progress("pictures", done, len(requests))
                yield from zip(batch, images)

    def _draw(self, batch, seed, num_inference_steps, guidance_scale):
        """Draw requests that all start at the same step."""
        nothing = self.pipeline.unconditional_contexts
        from_noise = batch[0].from_noise
        return self.pipeline(
            None if from_noise else [self._resized(request.init_image) for request in batch],
            _stack([request.image_context for request in batch], nothing.image),
            _stack([request.text_context for request in batch], nothing.text),
            torch.tensor([request.context_weights for request in batch], dtype=torch.float32),
            strength=1 if from_noise else batch[0].strength,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            generator=[item_generator(seed, request.stimulus_id, request.sample) for request in batch],
            output_type="uint8",
        ).images

    def _resized(self, image):
        picture = Image.fromarray(image)
        size = (self.image_size, self.image_size)
        return picture if picture.size == size else picture.resize(size, Image.Resampling.BICUBIC)

    def _check(self, request):
        weights = np.asarray(request.context_weights, dtype=float)
        if weights.shape != (2,) or not np.isfinite(weights).all():
            raise InputError(
                f"context_weights of {request.stimulus_id} are {request.context_weights}; expected two finite numbers, "
                f"of image and text; the published ones are {PUBLISHED_WEIGHTS}."
            )
        contexts = (
            ("image", request.image_context, self.image_context_shape, weights[0]),
            ("text", request.text_context, self.text_context_shape, weights[1]),
        )
        for name, context, shape, weight in contexts:
            if context is None:
                if weight != 0:
                    raise InputError(
                        f"{request.stimulus_id} has no {name} context, but a {name} weight of {weight:g}; "
                        f"set that weight to 0 or give a context of shape {shape}."
                    )
            elif np.shape(context) != shape or not np.isfinite(context).all():
                raise InputError(
                    f"The {name} context of {request.stimulus_id} has shape {np.shape(context)} and "
                    f"{np.size(context) - int(np.isfinite(context).sum())} values that are not finite; this generator "
                    f"reads finite values of shape {shape}; predict the target that belongs to this checkpoint."
                )
        self.pipeline.denoising_steps(request.strength, 1)
        image = request.init_image
        if image is not None and (image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3):
            raise InputError(
                f"The first picture of {request.stimulus_id} is {image.dtype} of shape {image.shape}; expected uint8 "
                "of shape (height, width, 3)."
            )


def _stack(contexts, nothing):
    """Stack contexts to (n, n_tokens, width), the unconditional one standing in for those that are None."""
    given = [nothing if context is None else torch.as_tensor(context).to(nothing) for context in contexts]
    return torch.stack(given)
