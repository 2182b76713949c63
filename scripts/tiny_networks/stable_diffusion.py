"""The embedded Stable Diffusion: latent diffusion under text alone, for 64 x 64 pictures, in the published layout.

It begins as what of the embedded generator reads text (`stable_diffusion_start`), and learns on by the same objective:
v-prediction (Salimans & Ho, 2022) on the latents of the generator's autoencoder. The context is what the text tower of the
embedded CLIP makes of captions, before its projection, averaged over captions. Now and then it is that of the empty text, for
classifier-free guidance; most contexts are made to look like ones predicted from brain activity (`decoding_errors`).
"""

import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

from stages.generators.diffusion.unconditional_embedding import UnconditionalEmbedding
from stages.networks.latent_space import load_autoencoder
from stages.targets.clip import CLIPTextTokens
from stages.targets.diffusion_text import DiffusionTextTokens
from tiny_networks import generator, stable_diffusion_figures
from tiny_networks.decoding_errors import DecodingErrors
from tiny_networks.generator_data import different_captions
from tiny_networks.pool import load_pool
from tiny_networks.stable_diffusion_data import encode_captioned, text_half
from tiny_networks.stable_diffusion_start import initialised
from tiny_networks.training import averaged_weights, fit, record
from weights import store
from weights.whole_files import write_text

NAME = "stable-diffusion"
STEPS = 700
GENERATORS_OWN = ("image_context_tokens", "text_context_tokens", "position_embedding")
CONFIG = {name: value for name, value in generator.CONFIG.items() if name not in GENERATORS_OWN} | {
    "block_out_channels": (80, 96),
    # diffusers calls the number of heads so: of width 16 at 8 x 8 and of width 32 at 4 x 4.
    "attention_head_dim": (5, 3),
    "cross_attention_dim": 128,
}
DROPPED = 0.10
COMPARED = 600  # captions that both networks' readings are compared on


class Objective:
    """The loss, with what it must know of the pool: errors of decoded contexts, and the empty text.

    Parameters
    ----------
    encoded : CaptionedLatents
    """

    def __init__(self, encoded, statistics_rows=4000):
        self.errors = DecodingErrors(
            torch.from_numpy(encoded.text_tokens(np.arange(min(statistics_rows, len(encoded)))))
        )
        self.empty = torch.from_numpy(encoded.unconditional_text.astype(np.float32))
        self.scheduler = DDIMScheduler(**generator.SCHEDULE)

    def __call__(self, model, batch, random):
        """Mean squared error of the predicted velocity, one random timestep per row."""
        latents, contexts = batch["latents"].float(), self.errors(batch["text"].float(), random)
        dropped = (torch.rand(len(latents), generator=random) < DROPPED).to(latents.device)
        contexts = torch.where(dropped[:, None, None], self.empty.to(latents.device), contexts)

        def predict(noisy, timesteps):
            return model(noisy, timesteps, contexts, return_dict=False)[0]

        return generator.velocity_loss(self.scheduler, latents, random, predict)


def train(workspace, *, steps=None, device=None, threads=None):
    """Train in ``workspace/stable-diffusion``, continuing what is there, and return the averaged network."""
    if threads is not None:
        torch.set_num_threads(threads)
    encoded = encode_captioned(workspace)

    def batches(step):
        rows, chosen = generator.batch_of(len(encoded), step)
        return {
            "latents": torch.from_numpy(encoded.latents[rows]),
            "text": torch.from_numpy(encoded.text_tokens(rows, chosen)),
        }

    return fit(
        NAME,
        initialised(CONFIG, store.path("tiny-generator"), *read_by_both(workspace, encoded)),
        Objective(encoded),
        batches,
        workspace=workspace,
        steps=steps or STEPS,
        learning_rate=1e-2,
        warmup=30,
        ema_decay=0.99,
        save_seconds=150,
        device=device,
        threads=threads,
        channels_last=False,
        muon=True,
    )


def read_by_both(workspace, encoded):
    """Some captions as the new network and as the embedded generator read them: two float32 arrays."""
    captions, _ = different_captions(load_pool(workspace).captions[: len(encoded)])
    rows = np.linspace(0, len(captions) - 1, min(COMPARED, len(captions))).astype(int)
    target = CLIPTextTokens.from_pretrained(store.path("tiny-clip"))
    tokens = target.encode([[captions[row]] for row in rows]).reshape(len(rows), *target.shape)
    return encoded.caption_tokens[rows].astype(np.float32), tokens


