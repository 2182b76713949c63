"""MindEye2's networks at their published size, with random weights in the published layout: memory, and one step to a picture."""

import json
import subprocess
import sys

import numpy as np
import pytest
from single_files import (
    SDXL_FIRST_TEXT,
    SDXL_SECOND_TEXT,
    SDXL_UNET,
    SDXL_VAE,
    autoencoder_tensors,
    first_text_tensors,
    second_text_tensors,
    unet_tensors,
)

from stages.checkpoints.mapped_tensors import create_tensors
from stages.generators.diffusion.memory import memory_need
from stages.generators.diffusion.published_sizes import PUBLISHED_SIZES
from weights.manifest import read_manifest

# Runs alone, so that its peak is its own. Anonymous memory is what it holds; pages of mapped files can be dropped.
PROGRAM = """
import importlib, json, sys, threading, time
import numpy as np, torch
from stages.generators.generator import Item, in_order

def held():
    with open("/proc/self/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    return 1024 * int(lines["RssAnon"].split()[0])

peak, over = [0], threading.Event()
def watch():
    while not over.wait(0.02):
        peak[0] = max(peak[0], held())
threading.Thread(target=watch, daemon=True).start()

module, name = sys.argv[2].split(":")
start = time.perf_counter()
generator = getattr(importlib.import_module(module), name).from_pretrained(sys.argv[1], dtype=torch.bfloat16)
told = {"load_seconds": time.perf_counter() - start, "load_peak": peak[0]}
random = np.random.default_rng(0)
if "clip_image" in generator.takes:
    values, strength = {"clip_image": random.standard_normal((1, 256, 1664)).astype(np.float32)}, 1.0
else:
    picture = random.integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
    values, strength = {"caption": ["a photo of a cat"], "first_picture": picture}, 0.5
start = time.perf_counter()
# One step, of two where it starts from a picture.
steps = 1 if strength == 1 else 2
drawn = in_order(generator.draw(values, [Item("nsd00001")], num_inference_steps=steps, strength=strength))
over.set()
told |= {"step_seconds": time.perf_counter() - start, "peak": peak[0], "size": generator.image_size}
print(json.dumps(told | {"shape": drawn[0].shape, "spread": float(drawn[0].std())}))
"""
FULL = {
    "sdxl-unclip": (
        "stages.generators.diffusion.unclip_xl:UnCLIPXLGenerator",
        {
            "model.diffusion_model.": unet_tensors(**SDXL_UNET, context=1664, labels=1024),
            "first_stage_model.": autoencoder_tensors(**SDXL_VAE),
        },
    ),
    "sdxl-zavychroma": (
        "stages.generators.diffusion.stable_diffusion_xl:StableDiffusionXLGenerator",
        {
            "model.diffusion_model.": unet_tensors(**SDXL_UNET, context=2048, labels=2816),
            "first_stage_model.": autoencoder_tensors(**SDXL_VAE),
            "conditioner.embedders.0.transformer.text_model.": first_text_tensors(**SDXL_FIRST_TEXT),
            "conditioner.embedders.1.model.": second_text_tensors(**SDXL_SECOND_TEXT),
        },
    ),
}


def write_full_size(folder, name):
    """One file of random weights in half precision, 5.2 and 6.9 GB, and the configurations of the manifest beside it."""
    for path, config in read_manifest()[name].writes.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(config))
    shapes = {part + each: shape for part, tensors in FULL[name][1].items() for each, shape in tensors}
    pattern = np.random.default_rng(0).standard_normal(1 << 20).astype(np.float16)
    tensors = create_tensors(
        folder / "model.safetensors", {each: (shape, np.float16) for each, shape in shapes.items()}
    )
    for each, values in tensors.items():
        flat = values.reshape(-1)
        if len(shapes[each]) == 1:
            flat[:] = float(each.endswith("weight"))
            continue
        # Tables of words are small numbers, too.
        scaled = pattern * np.float16((values.shape[0] / values.size) ** 0.5)
        for start in range(0, len(flat), len(scaled)):
            flat[start : start + len(scaled)] = scaled[: len(flat) - start]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_one_step_at_full_size_fits_into_twenty_gigabytes(tmp_path, name):
    write_full_size(tmp_path, name)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), FULL[name][0]]
    ended = subprocess.run(command, capture_output=True, text=True)
    (tmp_path / "model.safetensors").unlink()
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    print(name, told)
    assert told["size"] == 768 and told["shape"] == [256, 256, 3] and told["spread"] > 1
    size = PUBLISHED_SIZES[name]
    # Loading holds the networks and a tensor or two; drawing no more than is reckoned, and the libraries.
    weights = 2 * (size.unet_parameters + size.vae_parameters + size.other_parameters)
    assert weights < told["load_peak"] < 1.1 * weights + 1.5e9
    assert told["peak"] < memory_need(size, "bfloat16").total + 1.5e9 < 20e9
