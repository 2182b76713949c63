"""The embedded generator: a dual-context latent diffusion model for 64 x 64 pictures.

It learns v-prediction (Salimans & Ho, 2022) on the autoencoder's latents, under the image tokens and the text
tokens of a picture, mixed in random proportions. Contexts are sometimes replaced by the unconditional ones, for
classifier-free guidance. Most contexts are made to look like embeddings that were predicted from brain activity
(`decoding_errors`).
"""

import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler

from stages.checkpoints.strict_loading import load_strictly
from stages.generators.diffusion.dual_context_pipeline import DualContextImg2ImgPipeline
from stages.generators.diffusion.unconditional_contexts import UnconditionalContexts
from stages.networks.dual_context_unet import DualContextUNet2DConditionModel
from tiny_networks import generator_figures
from tiny_networks.decoding_errors import DecodingErrors
from tiny_networks.generator_data import encode_pool, encoders
from tiny_networks.generator_start import initialised
from tiny_networks.training import averaged_weights, fit, record
from weights.partial_files import partial_name
from weights.whole_files import put_in_place

NAME = "generator"
STEPS = 12_000
COMPILED_FROM = 1000  # steps; compiling takes minutes
BATCH_SIZE = 96
GUIDANCE_SCALE = 3.5
CONFIG = {
    "sample_size": 8,
    "in_channels": 12,
    "out_channels": 12,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "block_out_channels": (80, 160),
    "layers_per_block": 1,
    "norm_num_groups": 16,
    "cross_attention_dim": 64,
    # diffusers calls the number of heads so: 5, of width 16 at 8 x 8 and of width 32 at 4 x 4.
    "attention_head_dim": 5,
    "use_linear_projection": True,
    "image_context_tokens": 65,
    "text_context_tokens": 24,
    "position_embedding": True,
}
SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "steps_offset": 1,
    "set_alpha_to_one": False,
    "clip_sample": False,
    "prediction_type": "v_prediction",
}
DROP_IMAGE, DROP_TEXT, DROP_BOTH = 0.20, 0.10, 0.07


class Objective:
    """The loss, with what it must know of the pool: errors of decoded tokens, the unconditional contexts.

    Parameters
    ----------
    encoded : EncodedPool
    """

    def __init__(self, encoded, statistics_rows=6000):
        rows = np.arange(min(statistics_rows, len(encoded)))
        self.unconditional, self.errors = [], []
        for tokens, nothing in (
            (encoded.image_tokens[rows].astype(np.float32), encoded.unconditional_image),
            (encoded.text_tokens(rows), encoded.unconditional_text),
        ):
            self.unconditional.append(torch.from_numpy(nothing.astype(np.float32)))
            self.errors.append(DecodingErrors(torch.from_numpy(tokens)))
        self.scheduler = DDIMScheduler(**SCHEDULE)

    def __call__(self, model, batch, generator):
        """Mean squared error of the predicted velocity, one random timestep and one random mixture per row."""
        latents, contexts = batch["latents"].float(), [batch["image"].float(), batch["text"].float()]
        n, device = len(latents), latents.device
        contexts = [errors(tokens, generator) for errors, tokens in zip(self.errors, contexts)]
        contexts = [
            torch.where(dropped.to(device)[:, None, None], nothing.to(device), tokens)
            for dropped, nothing, tokens in zip(dropped_contexts(n, generator), self.unconditional, contexts)
        ]

        def predict(noisy, timesteps):
            weights = mixing_weights(n, generator).to(device)
            return model(
                noisy,
                timesteps,
                torch.cat(contexts, dim=1),
                cross_attention_kwargs={"context_weights": weights},
                return_dict=False,
            )[0]

        return velocity_loss(self.scheduler, latents, generator, predict)


