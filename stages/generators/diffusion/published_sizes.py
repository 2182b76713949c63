"""Sizes of the published generators, as plain data, so that memory can be reckoned without building or reading them.

Configurations hold what `stages.generators.diffusion.memory` reads. Parameters are those of the networks that diffusers and this
toolkit build from the whole configurations; the adapters' follow from the widths of the attention that they extend. Operations
are those that torch counts in one row through the UNet, without an adapter's, and in one picture through the decoder.
"""

from stages.generators.diffusion.memory import GeneratorSize

# Of the published files that of Stable Diffusion XL alone says that its autoencoder overflows in float16.
_AUTOENCODER = {"block_out_channels": (128, 256, 512, 512), "force_upcast": False}
_AUTOENCODER_PARAMETERS = 83_653_863
# Of its decoder, by the size of the latents.
_AUTOENCODER_OPERATIONS = {64: 2_514_518_933_504, 96: 5_754_304_364_544, 128: 10_470_392_594_432}


def _unet(sample_size, attention_head_dim=8):
    """Stable Diffusion's shape, which Versatile Diffusion and Stable unCLIP share."""
    return {
        "sample_size": sample_size,
        "block_out_channels": (320, 640, 1280, 1280),
        "layers_per_block": 2,
        "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
        "attention_head_dim": attention_head_dim,
    }


def _unet_xl(sample_size):
    """Stable Diffusion XL's shape."""
    return {
        "sample_size": sample_size,
        "block_out_channels": (320, 640, 1280),
        "layers_per_block": 2,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": (5, 10, 20),
    }


_STABLE_DIFFUSION = {"unet_operations": 803_273_441_280, "vae_operations": _AUTOENCODER_OPERATIONS[64]}

# By the name of the generator's checkpoint.
PUBLISHED_SIZES = {
    "versatile-diffusion": GeneratorSize(
        _unet(64),
        _AUTOENCODER,
        1_126_760_324,
        _AUTOENCODER_PARAMETERS,
        257 * 768 + 77 * 768,
        two_contexts=True,
        unet_operations=1_203_347_783_680,
        vae_operations=_AUTOENCODER_OPERATIONS[64],
    ),
    "stable-diffusion-1-4": GeneratorSize(
        _unet(64), _AUTOENCODER, 859_520_964, _AUTOENCODER_PARAMETERS, **_STABLE_DIFFUSION
    ),
    # With ip-adapter-sd15: 16 attentions over 768 values, and the projection to four tokens.
    "stable-diffusion-1-5": GeneratorSize(
        _unet(64), _AUTOENCODER, 859_520_964, _AUTOENCODER_PARAMETERS, 22_319_616, **_STABLE_DIFFUSION
    ),
    # With what reads the depth from four levels of dpt-large, in float32 whatever the rest computes in.
    "stable-diffusion-2-depth": GeneratorSize(
        _unet(64, (5, 10, 20, 20)),
        _AUTOENCODER,
        865_913_604,
        _AUTOENCODER_PARAMETERS,
        38_159_553,
        unet_operations=804_281_057_280,
        vae_operations=_AUTOENCODER_OPERATIONS[64],
    ),
    # With the control branch of NeuroPictor, whose operations are counted with those of the UNet.
    "stable-diffusion-2-1-base": GeneratorSize(
        _unet(64, (5, 10, 20, 20)),
        _AUTOENCODER,
        865_910_724,
        _AUTOENCODER_PARAMETERS,
        363_141_760,
        unet_operations=804_257_464_320 + 269_024_133_120,
        vae_operations=_AUTOENCODER_OPERATIONS[64],
    ),
    # Its one token takes a little less than the 77 of a text.
    "sd-image-variations": GeneratorSize(
        _unet(64),
        _AUTOENCODER,
        859_520_964,
        _AUTOENCODER_PARAMETERS,
        unet_operations=796_848_291_840,
        vae_operations=_AUTOENCODER_OPERATIONS[64],
    ),
    # With ip-adapter-sdxl-vit-h: 70 attentions over 2048 values, and the projection to four tokens.
    "stable-diffusion-xl-base": GeneratorSize(
        _unet_xl(128),
        _AUTOENCODER | {"force_upcast": True},
        2_567_463_684,
        _AUTOENCODER_PARAMETERS,
        349_188_096,
        unet_operations=6_761_236_398_080,
        vae_operations=_AUTOENCODER_OPERATIONS[128],
    ),
    "sdxl-unclip": GeneratorSize(
        _unet_xl(96),
        _AUTOENCODER | {"force_upcast": True},
        2_501_272_324,
        _AUTOENCODER_PARAMETERS,
        unet_operations=3_772_722_053_120,
        vae_operations=_AUTOENCODER_OPERATIONS[96],
    ),
    # At 768 pixels, as MindEye2 refines pictures; with both text encoders.
    "sdxl-zavychroma": GeneratorSize(
        _unet_xl(96),
        _AUTOENCODER | {"force_upcast": True},
        2_567_463_684,
        _AUTOENCODER_PARAMETERS,
        123_060_480 + 694_659_840,
        unet_operations=3_641_208_995_840,
        vae_operations=_AUTOENCODER_OPERATIONS[96],
    ),
    # At 256 pixels, led by 77 tokens as MinD-Vis leads it; a class's one token takes a little less.
    "label2img-ldm": GeneratorSize(
        {
            "sample_size": 64,
            "block_out_channels": (192, 384, 576, 960),
            "layers_per_block": 2,
            "down_block_types": ("DownBlock2D", *("CrossAttnDownBlock2D",) * 3),
            "mid_block_type": "UNetMidBlock2DCrossAttn",
            "up_block_types": (*("CrossAttnUpBlock2D",) * 3, "UpBlock2D"),
            "attention_head_dim": 1,
        },
        {"block_out_channels": (128, 256, 512)},
        400_920_579,
        55_322_782,
        unet_operations=211_031_851_008,
        vae_operations=670_581_202_944,
    ),
    "stable-unclip-small": GeneratorSize(
        _unet(96, (5, 10, 20, 20)),
        _AUTOENCODER,
        869_517_764,
        _AUTOENCODER_PARAMETERS,
        unet_operations=2_149_112_954_880,
        vae_operations=_AUTOENCODER_OPERATIONS[96],
    ),
    "stable-unclip": GeneratorSize(
        _unet(96, (5, 10, 20, 20)),
        _AUTOENCODER,
        870_173_124,
        _AUTOENCODER_PARAMETERS,
        unet_operations=2_149_114_265_600,
        vae_operations=_AUTOENCODER_OPERATIONS[96],
    ),
    "kandinsky-2-2-decoder": GeneratorSize(
        {
            "sample_size": 64,
            "block_out_channels": (384, 768, 1152, 1536),
            "layers_per_block": 3,
            "down_block_types": ("ResnetDownsampleBlock2D", *("SimpleCrossAttnDownBlock2D",) * 3),
            "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
            "up_block_types": (*("SimpleCrossAttnUpBlock2D",) * 3, "ResnetUpsampleBlock2D"),
            "attention_head_dim": 64,
        },
        {"block_out_channels": (128, 256, 256, 512), "norm_type": "spatial"},
        1_253_057_288,
        67_832_495,
        unet_operations=856_056_004_608,
        vae_operations=1_999_525_511_168,
    ),
}
