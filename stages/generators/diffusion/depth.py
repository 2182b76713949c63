"""Stable Diffusion 2 under a depth map: text tokens, a start from a picture, and depth as a fifth channel of the latents.

Rombach and others, 2022, version 2 "512-depth-ema", in diffusers' layout (``stabilityai/stable-diffusion-2-depth``). Takagi and
Nishimoto (arXiv 2306.11536) draw with it from depth that they decode from brain activity: four levels of hidden states, from
which the second half of a network of depth reads the map (`stages.networks.dpt_depth`).
"""

import numpy as np
import torch
from diffusers import StableDiffusionDepth2ImgPipeline
from torch.nn import functional

from stages.generators.diffusion.conditioners import Conditioner, ContextTokens
from stages.generators.diffusion.empty_text import stored_empty_text
from stages.generators.diffusion.latent_diffusion import LatentDiffusionGenerator
from stages.generators.diffusion.loading import computing_dtype, load_unet, placed
from stages.generators.diffusion.schedulers import read_scheduler
from stages.networks.dpt_depth import level_shape, load_depth_reader, read_depth
from stages.networks.latent_space import load_autoencoder

LEVELS = ("dpt_0", "dpt_1", "dpt_2", "dpt_3")


class DepthChannel(Conditioner):
    """A depth map as a further channel of the network's input, the same in both halves of guidance.

    Parameters
    ----------
    size : int
        Height and width of the latents.
    """

    reads = "depth"

    def __init__(self, size):
        self._size = size

    def prepare(self, value, sampling):
        depths = [torch.as_tensor(np.asarray(each), dtype=torch.float32) for each in value]
        return sampling.with_channels(depth_channel(depths, self._size).to(sampling.device))


class DepthLevels(DepthChannel):
    """A depth map likewise, read from the hidden states of four levels.

    Parameters
    ----------
    size : int
    reader : transformers.DPTForDepthEstimation
        From `stages.networks.dpt_depth.load_depth_reader`.
    """

    reads = LEVELS

    def __init__(self, size, reader):
        super().__init__(size)
        self._reader = reader

    def prepare(self, value, sampling):
        device = next(self._reader.head.parameters()).device
        levels = [torch.from_numpy(np.stack(each)).float().to(device) for each in zip(*value)]
        return sampling.with_channels(depth_channel(read_depth(self._reader, levels), self._size).to(sampling.device))


def depth_channel(depths, size):
    """Bring depth maps to the size of latents, and each to −1..1 by its own least and largest value.

    >>> depth_channel([torch.tensor([[0.0, 5.0], [10.0, 5.0]]), torch.full((3, 3), 0.1)], 2)
    tensor([[[[-1.,  0.],
              [ 1.,  0.]]],
    <BLANKLINE>
    <BLANKLINE>
            [[[ 0.,  0.],
              [ 0.,  0.]]]])

    Parameters
    ----------
    depths : sequence of n float32 tensors of shape (height, width)
        Of any size each; resized bicubically, without a filter.
    size : int

    Returns
    -------
    channel : float32 tensor of shape (n, 1, size, size)
        0 for a map that is constant, which has no least and largest value to go by.
    """
    return torch.cat([_scaled(depth[None, None], size) for depth in depths])


def _scaled(depth, size):
    resized = functional.interpolate(depth, size=(size, size), mode="bicubic", align_corners=False)
    least, most = resized.min(), resized.max()
    # The rounding of a constant map, resized, would become a pattern of full contrast.
    if depth.min() == depth.max() or least == most:
        return torch.zeros_like(resized)
    return 2 * (resized - least) / (most - least) - 1


