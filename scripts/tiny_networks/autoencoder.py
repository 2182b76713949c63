"""The embedded latent autoencoder: 64 x 64 x 3 pictures to 8 x 8 x 12 latents and back.

A `diffusers.AutoencoderKL` as latent diffusion uses them, without the adversarial term: at this size a term
on the differences between neighbouring pixels keeps edges crisp.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D

from tiny_networks.pool import load_pool
from tiny_networks.training import averaged_weights, fit, record
from weights.whole_files import write_text

NAME = "autoencoder"
STEPS = 4000
BATCH_SIZE = 8
CONFIG = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (16, 32, 64, 64),
    "layers_per_block": 1,
    "latent_channels": 12,
    "norm_num_groups": 8,
    "sample_size": 64,
    "mid_block_add_attention": False,
}
SQUARED_ERROR_WEIGHT = 2.0
EDGE_WEIGHT = 0.5
KL_WEIGHT = 5e-6


def build():
    """Make the network, each residual block silent at first: what remains is nearly linear and learns at once."""
    torch.manual_seed(0)  # diffusers' constructors take no generator.
    model = AutoencoderKL(**CONFIG)
    for module in model.modules():
        if isinstance(module, ResnetBlock2D):
            torch.nn.init.zeros_(module.conv2.weight)
            torch.nn.init.zeros_(module.conv2.bias)
    return model


def to_network(images):
    """Turn uint8 pictures (n, height, width, 3) into float32 (n, 3, height, width) in -1 to 1."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def loss(model, images, generator):
    """Absolute and squared error of pixels, absolute error of their differences, and a small KL term."""
    pictures = to_network(images)
    posterior = model.encode(pictures).latent_dist
    noise = torch.randn(posterior.mean.shape, generator=generator).to(pictures.device)
    decoded = model.decode(posterior.mean + posterior.std * noise).sample.float()
    error = decoded - pictures
    squared_error = error.square().mean()
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    kl = posterior.kl().float().mean()
    total = error.abs().mean() + SQUARED_ERROR_WEIGHT * squared_error + EDGE_WEIGHT * edges + KL_WEIGHT * kl
    return total, {"psnr": -10 * np.log10(squared_error.item() / 4), "kl": kl.item()}


def train(workspace, *, steps=None, device=None, threads=None):
    """Train in ``workspace/autoencoder``, continuing what is there, and return the averaged network."""
    pool = load_pool(workspace)

    def batches(step):
        return torch.from_numpy(pool.images[pool.batch_indices(step, BATCH_SIZE)])

    return fit(
        NAME,
        build(),
        loss,
        batches,
        workspace=workspace,
        steps=steps or STEPS,
        learning_rate=5e-3,
        warmup=100,
        ema_decay=0.998,
        save_seconds=120,
        device=device,
        threads=threads,
        channels_last=False,
        muon=True,
    )


def reached(workspace):
    """Load the averaged network as the training last kept it."""
    model = AutoencoderKL(**CONFIG)
    model.load_state_dict(averaged_weights(workspace, NAME))
    return model.eval()


def export(workspace, folder):
    """Write what was reached into the generator's folder, as ``vae/`` in diffusers' layout, in float16.

    Parameters
    ----------
    workspace : path-like
        Where `train` kept its state.
    folder : path-like
        The generator's folder, usually ``weights/tiny/generator``.

    Returns
    -------
    figures : dict of str to float
        As from `figures`.
    """
    model = reached(workspace)
    pool = load_pool(workspace)
    images = torch.from_numpy(np.array(pool.images[:1000]))
    # Latents of unit spread are what the noise schedule of the diffusion model expects.
    spread = encode(model, images).std().item()
    model.register_to_config(scaling_factor=round(1 / spread, 5))
    target = Path(folder) / "vae"
    model.half().save_pretrained(target)
    scores = figures(target, load_pool(workspace, held_out=True))
    write_text(target / "card.md", _card(record(workspace, NAME), scores))
    return scores


@torch.no_grad()
def encode(model, images, batch_size=50):
    """Posterior means (n, 12, 8, 8), unscaled, of uint8 pictures (n, 64, 64, 3)."""
    return torch.cat([model.encode(to_network(part)).latent_dist.mean for part in images.split(batch_size)])


@torch.no_grad()
def rebuild(model, images, batch_size=50):
    """Send uint8 pictures (n, 64, 64, 3) through the autoencoder and return uint8 pictures."""
    parts = []
    for part in images.split(batch_size):
        decoded = model.decode(model.encode(to_network(part)).latent_dist.mean).sample
        parts.append(((decoded.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1))
    return torch.cat(parts)


def figures(folder, pool, n=500):
    """Measure an exported autoencoder on held-out pictures.

    Parameters
    ----------
    folder : path-like
        A folder in diffusers' layout.
    pool : Pool
        The held-out pictures.
    n : int
        How many of them.

    Returns
    -------
    dict of str to float
        Mean over pictures of the peak signal-to-noise ratio in dB, over all and per kind of picture.
    """
    model = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32).eval()
    images = torch.from_numpy(np.array(pool.images[:n]))
    error = (rebuild(model, images).double() - images.double()).square().mean((1, 2, 3))
    psnr = 10 * torch.log10(255**2 / error.clamp(min=1e-3))
    kinds = np.array(pool.labels["kind"][:n])
    scores = {"psnr_db": psnr.mean().item()}
    for kind in sorted(set(kinds)):
        scores[f"psnr_db_{kind}"] = psnr[torch.from_numpy(kinds == kind)].mean().item()
    return scores


def _card(trained, scores):
    lines = [f"- held-out {name.replace('_', ' ')}: {value:.2f}" for name, value in scores.items()]
    return f"""# Latent autoencoder, 64 x 64 x 3 to 8 x 8 x 12

`diffusers.AutoencoderKL`, {trained["parameters"]:,} parameters, stored in float16, computed in float32.
Trained from nothing by `scripts/train_tiny.py --only autoencoder` on drawn pictures (scenes, handwritten
digits, checker patterns; `brainrecon/simulation`): {trained["steps"]:,} steps, {trained["pictures"]:,}
pictures, {trained["seconds"] / 60:.0f} minutes on {trained["device"]} ({trained["threads"]} thread).
The handwritten digits derive from those that scikit-learn ships (UCI optical recognition of handwritten
digits). Useless for photographs.

{chr(10).join(lines)}

Licence: MIT, as the toolkit.
"""
