"""Held-out figures of the embedded SDXL unCLIP under true tokens and under another picture's, and a sheet to look at."""

import numpy as np
from PIL import Image

from stages.generators.diffusion.unclip_xl import UnCLIPXLGenerator
from stages.generators.generator import Item, in_order
from tiny_networks.generator_figures import first_scenes, scores
from tiny_networks.pool import load_pool
from tiny_networks.unclip_xl_data import encode_patches
from weights import store

SCENES, STEPS, GUIDANCE = 64, 38, 3.0


def drawn(generator, tokens, rows, guidance_scale=GUIDANCE, steps=STEPS):
    """Draw pictures from tokens (n, n_tokens, width): uint8 (n, 64, 64, 3)."""
    items = [Item(f"held-out-{row}") for row in rows]
    options = {"num_inference_steps": steps, "guidance_scale": guidance_scale, "batch_size": 32}
    return np.stack(in_order(generator.draw({"clip_image": tokens}, items, **options)))


def load(folder):
    """Load an exported network with the number of tokens that it reads."""
    return UnCLIPXLGenerator.from_pretrained(folder, n_tokens=64)


def held_out(workspace, n):
    """Rows of the first held-out scenes, their pictures and their tokens."""
    pool = load_pool(workspace, held_out=True)
    rows = first_scenes(pool, n)
    encoded = encode_patches(workspace, held_out=True, pictures=int(rows[-1]) + 1)
    return rows, np.array(pool.images[rows]), encoded.image_tokens[rows].astype(np.float32)


def figures(workspace, folder, n=SCENES, guidance_scale=GUIDANCE):
    """Judge an exported network on held-out drawn scenes.

    Parameters
    ----------
    workspace : path-like
    folder : path-like
    n : int
        Held-out scenes.
    guidance_scale : float

    Returns
    -------
    dict of str to float
        ``own_…``: under the picture's own tokens; ``shuffled_…``: under those of the next one. Scores are as of
        `generator_figures.scores`.
    """
    generator, (rows, images, tokens) = load(folder), held_out(workspace, n)
    found = {}
    for label, read in (("own", tokens), ("shuffled", np.roll(tokens, 1, axis=0))):
        pictures = drawn(generator, read, rows, guidance_scale)
        found |= {f"{label}_{name}": value for name, value in scores(images, pictures).items()}
    return found


def sheet(workspace, path, folder=None, n=16, guidance_scale=GUIDANCE):
    """Write a picture: a row of shown scenes, and what is drawn from their tokens."""
    generator = load(folder or store.path("tiny-unclip-xl"))
    rows, images, tokens = held_out(workspace, n)
    drawings = drawn(generator, tokens, rows, guidance_scale)
    Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in (images, drawings)])).save(path)
