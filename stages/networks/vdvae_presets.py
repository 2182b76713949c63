"""What a VDVAE is made of: its configuration, and the published ones as plain data."""

import dataclasses

from stages.checkpoints.strict_loading import read_json_object, refusing_values
from stages.ground.errors import InputError
from stages.networks.vdvae_blocks import parse_blocks, parse_widths
from weights.manifest import CheckpointError


@dataclasses.dataclass(frozen=True)
class VDVAEConfig:
    """The content of a VDVAE's ``config.json``.

    Attributes
    ----------
    image_size : int
        Pixels on a side.
    encoder_blocks, decoder_blocks : str
        Block strings, see ``stages.networks.vdvae_blocks.parse_blocks``.
    width : int
        Channels at every resolution that ``custom_widths`` does not name.
    latent_channels : int
        Channels of each layer of latents ("zdim").
    input_mean, input_std : float
        Pixel values 0 to 255 enter the encoder as (value - input_mean) / input_std.
    custom_widths : str
        Channels per resolution, "64:32,32:48"; the picture's own resolution keeps ``width``.
    bottleneck : float
        Channels in the middle of a block, as a fraction of the width.
    no_bias_above : int
        Largest resolution whose decoder state starts from a learned tensor rather than from zeros.
    n_mixtures : int
        Components of the output mixture.
    bits : int
        Precision of the colours that the likelihood judges.
    target_layers : int or None
        How many layers of latents serve as the target of decoding; None for all.
    """

    image_size: int
    encoder_blocks: str
    decoder_blocks: str
    width: int
    input_mean: float
    input_std: float
    latent_channels: int = 16
    custom_widths: str = ""
    bottleneck: float = 0.25
    no_bias_above: int = 64
    n_mixtures: int = 10
    bits: int = 8
    target_layers: int | None = None

    def __post_init__(self):
        encoder, decoder = parse_blocks(self.encoder_blocks), parse_blocks(self.decoder_blocks)
        self._check_encoder(encoder)
        self._check_decoder(decoder)
        if self.width_at(self.image_size) != self.width:
            raise InputError(
                f"Resolution {self.image_size} has width {self.width_at(self.image_size)} in "
                f"{self.custom_widths!r} but the picture enters and leaves with {self.width}; give that "
                f"resolution the width {self.width}."
            )
        if self.target_layers is not None and not 1 <= self.target_layers <= len(decoder):
            raise InputError(
                f"target_layers is {self.target_layers} but the decoder has {len(decoder)} layers; "
                f"choose 1 to {len(decoder)}."
            )

    def _check_encoder(self, blocks):
        resolution, seen = self.image_size, {self.image_size}
        for block in blocks:
            if block.resolution != resolution or block.source is not None:
                raise InputError(
                    f"Encoder block at {block.resolution} meets pictures of {resolution} in "
                    f"{self.encoder_blocks!r}; start at the image size and pool (RdK) down to each next one."
                )
            resolution //= block.pool or 1
            seen.add(resolution)
        absent = {block.resolution for block in parse_blocks(self.decoder_blocks)} - seen
        if absent:
            raise InputError(
                f"The decoder works at resolution {min(absent)} but the encoder only at {sorted(seen)}; "
                "give both the same resolutions."
            )

    def _check_decoder(self, blocks):
        seen = set()
        for block in blocks:
            if block.pool is not None:
                raise InputError(f"{self.decoder_blocks!r} pools, but decoders only grow; write RxN and AmB.")
            if block.source is not None and (block.source not in seen or block.resolution % block.source):
                raise InputError(
                    f"Decoder block {block.resolution}m{block.source} mixes in resolution {block.source} but "
                    f"before it there were only {sorted(seen)}; mix in one of those that divides "
                    f"{block.resolution}."
                )
            seen.add(block.resolution)
        if max(seen) != self.image_size:
            raise InputError(
                f"The decoder ends at resolution {max(seen)} but the image size is {self.image_size}; "
                "let both be the same."
            )

    def width_at(self, resolution):
        """Channels at a resolution."""
        return parse_widths(self.custom_widths).get(resolution, self.width)

    def middle(self, width):
        """Channels in the middle of a block of this width."""
        return int(width * self.bottleneck)

    @property
    def latent_shapes(self):
        """Shape (channels, height, width) of every layer of latents, in the decoder's order."""
        resolutions = [block.resolution for block in parse_blocks(self.decoder_blocks)]
        return [(self.latent_channels, resolution, resolution) for resolution in resolutions]


