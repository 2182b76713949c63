"""Stable unCLIP: Stable Diffusion 2.1, tuned to read a pooled image embedding beside the text.

The published models (Rombach and others, 2022, version 2.1-unclip) read the pooled and projected embedding of CLIP
ViT-L/14 (768 values, "small") or of OpenCLIP ViT-H/14 (1024 values), not normalised, and the text tokens of OpenCLIP
ViT-H. The embedding is noised, at noise level 0 hardly at all, and goes with a code of that level where other models
read a class label.
"""

from pathlib import Path

from diffusers import DDPMScheduler, StableUnCLIPImg2ImgPipeline
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer

from stages.checkpoints.strict_loading import load_strictly, read_config, refusing_values
from stages.generators.diffusion.conditioners import ContextTokens, NoisedEmbedding
from stages.generators.diffusion.empty_text import stored_empty_text
from stages.generators.diffusion.latent_diffusion import LatentDiffusionGenerator
from stages.generators.diffusion.loading import computing_dtype, load_unet, placed
from stages.generators.diffusion.schedulers import read_scheduler
from stages.ground.errors import InputError
from stages.networks.latent_space import load_autoencoder


class StableUnCLIPGenerator(LatentDiffusionGenerator):
    """Draw pictures with Stable unCLIP.

    diffusers' pipeline of that name starts from noise alone; here a first picture serves as with every other
    generator. Guidance's unconditional half reads the empty text and, as diffusers has it, zeros in place of the noised
    embedding and its level.

    Parameters
    ----------
    pipeline : diffusers.StableUnCLIPImg2ImgPipeline
        Without image encoder, feature extractor, text encoder and tokenizer.
    empty_text : float32 tensor of shape (tokens, width)
    noise_level : int
        How strongly image embeddings are noised, 0 to the number of training steps less one.

    See Also
    --------
    stages.generators.diffusion.latent_diffusion.LatentDiffusionGenerator : `draw`, and the attributes.
    """

    takes_weights = (
        "clip_image: what the noised image embedding and the code of its noise level are multiplied with (0: the zeros of "
        "guidance's unconditional half, 1: all of it); clip_text: the share of the text embedding against the empty text's "
        "(0: the empty text, 1: all of it)"
    )
    default_weights = {"clip_image": 1.0, "clip_text": 1.0}
    default_steps = 20
    default_guidance_scale = 10.0

    def __init__(self, pipeline, empty_text, noise_level=0):
        highest = pipeline.image_noising_scheduler.config.num_train_timesteps - 1
        if not 0 <= noise_level <= highest:
            raise InputError(
                f"noise_level is {noise_level}; expected 0..{highest}; 0 keeps the image embedding as it is."
            )
        self.empty_text = empty_text
        embed_dim = pipeline.image_normalizer.config.embedding_dim
        image = NoisedEmbedding("clip_image", embed_dim, pipeline.noise_image_embeddings, noise_level)
        super().__init__(
            pipeline,
            [image, ContextTokens("clip_text", empty_text)],
            {"clip_image": (embed_dim,), "clip_text": tuple(empty_text.shape)},
            optional=("clip_image", "clip_text"),
        )

    @classmethod
    def from_pretrained(cls, folder, device="cpu", dtype=None, scheduler=None, noise_level=0, acceleration=None):
        """Load a folder in diffusers' layout; nothing is looked for elsewhere.

        Parameters
        ----------
        folder : path
            Holds ``unet/``, ``vae/``, ``scheduler/``, ``image_normalizer/``, ``image_noising_scheduler/``, and
            ``unconditional_contexts/`` or else ``tokenizer/`` and ``text_encoder/``, from which it is computed and
            written where it may be.
        device : str or torch.device
        dtype : torch.dtype, optional
            What the networks compute in, whatever the files store; by default float32, or what `acceleration` says.
        scheduler : {"ddim", "dpm++", "unipc"}, optional
            By default the folder's own; see `make_scheduler`.
        noise_level : int
        acceleration : Acceleration, optional
            Precision, offloading, compilation; see `stages.generators.diffusion.acceleration`.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        InputError
            The scheduler draws noise at every step or is not known, the noise level is out of range, or `dtype` and
            `acceleration` were both given.
        """
        folder = Path(folder)
        dtype = computing_dtype(dtype, acceleration, device)
        # Mean and standard deviation stay in float32: they are few, and dividing by them is not what takes time.
        normalizer = load_strictly(StableUnCLIPImageNormalizer, folder / "image_normalizer")
        unet = load_unet(
            folder,
            dtype,
            "Stable unCLIP",
            class_embed_type="projection",
            projection_class_embeddings_input_dim=2 * normalizer.config.embedding_dim,
            in_channels=4,
        )
        empty_text = stored_empty_text(folder, unet.config.cross_attention_dim)
        noising = folder / "image_noising_scheduler" / "scheduler_config.json"
        with refusing_values("DDPMScheduler", noising):
            image_noising_scheduler = DDPMScheduler.from_config(read_config(DDPMScheduler, noising))
        pipeline = StableUnCLIPImg2ImgPipeline(
            feature_extractor=None,
            image_encoder=None,
            image_normalizer=normalizer,
            image_noising_scheduler=image_noising_scheduler,
            tokenizer=None,
            text_encoder=None,
            unet=unet,
            scheduler=read_scheduler(folder, scheduler),
            vae=load_autoencoder(folder, dtype),
        )
        return cls(placed(pipeline, device, acceleration), empty_text, noise_level)
