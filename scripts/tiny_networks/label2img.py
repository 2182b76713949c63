"""The embedded label-to-image model: latent diffusion of the drawn world's kinds of things, on a codebook's latents.

As latent diffusion of ImageNet's classes (Rombach and others, 2022): the token of a label is all that cross-attention reads,
the network predicts the noise in latents before quantising, and square roots of betas are linear from 0.0015 to 0.0195. Now and
then the label is that of no class, for classifier-free guidance. Steps with little noise, of which there are many, count less
(Hang and others, 2023: the weight is min(SNR, 5) / SNR).
"""

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import PNDMScheduler, UNet2DConditionModel
from torch import nn

from brainrecon.simulation.world.pictures import LABELS
from stages.checkpoints.strict_loading import load_strictly
from stages.generators.diffusion.class_labels import ClassTokens
from stages.networks.codebook_autoencoder import load_vq
from stages.priors.noise_process import NoiseProcess
from tiny_networks import label2img_figures, vq_autoencoder
from tiny_networks.pool import load_pool
from tiny_networks.training import averaged_weights, fit, record
from weights.whole_files import whole_file, write_text

NAME = "label2img"
STEPS = 12_100
BATCH_SIZE = 32
PICTURES = 20_000
WIDTH = 64
CONFIG = {
    "sample_size": 16,
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": (48, 80),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    # diffusers calls the number of heads so.
    "attention_head_dim": 2,
    "cross_attention_dim": WIDTH,
    "norm_num_groups": 16,
    "class_embed_type": "identity",
}
SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.0015,
    "beta_end": 0.0195,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "set_alpha_to_one": False,
    "prediction_type": "epsilon",
}
DROPPED = 0.10
LARGEST_RATIO = 5.0


