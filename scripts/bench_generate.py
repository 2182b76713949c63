"""Time the generators with random weights: batched, against diffusers' pipelines one picture at a time.

    python scripts/bench_generate.py [--device cuda] [--sizes full] [--generators versatile,sd,sdxl,unclip,kandinsky]
        [--batch-size 16] [--dtype float16] [--threads 1] [--steps 50] [--pictures 16] [--scheduler dpm++]

Weights decide nothing about speed or memory, so none are read. Every picture starts from a first picture at strength
0.75 under the model's own guidance. The plain loop calls diffusers' pipeline in float32, once per picture and with
embeddings at hand; Stable unCLIP's takes no first picture, and is asked for as many steps as the share has. diffusers has
none for Versatile Diffusion from a first picture and embeddings: there the toolkit's generator draws one at a time. With one
thread of a CPU the time is that of the processor, so that other work on the machine disturbs it less.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    KandinskyV22Img2ImgPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableUnCLIPImg2ImgPipeline,
    UNet2DConditionModel,
    VQModel,
)
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from diffusers.utils import logging
from peak_memory import forget_peak, peak_memory
from PIL import Image
from safetensors.torch import save_file

from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.generators.diffusion.dual_context_pipeline import DualContextImg2ImgPipeline
from stages.generators.diffusion.ip_adapter import (
    StableDiffusionIPAdapterGenerator,
    StableDiffusionXLIPAdapterGenerator,
)
from stages.generators.diffusion.ip_adapter_weights import ip_adapter_tensors, load_ip_adapter
from stages.generators.diffusion.kandinsky import KandinskyGenerator
from stages.generators.diffusion.schedulers import SOLVERS, make_scheduler
from stages.generators.diffusion.stable_unclip import StableUnCLIPGenerator
from stages.generators.diffusion.start_rule import denoising_steps
from stages.generators.diffusion.unconditional_contexts import UnconditionalContexts
from stages.generators.generator import Item
from stages.ground.item_seeds import item_generator
from stages.networks.dual_context_unet import DualContextUNet2DConditionModel

STRENGTH = 0.75
GENERATORS = ("versatile", "sd", "sdxl", "unclip", "kandinsky")
# Divisors of the published widths and of the latents' side, and the most layers per block.
SIZES = {"tiny": (10, 8, 1), "reduced": (4, 4, 1), "full": (1, 1, 3)}
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False}


@dataclass(frozen=True)
class Published:
    """What the published network of a generator is built from."""

    widths: tuple
    latent_side: int
    layers: int
    embed_dim: int
    text_width: int
    unet: dict


ATTENDING = ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D")
PLAIN = ("DownBlock2D", "UpBlock2D")
SIMPLE = ("SimpleCrossAttnDownBlock2D", "SimpleCrossAttnUpBlock2D")
RESIZING = ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D")


def blocks(*kinds):
    """Return a UNet's block types, from pairs of a downward and an upward one."""
    down, up = zip(*kinds)
    return {"down_block_types": down, "up_block_types": up[::-1]}


