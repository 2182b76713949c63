"""Pictures from predicted embeddings by the network under two contexts."""

import torch

from stages.generators.diffusion.dual_context_pipeline import DualContextImg2ImgPipeline
from stages.generators.diffusion.latent_diffusion import computing_dtype, placed
from stages.generators.diffusion.requests import PUBLISHED_WEIGHTS, GenerationRequest, resized
from stages.generators.diffusion.schedulers import make_scheduler
from stages.generators.diffusion.versatile_diffusion import is_versatile_diffusion, load_versatile_diffusion
from stages.generators.generator import PictureGenerator
from stages.ground.item_seeds import item_generator

__all__ = ["PUBLISHED_WEIGHTS", "DualContextGenerator", "GenerationRequest"]


class DualContextGenerator(PictureGenerator):
    """Draw pictures with a `DualContextImg2ImgPipeline`; guidance is the checkpoint's own unless another is asked for.

    Parameters
    ----------
    pipeline : DualContextImg2ImgPipeline

    See Also
    --------
    stages.generators.generator.PictureGenerator : the attributes.
    """

    takes_weights = "shares of the image context's and of the text context's attention, added as they are"

    def __init__(self, pipeline):
        nothing = pipeline.unconditional_contexts
        super().__init__(pipeline, pipeline.image_size, tuple(nothing.image.shape), tuple(nothing.text.shape))

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
            By default the folder's own; see `stages.generators.diffusion.schedulers.make_scheduler`.
        acceleration : Acceleration, optional
            Precision, offloading, compilation; see `stages.generators.diffusion.acceleration`.

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

    def _draw(self, batch, seed, num_inference_steps, guidance_scale):
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
