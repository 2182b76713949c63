"""How much memory a latent diffusion model needs to draw, by arithmetic over its configuration.

Needed are the weights, and on top of them the activations of whichever part is the hungriest at the moment: the UNet
with two rows per picture under guidance, or the autoencoder. With B bytes per value, r rows and n pictures at a time,

    bytes = B · parameters + B · max(r · u, n · v · 4/3) + set aside,

where u and v are the most values per row that the UNet and the autoencoder's decoder hold at once. Both follow from
what diffusers' blocks keep while they work on a map of p places (x enters with a channels and leaves with b):

    residual block      p · max(3a, 2a + b, a + 4b)   input, norm and activation; sum of branch and shortcut
                        p · 5a                        at least, where a spatial norm reads the latents besides
    transformer block   p · 21b                       input, stream, norm, what was attended to; gated layer's 16b
                        p · 23b                       under two contexts: their mixture and the first one's update
    attention alone     p · 8b
    upsampling          p · 9b                        the map, four times larger, before and after its convolution

and, in the UNet, what its current level began with, and the outputs of its way down, which wait for the way up.
Attention is torch's
``scaled_dot_product_attention``, which never holds all scores; diffusers' attention slicing replaces it by one that
holds those of half the heads, twice. Counted against the tensors that live while the published networks compute, u and
v are right to a fiftieth. Allocated on a CPU are as much by a UNet, and up to a third more by an autoencoder, for
buffers inside its convolutions: v is taken a third larger for it.

What is set aside on an accelerator, a gigabyte for its driver, for kernels' workspaces and for fragments, is an
assumption. Loading needs host memory of its own: a checkpoint's file and the network at the same time.
"""

from dataclasses import dataclass

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
SET_ASIDE = 1_000_000_000
# What a process holds beside its networks once torch, diffusers, transformers and open_clip are imported and have computed:
# 0.75 GB of its own and up to 0.4 GB of mapped files, of which the system takes some back.
LIBRARIES = 900_000_000


