"""The embedded Stable Diffusion XL: the embedded Stable Diffusion, rewritten in the layout of one file with two text encoders.

Nothing is trained. The network of tiny-stable-diffusion attends to the last states of its text tower, behind the last layer
norm; Stable Diffusion XL's to the states before the last block, of two towers side by side. So the tower gets one more block,
which nothing reads, and the weights of attention are multiplied by a regression that undoes the missing layer norm. The
second tower is the first block of that tower and one that nothing reads; attention does not heed it, and neither do the codes
of sizes and of its pooled state change anything.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from stages.checkpoints.single_file_names import (
    autoencoder_places,
    first_text_places,
    second_text_places,
    unet_places,
)
from stages.checkpoints.strict_loading import load_strictly
from stages.checkpoints.transformers_loading import load_transformers_strictly
from stages.networks.diffusion_text_encoder import encode_texts, load_tokenizer
from stages.networks.latent_space import load_autoencoder
from tiny_networks import sdxl_figures
from tiny_networks.pool import load_pool
from tiny_networks.stable_diffusion_start import regression
from tiny_networks.unclip_xl import schedule
from weights import store
from weights.whole_files import make_folder, whole_file, write_text

NAME = "sdxl"
POOLED, SIZE_CODE = 64, 8
COMPARED = 2000  # captions that the regression is found on


def train(workspace, *, steps=None, device=None, threads=None):
    """Do nothing: `export` rewrites what there is."""


def export(workspace, folder):
    """Write the folder: one file in half precision, configurations, both tokenizers, and a card.

    Parameters
    ----------
    workspace : path-like
        Of the pool whose captions the regression is found on.
    folder : path-like
        Usually ``weights/tiny/sdxl``.

    Returns
    -------
    figures : dict of str to float
    """
    folder, source = Path(folder), store.path("tiny-stable-diffusion")
    tower = load_transformers_strictly(CLIPTextModel, source / "text_encoder")
    first, second = longer_tower(tower), short_tower(tower)
    captions = sorted({each for rows in load_pool(workspace).captions[:COMPARED] for each in rows})[:COMPARED]
    reading, explained = reading_of(tower, first, load_tokenizer(source / "tokenizer", tower.config), captions)
    unet = rewritten(load_strictly(UNet2DConditionModel, source / "unet"), reading, second)
    vae = load_autoencoder(source, torch.float32)
    stored = {}
    for network, places in (
        (unet, lambda names: unet_places(unet.config, names)),
        (vae, lambda names: autoencoder_places(vae.config, names)),
        (first, first_text_places),
        (second, second_text_places),
    ):
        stored |= as_stored(network.state_dict(), places)
    make_folder(folder)
    with whole_file(folder / "model.safetensors") as partial:
        save_file(stored, partial, metadata={"format": "pt"})
    for part, network in (("unet", unet), ("vae", vae)):
        network.save_config(folder / part)
    for ending, network in (("", first), ("_2", second)):
        network.config.save_pretrained(folder / f"text_encoder{ending}")
        shutil.copytree(source / "tokenizer", folder / f"tokenizer{ending}", dirs_exist_ok=True)
    make_folder(folder / "scheduler")
    write_text(folder / "scheduler" / "scheduler_config.json", json.dumps(schedule(), indent=1) + "\n")
    held_out = figures(workspace, folder)
    write_text(folder / "card.md", _card(held_out, explained, sum(each.numel() for each in unet.parameters())))
    return held_out


def figures(workspace, folder):
    """Held-out figures of an exported network; see `sdxl_figures.figures`."""
    return sdxl_figures.figures(workspace, folder)


def longer_tower(tower):
    """The text tower with one more block, of zeros."""
    changes = {"num_hidden_layers": tower.config.num_hidden_layers + 1, "torch_dtype": None}
    network = CLIPTextModel(CLIPTextConfig(**tower.config.to_dict() | changes)).eval()
    known = tower.state_dict()
    network.load_state_dict(
        {name: known.get(name, torch.zeros_like(value)) for name, value in network.state_dict().items()}
    )
    return network


def short_tower(tower):
    """The first block of the text tower and one of zeros, with a projection that keeps the first values."""
    changes = {"num_hidden_layers": 2, "projection_dim": POOLED}
    network = CLIPTextModelWithProjection(CLIPTextConfig(**tower.config.to_dict() | changes)).eval()
    known, state = tower.state_dict(), {}
    for name, value in network.state_dict().items():
        ours = name.removeprefix("text_model.")
        kept = ours in known and ".layers.1." not in ours
        state[name] = known[ours] if kept else torch.zeros_like(value)
    state["text_projection.weight"] = torch.eye(*state["text_projection.weight"].shape)
    network.load_state_dict(state)
    return network


@torch.no_grad()
def reading_of(tower, first, tokenizer, captions):
    """Weights (states, states) by which what the new network reads tells what the old one read, and the share they explain."""
    new, old = [], []
    for start in range(0, len(captions), 200):
        part = captions[start : start + 200]
        new.append(encode_texts(first, tokenizer, part, penultimate=True)[0].numpy())
        old.append(encode_texts(tower, tokenizer, part)[0].numpy())
    new, old = np.concatenate(new), np.concatenate(old)
    weights = regression(new, old, penalty=1e-6)
    left = np.square(new @ weights - old).mean() / np.square(old - old.mean((0, 1))).mean()
    return torch.from_numpy(weights), float(1 - left)


def rewritten(old, reading, second):
    """The UNet with attention to two towers, and with codes of sizes and of a pooled state that change nothing."""
    torch.manual_seed(0)  # diffusers' constructors take no generator.
    width = old.config.cross_attention_dim
    changes = {
        "cross_attention_dim": width + second.config.hidden_size,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": SIZE_CODE,
        "projection_class_embeddings_input_dim": 6 * SIZE_CODE + POOLED,
    }
    network = UNet2DConditionModel.from_config(dict(old.config) | changes).eval()
    known, state = old.state_dict(), {}
    for name, value in network.state_dict().items():
        if name.startswith("add_embedding."):
            state[name] = torch.zeros_like(value) if ".linear_2." in name else value
        elif ".attn2.to_k." in name or ".attn2.to_v." in name:
            state[name] = torch.zeros_like(value)
            state[name][:, :width] = known[name] @ reading.T
        else:
            state[name] = known[name]
    network.load_state_dict(state)
    return network


def as_stored(state, places):
    """Tensors in half precision under their names in a single file."""
    found, thirds = {}, {}
    for name, place in places(state).items():
        value = (state[name].T if place.transposed else state[name]).half().contiguous()
        if place.third is None:
            found[place.name] = value
        else:
            thirds.setdefault(place.name, {})[place.third] = value
    return found | {name: torch.cat([parts[third] for third in range(3)]) for name, parts in thirds.items()}


def _card(held_out, explained, parameters):
    lines = "\n".join(f"| held out, {name.replace('_', ' ')} | {value:.3f} |" for name, value in held_out.items())
    return f"""# tiny-sdxl

