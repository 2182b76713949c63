"""Requests of an image context and a text context, for callers that do not hand over named values yet."""

from dataclasses import dataclass

import numpy as np

from stages.generators.diffusion.start import denoising_steps
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