@dataclass(frozen=True)
class GeneratorSize:
    """What the arithmetic needs to know of a generator.

    Attributes
    ----------
    unet, vae : dict
        diffusers' configurations, as far as `unet_values` and `decoder_values` read them.
    unet_parameters, vae_parameters, other_parameters : int
        Other is whatever else the pipeline holds on the device, an IP-Adapter for example.
    two_contexts : bool
        Whether the UNet is a `DualContextUNet2DConditionModel`.
    unet_operations, vae_operations : int
        Of one row through the UNet and of one picture through the autoencoder's decoder; 0 if they were not counted.
    """

    unet: dict
    vae: dict
    unet_parameters: int
    vae_parameters: int
    other_parameters: int = 0
    two_contexts: bool = False
    unet_operations: int = 0
    vae_operations: int = 0

    @property
    def image_size(self):
        """Height and width of what is drawn, in pixels."""
        return self.unet["sample_size"] * 2 ** (len(self.vae["block_out_channels"]) - 1)

    @classmethod
    def of(cls, pipeline):
        """Measure a pipeline: any with a ``unet``, and a ``vae`` or a ``movq``."""
        from stages.networks.latent_space import overflows_in_half

        vae = pipeline.vae if hasattr(pipeline, "vae") else pipeline.movq
        counts = {
            name: sum(parameter.numel() for parameter in part.parameters())
            for name, part in pipeline.components.items()
            if hasattr(part, "parameters")
        }
        unet_parameters = counts.pop("unet")
        vae_parameters = counts.pop("vae" if hasattr(pipeline, "vae") else "movq")
        two_contexts = "image_context_tokens" in pipeline.unet.config
        vae_config = dict(vae.config) | {"force_upcast": overflows_in_half(vae)}
        return cls(
            dict(pipeline.unet.config), vae_config, unet_parameters, vae_parameters, sum(counts.values()),
            two_contexts,
        )  # fmt: skip


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that drawing takes: weights, activations at their peak, and what is set aside."""

    weights: int
    activations: int
    set_aside: int

    @property
    def total(self):
        """All of it."""
        return self.weights + self.activations + self.set_aside


def memory_need(
    size, dtype="float32", batch_size=1, guided=True, vae_slicing=True, attention_slicing=False, offload="none",
    set_aside=0,
):  # fmt: skip
    """Bytes that drawing a batch of pictures takes.

    Parameters
    ----------
    size : GeneratorSize
    dtype : {"float32", "float16", "bfloat16"}
        What is computed in. An autoencoder whose configuration says ``force_upcast`` stays in float32 for float16.
    batch_size : int
        Pictures at a time.
    guided : bool
        Whether the UNet sees two rows per picture.
    vae_slicing : bool
        Whether the autoencoder works on one picture at a time.
    attention_slicing : bool
    offload : {"none", "model", "sequential"}
        All weights on the device; the larger of UNet and autoencoder at a time; or one layer at a time, which is
        counted as nothing.
    set_aside : int
        Added to the total; `SET_ASIDE` for an accelerator.

    Returns
    -------
    need : MemoryNeed
    """
    bytes_each = BYTES[dtype]
    vae_bytes = 4 if dtype == "float16" and size.vae.get("force_upcast") else bytes_each
    parts = (
        bytes_each * (size.unet_parameters + size.other_parameters),
        vae_bytes * size.vae_parameters,
    )
    weights = {"none": sum(parts), "model": max(parts), "sequential": 0}[offload]
    rows = 2 * batch_size if guided else batch_size
    unet = rows * unet_values(size.unet, size.two_contexts)
    if attention_slicing:
        unet += sliced_scores(size.unet)
    vae = (1 if vae_slicing else batch_size) * decoder_values(size.vae, size.unet["sample_size"])
    return MemoryNeed(weights, max(bytes_each * unet, vae_bytes * vae * 4 // 3), set_aside)


def peak(size, **settings):
    """Bytes that a process takes at its peak while it draws: `memory_need` on the host, and what the libraries take.

    Parameters
    ----------
    size : GeneratorSize
    **settings
        Of `memory_need`.
    """
    return memory_need(size, **settings).total + LIBRARIES


def largest_batch(device="cpu"):
    """Pictures that are drawn at once at most, however much memory there is.

    A CPU's cores are busy with one picture already. An accelerator is faster with more, until its matrix units are: 64
    pictures of Versatile Diffusion are 524,288 places at its finest level, 64 times what one has. A batch is also what is lost
    when a process is killed, and what is waited for until the next line of progress.

    >>> largest_batch("cpu"), largest_batch("cuda:1")
    (16, 64)
    """
    return 16 if str(device).partition(":")[0] == "cpu" else 64


def batch_size_for(size, free_bytes, largest=16, **settings):
    """The largest batch that fits, by the settings of `memory_need`; 0 where not even one picture does."""
    fitting = (n for n in range(largest, 0, -1) if memory_need(size, batch_size=n, **settings).total <= free_bytes)
    return next(fitting, 0)


def unet_values(config, two_contexts=False):
    """The most values that a UNet holds at once per row of its batch.

    Parameters
    ----------
    config : dict
        Of ``UNet2DConditionModel``: ``sample_size``, ``block_out_channels``, ``layers_per_block``,
        ``down_block_types``, ``mid_block_type`` and ``up_block_types``.
    two_contexts : bool
        Whether each transformer is a pair of them.

    Returns
    -------
    values : int
    """
    channels, layers = config["block_out_channels"], _per_level(config, "layers_per_block")
    attending = 23 if two_contexts else 21
    factors = {"CrossAttn": attending, "SimpleCrossAttn": 8}
    places = config["sample_size"] ** 2
    entering = channels[0]
    waiting = [[entering * places]]  # outputs of the way down, by the block that made them
    peak = 3 * entering * places

    def work(a, b, block):
        kinds = [kind for kind in factors if block.removeprefix("UNetMidBlock2D").startswith(kind)]
        return places * max(_residual(a, b), max((factors[kind] for kind in kinds), default=0) * b)

    for level, (leaving, block) in enumerate(zip(channels, config["down_block_types"])):
        kept = []  # what the level began with is among those that wait already
        for _ in range(layers[level]):
            peak = max(peak, _total(waiting) + sum(kept) + work(entering, leaving, block))
            kept.append(leaving * places)
            entering = leaving
        if level < len(channels) - 1:
            places //= 4
            kept.append(leaving * places)
        waiting.append(kept)
    if config["mid_block_type"] is not None:
        peak = max(peak, _total(waiting) + work(entering, entering, config["mid_block_type"]))
    skips = [values for kept in waiting for values in kept]
    for level, block in enumerate(config["up_block_types"]):
        leaving = channels[-1 - level]
        n_layers = layers[-1 - level] + 1
        # What waits for this level, and what it began with, stay until the level is done.
        held = sum(skips) + entering * places
        for skip in reversed(skips[-n_layers:]):
            peak = max(peak, held + work(entering + skip // places, leaving, block))
            entering = leaving
        if level < len(channels) - 1:
            peak = max(peak, held + 9 * leaving * places)
            places *= 4
        skips = skips[:-n_layers]
    return max(peak, 3 * entering * places)


def decoder_values(config, latent_size):
    """The most values that an autoencoder's decoder holds at once per picture.

    Parameters
    ----------
    config : dict
        Of ``AutoencoderKL`` or ``VQModel``: ``block_out_channels``, and ``norm_type`` where that is "spatial".
    latent_size : int
        Height and width of the latents.

    Returns
    -------
    values : int
    """
    channels = config["block_out_channels"]
    places, entering = latent_size**2, channels[-1]
    spatial = 5 if config.get("norm_type") == "spatial" else 0
    peak = 8 * entering * places
    for level, leaving in enumerate(reversed(channels)):
        work = max(_residual(entering, leaving), _residual(leaving, leaving), spatial * max(entering, leaving))
        peak = max(peak, places * work)
        entering = leaving
        if level < len(channels) - 1:
            peak = max(peak, 9 * places * leaving)
            places *= 4
    return max(peak, 3 * entering * places)


def sliced_scores(config):
    """Values of attention slicing's scores: of half the heads of one row at the finest level that attends, twice."""
    attending = [level for level, block in enumerate(config["down_block_types"]) if "Attn" in block]
    if not attending:
        return 0
    places = (config["sample_size"] // 2 ** attending[0]) ** 2
    # Of diffusers' names this one means the number of heads, unless `num_attention_heads` is given.
    heads = config.get("num_attention_heads") or config.get("attention_head_dim", 8)
    heads = heads[attending[0]] if isinstance(heads, (list, tuple)) else heads
    return 2 * max(heads // 2, 1) * places**2


def _residual(a, b):
    return max(3 * a, 2 * a + b, a + 4 * b)


def _total(waiting):
    return sum(sum(kept) for kept in waiting)


def _per_level(config, name):
    value = config[name]
    return list(value) if isinstance(value, (list, tuple)) else [value] * len(config["block_out_channels"])
