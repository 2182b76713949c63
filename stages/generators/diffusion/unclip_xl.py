"""SDXL unCLIP: Stable Diffusion XL, tuned to draw from all image tokens of OpenCLIP ViT-bigG/14 in place of text.

Scotti and others, 2024, "MindEye2". The network reads the 256 tokens of the last layer, 1664 values each, without the class
token and without projection, as cross-attention's context, and codes of a picture's size and crop where other networks read
a class label. It draws at 768 pixels, from noise alone.
"""

from diffusers import StableDiffusionXLImg2ImgPipeline

from stages.generators.diffusion.latent_diffusion import LatentDiffusionGenerator
from stages.generators.diffusion.loading import computing_dtype, placed
from stages.generators.diffusion.sdxl_conditioners import SizeCodes, TokensAgainstNoise
from stages.generators.diffusion.single_file_model import load_unet_and_autoencoder, read_table_scheduler
from stages.generators.diffusion.start import StartFromOffsetNoise
from stages.networks.latent_space import bilinear


class UnCLIPXLGenerator(LatentDiffusionGenerator):
    """Draw pictures from image tokens with SDXL unCLIP.

    >>> import numpy as np
    >>> from stages.generators.generator import Item, in_order
    >>> from weights import store
    >>> generator = UnCLIPXLGenerator.from_pretrained(store.path("tiny-unclip-xl"), n_tokens=64)
    >>> tokens = np.zeros((1, 64, 128), dtype=np.float32)
    >>> pictures = in_order(generator.draw({"clip_image": tokens}, [Item("nsd00042")], num_inference_steps=2))
    >>> pictures[0].shape, pictures[0].dtype
    ((64, 64, 3), dtype('uint8'))

    Tokens of the published network have shape (n, 256, 1664). A picture starts at the first noise level σ₀ from

        x = a + (b + 0.04 · c) · σ₀,

    with a and b standard normal in every value and c one number for the picture, as the network was tuned ("offset noise").
    Guidance's unconditional half reads noise in place of tokens, new for each picture. The decoder's output d becomes
    clamp(0.8 · d + 0.2, 0, 1), as published, and is then made `picture_size` pixels wide.

    Parameters
    ----------
    pipeline : diffusers.StableDiffusionXLImg2ImgPipeline
        Without text encoders and tokenizers.
    n_tokens : int
        Tokens of a picture.
    conditioned_size : int, optional
        Height and width that the network is told; by default those that are drawn.
    picture_size : int, optional
        Side of the pictures that are given; by default 256, or what is drawn if that is less.
    smoothed : bool
        Whether a picture is smoothed before it is made smaller. The published scripts did not: by the release of torchvision
        that they pin, three pixels in a row leave the one in the middle.
    offset_noise : float
        The factor of c.

    See Also
    --------
    stages.generators.diffusion.latent_diffusion.LatentDiffusionGenerator : `draw`, and the attributes.
    """

    default_steps = 38
    default_guidance_scale = 5.0

    def __init__(
        self, pipeline, n_tokens=256, conditioned_size=None, picture_size=None, smoothed=False, offset_noise=0.04
    ):
        super().__init__(
            pipeline,
            [TokensAgainstNoise("clip_image")],
            {"clip_image": (n_tokens, pipeline.unet.config.cross_attention_dim)},
        )
        told = self.image_size if conditioned_size is None else conditioned_size
        self.conditioners += (SizeCodes((told, told, 0, 0)),)
        self.picture_size = min(256, self.image_size) if picture_size is None else picture_size
        self.smoothed, self.offset_noise = smoothed, offset_noise

    @classmethod
    def from_pretrained(
        cls,
        folder,
        device="cpu",
        dtype=None,
        scheduler=None,
        acceleration=None,
        n_tokens=256,
        conditioned_size=None,
        picture_size=None,
        smoothed=False,
        offset_noise=0.04,
    ):
        """Load a folder with the published file, or one in diffusers' layout; nothing is looked for elsewhere.

        Parameters
        ----------
        folder : path
            Holds ``unet/config.json``, ``vae/config.json``, and one safetensors file with ``model.diffusion_model.*`` and
            ``first_stage_model.*``, as Stability's training leaves it, or else the weights of both in their folders. Noise
            levels are those of Stable Diffusion XL unless there is ``scheduler/scheduler_config.json``.
        device : str or torch.device
        dtype : torch.dtype, optional
            What the networks compute in, whatever the files store; by default float32, or what `acceleration` says.
        scheduler : {"ddim", "dpm++", "unipc"}, optional
            By default the published sampler, `TableEulerScheduler`.
        acceleration : Acceleration, optional
            Precision, offloading, compilation; see `stages.generators.diffusion.acceleration`.
        n_tokens, conditioned_size, picture_size, smoothed, offset_noise
            As of the class.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        InputError
            The scheduler draws noise at every step or is not known; or `dtype` and `acceleration` were both given.
        """
        dtype = computing_dtype(dtype, acceleration, device)
        unet, vae = load_unet_and_autoencoder(
            folder, dtype, "SDXL unCLIP", addition_embed_type=None, class_embed_type="projection"
        )
        pipeline = StableDiffusionXLImg2ImgPipeline(
            vae=vae,
            text_encoder=None,
            text_encoder_2=None,
            tokenizer=None,
            tokenizer_2=None,
            unet=unet,
            scheduler=read_table_scheduler(folder, scheduler),
            add_watermarker=False,
        )
        pipeline = placed(pipeline, device, acceleration)
        return cls(pipeline, n_tokens, conditioned_size, picture_size, smoothed, offset_noise)

    def _starting(self, start):
        if start is None:
            return StartFromOffsetNoise(self.pipeline.scheduler, self._latent_shape, self.offset_noise)
        return super()._starting(start)

    def _shown(self, pixels):
        shown = (0.8 * pixels + 0.2).clamp(0, 1)
        return 2 * bilinear(shown, self.picture_size, self.smoothed) - 1
