"""The embedded IC-GAN: the published generator's layout at small size, made to be inverted and decoded.

The published network learned from a discriminator, for days. This one learns as the decoder of an autoencoder, in
minutes: two small encoders, which are thrown away, tell it a picture as noise and as a dense vector, under a Gaussian
prior each, beside the picture's instance features. A half of every batch is told by the noise alone, the other half by
the dense vector and the noise, so that both entries of the network are learned. Dense vectors are disturbed, as those
predicted from brain activity will be; so are instance features.

Instance features are the pooled image vector of tiny-clip, of unit length.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from brainrecon.methods.icgan2022 import ICGAN2022
from stages.generators.gan.icgan import ICGANGenerator
from stages.generators.generator import Item, in_order
from stages.inverters.latent_search import Inversion, InversionSettings
from stages.networks.icgan import BOTTOM, ICGAN, ICGANConfig, to_pictures
from stages.targets.clip import CLIPImageVector
from stages.targets.instance_features import InstanceFeatures
from tiny_networks.generator_figures import first_scenes, scores
from tiny_networks.pool import load_pool
from tiny_networks.training import averaged_weights, fit, record
from weights import store
from weights.whole_files import whole_file

NAME = "icgan"
STEPS = 2600
BATCH_SIZE = 32
CONFIG = ICGANConfig(image_size=64, channels=12, noise=80, instance_features=64, shared_features=64, attention=32)
# Spread of the dense vector under its prior, about what the linear layer gives under standard normal noise.
DENSE_SPREAD = 0.1
# Disturbances: of instance features (their length is 1), and of the dense vector in units of its spread.
FEATURE_NOISE, DENSE_NOISE = 0.25, 0.3
# Cost of a nat, against the squared error per value of a picture (-1 to 1).
NOISE_RATE, DENSE_RATE = 2e-5, 1e-6
FIRST_LOG_STD = -1.5
EDGES = 0.5  # weight of absolute differences between neighbours, which keeps outlines


class Inverter(nn.Module):
    """A picture as the mean and log standard deviation of noise and dense vector, under standard normal priors."""

    def __init__(self, config, width=32):
        super().__init__()
        widths = [3, width, width * 2, width * 4, width * 6]
        layers = []
        for inputs, outputs in zip(widths, widths[1:]):
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.GroupNorm(8, outputs), nn.SiLU()]
        self.body = nn.Sequential(*layers)
        self.to_dense = nn.Conv2d(widths[-1], 2 * config.widths[0], 1)
        self.to_noise = nn.Linear(widths[-1] * BOTTOM**2, 2 * config.n_noise)
        # Posteriors narrower than their priors from the beginning, or the draws drown what they are to tell.
        for layer in (self.to_dense, self.to_noise):
            nn.init.constant_(layer.bias[len(layer.bias) // 2 :], FIRST_LOG_STD)

    def forward(self, pictures):
        """Of (n, 3, 64, 64), means and log standard deviations: noise (n, n_noise) each, dense (n, n_dense) each."""
        hidden = self.body(pictures)
        dense = (part.flatten(1) for part in self.to_dense(hidden).chunk(2, dim=1))
        return self.to_noise(hidden.flatten(1)).chunk(2, dim=1), tuple(dense)


class Autoencoder(nn.Module):
    """What is trained: the generator, and the encoders that it learns with."""

    def __init__(self):
        super().__init__()
        self.generator = ICGAN(CONFIG)
        for module in self.generator.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.orthogonal_(module.weight)
        self.inverter = Inverter(CONFIG)

    def forward(self, pictures, instance, draws):
        """Pictures told through noise (first half) or dense vector (second), and both rates in nats per picture."""
        noise, dense = self.inverter(pictures)
        noise, noise_rate = _drawn(*noise, draws["noise"])
        offset, dense_rate = _drawn(*dense, draws["dense"])
        start = self.generator.dense(noise)
        told = start + DENSE_SPREAD * (offset + DENSE_NOISE * draws["disturbance"])
        half = len(pictures) // 2
        by_dense = (torch.arange(len(pictures), device=pictures.device) >= half)[:, None]
        pictures = self.generator(noise, instance, torch.where(by_dense, told, start))
        return pictures, noise_rate, dense_rate[half:]


def _drawn(mean, log_std, draw):
    """A draw from a posterior, and its divergence from the standard normal prior, per picture."""
    log_std = log_std.clamp(-6, 2)
    rate = 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).sum(1)
    return mean + log_std.exp() * draw, rate


def loss(model, batch, generator):
    """Squared error, differences at edges, and the cost of both codes."""
    images, instance = batch
    shown = to_pictures(images.permute(0, 3, 1, 2))

    def normal(width):
        return torch.randn(len(images), width, generator=generator).to(shown.device)

    draws = {"noise": normal(CONFIG.n_noise), "dense": normal(CONFIG.n_dense), "disturbance": normal(CONFIG.n_dense)}
    length = FEATURE_NOISE * torch.rand(len(images), 1, generator=generator).to(shown.device)
    instance = instance + length * functional.normalize(normal(instance.shape[1]), dim=1)
    told, noise_rate, dense_rate = model(shown, functional.normalize(instance, dim=1), draws)
    error = told.float() - shown
    squared = error.square().mean(dim=(1, 2, 3))
    edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    total = squared.mean() + EDGES * edges + NOISE_RATE * noise_rate.mean() + DENSE_RATE * dense_rate.mean()
    half = len(images) // 2
    logs = {
        "noise_psnr": -10 * np.log10(squared[:half].mean().item() / 4),
        "dense_psnr": -10 * np.log10(squared[half:].mean().item() / 4),
        "noise_nats": noise_rate.mean().item(),
        "dense_nats": dense_rate.mean().item(),
    }
    return total, logs


def train(workspace, *, steps=None, device=None, threads=None):
    """Train in ``workspace/icgan``, continuing what is there, and return the averaged network."""
    pool = load_pool(workspace)
    instance = instance_features(workspace, pool)

    def batches(step):
        rows = pool.batch_indices(step, BATCH_SIZE)
        return torch.from_numpy(pool.images[rows]), torch.from_numpy(instance[rows])

    torch.manual_seed(0)  # The initial weights; torch's constructors take no generator.
    return fit(
        NAME,
        Autoencoder(),
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


def instance_features(workspace, pool):
    """Instance features of a pool (n_pictures, 64), float32; computed once and kept."""
    path = Path(workspace) / NAME / "instance_features.npy"
    if path.exists() and len(known := np.load(path, allow_pickle=False)) == len(pool):
        return known
    model = CLIPImageVector.from_pretrained(store.path("tiny-clip"), normalise=True)
    parts = [model.encode(np.array(pool.images[start : start + 500])) for start in range(0, len(pool), 500)]
    with whole_file(path) as partial:
        np.save(partial, np.concatenate(parts))
    return np.concatenate(parts)


def reached(workspace):
    """Load the averaged generator as the training last kept it."""
    model = Autoencoder()
    model.load_state_dict(averaged_weights(workspace, NAME))
    return model.generator


def export(workspace, folder):
    """Write the checkpoint ``folder``: config.json, model.safetensors (float16) and card.md."""
    reached(workspace).save_pretrained(folder)
    held_out = figures(folder, load_pool(workspace, held_out=True))
    Path(folder, "card.md").write_text(_card(record(workspace, NAME), held_out), encoding="utf-8")
    return held_out


def figures(folder, pool, n=48):
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
        Of pictures redrawn from their own latents, found as the method finds them: the mean peak signal-to-noise ratio in
        decibels, and what `tiny_networks.generator_figures.scores` says of them.
    """
    rows = first_scenes(pool, n)
    shown = np.array(pool.images[rows])
    drawn = redrawn(folder, shown)
    error = (shown.astype(np.float32) - drawn.astype(np.float32)) ** 2
    psnr = 10 * np.log10(255**2 / np.maximum(error.mean(axis=(1, 2, 3)), 1e-2))
    return {"redrawn_psnr": float(psnr.mean())} | {
        f"redrawn_{name}": value for name, value in scores(shown, drawn).items()
    }


