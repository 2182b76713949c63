"""Single files of latent diffusion models in the layout of Stability's trainings, from the architecture by block numbers.

Names and shapes are listed from how such networks are built, a residual block or an attention after the other, and not from
diffusers' networks: what reads the files is held against a list of its own.
"""

import json
from functools import partial

import torch
from safetensors.torch import save_file

# Small ones: 8 x 8 latents, pictures of 16 pixels.
SMALL_UNET = {"width": 16, "multiples": (1, 2), "layers": 1, "depths": (0, 2), "channels": 4}
SMALL_VAE = {"width": 8, "multiples": (1, 1), "layers": 1, "latents": 4}
# Published ones.
SDXL_UNET = {"width": 320, "multiples": (1, 2, 4), "layers": 2, "depths": (0, 2, 10), "channels": 4}
SDXL_VAE = {"width": 128, "multiples": (1, 2, 4, 4), "layers": 2, "latents": 4}
TOKENS, CONTEXT = 6, 16
CODES = 4 * 256


def unet_tensors(width, multiples, layers, depths, channels, context, labels=None, projected="linear"):
    """Yield (name, shape) of all tensors; `depths` are the transformer blocks at each level, `labels` the values of a label.

    Around the transformer blocks is a "linear" layer, or a "convolution" of 1 x 1.
    """
    code = 4 * width

    def dense(name, rows, columns, bias=True):
        yield f"{name}.weight", (rows, columns)
        if bias:
            yield f"{name}.bias", (rows,)

    def conv(name, rows, columns, side=3):
        yield f"{name}.weight", (rows, columns, side, side)
        yield f"{name}.bias", (rows,)

    def norm(name, values):
        yield f"{name}.weight", (values,)
        yield f"{name}.bias", (values,)

    def residual(name, before, after):
        yield from norm(f"{name}.in_layers.0", before)
        yield from conv(f"{name}.in_layers.2", after, before)
        yield from dense(f"{name}.emb_layers.1", after, code)
        yield from norm(f"{name}.out_layers.0", after)
        yield from conv(f"{name}.out_layers.3", after, after)
        if before != after:
            yield from conv(f"{name}.skip_connection", after, before, 1)

    def transformer(name, values, depth):
        around = dense if projected == "linear" else partial(conv, side=1)
        yield from norm(f"{name}.norm", values)
        yield from around(f"{name}.proj_in", values, values)
        for number in range(depth):
            block = f"{name}.transformer_blocks.{number}"
            for attention, read in (("attn1", values), ("attn2", context)):
                yield from dense(f"{block}.{attention}.to_q", values, values, bias=False)
                yield from dense(f"{block}.{attention}.to_k", values, read, bias=False)
                yield from dense(f"{block}.{attention}.to_v", values, read, bias=False)
                yield from dense(f"{block}.{attention}.to_out.0", values, values)
            yield from dense(f"{block}.ff.net.0.proj", 8 * values, values)
            yield from dense(f"{block}.ff.net.2", values, 4 * values)
            for number_of_norm in (1, 2, 3):
                yield from norm(f"{block}.norm{number_of_norm}", values)
        yield from around(f"{name}.proj_out", values, values)

    yield from dense("time_embed.0", code, width)
    yield from dense("time_embed.2", code, code)
    if labels is not None:
        yield from dense("label_emb.0.0", code, labels)
        yield from dense("label_emb.0.2", code, code)
    yield from conv("input_blocks.0.0", width, channels)
    number, now, waiting = 1, width, [width]
    for level, (multiple, depth) in enumerate(zip(multiples, depths)):
        for _ in range(layers):
            yield from residual(f"input_blocks.{number}.0", now, width * multiple)
            now = width * multiple
            if depth:
                yield from transformer(f"input_blocks.{number}.1", now, depth)
            waiting.append(now)
            number += 1
        if level < len(multiples) - 1:
            yield from conv(f"input_blocks.{number}.0.op", now, now)
            waiting.append(now)
            number += 1
    yield from residual("middle_block.0", now, now)
    yield from transformer("middle_block.1", now, depths[-1])
    yield from residual("middle_block.2", now, now)
    number = 0
    for level in reversed(range(len(multiples))):
        for layer in range(layers + 1):
            yield from residual(f"output_blocks.{number}.0", now + waiting.pop(), width * multiples[level])
            now, place = width * multiples[level], 1
            if depths[level]:
                yield from transformer(f"output_blocks.{number}.1", now, depths[level])
                place = 2
            if level and layer == layers:
                yield from conv(f"output_blocks.{number}.{place}.conv", now, now)
            number += 1
    yield from norm("out.0", width)
    yield from conv("out.2", channels, width)


