"""From requests to pictures: checked, batched over stimuli and conditions, each with noise of its own."""

from stages.generators.diffusion.requests import check_options, check_requests, draw_in_batches


class PictureGenerator:
    """What all generators that draw requests share; each says in ``_draw`` how a batch of them is drawn.

    Parameters
    ----------
    pipeline : diffusers.DiffusionPipeline
        Its progress bar is switched off; `generate` reports progress.
    image_size : int
    image_context_shape, text_context_shape : tuple of int, or None

    Attributes
    ----------
    image_size : int
        Height and width of what is drawn.
    image_context_shape, text_context_shape : tuple of int, or None
        Of the embeddings; None where none is taken.
    takes_weights : str
        What a request's `context_weights` do.
    default_steps : int
        Steps from noise to a picture, where `generate` is not told.
    default_guidance_scale : float, or None
        Likewise; None where it is the checkpoint's own.
    """

    takes_weights: str
    default_steps = 50
    default_guidance_scale = None

    def __init__(self, pipeline, image_size, image_context_shape, text_context_shape):
        self.pipeline = pipeline
        pipeline.set_progress_bar_config(disable=True)
        self.image_size = image_size
        self.image_context_shape = image_context_shape
        self.text_context_shape = text_context_shape

    def generate(
        self, requests, *, seed=0, num_inference_steps=None, guidance_scale=None, batch_size=16, progress=None
    ):
        """Draw the requested pictures.

        Requests of all conditions share batches; those that start at different steps do not. A request's picture is
        the same, to one grey level in float32, whatever else is asked for: its noise is its own (see `item_generator`),
        and only the rounding of matrix products depends on the batch.

        Parameters
        ----------
        requests : sequence of GenerationRequest
        seed : int
        num_inference_steps : int, optional
            Steps from noise to a picture, of which a request does its strength's share; by default `default_steps`.
        guidance_scale : float, optional
            By default `default_guidance_scale`; 1 switches guidance off and halves the work.
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
        num_inference_steps = self.default_steps if num_inference_steps is None else num_inference_steps
        guidance_scale = self.default_guidance_scale if guidance_scale is None else guidance_scale
        check_requests(requests, self.image_context_shape, self.text_context_shape)
        check_options(batch_size, num_inference_steps, guidance_scale)
        return draw_in_batches(
            requests,
            lambda batch: self._draw(batch, seed, num_inference_steps, guidance_scale),
            num_inference_steps=num_inference_steps,
            batch_size=batch_size,
            progress=progress,
            together=self._together,
        )

    def _together(self, request):
        """Return what all requests of a batch must agree in, besides where they start."""
        return None

    def _draw(self, batch, seed, num_inference_steps, guidance_scale):
        """Draw requests that start at the same step; return uint8 (n, image_size, image_size, 3)."""
        raise NotImplementedError