class LabelledUNet(nn.Module):
    """The UNet with the tokens of labels, which are learned together."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)  # diffusers' constructors take no generator.
        self.unet = UNet2DConditionModel(**CONFIG)
        self.labels = ClassTokens(len(LABELS) + 1, WIDTH)

    def forward(self, noisy, timesteps, labels):
        """Predict the noise."""
        zeros = noisy.new_zeros(len(noisy), 4 * CONFIG["block_out_channels"][0])
        tokens = self.labels.embedding(labels)[:, None]
        return self.unet(noisy, timesteps, tokens, class_labels=zeros, return_dict=False)[0]


class Objective:
    """The loss, with the noise process."""

    def __init__(self):
        self.process = NoiseProcess.scaled_linear()
        ratio = self.process.kept / (1 - self.process.kept)
        self.weights = torch.from_numpy(np.minimum(ratio, LARGEST_RATIO) / ratio).float()

    def __call__(self, model, batch, random):
        """Mean squared error of the predicted noise, one random step per row."""
        latents, labels = batch["latents"].float(), batch["labels"]
        steps = torch.randint(0, self.process.n_steps, (len(latents),), generator=random)
        noise = torch.randn(latents.shape, generator=random)
        dropped = torch.rand(len(latents), generator=random) < DROPPED
        labels = torch.where(dropped.to(labels.device), len(LABELS), labels)
        weights, steps, noise = (each.to(latents.device) for each in (self.weights[steps], steps, noise))
        found = model(self.process.noisy(latents, noise, steps), steps, labels)
        error = (found.float() - noise).square().mean((1, 2, 3))
        return (weights * error).mean(), {"error": error.mean().item()}


def train(workspace, *, steps=None, device=None, threads=None):
    """Train in ``workspace/label2img``, continuing what is there, and return the averaged network."""
    if threads is not None:
        torch.set_num_threads(threads)
    latents, labels = encoded(workspace)
    pool = load_pool(workspace)

    def batches(step):
        rows = pool.batch_indices(step, BATCH_SIZE) % len(latents)
        return {"latents": torch.from_numpy(latents[rows]), "labels": torch.from_numpy(labels[rows])}

    return fit(
        NAME,
        LabelledUNet(),
        Objective(),
        batches,
        workspace=workspace,
        steps=steps or STEPS,
        learning_rate=1e-2,
        warmup=50,
        ema_decay=0.995,
        save_seconds=120,
        device=device,
        threads=threads,
        channels_last=False,
        muon=True,
    )


def encoded(workspace):
    """What the exported autoencoder makes of the pool, kept beside the training.

    Returns
    -------
    latents : array of shape (n, 3, 16, 16), float16
    labels : array of shape (n,), int64
    """
    folder, pool = Path(workspace) / NAME, load_pool(workspace)
    n, path = min(PICTURES, len(pool)), folder / "latents.npy"
    if not (folder / "autoencoder" / "vae").is_dir():
        vq_autoencoder.export(workspace, folder / "autoencoder")
    if not path.exists():
        model = load_vq(folder / "autoencoder")
        parts = [
            vq_autoencoder.encode(model, torch.from_numpy(np.array(pool.images[start : start + 500])))
            for start in range(0, n, 500)
        ]
        with whole_file(path) as partial, open(partial, "wb") as file:
            np.save(file, torch.cat(parts).half().numpy())
    numbers = {name: number for number, name in enumerate(LABELS)}
    labels = np.array([numbers[name] for name in pool.labels["category"][:n]], dtype=np.int64)
    return np.load(path, allow_pickle=False), labels


def reached(workspace):
    """Load the averaged network as the training last kept it."""
    model = LabelledUNet()
    model.load_state_dict(averaged_weights(workspace, NAME))
    return model.eval()


def export(workspace, folder):
    """Write the folder in diffusers' layout, in float16, with its card.

    Parameters
    ----------
    workspace : path-like
        Where `train` keeps its state; it may still be running.
    folder : path-like
        Usually ``weights/tiny/label2img``.

    Returns
    -------
    figures : dict of str to float
    """
    folder, model = Path(folder), reached(workspace)
    vae = Path(workspace) / NAME / "autoencoder" / "vae"
    # That of the latents it learned from.
    load_strictly(vq_autoencoder.VQModel, vae).half().save_pretrained(folder / "vae")
    write_text(folder / "vae" / "card.md", (vae / "card.md").read_text())
    model.half()
    model.unet.save_pretrained(folder / "unet")
    model.labels.save_pretrained(folder / "labels")
    PNDMScheduler(**SCHEDULE).save_pretrained(folder / "scheduler")
    write_text(folder / "labels" / "names.json", json.dumps(LABELS, indent=1) + "\n")
    held_out = figures(folder)
    write_text(folder / "card.md", _card(record(workspace, NAME), held_out))
    return held_out


def figures(folder):
    """Figures of an exported model; see `label2img_figures.figures`."""
    return label2img_figures.figures(folder)


def _card(training, held_out):
    progress = f"{training['steps']:,} of {training['planned_steps']:,} steps of {BATCH_SIZE}"
    learned = f"{training['pictures']:,} pictures ({progress})"
    lines = "\n".join(f"| {name.replace('_', ' ')} | {value:.3f} |" for name, value in held_out.items())
    return f"""# tiny-label2img

Latent diffusion under the label of a class alone (Rombach and others, 2022, "cin256-v2") for the 64 x 64 pictures of
brainrecon's simulated world, in diffusers' folder layout, at small size.

| | |
|---|---|
| made by | `scripts/train_tiny.py --only vq-autoencoder --only label2img`, from nothing |
| learned from | {learned} of drawn scenes, handwritten digits (scikit-learn's) and binary patterns |
| time | {training["seconds"] / 60:.0f} minutes on {training["device"]}, {training["threads"]} thread(s) |
| parameters of UNet and labels | {training["parameters"]:,}, stored as float16, computed in float32 |
| latents | 16 x 16 x 3 before quantising, from `vae/`, which has a card of its own |
| condition | one token of {WIDTH} values for each of {len(LABELS)} labels (`labels/names.json`), and one of no class |
| objective | the noise, 1,000 steps, betas scaled-linear 0.0015 to 0.0195; average of the weights |
{lines}
| licence | MIT, as the repository |

The figures are for {label2img_figures.PER_LABEL} pictures of each label, drawn from noise in {label2img_figures.STEPS} steps
under guidance {label2img_figures.GUIDANCE:g} and under none: how many the evaluation network names by the label that they were
drawn for; by chance it would be one in {len(LABELS)}. It knows nothing of photographs.
"""