def autoencoder_tensors(width, multiples, layers, latents, codes=None):
    """Yield (name, shape) of all tensors of an autoencoder for red, green and blue; of one with a codebook if it has codes."""

    def conv(name, rows, columns, side=3):
        yield f"{name}.weight", (rows, columns, side, side)
        yield f"{name}.bias", (rows,)

    def norm(name, values):
        yield f"{name}.weight", (values,)
        yield f"{name}.bias", (values,)

    def residual(name, before, after):
        yield from norm(f"{name}.norm1", before)
        yield from conv(f"{name}.conv1", after, before)
        yield from norm(f"{name}.norm2", after)
        yield from conv(f"{name}.conv2", after, after)
        if before != after:
            yield from conv(f"{name}.nin_shortcut", after, before, 1)

    def middle(half, values):
        yield from residual(f"{half}.mid.block_1", values, values)
        yield from norm(f"{half}.mid.attn_1.norm", values)
        for layer in ("q", "k", "v", "proj_out"):
            yield from conv(f"{half}.mid.attn_1.{layer}", values, values, 1)
        yield from residual(f"{half}.mid.block_2", values, values)

    last = len(multiples) - 1
    yield from conv("encoder.conv_in", width, 3)
    now = width
    for level, multiple in enumerate(multiples):
        for layer in range(layers):
            yield from residual(f"encoder.down.{level}.block.{layer}", now, width * multiple)
            now = width * multiple
        if level < last:
            yield from conv(f"encoder.down.{level}.downsample.conv", now, now)
    yield from middle("encoder", now)
    yield from norm("encoder.norm_out", now)
    # Means and variances, or latents alone.
    encoded = latents if codes else 2 * latents
    yield from conv("encoder.conv_out", encoded, now)
    yield from conv("quant_conv", encoded, encoded, 1)
    if codes:
        yield "quantize.embedding.weight", (codes, latents)
    yield from conv("post_quant_conv", latents, latents, 1)
    yield from conv("decoder.conv_in", now, latents)
    yield from middle("decoder", now)
    for level in reversed(range(len(multiples))):
        for layer in range(layers + 1):
            yield from residual(f"decoder.up.{level}.block.{layer}", now, width * multiples[level])
            now = width * multiples[level]
        if level:
            yield from conv(f"decoder.up.{level}.upsample.conv", now, now)
    yield from norm("decoder.norm_out", now)
    yield from conv("decoder.conv_out", 3, now)


def sigmas():
    """The published noise levels, from the least to the most."""
    kept = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, dim=0)
    return ((1 - kept) / kept).sqrt().float()


def random_state(shapes, seed=0):
    """Values for (name, shape) pairs that keep a network's maps of an ordinary size."""
    random = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in shapes:
        if len(shape) > 1:
            found[name] = torch.randn(shape, generator=random) * (shape[0] / torch.Size(shape).numel()) ** 0.5
        else:
            around = 1.0 if name.endswith("weight") else 0.0
            found[name] = around + 0.1 * torch.randn(shape, generator=random)
    return found


def unclip_state():
    """All tensors of a small SDXL unCLIP as its training leaves them, with what it has of the image encoder."""
    parts = {
        "model.diffusion_model.": unet_tensors(**SMALL_UNET, context=CONTEXT, labels=CODES),
        "first_stage_model.": autoencoder_tensors(**SMALL_VAE),
        "conditioner.embedders.0.model.": [("visual.class_embedding", (16,)), ("logit_scale", ())],
    }
    state = {}
    for seed, (part, shapes) in enumerate(parts.items()):
        state |= {part + name: value for name, value in random_state(shapes, seed).items()}
    return state | {"denoiser.sigmas": sigmas()}


UNET_CONFIG = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [16, 32],
    "layers_per_block": 1,
    "transformer_layers_per_block": [1, 2],
    "norm_num_groups": 8,
    "cross_attention_dim": CONTEXT,
    "attention_head_dim": [1, 2],
    "use_linear_projection": True,
}
VAE_CONFIG = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [8, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "latent_channels": 4,
    "sample_size": 16,
    "scaling_factor": 0.13025,
    "force_upcast": True,
}
UNCLIP_CONFIG = UNET_CONFIG | {"class_embed_type": "projection", "projection_class_embeddings_input_dim": CODES}