class DepthDiffusionGenerator(LatentDiffusionGenerator):
    """Draw pictures with Stable Diffusion 2 under a depth map.

    >>> import numpy as np
    >>> from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    >>> from stages.generators.generator import Item, in_order
    >>> unet = UNet2DConditionModel(
    ...     sample_size=8, in_channels=5, out_channels=4, block_out_channels=(8,), norm_num_groups=4, attention_head_dim=2,
    ...     down_block_types=("CrossAttnDownBlock2D",), up_block_types=("CrossAttnUpBlock2D",), cross_attention_dim=8,
    ... )
    >>> vae, scheduler = AutoencoderKL(latent_channels=4, norm_num_groups=4, block_out_channels=(8,)), DDIMScheduler()
    >>> empty = dict.fromkeys(("text_encoder", "tokenizer", "depth_estimator", "feature_extractor"))
    >>> pipeline = StableDiffusionDepth2ImgPipeline(unet=unet, vae=vae, scheduler=scheduler, **empty)
    >>> generator = DepthDiffusionGenerator(pipeline, empty_text=torch.zeros(7, 8))
    >>> generator.takes["depth"], generator.takes["clip_text"]
    ((None, None), (7, 8))
    >>> depth = np.linspace(0, 1, 1024, dtype=np.float32).reshape(1, 32, 32)
    >>> pictures = in_order(generator.draw({"depth": depth}, [Item("nsd00042")], num_inference_steps=2))
    >>> pictures[0].shape
    (8, 8, 3)

    Guidance's unconditional half reads the empty text and the same depth. A picture without text reads the empty text; one
    without depth cannot be drawn.

    Parameters
    ----------
    pipeline : diffusers.StableDiffusionDepth2ImgPipeline
        Without text encoder, tokenizer, and network of depth. Its UNet has a channel more than the latents.
    empty_text : float32 tensor of shape (tokens, width)
        The text embedding of nothing.
    start : StartRule, optional
        How a start is prepared. `stages.generators.diffusion.start_rule.COMPVIS` is that of the published script, which samples
        the first picture's latent anew for each sample. That script does 40 of 50 steps at strength 0.8, as here, and 49 at
        strength 1, which is noise alone here unless the rule has ``strongest="all but one step"``.
    depth_shape : tuple of int, optional
        Height and width of the depth maps; by default any.
    reader : transformers.DPTForDepthEstimation, optional
        Take the four levels ``dpt_0`` to ``dpt_3`` in place of ``depth``, and read the depth from them with this network; see
        `stages.networks.dpt_depth.load_depth_reader`.

    See Also
    --------
    stages.generators.diffusion.latent_diffusion.LatentDiffusionGenerator : `draw`, and the attributes.
    """

    takes_weights = "the share of the text embedding against the empty text's (0: the empty text, 1: all of it)"
    default_weights = {"clip_text": 1.0}
    further_channels = 1

    def __init__(self, pipeline, empty_text, start=None, depth_shape=None, reader=None):
        self.empty_text = empty_text
        size = pipeline.unet.config.sample_size
        if reader is None:
            channel, takes = DepthChannel(size), {"depth": tuple(depth_shape or (None, None))}
        else:
            channel, takes = DepthLevels(size, reader), dict.fromkeys(LEVELS, level_shape(reader.config))
        super().__init__(
            pipeline,
            [channel, ContextTokens("clip_text", empty_text)],
            {**takes, "clip_text": tuple(empty_text.shape)},
            optional=("clip_text",),
            start=start,
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
        depth_shape=None,
        dpt_folder=None,
    ):
        """Load a folder in diffusers' layout; nothing is looked for elsewhere.

        Parameters
        ----------
        folder : path
            Holds ``unet/``, ``vae/``, ``scheduler/``, and ``unconditional_contexts/`` or else ``tokenizer/`` and
            ``text_encoder/``, from which it is computed and written where it may be. Its network of depth is not read.
        device : str or torch.device
        dtype : torch.dtype, optional
            What the networks compute in, whatever the files store; by default float32, or what `acceleration` says.
        scheduler : {"ddim", "dpm++", "unipc", "plms"}, optional
            By default the folder's own; see `make_scheduler`.
        acceleration : Acceleration, optional
            Precision, offloading, compilation; see `stages.generators.diffusion.acceleration`.
        start, depth_shape
            As of the class.
        dpt_folder : path, optional
            That of Intel/dpt-large, in transformers' layout: take four levels in place of a depth map. What reads the depth
            from them computes in float32.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, or a tensor missing, unexpected or misshapen.
        InputError
            The scheduler draws noise at every step or is not known; or `dtype` and `acceleration` were both given.
        """
        dtype = computing_dtype(dtype, acceleration, device)
        unet = load_unet(
            folder,
            dtype,
            "Stable Diffusion 2 under depth",
            addition_embed_type=None,
            class_embed_type=None,
            in_channels=5,
        )
        empty_text = stored_empty_text(folder, unet.config.cross_attention_dim)
        pipeline = StableDiffusionDepth2ImgPipeline(
            vae=load_autoencoder(folder, dtype),
            text_encoder=None,
            tokenizer=None,
            unet=unet,
            scheduler=read_scheduler(folder, scheduler),
            depth_estimator=None,
            feature_extractor=None,
        )
        reader = None if dpt_folder is None else load_depth_reader(dpt_folder, device)
        return cls(placed(pipeline, device, acceleration), empty_text, start, depth_shape, reader)