def reached(workspace):
    """Load the averaged network as the training last kept it."""
    model = UNet2DConditionModel(**CONFIG)
    model.load_state_dict(averaged_weights(workspace, NAME))
    return model.eval()


def export(workspace, folder):
    """Write the folder in diffusers' layout, in float16, with its card.

    Parameters
    ----------
    workspace : path-like
        Where `train` keeps its state; it may still be running.
    folder : path-like
        Usually ``weights/tiny/stable-diffusion``.

    Returns
    -------
    figures : dict of str to float
    """
    folder, text = Path(folder), text_half(workspace)
    for part in ("text_encoder", "tokenizer"):
        shutil.copytree(text / part, folder / part, dirs_exist_ok=True)
    # That of the latents it learned from; its card stays where it was trained.
    without_card = shutil.ignore_patterns("card.md")
    shutil.copytree(store.path("tiny-generator") / "vae", folder / "vae", ignore=without_card, dirs_exist_ok=True)
    reached(workspace).half().save_pretrained(folder / "unet")
    DDIMScheduler(**generator.SCHEDULE).save_pretrained(folder / "scheduler")
    empty = encode_captioned(workspace).unconditional_text
    held = UnconditionalEmbedding(shape=list(empty.shape), kind="empty text")
    held.embedding.data.copy_(torch.from_numpy(empty.astype(np.float32)))
    held.half().save_pretrained(folder / "unconditional_contexts")
    _index(folder)
    held_out = figures(workspace, folder)
    write_text(folder / "card.md", _card(record(workspace, NAME), held_out))
    return held_out


def figures(workspace, folder):
    """Held-out figures of an exported network; see `stable_diffusion_figures.figures`."""
    return stable_diffusion_figures.figures(workspace, folder)


def _index(folder):
    """Write ``model_index.json``, by which diffusers' own pipeline finds the parts."""
    target = DiffusionTextTokens.from_pretrained(folder)
    StableDiffusionPipeline(
        vae=load_autoencoder(folder, torch.float32),
        text_encoder=target.encoders[0],
        tokenizer=target.tokenizers[0],
        unet=UNet2DConditionModel(**CONFIG),
        scheduler=DDIMScheduler(**generator.SCHEDULE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_config(folder)


def _card(training, held_out):
    twin = stable_diffusion_figures.twin()
    progress = f"{training['steps']:,} of {training['planned_steps']:,} steps of {generator.BATCH_SIZE}"
    learned = f"{training['pictures']:,} pictures ({progress})"
    drawn = f"{stable_diffusion_figures.STEPS} steps under guidance {twin.generator.guidance_scale:g}"
    small, strength = f"{twin.latent_size} pixels", f"{twin.generator.strength:g}"
    lines = "\n".join(f"| held out, {name.replace('_', ' ')} | {value:.3f} |" for name, value in held_out.items())
    return f"""# tiny-stable-diffusion

Latent diffusion under text alone (Rombach and others, 2022) for the 64 x 64 pictures of brainrecon's simulated world: Stable
Diffusion's parts in diffusers' folder layout, at small size.

| | |
|---|---|
| made by | `scripts/train_tiny.py --only stable-diffusion`, from tiny-generator's text half |
| learned from | {learned} of drawn scenes, handwritten digits (scikit-learn's) and binary patterns |
| time | {training["seconds"] / 60:.0f} minutes on {training["device"]}, {training["threads"]} thread(s) |
| parameters of the UNet | {training["parameters"]:,}, stored as float16, computed in float32 |
| latents | 8 x 8 x 12, from `vae/`, which is tiny-generator's |
| context | 24 states of 128 values from `text_encoder/`, tiny-clip's text tower before its projection |
| tokenizer | tiny-clip's words under their own numbers, made of letters by merges as CLIP's |
| objective | v-prediction, 1,000 steps, betas scaled-linear 0.00085 to 0.012; average of the weights |
{lines}
| licence | MIT, as the repository |

The held-out figures are for {stable_diffusion_figures.SCENES} drawn scenes, {drawn}: drawn from noise under the true context,
redrawn at strength {strength} from the picture that the true latent of {small} is decoded to, and that small picture itself.
Shuffled: under the context of another picture, and judged by the picture whose context it is not. Names (category, colour,
background) count as right where the evaluation network says of the drawn picture what it says of the shown one. It knows
nothing of photographs.
"""