def save_unclip(folder, state=None):
    """Write a small SDXL unCLIP: one file of weights, and the configurations beside it."""
    write_configs(folder, UNCLIP_CONFIG)
    save_file(unclip_state() if state is None else state, folder / "unclip.safetensors")
    return folder


def write_configs(folder, unet):
    for part, config in (("unet", unet), ("vae", VAE_CONFIG)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / part / "config.json").write_text(json.dumps(config))


# Stable Diffusion XL: both text encoders beside the same two networks.

FIRST_TEXT = {"width": 6, "layers": 3, "words": 24, "places": 7}
SECOND_TEXT = {"width": 10, "layers": 3, "words": 24, "places": 7, "projected": 8}
SDXL_FIRST_TEXT = {"width": 768, "layers": 12, "words": 49408, "places": 77}
SDXL_SECOND_TEXT = {"width": 1280, "layers": 32, "words": 49408, "places": 77, "projected": 1280}
TIME_WIDTH = 4


def first_text_tensors(width, layers, words, places):
    """Yield (name, shape) of a text encoder as transformers has stored it since before 2023."""
    yield "embeddings.token_embedding.weight", (words, width)
    yield "embeddings.position_embedding.weight", (places, width)
    ends = [("", (width, width), ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"))]
    ends += [("", (4 * width, width), ("mlp.fc1",)), ("", (width, 4 * width), ("mlp.fc2",))]
    for number in range(layers):
        for _, shape, names in ends:
            for name in names:
                yield f"encoder.layers.{number}.{name}.weight", shape
                yield f"encoder.layers.{number}.{name}.bias", shape[:1]
        for norm in ("layer_norm1", "layer_norm2"):
            yield f"encoder.layers.{number}.{norm}.weight", (width,)
            yield f"encoder.layers.{number}.{norm}.bias", (width,)
    yield "final_layer_norm.weight", (width,)
    yield "final_layer_norm.bias", (width,)


def second_text_tensors(width, layers, words, places, projected):
    """Yield (name, shape) of open_clip's text tower."""
    yield "positional_embedding", (places, width)
    yield "text_projection", (width, projected)
    yield "token_embedding.weight", (words, width)
    for number in range(layers):
        block = f"transformer.resblocks.{number}"
        for norm in ("ln_1", "ln_2"):
            yield f"{block}.{norm}.weight", (width,)
            yield f"{block}.{norm}.bias", (width,)
        yield f"{block}.attn.in_proj_weight", (3 * width, width)
        yield f"{block}.attn.in_proj_bias", (3 * width,)
        for name, shape in (
            ("attn.out_proj", (width, width)),
            ("mlp.c_fc", (4 * width, width)),
            ("mlp.c_proj", (width, 4 * width)),
        ):
            yield f"{block}.{name}.weight", shape
            yield f"{block}.{name}.bias", shape[:1]
    yield "ln_final.weight", (width,)
    yield "ln_final.bias", (width,)


def sdxl_state():
    """All tensors of a small Stable Diffusion XL in one file."""
    labels = 6 * TIME_WIDTH + SECOND_TEXT["projected"]
    parts = {
        "model.diffusion_model.": unet_tensors(**SMALL_UNET, context=CONTEXT, labels=labels),
        "first_stage_model.": autoencoder_tensors(**SMALL_VAE),
        "conditioner.embedders.0.transformer.text_model.": first_text_tensors(**FIRST_TEXT),
        "conditioner.embedders.1.model.": second_text_tensors(**SECOND_TEXT),
    }
    state = {}
    for seed, (part, shapes) in enumerate(parts.items()):
        state |= {part + name: value for name, value in random_state(shapes, seed).items()}
    spare = {"conditioner.embedders.0.transformer.text_model.embeddings.position_ids": torch.arange(7)[None]}
    return state | spare | {"conditioner.embedders.1.model.logit_scale": torch.ones(())}


def text_config(width, layers, words, places, projected=0, act="quick_gelu", heads=2):
    return {
        "vocab_size": words,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "max_position_embeddings": places,
        "projection_dim": projected or width,
        "hidden_act": act,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
    }


XL_CONFIG = UNET_CONFIG | {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": TIME_WIDTH,
    "projection_class_embeddings_input_dim": 6 * TIME_WIDTH + SECOND_TEXT["projected"],
}


def save_sdxl(folder, state=None):
    """Write a small Stable Diffusion XL: one file of weights, and configurations and tokenizers beside it."""
    write_configs(folder, XL_CONFIG)
    # The end token has the highest number, as CLIP's has.
    words = ["<|startoftext|>", "!", *"abcdefgh", *(f"{one}</w>" for one in "abcd0123456789-."), "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words[: 24 - 1] + words[-1:])}
    for ending, pad, config in (
        ("", "<|endoftext|>", text_config(**FIRST_TEXT)),
        ("_2", "!", text_config(**SECOND_TEXT, act="gelu")),
    ):
        for part in ("tokenizer", "text_encoder"):
            (folder / f"{part}{ending}").mkdir()
        (folder / f"text_encoder{ending}" / "config.json").write_text(json.dumps(config))
        (folder / f"tokenizer{ending}" / "vocab.json").write_text(json.dumps(vocabulary))
        (folder / f"tokenizer{ending}" / "merges.txt").write_text("#version: 0.2\n")
        told = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 7, "pad_token": pad}
        (folder / f"tokenizer{ending}" / "tokenizer_config.json").write_text(json.dumps(told))
    save_file(sdxl_state() if state is None else state, folder / "zavy.safetensors")
    return folder


# Latent diffusion of classes on a codebook's latents, as CompVis' training leaves it: with the tables of the schedule, and the
# moving average of the weights under names without dots.

CLASSES_UNET = {
    "width": 16,
    "multiples": (1, 2),
    "layers": 1,
    "depths": (0, 1),
    "channels": 3,
    "projected": "convolution",
}
CLASSES_VQ = {"width": 8, "multiples": (1, 1), "layers": 1, "latents": 3, "codes": 512}
CIN256_UNET = {"width": 192, "multiples": (1, 2, 3, 5), "layers": 2, "depths": (0, 1, 1, 1), "channels": 3}
CIN256_UNET |= {"projected": "convolution"}
CIN256_VQ = {"width": 128, "multiples": (1, 2, 4), "layers": 2, "latents": 3, "codes": 8192}
N_CLASSES, CLASS_WIDTH = 5, 12


def classes_state():
    """All tensors of a small one."""
    parts = {
        "model.diffusion_model.": unet_tensors(**CLASSES_UNET, context=CLASS_WIDTH),
        "first_stage_model.": autoencoder_tensors(**CLASSES_VQ),
        "cond_stage_model.": [("embedding.weight", (N_CLASSES + 1, CLASS_WIDTH))],
    }
    state = {}
    for seed, (part, shapes) in enumerate(parts.items()):
        state |= {part + name: value for name, value in random_state(shapes, seed).items()}
    # Values of a table of codes are as far apart as latents are.
    state["first_stage_model.quantize.embedding.weight"] = torch.randn(
        512, 3, generator=torch.Generator().manual_seed(9)
    )
    betas = torch.linspace(0.0015**0.5, 0.0195**0.5, 1000, dtype=torch.float64) ** 2
    state |= {"betas": betas.float(), "alphas_cumprod": torch.cumprod(1 - betas, 0).float()}
    return state | {"model_ema.decay": torch.ones(()), "model_ema.diffusion_modelout2bias": torch.zeros(3)}


CLASSES_UNET_CONFIG = {name: value for name, value in UNET_CONFIG.items() if name != "use_linear_projection"} | {
    "in_channels": 3,
    "out_channels": 3,
    "transformer_layers_per_block": 1,
    "cross_attention_dim": CLASS_WIDTH,
    "attention_head_dim": 1,
    "class_embed_type": "identity",
}
CLASSES_VQ_CONFIG = {
    "_class_name": "VQModel",
    "block_out_channels": [8, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "latent_channels": 3,
    "vq_embed_dim": 3,
    "num_vq_embeddings": 512,
    "sample_size": 16,
    "scaling_factor": 1.0,
}
CLASSES_SCHEDULE = {
    "_class_name": "PNDMScheduler",
    "beta_schedule": "scaled_linear",
    "beta_start": 0.0015,
    "beta_end": 0.0195,
    "skip_prk_steps": True,
    "steps_offset": 1,
}


def save_classes(folder, state=None):
    """Write a small class-conditioned model: one file of weights, and the configurations beside it."""
    for path, config in (
        ("unet/config.json", CLASSES_UNET_CONFIG),
        ("vae/config.json", CLASSES_VQ_CONFIG),
        ("scheduler/scheduler_config.json", CLASSES_SCHEDULE),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(config))
    save_file(classes_state() if state is None else state, folder / "model.safetensors")
    return folder
