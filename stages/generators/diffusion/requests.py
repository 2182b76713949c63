"""Pictures to be drawn: what a request says, what a generator asks of it, and which requests share a batch."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from stages.ground.errors import InputError

PUBLISHED_WEIGHTS = (0.6, 0.4)


@dataclass(frozen=True)
class GenerationRequest:
    """One picture to be drawn.

    Attributes
    ----------
    stimulus_id : str
    sample : int
        Which of several pictures of this stimulus; with the stimulus and the seed it decides the noise.
    image_context : float32 array of the generator's `image_context_shape`, or None
    text_context : float32 array of the generator's `text_context_shape`, or None
        None where that context is absent; its weight must then be 0.
    context_weights : pair of float
        Of image and of text context; what they do is the generator's `takes_weights`.
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


def check_requests(requests, image_context_shape, text_context_shape):
    """Refuse requests that do not fit a generator.

    Parameters
    ----------
    requests : sequence of GenerationRequest
    image_context_shape, text_context_shape : tuple of int, or None
        What the generator reads; None where it takes no such context, whose weight must then be 0.

    Raises
    ------
    InputError
        Weights that are not two finite numbers; a context that is absent while its weight is not 0, or of another
        shape, or not finite, or of a kind that the generator does not take; a strength outside 0..1; a first
        picture that is not uint8 of shape (height, width, 3).
    """
    for request in requests:
        _check_contexts(request, image_context_shape, text_context_shape)
        denoising_steps(request.strength, 1)
        image = request.init_image
        if image is not None and (image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3):
            raise InputError(
                f"The first picture of {request.stimulus_id} is {image.dtype} of shape {image.shape}; expected uint8 "
                "of shape (height, width, 3)."
            )


def _check_contexts(request, image_context_shape, text_context_shape):
    weights = np.asarray(request.context_weights, dtype=float)
    if weights.shape != (2,) or not np.isfinite(weights).all():
        raise InputError(
            f"context_weights of {request.stimulus_id} are {request.context_weights}; expected two finite numbers, "
            f"of image and text; the published ones are {PUBLISHED_WEIGHTS}."
        )
    contexts = (
        ("image", request.image_context, image_context_shape, weights[0]),
        ("text", request.text_context, text_context_shape, weights[1]),
    )
    for name, context, shape, weight in contexts:
        if shape is None:
            if context is not None or weight != 0:
                given = "none" if context is None else f"one of shape {np.shape(context)}"
                raise InputError(
                    f"{request.stimulus_id} has a {name} weight of {weight:g} and {given} for {name} context, but this "
                    f"generator takes no {name}; set that weight to 0 and that context to None."
                )
        elif context is None:
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


def check_options(batch_size, num_inference_steps, guidance_scale=None):
    """Raise InputError unless there is a picture per batch, a step to do, and guidance that is a number."""
    if batch_size < 1 or num_inference_steps < 1:
        raise InputError(
            f"batch_size is {batch_size} and num_inference_steps {num_inference_steps}; both must be 1 or more."
        )
    if guidance_scale is not None and not np.isfinite(guidance_scale):
        raise InputError(
            f"guidance_scale is {guidance_scale}; expected a finite number; 1 switches guidance off, None takes the "
            "model's own."
        )


def denoising_steps(strength, num_inference_steps):
    """Return how many of the steps a strength leaves to do: 37 for 0.75 of 50, all of them for 1.

    Raises
    ------
    InputError
        The strength is outside 0..1.
    """
    if not 0 <= strength <= 1:
        raise InputError(f"strength is {strength}; expected a number from 0 (keep the picture) to 1 (ignore it).")
    return min(int(num_inference_steps * strength), num_inference_steps)


def resized(image, size):
    """Return a uint8 picture as a square Pillow image of `size` pixels, resized (bicubic) where it is another."""
    picture = Image.fromarray(image)
    return picture if picture.size == (size, size) else picture.resize((size, size), Image.Resampling.BICUBIC)


def draw_in_batches(requests, draw, *, num_inference_steps, batch_size, progress=None, together=None):
    """Draw requests in batches of those that can be computed together.

    Requests that start at different steps do not share a batch.

    Parameters
    ----------
    requests : list of GenerationRequest
        Checked.
    draw : callable
        List of requests to as many uint8 pictures.
    num_inference_steps : int
    batch_size : int
        The most requests in a batch.
    progress : callable, optional
        Called as ``progress("pictures", done, total)`` after each batch.
    together : callable, optional
        Request to anything hashable; requests of which it differs do not share a batch either.

    Yields
    ------
    position : int
        Into `requests`; not in order.
    image : uint8 array of shape (size, size, 3)
    """
    groups = {}
    for position, request in enumerate(requests):
        start = "noise" if request.from_noise else denoising_steps(request.strength, num_inference_steps)
        groups.setdefault((start, together and together(request)), []).append(position)
    done = 0
    for positions in groups.values():
        for start in range(0, len(positions), batch_size):
            batch = positions[start : start + batch_size]
            images = draw([requests[position] for position in batch])
            done += len(batch)
            if progress is not None:
                progress("pictures", done, len(requests))
            yield from zip(batch, images)
