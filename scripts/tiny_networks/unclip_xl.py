"""The embedded SDXL unCLIP: pictures of 64 x 64 from the tokens of tiny-clip's last layer, in the published layout.

It begins as what of the embedded generator reads pictures (`unclip_xl_start`), and learns on by the same objective:
v-prediction (Salimans & Ho, 2022) on the latents of the generator's autoencoder, under noise with the published offset. Now
and then standard normal noise stands in the place of tokens, which guidance's unconditional half reads; most tokens are made
to look like ones predicted from brain activity (`decoding_errors`).
"""

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file

from stages.checkpoints.single_file_names import autoencoder_places, unet_places
from stages.generators.diffusion.sdxl_conditioners import codes
from stages.generators.diffusion.single_file_model import SIGMAS
from stages.generators.diffusion.table_euler import TableEulerScheduler
from stages.networks.latent_space import load_autoencoder
from tiny_networks import generator, unclip_xl_figures
from tiny_networks.decoding_errors import DecodingErrors
from tiny_networks.stable_diffusion import GENERATORS_OWN
from tiny_networks.training import averaged_weights, fit, record
from tiny_networks.unclip_xl_data import encode_patches, read_by_both
from tiny_networks.unclip_xl_start import initialised
from weights import store
from weights.whole_files import make_folder, whole_file, write_text

NAME = "unclip-xl"
STEPS = 400
BATCH_SIZE = 48
PICTURE_SIZE = 64
CONFIG = {name: value for name, value in generator.CONFIG.items() if name not in GENERATORS_OWN} | {
    "cross_attention_dim": 128,
    "class_embed_type": "projection",
    "projection_class_embeddings_input_dim": 1024,
}
DROPPED = 0.10
OFFSET_NOISE = 0.04


class Objective:
    """The loss, with what it must know of the pool: errors of decoded tokens, and the code of a picture's size.

    Parameters
    ----------
    encoded : PatchedLatents
    """

    def __init__(self, encoded, statistics_rows=4000):
        rows = slice(min(statistics_rows, len(encoded)))
        self.errors = DecodingErrors(torch.from_numpy(encoded.image_tokens[rows].astype(np.float32)))
        self.size = codes((PICTURE_SIZE, PICTURE_SIZE, 0, 0))
        self.scheduler = DDIMScheduler(**generator.SCHEDULE)

    def __call__(self, model, batch, random):
        """Mean squared error of the predicted velocity, one random timestep per row."""
        latents, tokens = batch["latents"].float(), self.errors(batch["tokens"].float(), random)
        dropped = (torch.rand(len(latents), generator=random) < DROPPED).to(latents.device)
        tokens = torch.where(dropped[:, None, None], torch.randn(tokens.shape, generator=random).to(tokens), tokens)
        label = self.size.to(latents.device).expand(len(latents), -1)

        def predict(noisy, timesteps):
            return model(noisy, timesteps, tokens, class_labels=label, return_dict=False)[0]

        return generator.velocity_loss(self.scheduler, latents, random, predict, offset=OFFSET_NOISE)


def train(workspace, *, steps=None, device=None, threads=None):
    """Train in ``workspace/unclip-xl``, continuing what is there, and return the averaged network."""
    if threads is not None:
        torch.set_num_threads(threads)
    encoded = encode_patches(workspace)

    def batches(step):
        rows, _ = generator.batch_of(len(encoded), step, BATCH_SIZE)
        return {
            "latents": torch.from_numpy(encoded.latents[rows]),
            "tokens": torch.from_numpy(encoded.image_tokens[rows]),
        }

    return fit(
        NAME,
        initialised(CONFIG, store.path("tiny-generator"), *read_by_both(workspace)),
        Objective(encoded),
        batches,
        workspace=workspace,
        steps=steps or STEPS,
        learning_rate=1e-2,
        warmup=30,
        ema_decay=0.99,
        save_seconds=60,
        log_every=20,
        device=device,
        threads=threads,
        channels_last=False,
        muon=True,
    )


def reached(workspace):
    """Load the averaged network as the training last kept it."""
    model = UNet2DConditionModel(**CONFIG)
    model.load_state_dict(averaged_weights(workspace, NAME))
    return model.eval()