def read_config(path):
    """Read a VDVAE's ``config.json``: all fields of a configuration, or ``{"preset": NAME}``.

    Parameters
    ----------
    path : path

    Returns
    -------
    config : VDVAEConfig

    Raises
    ------
    CheckpointError
        The file is absent, is no JSON object, describes something else, holds a value of a wrong type or names no
        preset.
    """
    entries = read_json_object(path, "VDVAE")
    if entries.pop("architecture", "VDVAE") != "VDVAE":
        raise CheckpointError(f"{path} describes another network than a VDVAE; give a VDVAE's folder.")
    if "preset" in entries:
        name = entries.pop("preset")
        if entries or not isinstance(name, str) or name not in PRESETS:
            raise CheckpointError(
                f"{path} has the preset {name!r}"
                + (f" and beside it {', '.join(entries)}" if entries else "")
                + f"; expected one of {', '.join(PRESETS)} and nothing else."
            )
        return PRESETS[name]
    with refusing_values("VDVAE", path):
        _check_types(entries)
        return VDVAEConfig(**entries)


def _check_types(entries):
    for field in dataclasses.fields(VDVAEConfig):
        wanted = (int, float) if field.type is float else field.type
        if field.name in entries and not isinstance(entries[field.name], wanted):
            raise TypeError(f"{field.name} is {entries[field.name]!r}")


IMAGENET64 = VDVAEConfig(
    image_size=64,
    encoder_blocks="64x11,64d2,32x20,32d2,16x9,16d2,8x8,8d2,4x7,4d4,1x5",
    decoder_blocks="1x2,4m1,4x3,8m4,8x7,16m8,16x15,32m16,32x31,64m32,64x12",
    width=512,
    input_mean=115.92961967,
    input_std=69.37404,
    target_layers=31,
)

IMAGENET32 = VDVAEConfig(
    image_size=32,
    encoder_blocks="32x15,32d2,16x9,16d2,8x8,8d2,4x6,4d4,1x6",
    decoder_blocks="1x2,4m1,4x4,8m4,8x9,16m8,16x19,32m16,32x40",
    width=512,
    input_mean=116.2373,
    input_std=69.37404,
)

CIFAR10 = VDVAEConfig(
    image_size=32,
    encoder_blocks="32x11,32d2,16x6,16d2,8x6,8d2,4x3,4d4,1x3",
    decoder_blocks="1x1,4m1,4x2,8m4,8x5,16m8,16x10,32m16,32x21",
    width=384,
    input_mean=120.63838,
    input_std=64.16736,
)

FFHQ256 = VDVAEConfig(
    image_size=256,
    encoder_blocks="256x3,256d2,128x8,128d2,64x12,64d2,32x17,32d2,16x7,16d2,8x5,8d2,4x5,4d4,1x4",
    decoder_blocks="1x2,4m1,4x3,8m4,8x4,16m8,16x9,32m16,32x21,64m32,64x13,128m64,128x7,256m128",
    width=512,
    input_mean=112.8666757481,
    input_std=69.84780273,
    bits=5,
)

# The embedded network. Its target layers end with the first one at 16 x 16, a quarter of the picture's side,
# and hold 5,648 values; the levels above are thin, so that one processor core trains it in minutes.
TINY64 = VDVAEConfig(
    image_size=64,
    encoder_blocks="64d2,32d2,16x1,16d2,8x2,8d2,4x1,4d4,1x1",
    decoder_blocks="1x2,4m1,4x3,8m4,8x5,16m8,16x1,32m16,64m32",
    width=16,
    custom_widths="32:32,16:64,8:128,4:128,1:128",
    latent_channels=8,
    bottleneck=0.34,
    n_mixtures=2,
    input_mean=115.0,
    input_std=70.0,
    target_layers=13,
)

PRESETS = {
    "imagenet64": IMAGENET64,
    "imagenet32": IMAGENET32,
    "cifar10": CIFAR10,
    "ffhq256": FFHQ256,
    "tiny64": TINY64,
}
