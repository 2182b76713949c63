"""Pictures from predicted embeddings by the network under two contexts."""

import torch

from stages.generators.diffusion.conditioners import MixedContext
from stages.generators.diffusion.dual_context_pipeline import DualContextImg2ImgPipeline
from stages.generators.diffusion.latent_diffusion import LatentDiffusionGenerator
from stages.generators.diffusion.loading import computing_dtype, placed
from stages.generators.diffusion.schedulers import make_scheduler
from stages.generators.diffusion.versatile_diffusion import GREYS, is_versatile_diffusion, load_versatile_diffusion
from stages.ground.checks import OneOf, check
from stages.ground.errors import InputError
from stages.networks.latent_space import LatentSpace

PUBLISHED_WEIGHTS = {"clip_image": 0.6, "clip_text": 0.4}


class DualContextGenerator(LatentDiffusionGenerator):
    """Draw pictures with a `DualContextImg2ImgPipeline`; guidance is the checkpoint's own unless another is asked for.

    >>> import numpy as np
    >>> from stages.generators.generator import Item, in_order
    >>> from weights import store
    >>> generator = DualContextGenerator.from_pretrained(store.path("tiny-generator"))
    >>> generator.takes["clip_image"]
    (65, 64)
    >>> values = {"clip_image": np.zeros((1, 65, 64), dtype=np.float32)}
    >>> pictures = in_order(generator.draw(values, [Item("nsd00042")], seed=0, num_inference_steps=2))
    >>> pictures[0].shape
    (64, 64, 3)

    Parameters
    ----------
    pipeline : DualContextImg2ImgPipeline
    start : StartRule, optional
    unconditional : {"stored", "zeros"}
        What guidance's unconditional half reads: the contexts that are stored with the checkpoint, or zeros.

    See Also
    --------
    stages.generators.diffusion.latent_diffusion.LatentDiffusionGenerator : `draw`, and the attributes.
    """

    takes_weights = (
        "shares of the image context's and of the text context's attention, added as they are; an absent context leaves its "
        "share to the other"
    )
    default_weights = PUBLISHED_WEIGHTS
    # As the UNet computes: this generator's noise is drawn in that precision.
    latent_dtype = None

    def __init__(self, pipeline, start=None, unconditional="stored"):
        check("unconditional", unconditional, OneOf("stored", "zeros"))
        nothing = pipeline.unconditional_contexts
        contexts = {"clip_image": nothing.image, "clip_text": nothing.text}
        if unconditional == "zeros":
            contexts = {name: torch.zeros_like(tokens) for name, tokens in contexts.items()}
        super().__init__(
            pipeline,
            [MixedContext(name, tokens) for name, tokens in contexts.items()],
            {name: tuple(tokens.shape) for name, tokens in contexts.items()},
            optional=contexts,
            space=LatentSpace(pipeline.vae, alone=False),
            start=start,
        )

    @property
    def default_guidance_scale(self):
        """The checkpoint's own."""
        return self.pipeline.config.guidance_scale

    @classmethod
    def from_pretrained(
        cls,
        folder,
        device="cpu",
        dtype=None,
        scheduler=None,
        acceleration=None,
        start=None,
        unconditional_grey=None,
        unconditional="stored",
    ):
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
        start : StartRule, optional
            How a start is prepared.
        unconditional_grey : {127.0, 127.5, 0.0}, optional
            Grey level of the picture that guidance's unconditional half sees. By default the checkpoint's own: that of
            Versatile Diffusion is 127, and a `DualContextImg2ImgPipeline` brings what it was made with.
        unconditional : {"stored", "zeros"}
            See the class.

        Returns
        -------
        generator : DualContextGenerator

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        InputError
            The scheduler is not known, `dtype` and `acceleration` were both given, or a grey was given that the checkpoint
            does not leave open.
        """
        published, grey = is_versatile_diffusion(folder), {}
        if unconditional_grey is not None:
            if unconditional_grey not in GREYS:
                raise InputError(
                    f"unconditional_grey is {unconditional_grey!r}; expected {' or '.join(map(str, GREYS))}: pass "
                    f"unconditional_grey={GREYS[0]}."
                )
            if not published:
                raise InputError(
                    f"unconditional_grey is {unconditional_grey:g}, but {folder} brings its unconditional contexts with it; "
                    "leave unconditional_grey out."
                )
            grey = {"unconditional_grey": unconditional_grey}
        load = load_versatile_diffusion if published else DualContextImg2ImgPipeline.from_pretrained
        pipeline = load(folder, dtype=computing_dtype(dtype, acceleration, device), **grey)
        if scheduler is not None:
            pipeline.scheduler = make_scheduler(pipeline.scheduler.config, scheduler)
        return cls(placed(pipeline, device, acceleration), start, unconditional)

    def _check_row(self, item, values):
        super()._check_row(item, values)
        if values["clip_image"] is None and values["clip_text"] is None:
            raise InputError(
                f"{item.stimulus_id} has neither clip_image nor clip_text, but this generator draws under at least one of "
                "them; give one."
            )

    def _weights_of(self, values, weights):
        # A context that is absent leaves its share to the other one.
        whole = float(sum(weights.values()))
        if values["clip_image"] is None:
            return {"clip_image": 0.0, "clip_text": whole}
        if values["clip_text"] is None:
            return {"clip_image": whole, "clip_text": 0.0}
        return super()._weights_of(values, weights)
