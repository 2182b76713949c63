"""Stable Diffusion 1.x without an adapter: its own text tokens, and a start from a latent or a picture.

Rombach and others, 2022. Takagi and Nishimoto (2023) decode both from brain activity: 77 text tokens of 768 values, and a
latent that they decode to a picture, enlarge, and encode again (`stages.generators.diffusion.start_rule.COMPVIS`).
"""

from copy import deepcopy
from dataclasses import replace

from diffusers import StableDiffusionControlNetImg2ImgPipeline, StableDiffusionImg2ImgPipeline
from torch import nn

from stages.generators.diffusion.conditioners import ContextTokens
from stages.generators.diffusion.controls import ControlBranches, load_control_branches
from stages.generators.diffusion.empty_text import stored_empty_text
from stages.generators.diffusion.latent_diffusion import LatentDiffusionGenerator
from stages.generators.diffusion.loading import check_unet, computing_dtype, load_unet, placed
from stages.generators.diffusion.schedulers import read_scheduler
from stages.generators.diffusion.t2i_adapters import load_t2i_adapters
from stages.networks.latent_space import LatentSpace, load_autoencoder


class StableDiffusionGenerator(LatentDiffusionGenerator):
    """Draw pictures with Stable Diffusion 1.x.

        generator = StableDiffusionGenerator.from_pretrained(folder, start=COMPVIS, scheduler="ddim")
        values = {"clip_text": tokens, "first_latent": latents}
        for position, picture in generator.draw(values, items, strength=0.8, guidance_scale=5.0):
            ...

    Guidance's unconditional half reads the empty text, and so does a picture without text.

    Parameters
    ----------
    pipeline : diffusers.StableDiffusionImg2ImgPipeline
    empty_text : float32 tensor of shape (tokens, width)
        The text embedding of nothing.
    start : StartRule, optional
        How a start is prepared.
    text_required : bool
        Whether a picture without text is refused.
    steering : sequence of Conditioner
        From `load_steering`.

    See Also
    --------
    stages.generators.diffusion.latent_diffusion.LatentDiffusionGenerator : `draw`, and the attributes.
    """

    takes_weights = "the share of the text embedding against the empty text's (0: the empty text, 1: all of it)"
    default_weights = {"clip_text": 1.0}

    def __init__(self, pipeline, empty_text, start=None, text_required=False, steering=()):
        self.empty_text = empty_text
        super().__init__(
            pipeline,
            [ContextTokens("clip_text", empty_text)],
            {"clip_text": tuple(empty_text.shape)},
            optional=() if text_required else ("clip_text",),
            start=start,
            steering=steering,
        )

    @classmethod
    def from_pretrained(
        cls,
        folder,
        device="cpu",
        dtype=None,
        scheduler=None,
        acceleration=None,
        start=None,
        text_required=False,
        text_length=None,
        controls=(),
        adapters=(),
        branches=(),
    ):
        """Load a folder in diffusers' layout; nothing is looked for elsewhere.

        Parameters
        ----------
        folder : path
            Holds ``unet/``, ``vae/``, ``scheduler/``, and ``unconditional_contexts/`` or else ``tokenizer/`` and
            ``text_encoder/``, from which it is computed and written where it may be.
        device : str or torch.device
        dtype : torch.dtype, optional
            What the networks compute in, whatever the files store; by default float32, or what `acceleration` says.
        scheduler : {"ddim", "dpm++", "unipc", "plms"}, optional
            By default the folder's own; see `make_scheduler`.
        acceleration : Acceleration, optional
            Precision, offloading, compilation; see `stages.generators.diffusion.acceleration`.
        start, text_required
            As of the class.
        text_length : int, optional
            Tokens of the text embedding; by default as many as its encoder reads. The empty text's first ones do not
            depend on those behind them.
        controls, adapters : sequence of stages.generators.diffusion.control_maps.Control
            Control nets and T2I-adapters that steer it, and the values that are their maps.
        branches : sequence of stages.generators.diffusion.controls.ControlBranch
            Control nets that are in memory, as one that was trained with a decoder; they are copied.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        InputError
            The scheduler draws noise at every step or is not known; or `dtype` and `acceleration` were both given.
        """
        pipeline, empty_text, steering = load_stable_diffusion(
            folder, computing_dtype(dtype, acceleration, device), scheduler, controls, adapters, branches
        )
        return cls(placed(pipeline, device, acceleration), empty_text[:text_length], start, text_required, steering)


def load_stable_diffusion(folder, dtype, scheduler=None, controls=(), adapters=(), branches=()):
    """Load the parts of Stable Diffusion 1.x; errors as of `StableDiffusionGenerator.from_pretrained`.

    Parameters
    ----------
    folder : path
    dtype : torch.dtype
    scheduler : str, optional
    controls, adapters : sequence of Control
    branches : sequence of ControlBranch

    Returns
    -------
    pipeline : diffusers.StableDiffusionImg2ImgPipeline, or …ControlNetImg2ImgPipeline
        On the CPU, without text encoder and tokenizer; the latter if there are controls or adapters, all of which it holds.
    empty_text : float32 tensor of shape (tokens, width)
    steering : list of Conditioner
    """
    unet = load_unet(folder, dtype, "Stable Diffusion", addition_embed_type=None, class_embed_type=None)
    vae = load_autoencoder(folder, dtype)
    # A network of depth maps or masks reads more than the latents, which have 4 channels in the published ones.
    check_unet(unet, folder, "Stable Diffusion", in_channels=vae.config.latent_channels)
    empty_text = stored_empty_text(folder, unet.config.cross_attention_dim)
    steering = load_steering(controls, adapters, unet, vae, dtype, branches)
    networks = [network for each in steering for network in each.networks]
    kind = StableDiffusionControlNetImg2ImgPipeline if networks else StableDiffusionImg2ImgPipeline
    pipeline = kind(
        vae=vae,
        text_encoder=None,
        tokenizer=None,
        unet=unet,
        scheduler=read_scheduler(folder, scheduler),
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,
        requires_safety_checker=False,
        # Adapters lie there too: so they go where the pipeline goes, and are counted.
        **({"controlnet": networks} if networks else {}),
    )
    return pipeline, empty_text, steering


def load_steering(controls, adapters, unet, vae, dtype, branches=()):
    """Load control nets and T2I-adapters, and copy branches: a list of conditioners, one for all of a kind."""
    image_size = unet.config.sample_size * LatentSpace(vae).downscaling
    loaded = []
    if controls:
        loaded.append(load_control_branches(controls, unet, dtype, image_size))
    if branches:
        # Not by diffusers' own `to`, which warns of what these do not have.
        copies = [replace(each, network=nn.Module.to(deepcopy(each.network), dtype).eval()) for each in branches]
        loaded.append(ControlBranches(copies, image_size))
    if adapters:
        loaded.append(load_t2i_adapters(adapters, unet, dtype, image_size))
    return loaded
