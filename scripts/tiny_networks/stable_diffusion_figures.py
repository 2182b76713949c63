"""Held-out figures of the embedded Stable Diffusion under true contexts and under another picture's, and a sheet to look at."""

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from brainrecon.assembly.settings import from_dict
from brainrecon.methods.takagi2023 import Takagi2023
from stages.generators.diffusion.stable_diffusion import StableDiffusionGenerator
from stages.generators.generator import Item, in_order
from stages.targets.autoencoder_latents import AutoencoderLatents
from stages.targets.clip import CLIPImageEmbedding
from stages.targets.diffusion_text import DiffusionTextTokens
from tiny_networks.generator_figures import first_scenes, scores
from tiny_networks.pool import load_pool
from weights import store

STEPS, SCENES = 50, 32


def twin():
    """Settings of `takagi2023` with ``--weights tiny``."""
    return from_dict(Takagi2023.settings_class, dict(Takagi2023.tiny))


class Drawing:
    """Draws pictures of a pool as `takagi2023`'s twin does, from true values in place of decoded ones.

    Parameters
    ----------
    folder : path
        The embedded Stable Diffusion.
    pool : tiny_networks.pool.Pool
    rows : array of int
    guidance_scale : float, optional
        By default the twin's.
    """

    def __init__(self, folder, pool, rows, guidance_scale=None):
        self.settings = twin()
        self.guidance_scale = guidance_scale or self.settings.generator.guidance_scale
        self.rows, self.images = rows, np.array(pool.images[rows])
        self.captions = [pool.captions[row] for row in rows]
        self.generator = StableDiffusionGenerator.from_pretrained(
            folder, scheduler=self.settings.generator.scheduler, start=self.settings.start()
        )
        text = DiffusionTextTokens.from_pretrained(folder)
        self.contexts = text.encode(self.captions).reshape(-1, *text.token_shape)
        latents = AutoencoderLatents.from_pretrained(folder, size=self.settings.latent_size, posterior="mean")
        self.small = latents.decode(latents.encode(self.images))

    def pictures(self, *, started, shuffled=False):
        """Draw all, uint8 (n, 64, 64, 3): from their small pictures or from noise, under their own context or the next one's."""
        values = {"clip_text": np.roll(self.contexts, 1, axis=0) if shuffled else self.contexts}
        values |= {"first_picture": self.small} if started else {}
        drawn = self.generator.draw(
            values,
            [Item(f"held-out-{row}") for row in self.rows],
            num_inference_steps=STEPS,
            guidance_scale=self.guidance_scale,
            strength=self.settings.generator.strength,
            greys=self.settings.generator.greys,
            batch_size=32,
        )
        return np.stack(in_order(drawn))


def figures(workspace, folder, n=SCENES, guidance_scale=None):
    """Judge an exported network on held-out drawn scenes.

    Parameters
    ----------
    workspace : path-like
    folder : path-like
    n : int
        Held-out scenes.
    guidance_scale : float, optional

    Returns
    -------
    dict of str to float
        ``from_noise_…``: drawn from the true context alone; ``redrawn_…``: from the small picture that the true latent of 40
        pixels is decoded to; each with ``…_shuffled_…``, under the context of another picture, judged by the picture whose
        context it is not; ``small_picture_…``: that picture itself. ``…_clip_similarity`` is the cosine of drawn picture and
        captions in the embedded CLIP; the others are as of `generator_figures.scores`.
    """
    pool = load_pool(workspace, held_out=True)
    drawing = Drawing(folder, pool, first_scenes(pool, n), guidance_scale)
    shown = {
        "from_noise": drawing.pictures(started=False),
        "from_noise_shuffled": drawing.pictures(started=False, shuffled=True),
        "redrawn": drawing.pictures(started=True),
        "redrawn_shuffled": drawing.pictures(started=True, shuffled=True),
        "small_picture": resized(drawing.small),
    }
    found = {}
    for label, pictures in shown.items():
        found[f"{label}_clip_similarity"] = clip_similarity(pictures, drawing.captions)
        found |= {f"{label}_{name}": value for name, value in scores(drawing.images, pictures).items()}
    return found


@torch.no_grad()
def clip_similarity(pictures, captions):
    """Mean cosine of uint8 pictures and the mean of their captions in the embedded CLIP."""
    model = CLIPImageEmbedding.from_pretrained(store.path("tiny-clip"))
    texts = torch.stack([functional.normalize(model._text_tokens(list(each))[0], dim=-1).mean(0) for each in captions])
    images = torch.from_numpy(model.embed(pictures))
    return float(functional.cosine_similarity(images, texts).mean())


def resized(pictures, size=64):
    """Enlarge uint8 pictures as the generator does: bicubic, uint8 (n, size, size, 3)."""
    how = Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(picture).resize((size, size), how)) for picture in pictures])


def sheet(workspace, folder, path, n=16, guidance_scale=None):
    """Write a picture: a row of shown scenes, drawn from their contexts alone, their small pictures, redrawn from these."""
    pool = load_pool(workspace, held_out=True)
    drawing = Drawing(folder, pool, first_scenes(pool, n), guidance_scale)
    rows = [drawing.images, drawing.pictures(started=False), resized(drawing.small), drawing.pictures(started=True)]
    Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows])).save(path)
