"""Latent diffusion of ImageNet's classes at its published size, on random weights: a step of drawing, and a step of tuning."""

import json
import subprocess
import sys

import numpy as np
import pytest
from single_files import CIN256_UNET, CIN256_VQ, autoencoder_tensors, unet_tensors

from stages.checkpoints.mapped_tensors import create_tensors
from stages.generators.diffusion.memory import memory_need
from stages.generators.diffusion.published_sizes import PUBLISHED_SIZES
from weights.manifest import read_manifest

SIZE = PUBLISHED_SIZES["label2img-ldm"]
# Run alone, so that their peaks are their own. Anonymous memory is what they hold; pages of mapped files can be dropped.
WATCHED = """
import json, sys, threading, time
import numpy as np, torch

def held():
    with open("/proc/self/status") as file:
        lines = dict(line.split(":", 1) for line in file)
    return 1024 * int(lines["RssAnon"].split()[0])

peak, over = [0], threading.Event()
def watch():
    while not over.wait(0.02):
        peak[0] = max(peak[0], held())
threading.Thread(target=watch, daemon=True).start()
torch.manual_seed(0)
folder, told, start = sys.argv[1], {}, time.perf_counter()
"""
DRAWING = """
from stages.generators.diffusion.vq_diffusion import VQDiffusionGenerator
from stages.generators.generator import Item, in_order
from stages.networks.time_mapper import TimeMapper

generator = VQDiffusionGenerator.from_pretrained(folder, time_mapper=TimeMapper())
told["load_seconds"], start = time.perf_counter() - start, time.perf_counter()
tokens = np.random.default_rng(0).standard_normal((1, 77, 512)).astype(np.float32)
(drawn,) = in_order(generator.draw({"brain_tokens": tokens}, [Item("nsd00001")], num_inference_steps=1))
told |= {"shape": drawn.shape, "spread": float(drawn.std())}
"""
TUNING = """
from stages.generators.diffusion.vq_diffusion_model import load_vq_unet
from stages.networks.time_mapper import TimeMapper
from stages.networks.token_denoiser import TokenDenoiser
from stages.networks.tuned_network import TunedNetwork
from stages.objectives.denoising_error import DenoisingError
from stages.priors.scheduler_noise import noise_of_scheduler
from stages.training.loop import train
from stages.training.recipe import OptimiserSpec, Recipe

class Learner(torch.nn.Module):
    def __init__(self, denoiser):
        super().__init__()
        # In the place of what makes tokens of a response.
        self.tokens = torch.nn.Parameter(torch.randn(1, 77, 512))
        self.denoiser = denoiser
        self.error = DenoisingError("tokens", "latent", denoiser, noise_of_scheduler(folder)[0])

    def forward(self, batch):
        return self.error({"tokens": self.tokens}, {"latent": batch["latent"]}, 0)

base = load_vq_unet(folder)
told["load_seconds"] = time.perf_counter() - start
tuned = TunedNetwork(base, [r".*\\.transformer_blocks\\.\\d+\\.(attn2|norm2)\\..*"])
learner = Learner(TokenDenoiser(tuned, TimeMapper()))
names = set(dict(tuned.named_parameters()))
def sums(network, chosen):
    return {name: float(value.double().sum()) for name, value in network.named_parameters() if chosen(name)}
before, own = sums(base, lambda name: True), sums(tuned, lambda name: True)
start = time.perf_counter()
spec = OptimiserSpec("adamw", learning_rate=5.3e-5, weight_decay=0.01)
batch = {"latent": torch.randn(1, 3, 64, 64)}
curves = train(learner, lambda step: batch, Recipe(steps=1, batch_size=1, optimiser=spec, clip=0.5, validate_every=1))
told["frozen_is_unchanged"] = sums(base, lambda name: True) == before
told["changed"] = sum(value != own[name] for name, value in sums(tuned, lambda name: True).items())
told["tuned_tensors"] = len(names)
told["trained"] = sum(one.numel() for one in learner.denoiser.parameters())
told["loss"] = curves["loss"][1][0]
"""
TOLD = """
over.set()
print(json.dumps(told | {"step_seconds": time.perf_counter() - start, "peak": peak[0]}))
"""


def write_full_size(folder):
    """One file of random weights in half precision, 0.9 GB, and the configurations of the manifest beside it."""
    for path, config in read_manifest()["label2img-ldm"].writes.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(config))
    shapes = {f"model.diffusion_model.{name}": shape for name, shape in unet_tensors(**CIN256_UNET, context=512)}
    shapes |= {f"first_stage_model.{name}": shape for name, shape in autoencoder_tensors(**CIN256_VQ)}
    shapes["cond_stage_model.embedding.weight"] = (1001, 512)
    pattern = np.random.default_rng(0).standard_normal(1 << 20).astype(np.float16)
    tensors = create_tensors(
        folder / "model.safetensors", {each: (shape, np.float16) for each, shape in shapes.items()}
    )
    for each, values in tensors.items():
        flat = values.reshape(-1)
        if len(shapes[each]) == 1:
            flat[:] = float(each.endswith("weight"))
            continue
        scaled = pattern * np.float16((values.shape[0] / values.size) ** 0.5)
        for start in range(0, len(flat), len(scaled)):
            flat[start : start + len(scaled)] = scaled[: len(flat) - start]
    return folder


def told_by(program, folder):
    command = [sys.executable, "-c", WATCHED + program + TOLD, str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    print(found)
    return found


@pytest.mark.slow
def test_one_step_of_drawing_and_of_tuning_at_full_size_fit_into_eight_gigabytes(tmp_path):
    write_full_size(tmp_path)
    told = told_by(DRAWING, tmp_path)
    assert told["shape"] == [256, 256, 3] and told["spread"] > 1
    assert told["peak"] < memory_need(SIZE, guided=False).total + 1.5e9 < 8e9
    told = told_by(TUNING, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert told["frozen_is_unchanged"] and told["changed"] == told["tuned_tensors"] == 112
    # With the mapper into the time.
    assert told["trained"] == 26_696_640 + (77 * 38 + 38) + (38 + 1) + (512 * 768 + 768)
    assert 0 < told["loss"] < 100 and told["peak"] < 8e9
