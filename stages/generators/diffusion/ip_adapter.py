"""Stable Diffusion and Stable Diffusion XL with an IP-Adapter: a pooled image embedding and a text embedding.

Rombach and others, 2022; Podell and others, 2023; Ye and others, 2023. The image embedding is that of the CLIP vision
model that the adapter was trained with (for ip-adapter_sd15, OpenCLIP ViT-H: 1024 values), pooled, projected and not
normalised. The text embedding lies in the generator's own text space, not in the one that CLIP's images and captions
share.
"""

from pathlib import Path

import torch
from diffusers import StableDiffusionXLImg2ImgPipeline

from stages.checkpoints.strict_loading import read_json_object
from stages.generators.diffusion.conditioners import ContextTokens, ImagePrompt, PictureSize, TextVector
from stages.generators.diffusion.empty_text import encode_empty_text_xl
from stages.generators.diffusion.ip_adapter_weights import load_ip_adapter
from stages.generators.diffusion.latent_diffusion import LatentDiffusionGenerator
from stages.generators.diffusion.loading import computing_dtype, load_unet, placed
from stages.generators.diffusion.schedulers import read_scheduler
from stages.generators.diffusion.stable_diffusion import load_stable_diffusion
from stages.generators.diffusion.unconditional_embedding import stored_embedding
from stages.networks.latent_space import load_autoencoder
from weights.manifest import CheckpointError

TAKES_WEIGHTS = (
    "clip_image: the adapter's scale, with which what the image embedding adds to attention is multiplied (0: the text alone, "
    "1: as trained, more is allowed); clip_text: the share of the text embedding against the empty text's (0: the empty text, "
    "1: all of it)"
)
BOTH = ("clip_image", "clip_text")


class StableDiffusionIPAdapterGenerator(LatentDiffusionGenerator):
    """Draw pictures with Stable Diffusion 1.x and an IP-Adapter.

    Guidance's unconditional half reads the empty text and, as the adapter was trained, a zero image embedding.

    Parameters
    ----------
    pipeline : diffusers.StableDiffusionImg2ImgPipeline
        Its UNet holds one IP-Adapter.
    embed_dim : int
        Length of the image embedding.
    empty_text : float32 tensor of shape (tokens, width)
        The text embedding of nothing.
    start : StartRule, optional
        How a start is prepared.
    steering : sequence of Conditioner
        From `stages.generators.diffusion.stable_diffusion.load_steering`.

    See Also
    --------
    stages.generators.diffusion.latent_diffusion.LatentDiffusionGenerator : `draw`, and the attributes.
    """

    takes_weights = TAKES_WEIGHTS
    default_weights = dict.fromkeys(BOTH, 1.0)

    def __init__(self, pipeline, embed_dim, empty_text, start=None, steering=()):
        self.empty_text = empty_text
        super().__init__(
            pipeline,
            [ImagePrompt("clip_image", embed_dim, pipeline), ContextTokens("clip_text", empty_text)],
            {"clip_image": (embed_dim,), "clip_text": tuple(empty_text.shape)},
            optional=BOTH,
            start=start,
            steering=steering,
        )

    @classmethod
    def from_pretrained(
        cls,
        folder,
        ip_adapter,
        device="cpu",
        dtype=None,
        scheduler=None,
        acceleration=None,
        start=None,
        controls=(),
        adapters=(),
    ):
        """Load a folder in diffusers' layout and an IP-Adapter; nothing is looked for elsewhere.

        Parameters
        ----------
        folder : path
            Holds ``unet/``, ``vae/``, ``scheduler/``, and ``unconditional_contexts/`` or else ``tokenizer/`` and
            ``text_encoder/``, from which it is computed and written where it may be.
        ip_adapter : path
            File or folder; see `load_ip_adapter`.
        device : str or torch.device
        dtype : torch.dtype, optional
            What the networks compute in, whatever the files store; by default float32, or what `acceleration` says.
        scheduler : {"ddim", "dpm++", "unipc"}, optional
            By default the folder's own; see `make_scheduler`.
        acceleration : Acceleration, optional
            Precision, offloading, compilation; see `stages.generators.diffusion.acceleration`.
        start
            As of the class.
        controls, adapters
            As `stages.generators.diffusion.stable_diffusion.StableDiffusionGenerator.from_pretrained`.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        InputError
            The scheduler draws noise at every step or is not known; or `dtype` and `acceleration` were both given.
        """
        pipeline, empty_text, steering = load_stable_diffusion(
            folder, computing_dtype(dtype, acceleration, device), scheduler, controls, adapters
        )
        embed_dim = load_ip_adapter(pipeline.unet, ip_adapter)
        return cls(placed(pipeline, device, acceleration), embed_dim, empty_text, start, steering)