def velocity_loss(scheduler, latents, generator, predict, offset=0.0):
    """Mean squared error of the predicted velocity, one random timestep per row, and that of noisy and clean rows alone.

    Parameters
    ----------
    scheduler : diffusers.DDIMScheduler
    latents : float32 tensor of shape (n, channels, size, size)
    generator : torch.Generator
        On the CPU; timesteps and noise come from it, before `predict` is called.
    predict : callable
        ``predict(noisy_latents, timesteps)`` gives the velocity.
    offset : float
        How much of one normal number for each row is added to all of its noise.

    Returns
    -------
    error : tensor of shape ()
    parts : dict of str to float
    """
    n, device = len(latents), latents.device
    # Timesteps are spread evenly over the batch, so that its loss varies less.
    timesteps = ((torch.randperm(n, generator=generator) + torch.rand(n, generator=generator)) / n * 1000).long()
    noise = torch.randn(latents.shape, generator=generator)
    if offset:
        noise = noise + offset * torch.randn(n, 1, 1, 1, generator=generator)
    noise = noise.to(device)
    timesteps = timesteps.to(device)
    predicted = predict(scheduler.add_noise(latents, noise, timesteps), timesteps)
    error = (predicted.float() - scheduler.get_velocity(latents, noise, timesteps)).square().mean((1, 2, 3))
    noisy = timesteps > 500
    return error.mean(), {"noisy": error[noisy].mean().item(), "clean": error[~noisy].mean().item()}


def dropped_contexts(n, generator):
    """Draw which rows lose their image context and which their text context: two bool tensors of length n."""
    draw = torch.rand(n, generator=generator)
    both = draw < DROP_BOTH
    image = both | ((draw >= DROP_BOTH) & (draw < DROP_BOTH + DROP_IMAGE))
    text = both | ((draw >= DROP_BOTH + DROP_IMAGE) & (draw < DROP_BOTH + DROP_IMAGE + DROP_TEXT))
    return image, text


def mixing_weights(n, generator):
    """Draw weights of image and text, (n, 2): a third as published, a fifth of one context alone, the rest between."""
    draw, image = torch.rand(n, generator=generator), 0.3 + 0.6 * torch.rand(n, generator=generator)
    image = torch.where(draw < 1 / 3, 0.6, image)
    image = torch.where(draw > 0.8, 1.0, image)
    image = torch.where(draw > 0.9, 0.0, image)
    return torch.stack([image, 1 - image], dim=1)


def train(workspace, *, steps=None, device=None, threads=None):
    """Train in ``workspace/generator``, continuing what is there, and return the averaged network."""
    if threads is not None:
        torch.set_num_threads(threads)
    encoded = encode_pool(workspace)

    def batches(step):
        rows, chosen = batch_of(len(encoded), step)
        return {
            "latents": torch.from_numpy(encoded.latents[rows]),
            "image": torch.from_numpy(encoded.image_tokens[rows]),
            "text": torch.from_numpy(encoded.text_tokens(rows, chosen)),
        }

    return fit(
        NAME,
        initialised(CONFIG, encoded),
        Objective(encoded),
        batches,
        workspace=workspace,
        steps=steps or STEPS,
        learning_rate=1.5e-2,
        warmup=100,
        ema_decay=0.998,
        save_seconds=150,
        device=device,
        threads=threads,
        channels_last=False,
        muon=True,
        compiled=COMPILED_FROM <= (steps or STEPS),
    )


