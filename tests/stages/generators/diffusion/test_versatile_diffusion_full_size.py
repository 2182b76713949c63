"""Versatile Diffusion at its published size, with random weights: memory while loading, and one denoising step."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler
from safetensors.torch import save_file

from stages.generators.diffusion.unconditional_contexts import UnconditionalContexts
from stages.generators.diffusion.versatile_diffusion import contexts_folder
from stages.networks.dual_context_unet import DualContextUNet2DConditionModel
from stages.networks.versatile_diffusion_unet import flow_names, text_flow_tensors

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
SHARED = dict(
    block_out_channels=[320, 640, 1280, 1280], layers_per_block=2, cross_attention_dim=768, attention_head_dim=8
)
JOINED_BYTES = 4 * 1_126_760_324

# Runs alone, so that its peak is its own. Anonymous memory is what it holds; pages of mapped files can be dropped.
PROGRAM = """
import json, sys, threading, time
import numpy as np, torch
from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.generators.generator import Item, in_order
from stages.generators.diffusion.versatile_diffusion import load_versatile_diffusion

def memory():
    with open("/proc/self/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    return {name: 1024 * int(lines[name].split()[0]) for name in ("RssAnon", "VmHWM")}

peak, over = [0], threading.Event()
def watch():
    while not over.wait(0.02):
        peak[0] = max(peak[0], memory()["RssAnon"])
threading.Thread(target=watch, daemon=True).start()

told = {"before": memory()["RssAnon"]}
start = time.perf_counter()
pipeline = load_versatile_diffusion(sys.argv[1])
told |= {"load_seconds": time.perf_counter() - start, "load_peak": peak[0], "load_mapped_peak": memory()["VmHWM"]}
random = np.random.default_rng(0)
start = time.perf_counter()
values = {
    "first_picture": random.integers(0, 256, (1, 512, 512, 3), dtype=np.uint8),
    "clip_image": torch.randn(1, 257, 768), "clip_text": torch.randn(1, 77, 768),
}
drawn = DualContextGenerator(pipeline).draw(values, [Item("nsd00001")], strength=0.5, num_inference_steps=2)
picture = np.stack(in_order(drawn))
told |= {"step_seconds": time.perf_counter() - start, "peak": peak[0], "mapped_peak": memory()["VmHWM"]}
over.set()
told |= {"shape": picture.shape, "dtype": str(picture.dtype), "spread": float(picture.std())}
print(json.dumps(told))
"""


def random_tensor(name, shape):
    if len(shape) == 1:
        return (torch.ones if name.endswith("weight") else torch.zeros)(shape, dtype=torch.float16)
    return (torch.randn(shape) / shape[1:].numel() ** 0.5).half()


@pytest.fixture(scope="module")
def full_size(tmp_path_factory):
    """Half-precision files of random weights: 5.2 GB."""
    folder = tmp_path_factory.mktemp("full_size")
    blocks = {
        flow: {
            "down_block_types": [f"CrossAttnDownBlock{kind}"] * 3 + [f"DownBlock{kind}"],
            "up_block_types": [f"UpBlock{kind}"] + [f"CrossAttnUpBlock{kind}"] * 3,
        }
        for flow, kind in (("image", "2D"), ("text", "Flat"))
    }
    image = SHARED | blocks["image"] | {"sample_size": 64, "in_channels": 4, "out_channels": 4}
    text = SHARED | blocks["text"] | {"in_channels": [768, 1, 1], "out_channels": [768, 1, 1]}
    with torch.device("meta"):
        joined = DualContextUNet2DConditionModel(**image).state_dict()
    image_names, text_names = flow_names(joined)
    torch.manual_seed(0)
    for flow, config, tensors in (
        ("image", image | {"_class_name": "UNet2DConditionModel"}, {n: joined[p] for n, p in image_names.items()}),
        ("text", text | {"_class_name": "UNetFlatConditionModel"}, text_flow_tensors(joined, text)),
    ):
        (folder / f"{flow}_unet").mkdir()
        (folder / f"{flow}_unet" / "config.json").write_text(json.dumps(config))
        # What is not read may be anything.
        drawn = {
            name: random_tensor(name, tensor.shape)
            if flow == "image" or name in text_names
            else torch.zeros(tensor.shape, dtype=torch.float16)
            for name, tensor in tensors.items()
        }
        save_file(drawn, folder / f"{flow}_unet" / WEIGHTS_FILE)
        del drawn
    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
        sample_size=256,
    ).half().save_pretrained(folder / "vae")
    UnconditionalContexts.from_contexts(torch.randn(257, 768), torch.randn(77, 768)).save_pretrained(
        folder / contexts_folder()
    )
    PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True
    ).save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "VersatileDiffusionPipeline"}))
    yield folder
    # pytest keeps the folders of its last runs.
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_loads_within_the_joined_network_and_takes_a_step_of_512_pixels_under_12_gb(full_size):
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(full_size)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    print(told)
    assert told["shape"] == [1, 512, 512, 3] and told["dtype"] == "uint8" and told["spread"] > 1
    # The joined UNet, an autoencoder (0.33 GB), and one tensor at a time.
    assert told["load_peak"] - told["before"] < JOINED_BYTES + 1e9
    assert told["peak"] < 12e9
    assert told["mapped_peak"] < 24e9
