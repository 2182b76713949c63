"""Held-out figures of the embedded IP-Adapter-Plus, and a sheet to look at: what is drawn under true tokens alone."""

import numpy as np
from PIL import Image

from stages.generators.diffusion.ip_tokens import StableDiffusionIPTokensGenerator
from stages.generators.generator import Item, in_order
from stages.targets.ip_tokens import IPTokens
from tiny_networks.generator_figures import first_scenes, scores
from tiny_networks.pool import load_pool
from weights import store

STEPS, SCENES, GUIDANCE = 50, 32, 2.0


class Drawing:
    """Draws held-out scenes under their own tokens, or under those of the next scene.

    Parameters
    ----------
    workspace, folder : path
        The latter the adapter's.
    n : int
    """

    def __init__(self, workspace, folder, n):
        pool = load_pool(workspace, held_out=True)
        self.rows = first_scenes(pool, n)
        self.images = np.array(pool.images[self.rows])
        clip = store.path("tiny-clip")
        self.generator = StableDiffusionIPTokensGenerator.from_pretrained(
            store.path("tiny-stable-diffusion"), folder, clip, scheduler="ddim"
        )
        target = IPTokens.from_pretrained(clip, adapter=folder)
        self.tokens = target.encode(self.images).reshape(-1, *target.shape)

    def pictures(self, guidance=GUIDANCE, shuffled=False):
        """Draw all, uint8 (n, 64, 64, 3), from noise."""
        drawn = self.generator.draw(
            {"ip_tokens": np.roll(self.tokens, 1, axis=0) if shuffled else self.tokens},
            [Item(f"held-out-{row}") for row in self.rows],
            num_inference_steps=STEPS,
            guidance_scale=guidance,
            batch_size=32,
        )
        return np.stack(in_order(drawn))


def figures(workspace, folder, n=SCENES):
    """Judge an exported adapter on held-out drawn scenes.

    Parameters
    ----------
    workspace, folder : path
    n : int
        Held-out scenes.

    Returns
    -------
    dict of str to float
        ``from_noise_…`` under a scene's own tokens, ``from_noise_shuffled_…`` under the next one's.
    """
    drawing = Drawing(workspace, folder, n)
    drawn = {"from_noise": drawing.pictures(), "from_noise_shuffled": drawing.pictures(shuffled=True)}
    return {
        f"{label}_{name}": value
        for label, pictures in drawn.items()
        for name, value in scores(drawing.images, pictures).items()
    }


def sheet(workspace, folder, path, n=12, guidances=(1.0, 2.0, 3.5)):
    """Write a picture: shown scenes, and what is drawn under their tokens at several guidance scales."""
    drawing = Drawing(workspace, folder, n)
    rows = [drawing.images, *(drawing.pictures(each) for each in guidances)]
    Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows])).save(path)