PUBLISHED = {
    "versatile": Published(
        (320, 640, 1280, 1280), 64, 2, 768, 768,
        blocks(*[ATTENDING] * 3, PLAIN)
        | {"attention_head_dim": 8, "image_context_tokens": 257, "text_context_tokens": 77},
    ),
    "sd": Published(
        (320, 640, 1280, 1280), 64, 2, 1024, 768, blocks(*[ATTENDING] * 3, PLAIN) | {"attention_head_dim": 8}
    ),
    "sdxl": Published(
        (320, 640, 1280), 128, 2, 1280, 2048,
        blocks(PLAIN, *[ATTENDING] * 2)
        | {"transformer_layers_per_block": (1, 2, 10), "attention_head_dim": (5, 10, 20), "use_linear_projection": True}
        | {"addition_embed_type": "text_time", "addition_time_embed_dim": 256}
        | {"projection_class_embeddings_input_dim": 6 * 256 + 1280},
    ),
    "unclip": Published(
        (320, 640, 1280, 1280), 96, 2, 1024, 1024,
        blocks(*[ATTENDING] * 3, PLAIN)
        | {"attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True}
        | {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 2048},
    ),
    "kandinsky": Published(
        (384, 768, 1152, 1536), 64, 3, 1280, 768,
        blocks(RESIZING, *[SIMPLE] * 3)
        | {"mid_block_type": "UNetMidBlock2DSimpleCrossAttn", "attention_head_dim": 64, "out_channels": 8}
        | {"resnet_time_scale_shift": "scale_shift", "addition_embed_type": "image"}
        | {"encoder_hid_dim": 1280, "encoder_hid_dim_type": "image_proj"},
    ),
}  # fmt: skip


def random_generator(kind, size, device, scheduler):
    """Build a generator of random weights in float32."""
    narrower, smaller, most_layers = SIZES[size]
    published = PUBLISHED[kind]
    # What diffusers calls attention_head_dim is the number of heads, but in Kandinsky's blocks the width of one.
    heads = published.unet["attention_head_dim"]
    if size != "full":
        heads = max(8, heads // narrower) if kind == "kandinsky" else 8
    network = DualContextUNet2DConditionModel if kind == "versatile" else UNet2DConditionModel
    with torch.device(device):
        unet = network(
            **{"in_channels": 4, "out_channels": 4, "sample_size": published.latent_side // smaller}
            | {"block_out_channels": [width // narrower // 32 * 32 or 32 for width in published.widths]}
            | {"layers_per_block": min(published.layers, most_layers), "cross_attention_dim": published.text_width}
            | published.unet
            | {"attention_head_dim": heads}
        ).eval()
        autoencoder = _autoencoder(kind, narrower, min(2, most_layers)).eval()
        text = torch.randn(77, published.text_width)
    solver = make_scheduler(DDIMScheduler(**BETAS, steps_offset=1).config, scheduler)
    if kind == "versatile":
        contexts = torch.randn(257, published.text_width, device=device), text
        pipeline = DualContextImg2ImgPipeline(autoencoder, unet, solver, UnconditionalContexts.from_contexts(*contexts))
        return DualContextGenerator(pipeline)
    if kind == "kandinsky":
        return KandinskyGenerator(KandinskyV22Img2ImgPipeline(unet=unet, scheduler=solver, movq=autoencoder))
    parts = {"unet": unet, "vae": autoencoder, "scheduler": solver, "text_encoder": None, "tokenizer": None}
    if kind == "unclip":
        pipeline = StableUnCLIPImg2ImgPipeline(
            feature_extractor=None,
            # Of an image encoder, diffusers' pipeline only asks for the type of its weights.
            image_encoder=autoencoder,
            image_normalizer=StableUnCLIPImageNormalizer(1024).to(device),
            image_noising_scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
            **parts,
        )
        return StableUnCLIPGenerator(pipeline, text)
    embed_dim = _random_adapter(unet, published.embed_dim)
    if kind == "sd":
        pipeline = StableDiffusionImg2ImgPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
        return StableDiffusionIPAdapterGenerator(pipeline, embed_dim, text)
    pipeline = StableDiffusionXLImg2ImgPipeline(**parts, text_encoder_2=None, tokenizer_2=None, add_watermarker=False)
    text = torch.cat([text.flatten(), torch.randn(1280, device=device)])
    return StableDiffusionXLIPAdapterGenerator(pipeline, embed_dim, text)


def _autoencoder(kind, narrower, layers):
    quantised = kind == "kandinsky"
    # The published autoencoders' levels, of which a tiny one has as many, so that pictures are as large.
    widths = [
        max(32, width // narrower // 32 * 32) for width in ((128, 256, 256, 512) if quantised else (128, 256, 512, 512))
    ]
    down, up = ["DownEncoderBlock2D"] * 4, ["UpDecoderBlock2D"] * 4
    common = {"block_out_channels": widths, "layers_per_block": layers, "latent_channels": 4}
    if not quantised:
        force_upcast = {"force_upcast": kind == "sdxl"}
        return AutoencoderKL(down_block_types=down, up_block_types=up, **common, **force_upcast)
    down[-1], up[0] = "AttnDownEncoderBlock2D", "AttnUpDecoderBlock2D"
    return VQModel(
        down_block_types=down, up_block_types=up, norm_type="spatial", vq_embed_dim=4, num_vq_embeddings=16384, **common
    )


def _random_adapter(unet, embed_dim):
    state = {name: torch.randn(tensor.shape) * 0.02 for name, tensor in ip_adapter_tensors(unet, embed_dim).items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ip-adapter.safetensors"
        save_file(state, path)
        return load_ip_adapter(unet, path)


def random_values(generator, n):
    """Return random embeddings and first pictures by name, and the items that they belong to."""
    random = np.random.default_rng(0)
    side = generator.image_size
    values = {
        name: random.standard_normal((n, *generator.takes[name])).astype(np.float32)
        for name in ("clip_image", "clip_text")
        if name in generator.takes
    }
    values["first_picture"] = random.integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    return values, [Item(f"picture-{k}") for k in range(n)]


def part(values, items, n):
    """Return the values of the first `n` items, and those."""
    return {name: rows[:n] for name, rows in values.items()}, items[:n]


def draw_plainly(kind, generator, values, items, steps):
    """Call diffusers' pipeline once per item."""
    pipeline, device = generator.pipeline, generator.pipeline.unet.device
    for row, item in enumerate(items):
        if kind == "versatile":
            own = {name: rows[row : row + 1] for name, rows in values.items()}
            list(generator.draw(own, [item], num_inference_steps=steps, strength=STRENGTH))
            continue
        image = torch.as_tensor(values["clip_image"][row], device=device)[None]
        told = {"guidance_scale": generator.default_guidance_scale, "output_type": "np", "num_inference_steps": steps}
        told["generator"] = item_generator(0, item.stimulus_id, item.sample)
        first = Image.fromarray(values["first_picture"][row])
        if kind == "kandinsky":
            side = generator.image_size
            told |= {"image": first, "strength": STRENGTH, "height": side, "width": side}
            pipeline(image_embeds=image, negative_image_embeds=image * 0, **told)
            continue
        text = torch.as_tensor(values["clip_text"][row], device=device)[None]
        if kind == "sdxl":
            tokens, pooled = generator.split_text(text)
            told |= {"prompt_embeds": tokens, "negative_prompt_embeds": tokens * 0}
            told |= {"pooled_prompt_embeds": pooled, "negative_pooled_prompt_embeds": pooled * 0}
        else:
            told |= {"prompt_embeds": text, "negative_prompt_embeds": text * 0}
        if kind == "unclip":
            told["num_inference_steps"] = denoising_steps(STRENGTH, steps)
            pipeline(image_embeds=image, **told)
        else:
            embeds = [torch.cat([image * 0, image])[:, None]]
            pipeline(image=first, strength=STRENGTH, ip_adapter_image_embeds=embeds, **told)


def measured(device, draw):
    """Return the seconds that `draw` took and the most memory that was held meanwhile, in GB."""
    on_accelerator = device.type == "cuda"
    forget_peak(device)
    clock = time.process_time if not on_accelerator and torch.get_num_threads() == 1 else time.perf_counter
    started = clock()
    draw()
    if on_accelerator:
        torch.cuda.synchronize(device)
    return clock() - started, peak_memory(device) / 1e9


def bench(kind, size, device, options):
    """Print one line of the table."""
    generator = random_generator(kind, size, device, options.scheduler)
    steps = options.steps or generator.default_steps
    values, items = random_values(generator, options.pictures)
    plain = part(values, items, options.plain_pictures)
    draw_plainly(kind, generator, *part(values, items, 1), 4)
    seconds, plain_memory = measured(device, lambda: draw_plainly(kind, generator, *plain, steps))
    plain_rate = len(plain[1]) / seconds

    if kind == "unclip":
        generator.pipeline.image_encoder = None
    torch.nn.Module.to(generator.pipeline.unet, options.dtype)
    autoencoder = generator.pipeline.movq if kind == "kandinsky" else generator.pipeline.vae
    if options.dtype != torch.float16 or not autoencoder.config.force_upcast:
        torch.nn.Module.to(autoencoder, options.dtype)

    def draw(values, items, steps):
        list(generator.draw(values, items, num_inference_steps=steps, strength=STRENGTH, batch_size=options.batch_size))

    draw(*part(values, items, options.batch_size), 4)
    seconds, memory = measured(device, lambda: draw(values, items, steps))
    rate = len(items) / seconds
    parameters = sum(parameter.numel() for parameter in generator.pipeline.unet.parameters()) / 1e6
    print(
        f"{kind:9s} {size:7s} {generator.image_size:5d} {parameters:8.1f} {steps:5d}"
        f" {plain_rate:9.3f} {plain_memory:7.2f} {rate:9.3f} {memory:7.2f} {rate / plain_rate:6.2f}",
        flush=True,
    )


def parsed(arguments=None):
    """Read the command line; return options whose lists are split and whose defaults suit the device."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    accelerated = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if accelerated else "cpu")
    parser.add_argument("--sizes", help="of tiny, reduced, full; default: full on an accelerator, else tiny,reduced")
    parser.add_argument("--generators", default=",".join(GENERATORS), help=f"of {', '.join(GENERATORS)}")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument(
        "--dtype", choices=["float32", "float16", "bfloat16"], help="default: float16 on an accelerator"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1)")
    parser.add_argument("--steps", type=int, help="default: the model's own on an accelerator, else 10")
    parser.add_argument("--pictures", type=int, help="drawn in batches (default: one batch)")
    parser.add_argument("--plain-pictures", type=int, default=2, help="drawn one at a time (default 2)")
    parser.add_argument("--scheduler", choices=list(SOLVERS), default="ddim")
    options = parser.parse_args(arguments)
    options.device = torch.device(options.device)
    on_cpu = options.device.type == "cpu"
    options.sizes = (options.sizes or ("tiny,reduced" if on_cpu else "full")).split(",")
    options.generators = options.generators.split(",")
    for name, given, known in (("--sizes", options.sizes, SIZES), ("--generators", options.generators, GENERATORS)):
        if not set(given) <= set(known):
            parser.error(f"{name} is {','.join(given)}; expected names out of {', '.join(known)}")
    options.dtype = getattr(torch, options.dtype or ("float32" if on_cpu else "float16"))
    options.steps = options.steps or (10 if on_cpu else None)
    options.pictures = options.pictures or options.batch_size
    return options


def main(arguments=None):
    """Print one line per generator and size."""
    options = parsed(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    # Its pipeline for Stable Diffusion XL warns at every cast of its autoencoder.
    logging.set_verbosity_error()
    if options.device.type == "cpu":
        told = "" if torch.cuda.is_available() else "No accelerator was found: "
        print(f"{told}times are of a CPU with {options.threads} thread(s), and say little about full-size networks.")
    else:
        print(f"On {torch.cuda.get_device_name(options.device)}.")
    dtype = str(options.dtype).removeprefix("torch.")
    print(f"Plain: one at a time, float32. Batched: up to {options.batch_size}, {dtype}, {options.scheduler}.")
    print(
        f"{'':9s} {'size':7s} {'side':>5s} {'M param.':>8s} {'steps':>5s} {'plain/s':>9s} {'GB':>7s}"
        f" {'batched/s':>9s} {'GB':>7s} {'times':>6s}"
    )
    for size in options.sizes:
        for kind in options.generators:
            bench(kind, size, options.device, options)
            if options.device.type == "cuda":
                torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