class StableDiffusionXLIPAdapterGenerator(LatentDiffusionGenerator):
    """Draw pictures with Stable Diffusion XL's base model and an IP-Adapter.

    A text embedding is one vector: the tokens of both encoders side by side, one token after the other, then the
    second encoder's pooled state; 77 · 2048 + 1280 values in the published model (`split_text`).

    Guidance's unconditional half reads a zero image embedding and, where the folder's ``model_index.json`` says
    ``force_zeros_for_empty_prompt`` (the published one does), zeros in place of the empty text, as diffusers does for
    a prompt without a negative one. Text weight 0 is the empty text in any case.

    Pictures are drawn as uncropped ones of the size that is drawn.

    Parameters
    ----------
    pipeline : diffusers.StableDiffusionXLImg2ImgPipeline
        Its UNet holds one IP-Adapter.
    embed_dim : int
        Length of the image embedding.
    empty_text : float32 tensor of shape (values,)
        The text embedding of nothing.
    zero_negative : bool
        Whether the unconditional half reads zeros in place of the empty text.

    See Also
    --------
    stages.generators.diffusion.latent_diffusion.LatentDiffusionGenerator : `draw`, and the attributes.
    """

    takes_weights = TAKES_WEIGHTS
    default_weights = dict.fromkeys(BOTH, 1.0)
    default_guidance_scale = 5.0

    def __init__(self, pipeline, embed_dim, empty_text, zero_negative=True):
        self.empty_text, self.zero_negative = empty_text, zero_negative
        negative = torch.zeros_like(empty_text) if zero_negative else empty_text
        text = TextVector("clip_text", empty_text, negative, self.split_text)
        super().__init__(
            pipeline,
            [ImagePrompt("clip_image", embed_dim, pipeline), text],
            {"clip_image": (embed_dim,), "clip_text": tuple(empty_text.shape)},
            optional=BOTH,
        )
        self.conditioners += (PictureSize(self.image_size),)

    @classmethod
    def from_pretrained(cls, folder, ip_adapter, device="cpu", dtype=None, scheduler=None, acceleration=None):
        """Load a folder in diffusers' layout and an IP-Adapter; nothing is looked for elsewhere.

        Parameters
        ----------
        folder : path
            Holds ``model_index.json``, ``unet/``, ``vae/``, ``scheduler/``, and ``unconditional_contexts/`` or else
            ``tokenizer/``, ``text_encoder/``, ``tokenizer_2/`` and ``text_encoder_2/``, from which it is computed and
            written where it may be.
        ip_adapter, device, dtype, scheduler, acceleration
            As `StableDiffusionIPAdapterGenerator.from_pretrained`. In float16 the autoencoder computes in float32
            where its configuration says so.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen; or the folder is a refiner's.
        InputError
            The scheduler draws noise at every step or is not known; or `dtype` and `acceleration` were both given.
        """
        index = read_json_object(Path(folder) / "model_index.json", "pipeline")
        if index.get("requires_aesthetics_score", False):
            raise CheckpointError(
                f"{folder} holds a refiner (requires_aesthetics_score), but the base model of Stable Diffusion XL was "
                "expected; give that folder."
            )
        dtype = computing_dtype(dtype, acceleration, device)
        unet = load_unet(
            folder, dtype, "Stable Diffusion XL", addition_embed_type="text_time", class_embed_type=None, in_channels=4
        )
        empty_text = stored_embedding(folder, "empty text", (None,), lambda: encode_empty_text_xl(folder))
        tokens, rest = divmod(len(empty_text) - _pooled_width(unet), unet.config.cross_attention_dim)
        if tokens < 1 or rest:
            raise CheckpointError(
                f"The empty text of {folder} has {len(empty_text)} values, but its UNet reads tokens of "
                f"{unet.config.cross_attention_dim} and then {_pooled_width(unet)}; fetch the checkpoint again."
            )
        embed_dim = load_ip_adapter(unet, ip_adapter)
        pipeline = StableDiffusionXLImg2ImgPipeline(
            vae=load_autoencoder(folder, dtype),
            text_encoder=None,
            text_encoder_2=None,
            tokenizer=None,
            tokenizer_2=None,
            unet=unet,
            scheduler=read_scheduler(folder, scheduler),
            add_watermarker=False,
        )
        zero_negative = index.get("force_zeros_for_empty_prompt", True)
        return cls(placed(pipeline, device, acceleration), embed_dim, empty_text, zero_negative)

    def split_text(self, texts):
        """Split text embeddings, a tensor of shape (n, values), into tokens (n, tokens, width) and pooled states."""
        unet = self.pipeline.unet
        tokens, pooled = texts.tensor_split([texts.shape[1] - _pooled_width(unet)], dim=1)
        return tokens.unflatten(1, (-1, unet.config.cross_attention_dim)), pooled


def _pooled_width(unet):
    """Return the length of the pooled text that a UNet of Stable Diffusion XL reads, beside its six sizes."""
    return unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
