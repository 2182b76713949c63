"""Stable Diffusion under the tokens of an IP-Adapter-Plus themselves: the adapter's resampler is passed by.

Whoever predicts the tokens, as MindFormer (Han and others, 2024) does from brain activity, has nothing that the resampler could
read. The UNet reads them as it reads what the resampler makes of a picture: to the bit.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL

from stages.checkpoints.open_clip_folder import load_image_tower
from stages.checkpoints.strict_loading import load_strictly
from stages.generators.diffusion.conditioners import ContextTokens, ImagePrompt, stacked
from stages.generators.diffusion.ip_adapter_weights import load_ip_adapter_plus
from stages.generators.diffusion.latent_diffusion import LatentDiffusionGenerator
from stages.generators.diffusion.loading import computing_dtype, placed
from stages.generators.diffusion.stable_diffusion import load_stable_diffusion
from stages.generators.diffusion.unconditional_embedding import stored_embedding
from stages.networks.ip_resampler import tokens_of_nothing
from weights.manifest import CheckpointError

TOKENS, TEXT = "ip_tokens", "clip_text"


class ImageTokens(ImagePrompt):
    """The image tokens of an IP-Adapter-Plus, which cross-attention reads as they are.

    Their weight is the adapter's scale, see `ImagePrompt`. Absent tokens are those of a picture of nothing, and so are guidance's
    unconditional rows, as the adapter was trained.

    Parameters
    ----------
    reads : str
    nothing : tensor of shape (n_tokens, width)
    pipeline : diffusers.DiffusionPipeline
        Whose ``set_ip_adapter_scale`` is called.
    """

    def __init__(self, reads, nothing, pipeline):
        super().__init__(reads, nothing.shape[-1], pipeline)
        self._nothing = nothing

    def prepare(self, value, sampling):
        self._pipeline.set_ip_adapter_scale(sampling.weights[self.reads][0])
        nothing = self._nothing.to(sampling.device)
        tokens = stacked(value, nothing)[:, None]
        # Lists: the network may hold several adapters.
        return sampling.with_added("image_embeds", [tokens], [nothing.expand_as(tokens)])


class StableDiffusionIPTokensGenerator(LatentDiffusionGenerator):
    """Draw pictures with Stable Diffusion 1.x under resampled image tokens, (16, 768) of ip-adapter-plus_sd15.

    >>> from weights import store
    >>> folders = [store.path(f"tiny-{name}") for name in ("stable-diffusion", "ip-adapter-plus", "clip")]
    >>> generator = StableDiffusionIPTokensGenerator.from_pretrained(*folders, scheduler="ddim")
    >>> generator.takes["ip_tokens"]
    (16, 128)

    Guidance's unconditional half reads the empty text and the tokens of a picture of nothing.

    Parameters
    ----------
    pipeline : diffusers.StableDiffusionImg2ImgPipeline
        Its UNet holds one IP-Adapter-Plus, without the resampler.
    nothing : float32 tensor of shape (n_tokens, width)
        Tokens of a picture of nothing.
    empty_text : float32 tensor of shape (tokens, width)
    start : StartRule, optional
        How a start is prepared.

    See Also
    --------
    stages.generators.diffusion.latent_diffusion.LatentDiffusionGenerator : `draw`, and the attributes.
    """

    takes_weights = (
        "ip_tokens: the adapter's scale, with which what the image tokens add to attention is multiplied (0: the text alone, 1: "
        "as trained); clip_text: the share of the text embedding against the empty text's"
    )
    default_weights = {TOKENS: 1.0, TEXT: 1.0}

    def __init__(self, pipeline, nothing, empty_text, start=None):
        self.nothing, self.empty_text = nothing, empty_text
        super().__init__(
            pipeline,
            [ImageTokens(TOKENS, nothing, pipeline), ContextTokens(TEXT, empty_text)],
            {TOKENS: tuple(nothing.shape), TEXT: tuple(empty_text.shape)},
            optional=(TOKENS, TEXT),
            start=start,
        )

    @classmethod
    def from_pretrained(
        cls,
        folder,
        ip_adapter,
        clip,
        device="cpu",
        dtype=None,
        scheduler=None,
        acceleration=None,
        start=None,
        autoencoder=None,
    ):
        """Load a folder in diffusers' layout and an IP-Adapter-Plus; nothing is looked for elsewhere.

        Parameters
        ----------
        folder : path
            As `stages.generators.diffusion.stable_diffusion.StableDiffusionGenerator.from_pretrained` takes it.
        ip_adapter : path
            File or folder; see `stages.checkpoints.ip_adapter_file.read_ip_adapter`. Tokens of a picture of nothing lie in
            ``unconditional_contexts/`` beside it, or else are computed and written there where that may be.
        clip : path
            Folder of the open_clip model that the adapter was trained with; read for the tokens of nothing alone.
        device, dtype, scheduler, acceleration
            As of `StableDiffusionGenerator.from_pretrained`.
        start
            As of the class.
        autoencoder : path, optional
            Folder of another autoencoder than the one in `folder`: its ``config.json`` and its weights.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen; or the image encoder is of another width.
        InputError
            The scheduler draws noise at every step or is not known; or `dtype` and `acceleration` were both given.
        """
        dtype = computing_dtype(dtype, acceleration, device)
        pipeline, empty_text, _ = load_stable_diffusion(folder, dtype, scheduler)
        if autoencoder is not None:
            pipeline.register_modules(vae=load_strictly(AutoencoderKL, autoencoder, dtype))
        resampler = load_ip_adapter_plus(pipeline.unet, ip_adapter)
        beside = Path(ip_adapter) if Path(ip_adapter).is_dir() else Path(ip_adapter).parent
        shape = (resampler.latents.shape[1], resampler.proj_out.out_features)
        nothing = stored_embedding(beside, "zero image", shape, lambda: _tokens_of_nothing(clip, resampler))
        return cls(placed(pipeline, device, acceleration), nothing, empty_text, start)


def _tokens_of_nothing(clip, resampler):
    """Tokens of a picture of nothing, in float32."""
    visual, _ = load_image_tower(clip)
    given, read = visual.conv1.out_channels, resampler.proj_in.in_features
    if given != read:
        raise CheckpointError(
            f"The adapter reads states of {read} values but the image encoder in {clip} gives {given}; give the encoder that it "
            "was trained with, for ip-adapter-plus_sd15 OpenCLIP ViT-H/14."
        )
    return tokens_of_nothing(visual, resampler.to(torch.float32))