def write_folder(folder, unet):
    """Write a folder as `UnCLIPXLGenerator.from_pretrained` reads it: one file as Stability's training names tensors, in float16.

    Parameters
    ----------
    folder : path
    unet : diffusers.UNet2DConditionModel
    """
    folder, vae = Path(folder), load_autoencoder(store.path("tiny-generator"), torch.float32)
    _show_as_published(vae)
    stored = {SIGMAS: TableEulerScheduler(**schedule()).sigmas[:-1].flip(0).contiguous()}
    for network, places in ((unet, unet_places), (vae, autoencoder_places)):
        state = network.state_dict()
        for name, place in places(network.config, state).items():
            stored[place.name] = state[name].half().contiguous()
    make_folder(folder)
    with whole_file(folder / "model.safetensors") as partial:
        save_file(stored, partial, metadata={"format": "pt"})
    unet.save_config(folder / "unet")
    vae.save_config(folder / "vae")
    make_folder(folder / "scheduler")
    write_text(folder / "scheduler" / "scheduler_config.json", json.dumps(schedule(), indent=1) + "\n")


@torch.no_grad()
def _show_as_published(vae):
    """Change the last layer, so that 0.8 d + 0.2 shows what d / 2 + 0.5 did."""
    last = vae.decoder.conv_out
    last.weight *= 0.625
    last.bias.copy_(0.625 * last.bias + 0.375)


def schedule():
    """Noise levels and kind of prediction, as a scheduler's configuration has them."""
    names = ("num_train_timesteps", "beta_schedule", "beta_start", "beta_end", "prediction_type")
    return {name: generator.SCHEDULE[name] for name in names}


def export(workspace, folder):
    """Write the folder with its card.

    Parameters
    ----------
    workspace : path-like
        Where `train` keeps its state; it may still be running.
    folder : path-like
        Usually ``weights/tiny/unclip-xl``.

    Returns
    -------
    figures : dict of str to float
    """
    write_folder(folder, reached(workspace))
    held_out = figures(workspace, folder)
    write_text(Path(folder) / "card.md", _card(record(workspace, NAME), held_out))
    return held_out


def figures(workspace, folder):
    """Held-out figures of an exported network; see `unclip_xl_figures.figures`."""
    return unclip_xl_figures.figures(workspace, folder)


def _card(training, held_out):
    progress = f"{training['steps']:,} of {training['planned_steps']:,} steps of {BATCH_SIZE}"
    learned = f"{training['pictures']:,} pictures ({progress})"
    lines = "\n".join(f"| held out, {name.replace('_', ' ')} | {value:.3f} |" for name, value in held_out.items())
    return f"""# tiny-unclip-xl

SDXL unCLIP (Scotti and others, 2024) at small size: latent diffusion under image tokens for the 64 x 64 pictures of
brainrecon's simulated world, one file with the tensors' names as Stability's training leaves them.

| | |
|---|---|
| made by | `scripts/train_tiny.py --only unclip-xl`, from tiny-generator's image half |
| learned from | {learned} of drawn scenes, handwritten digits (scikit-learn's) and binary patterns |
| time | {training["seconds"] / 60:.0f} minutes on {training["device"]}, {training["threads"]} thread(s) |
| parameters of the UNet | {training["parameters"]:,}, stored as float16, computed in float32 |
| latents | 8 x 8 x 12, from the autoencoder, which is tiny-generator's but for the greys that its last layer gives |
| context | 64 tokens of 128 values, tiny-clip's of washed-out pictures (`stages.targets.unclip_tokens`) |
| unconditional | standard normal noise in place of tokens |
| objective | v-prediction, where the published network predicts noise; offset noise {OFFSET_NOISE}; average of the weights |
| noise | 1,000 levels, betas scaled-linear 0.00085 to 0.012 |
{lines}
| licence | MIT, as the repository |

The held-out figures are for {unclip_xl_figures.SCENES} drawn scenes, {unclip_xl_figures.STEPS} steps from noise under guidance
{unclip_xl_figures.GUIDANCE:g}. Shuffled: under the tokens of another picture. Names (category, colour, background) count as right
where the evaluation network says of the drawn picture what it says of the shown one. It knows nothing of photographs.
"""
