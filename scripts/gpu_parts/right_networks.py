"""Whether networks compute on the device what they compute on the CPU in float32, and stage one what numpy does in float64."""

import bench_training
import numpy as np
import torch

from gpu_parts.check import Row, apart, tf32
from stages.decoders.ridge.ridge_solver import ridge_predictions
from stages.generators.gan.icgan import ICGANGenerator
from stages.generators.generator import Item, in_order
from stages.networks.evaluation_network import EvaluationNetwork
from stages.networks.vdvae import VDVAE
from stages.targets.autoencoder_latents import AutoencoderLatents
from stages.targets.clip import CLIPImageTokens, CLIPTextTokens
from stages.targets.instance_features import InstanceFeatures
from stages.targets.vdvae import VDVAELatents
from weights import store

# Of the outcome's standard deviation. Float32 rounds to 6e-8 and networks add up some thousand products in some dozen layers.
FLOAT32 = 2e-3
# TF32 keeps ten bits of a product's factors.
TF32 = 0.1


def pictures():
    """Eight pictures of 64 x 64, made of coarse cells."""
    cells = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
    return cells.repeat(8, axis=1).repeat(8, axis=2)


def encoded(kind, name, **options):
    """Return ``outcome(device)`` of a target of the embedded networks."""

    def outcome(device):
        target = kind.from_pretrained(store.path(name), device=device, **options)
        stimuli = [["a dog"], ["two birds on a tree"]] if target.takes == "captions" else pictures()
        return np.asarray(target.encode(stimuli))

    return outcome


@torch.inference_mode()
def vdvae_decoded(device):
    """Pictures of random latents, as floats would hide nothing: their grey levels."""
    network = VDVAE.from_pretrained(store.path("tiny-vdvae"), device)
    random = torch.Generator().manual_seed(0)
    latents = [torch.randn(4, *shape, generator=random).to(device) for shape in network.latent_shapes]
    return np.asarray(torch.as_tensor(network.decode(latents)).cpu())


def judged(device):
    """Embeddings by the network that judges tiny pictures."""
    return np.asarray(EvaluationNetwork.from_pretrained(store.path("tiny-evaluation"), device).embed(pictures()))


def icgan(device):
    """Pictures of the embedded generator."""
    generator = ICGANGenerator.from_pretrained(store.path("tiny-icgan"), device)
    random = np.random.default_rng(0)
    values = {
        name: random.standard_normal((4, *shape), dtype=np.float32)
        for name, shape in generator.takes.items()
        if name not in generator.optional
    }
    return np.stack(in_order(generator.draw(values, [Item(f"picture-{k}") for k in range(4)])))


@torch.inference_mode()
def mindeye(device):
    """Tokens of the tiny MindEye's trunk."""
    work = bench_training.made("tiny", 1, "cpu")
    network = work.network().eval().to(device)
    patterns = torch.randn(4, 1000, generator=torch.Generator().manual_seed(0)).to(device)
    return np.concatenate([each.flatten(1).cpu() for each in network.voxel2clip(patterns)], axis=1)


NETWORKS = {
    "CLIP, picture tokens": encoded(CLIPImageTokens, "tiny-clip"),
    "CLIP, caption tokens": encoded(CLIPTextTokens, "tiny-clip"),
    "instance features": encoded(InstanceFeatures, "tiny-clip"),
    "VDVAE, latents": encoded(VDVAELatents, "tiny-vdvae"),
    "VDVAE, decoded": vdvae_decoded,
    "autoencoder, latents": encoded(AutoencoderLatents, "tiny-generator", size=64),
    "network that judges": judged,
    "IC-GAN, pictures": icgan,
    "MindEye, trunk": mindeye,
}


def right_networks(check):
    """Yield how far each network is from the CPU, with and without TF32."""
    for name, outcome in NETWORKS.items():
        try:
            reference = outcome("cpu")
            with tf32(False):
                found = outcome(check.device)
            # Grey levels are whole numbers: one of them may be rounded the other way.
            allowed = FLOAT32 + (1.01 / reference.std() if reference.dtype == np.uint8 else 0)
            yield Row(f"{name}, float32", apart(found, reference), "of the spread", allowed)
            if check.device.type == "cuda":
                with tf32(True):
                    found = outcome(check.device)
                yield Row(f"{name}, TF32", apart(found, reference), "of the spread", TF32 + allowed)
        except Exception as error:
            # One network that fails says nothing about the next one.
            yield Row.of_failure(name, error)


def right_ridge(check):
    """Yield how far stage one is from the closed form in float64."""
    random = np.random.default_rng(0)
    n, n_voxels, n_targets, n_new = check.chosen((1500, 4000, 2000, 100), (150, 400, 200, 20))
    patterns, new = (random.standard_normal((k, n_voxels)).astype(np.float32) for k in (n, n_new))
    targets = random.standard_normal((n, n_targets)).astype(np.float32)
    alpha = 1e3
    mean, scale = patterns.mean(0, dtype=np.float64), patterns.std(0, ddof=1, dtype=np.float64)
    x, z = (patterns - mean) / scale, (new - mean) / scale
    y = targets.astype(np.float64)
    expected = z @ x.T @ np.linalg.solve(x @ x.T + alpha * np.eye(n), y - y.mean(0)) + y.mean(0)
    found = ridge_predictions(patterns, targets, new, alpha, device=str(check.device))
    yield Row(f"{n:,} x {n_voxels:,}, float32", apart(found, expected), "of the spread", 1e-3)
    doubled = ridge_predictions(patterns.astype(np.float64), targets, new, alpha, device=str(check.device))
    yield Row(f"{n:,} x {n_voxels:,}, float64", apart(doubled, expected), "of the spread", 1e-8)