def redrawn(folder, images):
    """Pictures drawn from the latents that the method finds for uint8 pictures (n, 64, 64, 3), the same shape."""
    generator = ICGANGenerator.from_pretrained(folder)
    instance = InstanceFeatures.from_pretrained(store.path("tiny-clip"))
    settings = InversionSettings(**ICGAN2022.tiny["inversion"])
    latents = Inversion(generator.network, instance, settings).latents(images)
    items = [Item(f"picture-{row}") for row in range(len(images))]
    return np.stack(in_order(generator.draw({"instance": instance.encode(images), **latents}, items)))


def _card(training, held_out):
    learned = f"{training['pictures']:,} pictures ({training['steps']:,} steps of {BATCH_SIZE})"
    lines = "\n".join(
        f"| held out, {name.replace('_', ' ').replace('psnr', 'PSNR')} | {value:.1f} dB |"
        if name.endswith("psnr")
        else f"| held out, {name.replace('_', ' ')} | {value:.3f} |"
        for name, value in held_out.items()
    )
    noise_steps, dense_steps = ICGAN2022.tiny["inversion"].values()
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in ICGAN(CONFIG).parameters())
    return f"""# tiny-icgan

An instance-conditioned generator (Casanova and others, 2021) for the 64 x 64 pictures of brainrecon's simulated world:
BigGAN's published layout at small size, with the published names of its parameters.

| | |
|---|---|
| made by | `scripts/train_tiny.py --only icgan`, from nothing |
| learned from | {learned}: drawn scenes, scikit-learn's handwritten digits, patterns |
| time | {training["seconds"] / 60:.0f} minutes on {training["device"]}, {training["threads"]} thread(s) |
| parameters | {parameters:,}, stored as float16, computed in float32 |
| noise | {CONFIG.n_noise} values in {CONFIG.n_chunks} chunks |
| dense vector | {CONFIG.n_dense:,} values |
| instance features | the pooled image vector of tiny-clip, {CONFIG.instance_features} values of unit length |
{lines}
| licence | MIT, as the repository |

It learned as the decoder of an autoencoder whose encoders were thrown away, not from a discriminator: noise and dense
vector are codes of pictures under Gaussian priors. What it draws of random noise is therefore no better than a blur of the
things that the instance features name.

The held-out figures are for drawn scenes, redrawn from their true instance features and from noise and dense vectors that
were searched for as the method searches for them ({noise_steps} steps over the noise, {dense_steps} over both).
Names (category, colour, background) count as right where the evaluation network says of the drawn picture what it says of
the shown one. It knows nothing of photographs.
"""
