"""Held-out figures of the embedded Stable Diffusion XL, from noise and from blurry pictures."""

import numpy as np
from PIL import Image

from stages.generators.diffusion.stable_diffusion_xl import StableDiffusionXLGenerator
from stages.generators.generator import Item, in_order
from tiny_networks.generator_figures import first_scenes, scores
from tiny_networks.pool import load_pool

SCENES, GUIDANCE, STRENGTH = 32, 3.5, 0.48


def blurred(images, times=8):
    """Make uint8 pictures (n, size, size, 3) smaller and large again."""
    n, size, how = len(images), images.shape[1], Image.Resampling.BILINEAR
    small = images.reshape(n, size // times, times, size // times, times, 3).mean((2, 4)).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(each).resize((size, size), how)) for each in small])


def figures(workspace, folder, n=SCENES, guidance_scale=GUIDANCE):
    """Judge an exported network on held-out drawn scenes; see its card.

    Parameters
    ----------
    workspace, folder : path-like
    n : int
    guidance_scale : float

    Returns
    -------
    dict of str to float
    """
    pool = load_pool(workspace, held_out=True)
    rows = first_scenes(pool, n)
    images, captions = np.array(pool.images[rows]), [pool.captions[row][0] for row in rows]
    starts, generator = blurred(images), StableDiffusionXLGenerator.from_pretrained(folder, negative="")

    def drawn(texts, first):
        values, items = {"caption": texts, "first_picture": first}, [Item(f"held-out-{row}") for row in rows]
        options = {"guidance_scale": guidance_scale, "strength": STRENGTH, "batch_size": 32}
        return np.stack(in_order(generator.draw(values, items, **options)))

    shown = {
        "from_noise": drawn(captions, None),
        "redrawn": drawn(captions, starts),
        "redrawn_shuffled": drawn([*captions[1:], captions[0]], starts),
        "blurry": starts,
    }
    return {f"{label}_{name}": value for label, found in shown.items() for name, value in scores(images, found).items()}
