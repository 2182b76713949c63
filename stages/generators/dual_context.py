"""Pictures from predicted embeddings: requests in, pictures out, batched over stimuli and conditions."""

import torch

from stages.generators.dual_context_pipeline import DualContextImg2ImgPipeline
from stages.generators.latent_diffusion import computing_dtype, placed
from stages.generators.noise import item_generator
from stages.generators.requests import (
    PUBLISHED_WEIGHTS,
    GenerationRequest,
    check_options,
    check_requests,
    draw_in_batches,
    resized,
)
from stages.generators.schedulers import make_scheduler
from stages.generators.versatile_diffusion import is_versatile_diffusion, load_versatile_diffusion

__all__ = ["PUBLISHED_WEIGHTS", "DualContextGenerator", "GenerationRequest"]


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
    takes_weights : str
        What a request's `context_weights` do.
    """

    takes_weights = "shares of the image context's and of the text context's attention, added as they are"

    def __init__(self, pipeline):
        self.pipeline = pipeline
        pipeline.set_progress_bar_config(disable=True)
        self.image_size = pipeline.image_size
        self.image_context_shape = tuple(pipeline.unconditional_contexts.image.shape)
        self.text_context_shape = tuple(pipeline.unconditional_contexts.text.shape)

    @classmethod
    def from_pretrained(cls, folder, device="cpu", dtype=None, scheduler=None, acceleration=None):
        """Load a checkpoint in diffusers' folder layout.

        Parameters
        ----------
        folder : path
            Of a `DualContextImg2ImgPipeline`, or Versatile Diffusion as published, whose two UNets are joined as they
            are read (see `load_versatile_diffusion`).
        device : str or torch.device
        dtype : torch.dtype, optional
            What is computed in, whatever the files store; by default float32, or what `acceleration` says.
        scheduler : {"ddim", "dpm++", "unipc"}, optional
            By default the folder's own; see `stages.generators.schedulers.make_scheduler`.
        acceleration : Acceleration, optional
            Precision, offloading, compilation; see `stages.generators.acceleration`.

        Returns
        -------
        generator : DualContextGenerator

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        InputError
            The scheduler is not known, or `dtype` and `acceleration` were both given.
        """
        published = is_versatile_diffusion(folder)
        load = load_versatile_diffusion if published else DualContextImg2ImgPipeline.from_pretrained
        pipeline = load(folder, dtype=computing_dtype(dtype, acceleration, device))
        if scheduler is not None:
            pipeline.scheduler = make_scheduler(pipeline.scheduler.config, scheduler)
        return cls(placed(pipeline, device, acceleration))

    def generate(
        self, requests, *, seed=0, num_inference_steps=None, guidance_scale=None, batch_size=16, progress=None
    ):
        """Draw the requested pictures.

        Requests of all conditions share batches; those that start at different steps do not. A request's picture
        is the same, to one grey level, whatever else is asked for: its noise is its own (see `item_generator`), and
        only the rounding of matrix products depends on the batch.

        Parameters
        ----------
        requests : sequence of GenerationRequest
        seed : int
        num_inference_steps : int, optional
            Steps from noise to a picture, of which a request does its strength's share; by default 50.
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
        num_inference_steps = 50 if num_inference_steps is None else num_inference_steps
        check_requests(requests, self.image_context_shape, self.text_context_shape)
        check_options(batch_size, num_inference_steps, guidance_scale)
        return draw_in_batches(
            requests,
            lambda batch: self._draw(batch, seed, num_inference_steps, guidance_scale),
            num_inference_steps=num_inference_steps,
            batch_size=batch_size,
            progress=progress,
        )

    def _draw(self, batch, seed, num_inference_steps, guidance_scale):
        """Draw requests that all start at the same step."""
        nothing = self.pipeline.unconditional_contexts
        from_noise = batch[0].from_noise
        return self.pipeline(
            None if from_noise else [resized(request.init_image, self.image_size) for request in batch],
            _stack([request.image_context for request in batch], nothing.image),
            _stack([request.text_context for request in batch], nothing.text),
            torch.tensor([request.context_weights for request in batch], dtype=torch.float32),
            strength=1 if from_noise else batch[0].strength,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            generator=[item_generator(seed, request.stimulus_id, request.sample) for request in batch],
            output_type="uint8",
        ).images


def _stack(contexts, nothing):
    """Stack contexts to (n, n_tokens, width), the unconditional one standing in for those that are None."""
    given = [nothing if context is None else torch.as_tensor(context).to(nothing) for context in contexts]
    return torch.stack(given)
