"""The decoder of Kandinsky 2.2: pictures from a pooled image embedding alone.

Razzhigaev and others, 2023. The published decoder reads the pooled, projected embedding of OpenCLIP ViT-bigG (1280
values), not normalised, and no text; its autoencoder is a MoVQ, of which the quantising is left out.
"""

from pathlib import Path

import torch
from diffusers import KandinskyV22Img2ImgPipeline, VQModel

from stages.checkpoints.strict_loading import load_strictly
from stages.checkpoints.transformers_loading import load_transformers_strictly
from stages.generators.diffusion.conditioners import ImageEmbedding
from stages.generators.diffusion.latent_diffusion import LatentDiffusionGenerator
from stages.generators.diffusion.loading import computing_dtype, load_unet, placed
from stages.generators.diffusion.schedulers import read_scheduler
from stages.generators.diffusion.unconditional_embedding import stored_embedding
from stages.networks.latent_space import QuantisedLatentSpace


class KandinskyGenerator(LatentDiffusionGenerator):
    """Draw pictures with the decoder of Kandinsky 2.2.

    Guidance's unconditional half reads `negative_image_embedding`: what the vision model of the prior's folder makes of
    a zero image, as diffusers' prior pipeline hands it over, where it is stored with the decoder or can be computed;
    zeros otherwise, which is further from how the decoder is meant to be guided.

    Parameters
    ----------
    pipeline : diffusers.KandinskyV22Img2ImgPipeline
    negative_image_embedding : float32 tensor of shape (embed_dim,), optional
        By default zeros.

    Attributes
    ----------
    negative_image : str
        What the unconditional half reads: "zero image" or "zeros".

    See Also
    --------
    stages.generators.diffusion.latent_diffusion.LatentDiffusionGenerator : `draw`, and the attributes.
    """

    takes_weights = (
        "the share of the image embedding against that of guidance's unconditional half (0: that one, 1: all of it)"
    )
    default_weights = {"clip_image": 1.0}
    default_steps = 100
    default_guidance_scale = 4.0

    def __init__(self, pipeline, negative_image_embedding=None):
        embed_dim = pipeline.unet.config.encoder_hid_dim
        self.negative_image = "zeros" if negative_image_embedding is None else "zero image"
        if negative_image_embedding is None:
            negative_image_embedding = torch.zeros(embed_dim)
        self.negative_image_embedding = negative_image_embedding
        super().__init__(
            pipeline,
            [ImageEmbedding("clip_image", negative_image_embedding)],
            {"clip_image": (embed_dim,)},
            space=QuantisedLatentSpace(pipeline.movq),
        )

    @classmethod
    def from_pretrained(cls, folder, device="cpu", dtype=None, scheduler="ddim", prior_folder=None, acceleration=None):
        """Load a folder in diffusers' layout; nothing is looked for elsewhere.

        Parameters
        ----------
        folder : path
            The decoder's: holds ``unet/``, ``movq/``, ``scheduler/``, and perhaps ``unconditional_contexts/``.
        device : str or torch.device
        dtype : torch.dtype, optional
            What the networks compute in, whatever the files store; by default float32, or what `acceleration` says.
        scheduler : {"ddim", "dpm++", "unipc"} or None
            See `make_scheduler`. None takes the folder's own, which is refused where it is DDPM: that one draws noise
            at every step.
        prior_folder : path, optional
            The prior's, whose ``image_encoder/`` makes the embedding of the zero image, once; it is written to the
            decoder's ``unconditional_contexts/`` where it may be.
        acceleration : Acceleration, optional
            Precision, offloading, compilation; see `stages.generators.diffusion.acceleration`.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        InputError
            The scheduler draws noise at every step or is not known; or `dtype` and `acceleration` were both given.
        """
        folder = Path(folder)
        dtype = computing_dtype(dtype, acceleration, device)
        unet = load_unet(
            folder, dtype, "Kandinsky 2.2 decoder", addition_embed_type="image", encoder_hid_dim_type="image_proj"
        )
        compute = None if prior_folder is None else lambda: encode_zero_image(prior_folder)
        negative = stored_embedding(folder, "zero image", (unet.config.encoder_hid_dim,), compute)
        pipeline = KandinskyV22Img2ImgPipeline(
            unet=unet,
            scheduler=read_scheduler(folder, scheduler),
            movq=load_strictly(VQModel, folder / "movq", dtype),
        )
        return cls(placed(pipeline, device, acceleration), negative)


@torch.no_grad()
def encode_zero_image(prior_folder):
    """Embed a preprocessed picture of zeros, which is the mean colour of CLIP's pictures, by the prior's vision model.

    Parameters
    ----------
    prior_folder : path
        Holds ``image_encoder/``.

    Returns
    -------
    embedding : float32 tensor of shape (embed_dim,)

    Raises
    ------
    CheckpointError
        The vision model is absent or damaged, or its tensors are missing, unexpected or misshapen.
    """
    from transformers import CLIPVisionModelWithProjection

    encoder = load_transformers_strictly(CLIPVisionModelWithProjection, Path(prior_folder) / "image_encoder")
    size = encoder.config.image_size
    return encoder(torch.zeros(1, 3, size, size)).image_embeds[0]