def batch_of(n, step, size=BATCH_SIZE):
    """Choose the pictures of one batch, a shuffled pass over the pool after the other, and of each some captions.

    Parameters
    ----------
    n : int
        Pictures of the pool.
    step : int
    size : int

    Returns
    -------
    rows : array of int, ascending
        `size` of them, or all `n`.
    chosen : float32 array of shape (len(rows), 5)
        1 for a caption that counts.
    """
    random, size = np.random.default_rng([3, step]), min(size, n)
    passed, position = divmod(step, n // size)
    shuffled = np.random.default_rng([4, passed]).permutation(n)
    rows = np.sort(shuffled[position * size : (position + 1) * size])
    # Mostly the mean over all five captions, which is what is predicted; now and then over some of them.
    chosen = (random.random((size, 5)) < 0.5) | (random.random((size, 1)) < 0.75)
    chosen[np.arange(size), random.integers(0, 5, size)] = True
    return rows, chosen.astype(np.float32)


def reached(workspace):
    """Load the averaged network as the training last kept it."""
    model = DualContextUNet2DConditionModel(**CONFIG)
    model.load_state_dict(averaged_weights(workspace, NAME))
    return model.eval()


def export(workspace, folder, guidance_scale=GUIDANCE_SCALE):
    """Write the generator's folder in diffusers' layout, in float16, with its card.

    The autoencoder in ``vae/`` is the one that the latents of the training came from; another one that lies there
    is replaced.

    Parameters
    ----------
    workspace : path-like
        Where `train` keeps its state; it may still be running.
    folder : path-like
        Usually ``weights/tiny/generator``.

    Returns
    -------
    figures : dict of str to float
    """
    folder, source = Path(folder), encoders(workspace)
    encoded = encode_pool(workspace)
    pipeline = DualContextImg2ImgPipeline(
        vae=load_strictly(AutoencoderKL, source / "vae"),
        unet=reached(workspace).half(),
        scheduler=DDIMScheduler(**SCHEDULE),
        unconditional_contexts=UnconditionalContexts.from_contexts(
            np.array(encoded.unconditional_image, np.float32), np.array(encoded.unconditional_text, np.float32)
        ).half(),
        guidance_scale=guidance_scale,
    )
    unfinished = partial_name(folder)
    pipeline.unet.save_pretrained(unfinished / "unet")
    pipeline.scheduler.save_pretrained(unfinished / "scheduler")
    pipeline.unconditional_contexts.save_pretrained(unfinished / "unconditional_contexts")
    pipeline.save_config(unfinished)
    shutil.copytree(source / "vae", unfinished / "vae")
    held_out = generator_figures.figures(workspace, unfinished)
    (unfinished / "card.md").write_text(_card(record(workspace, NAME), held_out, guidance_scale), encoding="utf-8")
    for part in sorted(path for path in unfinished.rglob("*") if path.is_file()):
        target = folder / part.relative_to(unfinished)
        target.parent.mkdir(parents=True, exist_ok=True)
        put_in_place(part, target)
    shutil.rmtree(unfinished)
    return held_out


def figures(workspace, folder, n=100):
    """Held-out figures of an exported generator; see `generator_figures.figures`."""
    return generator_figures.figures(workspace, folder, n)


def _card(training, held_out, guidance_scale):
    lines = "\n".join(f"| held out, {name.replace('_', ' ')} | {value:.3f} |" for name, value in held_out.items())
    progress = f"{training['steps']:,} of {training['planned_steps']:,} steps of {BATCH_SIZE}"
    learned = f"{training['pictures']:,} pictures ({progress})"
    return f"""# tiny-generator

A dual-context latent diffusion model for the 64 x 64 pictures of brainrecon's simulated world, in diffusers'
folder layout: Versatile Diffusion's image UNet with a transformer per context, at small size.

| | |
|---|---|
| made by | `scripts/train_tiny.py --only generator`, from nothing |
| learned from | {learned} of drawn scenes, handwritten digits (scikit-learn's) and binary patterns |
| time | {training["seconds"] / 60:.0f} minutes on {training["device"]}, {training["threads"]} thread(s) |
| parameters of the UNet | {training["parameters"]:,}, stored as float16, computed in float32 |
| latents | 8 x 8 x 12, from `vae/`, which has a card of its own |
| contexts | 65 image tokens and 24 text tokens of tiny-clip, width 64; unconditional: mid-grey, the empty caption |
| objective | v-prediction, 1,000 steps, betas scaled-linear 0.00085 to 0.012; average of the weights |
| default guidance | {guidance_scale:g}, chosen on training stimuli of a simulated cohort |
{lines}
| licence | MIT, as the repository |

The held-out figures are for drawn scenes under their true embeddings, weights 0.6 and 0.4, 50 steps: redrawn from
the true stage-one picture at strength 0.75 (oracle), drawn from noise, and that stage-one picture itself. Names
(category, colour, background) count as right where the evaluation network says of the drawn picture what it says of
the shown one. It knows nothing of photographs.
"""
