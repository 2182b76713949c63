"""Stable Diffusion image variations: Stable Diffusion 1.x, tuned to read a picture's embedding where it read a text.

Pinkney (2022), "sd-image-variations-diffusers". The context is one token, the pooled and projected embedding of CLIP ViT-L/14,
768 values, of its own length. Scotti et al. (2023), "Reconstructing the mind's eye", draw with it from one decoded vector.
"""

from pathlib import Path

import torch
from diffusers import StableDiffusionImageVariationPipeline

from stages.checkpoints.strict_loading import read_json_object
from stages.generators.diffusion.conditioners import ContextVector
from stages.generators.diffusion.latent_diffusion import LatentDiffusionGenerator
from stages.generators.diffusion.loading import computing_dtype, load_unet, placed
from stages.generators.diffusion.schedulers import read_scheduler
from stages.networks.latent_space import load_autoencoder
from weights.manifest import CheckpointError

_PIPELINE = StableDiffusionImageVariationPipeline.__name__


class ImageVariationsGenerator(LatentDiffusionGenerator):
    """Draw pictures with Stable Diffusion image variations.

    diffusers' pipeline of that name starts from noise and from a picture that it encodes; here an embedding is given, and a
    first picture serves as with every other generator. Guidance's unconditional half reads zeros, as there, and so does a
    picture without an embedding.

    Parameters
    ----------
    pipeline : diffusers.StableDiffusionImageVariationPipeline
        Without image encoder, feature extractor and safety checker.
    start : StartRule, optional
        How a start is prepared.

    See Also
    --------
    stages.generators.diffusion.latent_diffusion.LatentDiffusionGenerator : `draw`, and the attributes.
    """

    takes_weights = "the share of the image embedding against zeros (0: zeros, 1: all of it)"
    default_weights = {"clip_image": 1.0}

    def __init__(self, pipeline, start=None):
        width = pipeline.unet.config.cross_attention_dim
        context = ContextVector("clip_image", torch.zeros(1, width))
        super().__init__(pipeline, [context], {"clip_image": (width,)}, optional=("clip_image",), start=start)

    @classmethod
    def from_pretrained(cls, folder, device="cpu", dtype=None, scheduler=None, acceleration=None, start=None):
        """Load a folder in diffusers' layout; nothing is looked for elsewhere.

        Parameters
        ----------
        folder : path
            Holds ``model_index.json``, ``unet/``, ``vae/`` and ``scheduler/``.
        device : str or torch.device
        dtype : torch.dtype, optional
            What the networks compute in, whatever the files store; by default float32, or what `acceleration` says.
        scheduler : {"ddim", "dpm++", "unipc", "plms"}, optional
            By default the folder's own; see `make_scheduler`.
        acceleration : Acceleration, optional
            Precision, offloading, compilation; see `stages.generators.diffusion.acceleration`.
        start
            As of the class.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen; or the folder is another model's.
        InputError
            The scheduler draws noise at every step or is not known; or `dtype` and `acceleration` were both given.
        """
        # Stable Diffusion's own UNet has the same shape, and reads texts.
        kind = read_json_object(Path(folder) / "model_index.json", "pipeline").get("_class_name")
        if kind != _PIPELINE:
            raise CheckpointError(
                f"{folder} holds a {kind}, but a {_PIPELINE} was expected; give the folder of Stable Diffusion image variations."
            )
        dtype = computing_dtype(dtype, acceleration, device)
        pipeline = StableDiffusionImageVariationPipeline(
            vae=load_autoencoder(folder, dtype),
            image_encoder=None,
            unet=load_unet(
                folder, dtype, "Stable Diffusion", addition_embed_type=None, class_embed_type=None, in_channels=4
            ),
            scheduler=read_scheduler(folder, scheduler),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        return cls(placed(pipeline, device, acceleration), start)
