"""The embedded VDVAE: the published architecture at small size; its first layers tell most of the picture.

Decoding predicts the first ``target_layers`` layers and leaves the others at their prior's mean. Trained on
the bound alone, a VDVAE puts into the first layers whatever is cheapest there, which need not be a good
picture. So only a quarter of every batch is told through all layers and judged by the bound. The rest is
told through the target layers alone and judged by the squared error of the expected picture, which is a
Gaussian likelihood of fixed spread, plus the cost of those layers.
"""

from pathlib import Path

import numpy as np
import torch

from stages.networks import logistic_mixture
from stages.networks.vdvae import VDVAE
from stages.networks.vdvae_presets import TINY64
from tiny_networks.pool import load_pool
from tiny_networks.training import averaged_weights, fit, record

NAME = "vdvae"
STEPS = 1600
BATCH_SIZE = 16
TOLD_THROUGH_ALL_LAYERS = 4  # of a batch
# Nats per unit of squared error in [-1, 1]: a Gaussian whose standard deviation is 14 grey levels.
SQUARED_ERROR_WEIGHT = 40.0


def loss(model, images, generator):
    """Nats per value: the bound for some pictures, squared error and target layers' cost for the others."""
    all_layers, target_layers = len(model.latent_shapes), model.config.target_layers
    told = TOLD_THROUGH_ALL_LAYERS
    n_layers = torch.full((len(images),), target_layers)
    n_layers[:told] = all_layers
    rate, parameters = model.transmit(images, generator, n_layers)
    distortion = model.distortion(parameters[:told], images[:told]).mean()
    error = logistic_mixture.mean(parameters[told:]) - model.colours(images[told:])
    squared_error = error.square().mean()
    total = (distortion * told + SQUARED_ERROR_WEIGHT * squared_error * (len(images) - told)) / len(images)
    total = total + rate.sum(1).mean()
    logs = {
        "distortion": distortion.item(),
        "target_rate": rate[:, :target_layers].sum(1).mean().item(),
        "further_rate": rate[:told, target_layers:].sum(1).mean().item(),
        "target_psnr": -10 * np.log10(squared_error.item() / 4),
    }
    return total, logs


def train(workspace, *, steps=None, device=None, threads=None):
    """Train in ``workspace/vdvae``, continuing what is there, and return the averaged network."""
    pool = load_pool(workspace)

    def batches(step):
        return torch.from_numpy(pool.images[pool.batch_indices(step, BATCH_SIZE)])

    torch.manual_seed(0)  # The initial weights; torch's constructors take no generator.
    return fit(
        NAME,
        VDVAE(TINY64),
        loss,
        batches,
        workspace=workspace,
        steps=steps or STEPS,
        learning_rate=5e-3,
        warmup=200,
        ema_decay=0.995,
        save_seconds=120,
        device=device,
        threads=threads,
        muon=True,
    )


def reached(workspace):
    """Load the averaged network as the training last kept it."""
    return VDVAE.from_tensors(TINY64, averaged_weights(workspace, NAME), Path(workspace) / NAME)


def export(workspace, folder):
    """Write the checkpoint ``folder``: config.json, model.safetensors (float16) and card.md."""
    reached(workspace).save_pretrained(folder)
    held_out = figures(folder, images=load_pool(workspace, held_out=True).images[:500])
    Path(folder, "card.md").write_text(_card(record(workspace, NAME), held_out), encoding="utf-8")
    return held_out


def figures(folder, images=None, n=500, batch_size=50):
    """Held-out figures of an exported network.

    Parameters
    ----------
    folder : path
    images : array of shape (n, 64, 64, 3), uint8, optional
        Held-out pictures; drawn when None.
    n : int
        How many to draw.

    Returns
    -------
    figures : dict of str to float
        Mean peak signal-to-noise ratio in decibels of pictures told through all layers and through the target
        layers alone, both by posterior means; the bound in nats per value.
    """
    if images is None:
        from brainrecon.simulation.world.pictures import draw_pictures
        from tiny_networks.pool import HELD_OUT_SEED

        images = np.stack([picture.image for picture in draw_pictures(HELD_OUT_SEED, range(n))])
    model = VDVAE.from_pretrained(folder)
    generator = torch.Generator().manual_seed(0)
    told, bounds = {"psnr_all_layers": [], "psnr_target_layers": []}, []
    for start in range(0, len(images), batch_size):
        batch = np.array(images[start : start + batch_size])
        latents = model.encode(batch)
        for name, n_layers in (("psnr_all_layers", None), ("psnr_target_layers", model.config.target_layers)):
            told[name].append(_psnr(batch, model.decode(latents[:n_layers])))
        with torch.no_grad():
            bounds.append(model.bound(torch.from_numpy(batch), generator).numpy())
    result = {name: float(np.concatenate(values).mean()) for name, values in told.items()}
    return result | {"bound_nats_per_value": float(np.concatenate(bounds).mean())}


def _psnr(shown, told):
    error = ((shown.astype(np.float32) - told.astype(np.float32)) ** 2).mean(axis=(1, 2, 3))
    return 10 * np.log10(255**2 / np.maximum(error, 1e-2))


def _card(training, held_out):
    target = sum(int(np.prod(shape)) for shape in TINY64.latent_shapes[: TINY64.target_layers])
    learned = f"{training['pictures']:,} pictures ({training['steps']:,} steps of {BATCH_SIZE})"
    whole = f"PSNR {held_out['psnr_all_layers']:.1f} dB, bound {held_out['bound_nats_per_value']:.2f} nats per value"
    return f"""# tiny-vdvae

A very deep VAE (Child, 2021) for the 64 x 64 pictures of brainrecon's simulated world: the published
architecture at small size, with the published names of its parameters.

| | |
|---|---|
| made by | `scripts/train_tiny.py --only vdvae`, from nothing |
| learned from | {learned}: drawn scenes, scikit-learn's handwritten digits, patterns |
| time | {training["seconds"] / 60:.0f} minutes on {training["device"]}, {training["threads"]} thread(s) |
| parameters | {training["parameters"]:,}, stored as float16, computed in float32 |
| encoder | `{TINY64.encoder_blocks}` |
| decoder | `{TINY64.decoder_blocks}`, {len(TINY64.latent_shapes)} layers of latents |
| target | the first {TINY64.target_layers} layers, {target:,} values |
| held out, told through all layers | {whole} |
| held out, told through the target layers alone | PSNR {held_out["psnr_target_layers"]:.1f} dB |
| licence | MIT, as the repository |

A quarter of each batch was judged by the bound on the likelihood, as published. The rest was told through the
target layers alone, the others at their prior's mean, and judged by squared error, so that the target layers
carry the picture. It knows nothing of photographs.
"""
