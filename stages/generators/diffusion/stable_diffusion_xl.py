"""Stable Diffusion XL under captions: from noise, or image to image as MindEye2 refines what it has drawn.

Podell and others, 2023. Scotti and others (2024) redraw the pictures of SDXL unCLIP under a predicted caption, with a network of
Stable Diffusion XL's shape that was tuned to photographs.
"""

from diffusers import StableDiffusionXLImg2ImgPipeline

from stages.generators.diffusion.latent_diffusion import LatentDiffusionGenerator
from stages.generators.diffusion.loading import computing_dtype, placed
from stages.generators.diffusion.sdxl_conditioners import Caption, Sizes
from stages.generators.diffusion.sdxl_texts import encode_sdxl_text, load_sdxl_texts
from stages.generators.diffusion.single_file_model import load_unet_and_autoencoder, read_table_scheduler
from stages.generators.diffusion.start_rule import StartRule
from stages.networks.latent_space import bilinear

# As MindEye2's script says it.
NEGATIVE = (
    "painting, extra fingers, mutated hands, poorly drawn hands, poorly drawn face, deformed, ugly, blurry, bad anatomy, bad "
    "proportions, extra limbs, cloned face, skinny, glitchy, double torso, extra arms, extra hands, mangled fingers, missing "
    "lips, ugly face, distorted face, extra legs, anime"
)
# A picture is enlarged from the greys that it has, and a sample of its posterior is noised.
MINDEYE2_START = StartRule(posterior="sample", enlarged="bilinear")


class StableDiffusionXLGenerator(LatentDiffusionGenerator):
    """Draw pictures with Stable Diffusion XL under captions.

    >>> import numpy as np
    >>> from stages.generators.generator import Item, in_order
    >>> from weights import store
    >>> generator = StableDiffusionXLGenerator.from_pretrained(store.path("tiny-sdxl"))
    >>> values = {"caption": ["a red car by the sea"], "first_picture": np.zeros((1, 64, 64, 3), dtype=np.uint8)}
    >>> pictures = in_order(generator.draw(values, [Item("nsd00042")], strength=0.48))
    >>> pictures[0].shape, pictures[0].dtype
    ((64, 64, 3), dtype('uint8'))

    At strength 0.48, 12 of 25 steps are done from the level that is the 13th from the list's end, σ = 1.50919. A picture
    without a caption is drawn under the empty text. Guidance's unconditional half reads a text that says what not to draw.

    Parameters
    ----------
    pipeline : diffusers.StableDiffusionXLImg2ImgPipeline
        With both text encoders and their tokenizers.
    negative : str
        What the unconditional half reads.
    size : int, optional
        Height and width that are drawn; by default 768, or those of the UNet's configuration if they are less.
    told : tuple of two int, optional
        What the network is told of the size before cropping and of the size after it; by default `size` and 1024, or the size
        of the UNet's configuration if that is less.
    picture_size, smoothed
        As of `stages.generators.diffusion.unclip_xl.UnCLIPXLGenerator`.
    start : StartRule
        How a start is prepared.

    See Also
    --------
    stages.generators.diffusion.latent_diffusion.LatentDiffusionGenerator : `draw`, and the attributes.
    """

    default_steps = 25
    default_guidance_scale = 5.0

    def __init__(
        self,
        pipeline,
        negative=NEGATIVE,
        size=None,
        told=None,
        picture_size=None,
        smoothed=False,
        start=MINDEYE2_START,
    ):
        downscaling = 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
        trained = pipeline.unet.config.sample_size * downscaling
        size = min(768, trained) if size is None else size
        encoders = pipeline.text_encoder, pipeline.text_encoder_2
        tokenizers = pipeline.tokenizer, pipeline.tokenizer_2
        before, after = (size, min(1024, trained)) if told is None else told
        super().__init__(
            pipeline,
            [
                Caption("caption", lambda text: encode_sdxl_text(encoders, tokenizers, text), negative),
                Sizes((before, before, 0, 0, after, after)),
            ],
            {"caption": ()},
            optional=("caption",),
            start=start,
            latent_size=size // downscaling,
        )
        self.picture_size = min(256, size) if picture_size is None else picture_size
        self.smoothed = smoothed

    @classmethod
    def from_pretrained(
        cls,
        folder,
        device="cpu",
        dtype=None,
        scheduler=None,
        acceleration=None,
        negative=NEGATIVE,
        size=None,
        told=None,
        picture_size=None,
        smoothed=False,
        start=MINDEYE2_START,
    ):
        """Load a folder with a single file, or one in diffusers' layout; nothing is looked for elsewhere.

        Parameters
        ----------
        folder : path
            Holds the configurations ``unet/config.json``, ``vae/config.json``, ``text_encoder/config.json`` and
            ``text_encoder_2/config.json``, and one safetensors file in the layout of Stability's training, or else the weights
            of each in their folders; see `load_unet_and_autoencoder` and `load_sdxl_texts`.
        device : str or torch.device
        dtype : torch.dtype, optional
            What the networks compute in, whatever the files store; by default float32, or what `acceleration` says.
        scheduler : {"ddim", "dpm++", "unipc"}, optional
            By default the published sampler, `TableEulerScheduler`.
        acceleration : Acceleration, optional
            Precision, offloading, compilation; see `stages.generators.diffusion.acceleration`.
        negative, size, told, picture_size, smoothed, start
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
            folder, dtype, "Stable Diffusion XL", addition_embed_type="text_time", class_embed_type=None
        )
        encoders, tokenizers = load_sdxl_texts(folder, dtype)
        pipeline = StableDiffusionXLImg2ImgPipeline(
            vae=vae,
            text_encoder=encoders[0],
            text_encoder_2=encoders[1],
            tokenizer=tokenizers[0],
            tokenizer_2=tokenizers[1],
            unet=unet,
            scheduler=read_table_scheduler(folder, scheduler),
            add_watermarker=False,
        )
        return cls(placed(pipeline, device, acceleration), negative, size, told, picture_size, smoothed, start)

    def _shown(self, pixels):
        return bilinear(pixels.clamp(-1, 1), self.picture_size, self.smoothed)