Stable Diffusion XL (Podell and others, 2023) at small size: latent diffusion under captions for the 64 x 64 pictures of
brainrecon's simulated world, one file with the tensors' names as Stability's training leaves them.

| | |
|---|---|
| made by | `scripts/train_tiny.py --only sdxl`, from tiny-stable-diffusion, without training |
| parameters of the UNet | {parameters:,}, stored as float16, computed in float32 |
| latents | 8 x 8 x 12, from the autoencoder, which is tiny-generator's |
| context | 24 tokens of 256 values: states of tiny-clip's text tower before its last layer norm, and of its first block |
| explained | {explained:.4f} of the variance of what tiny-stable-diffusion reads, by a linear map of the first 128 values |
| not heeded | the other 128 values, the pooled state, and sizes |
| objective | v-prediction, where published networks predict noise; 1,000 levels, betas scaled-linear 0.00085 to 0.012 |
{lines}
| licence | MIT, as the repository |

The held-out figures are for {sdxl_figures.SCENES} drawn scenes, under the first of their captions, 25 steps, guidance
{sdxl_figures.GUIDANCE:g} against the empty text: from noise, and redrawn by 12 of the steps from a blurry picture (an eighth of
the size, enlarged), beside that blurry picture. Shuffled: under the caption of another picture. Names (category, colour,
background) count as right where the evaluation network says of the drawn picture what it says of the shown one. It knows nothing
of photographs.
"""
