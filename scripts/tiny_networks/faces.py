"""The embedded VAE-GAN of faces: VanRullen and Reddy's layers at small size, for drawn pictures.

The published network learned as a variational autoencoder against a discriminator, whose training was never published. This
one learns as an autoencoder, in minutes: squared error of the pictures and of the differences between neighbours. Latents are
disturbed, as those decoded from brain activity will be; and they cost, so that as few as may be are large.
"""

from pathlib import Path

import numpy as np
import torch

from stages.generators.gan.face_vaegan import FaceVAEGANGenerator
from stages.generators.generator import Item, in_order
from stages.networks.face_vaegan import FaceVAEGAN, FaceVAEGANConfig, n_parameters
from stages.targets.face_latents import FaceLatents
from tiny_networks.generator_figures import first_scenes, scores
from tiny_networks.pool import load_pool
from tiny_networks.training import averaged_weights, fit, record

NAME = "faces"
STEPS = 3000
BATCH_SIZE = 32
CONFIG = FaceVAEGANConfig(picture=64, channels=(24, 48, 64, 96), hidden=128, latents=64)
DISTURBANCE = 0.2  # spread of what is added to latents, which lie between -1 and 1
LATENT_COST = 1e-4  # of a latent's square, against the squared error per value of a picture (0 to 1)
EDGES = 0.25  # weight of absolute differences between neighbours, which keeps outlines


def loss(model, images, generator):
    """Squared error, differences at edges, and the cost of the latents."""
    shown = images.permute(0, 3, 1, 2).float() / 255
    mu, _ = model.encoder(shown)
    noise = torch.randn(mu.shape, generator=generator).to(mu.device)
    error = model.generator(mu + DISTURBANCE * noise) - shown
    squared = error.square().mean()
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    total = squared + EDGES * edges + LATENT_COST * mu.square().mean()
    return total, {"psnr": -10 * np.log10(squared.item()), "spread": mu.std(dim=0).mean().item()}


def train(workspace, *, steps=None, device=None, threads=None):
    """Train in ``workspace/faces``, continuing what is there, and return the averaged network."""
    pool = load_pool(workspace)

    def batches(step):
        return torch.from_numpy(pool.images[pool.batch_indices(step, BATCH_SIZE)])

    return fit(
        NAME,
        FaceVAEGAN(CONFIG),
        loss,
        batches,
        workspace=workspace,
        steps=steps or STEPS,
        learning_rate=5e-3,
        warmup=100,
        ema_decay=0.995,
        autocast=False,
        save_seconds=120,
        device=device,
        threads=threads,
        muon=True,
    )


def reached(workspace):
    """Load the averaged network as the training last kept it."""
    model = FaceVAEGAN(CONFIG)
    model.load_state_dict(averaged_weights(workspace, NAME))
    return model.eval()


def export(workspace, folder):
    """Write the checkpoint ``folder``: config.json, model.safetensors (float16) and card.md."""
    reached(workspace).half().save_pretrained(folder)
    held_out = figures(folder, load_pool(workspace, held_out=True))
    card = _card(record(workspace, NAME), len(load_pool(workspace)), held_out)
    Path(folder, "card.md").write_text(card, encoding="utf-8")
    return held_out


def figures(folder, pool, n=200):
    """Held-out figures of an exported network.

    Parameters
    ----------
    folder : path
    pool : tiny_networks.pool.Pool
        Held-out pictures, of which the first `n` drawn scenes are looked at.
    n : int

    Returns
    -------
    figures : dict of str to float
        Of pictures redrawn from their own latents: the mean peak signal-to-noise ratio in decibels, and what
        `tiny_networks.generator_figures.scores` says of them.
    """
    shown = np.array(pool.images[first_scenes(pool, n)])
    drawn = redrawn(folder, shown)
    error = (shown.astype(np.float32) - drawn.astype(np.float32)) ** 2
    psnr = 10 * np.log10(255**2 / np.maximum(error.mean(axis=(1, 2, 3)), 1e-2))
    return {"redrawn_psnr": float(psnr.mean())} | {
        f"redrawn_{name}": value for name, value in scores(shown, drawn).items()
    }


def redrawn(folder, images):
    """Pictures drawn from the latents of whole uint8 pictures (n, 64, 64, 3), the same shape."""
    latents = FaceLatents.from_pretrained(folder, crop=1.0).encode(images)
    items = [Item(f"picture-{row}") for row in range(len(images))]
    return np.stack(in_order(FaceVAEGANGenerator.from_pretrained(folder).draw({"face_latents": latents}, items)))


def _card(training, n_pictures, held_out):
    lines = "\n".join(
        f"| held out, {name.replace('_', ' ').replace('psnr', 'PSNR')} | {value:.1f} dB |"
        if name.endswith("psnr")
        else f"| held out, {name.replace('_', ' ')} | {value:.3f} |"
        for name, value in held_out.items()
    )
    learned = f"{n_pictures:,} pictures ({training['steps']:,} steps of {BATCH_SIZE}): drawn scenes, handwritten digits, patterns"
    with torch.device("meta"):
        parameters = n_parameters(FaceVAEGAN(CONFIG))
    return f"""# tiny-faces

Encoder and generator of VanRullen and Reddy's VAE-GAN (2019) at small size, for the 64 x 64 pictures of brainrecon's simulated
world. It knows no faces: the name is that of the published network, whose layers these are.

| | |
|---|---|
| made by | `scripts/train_tiny.py --only faces`, from nothing |
| learned from | {learned} |
| time | {training["seconds"] / 60:.0f} minutes on {training["device"]}, {training["threads"]} thread(s) |
| parameters | {parameters:,}, stored as float16, computed in float32 |
| latents | {CONFIG.latents} values between -1 and 1 |
{lines}
| licence | MIT, as the repository |

It learned as an autoencoder with disturbed latents, not from a discriminator; the logarithm of their spread was not learned and
means nothing. The held-out figures are for whole drawn scenes, redrawn from their own latents. Names (category, colour,
background) count as right if the evaluation network says of the drawn picture what it says of the shown one.
"""
