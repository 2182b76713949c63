"""Held-out figures of the embedded control nets, and a sheet to look at: what drawn pictures share with their maps."""

import numpy as np
from PIL import Image

from stages.generators.diffusion.control_maps import Control
from stages.generators.diffusion.stable_diffusion import StableDiffusionGenerator
from stages.generators.generator import Item, in_order
from stages.targets.colour_map import ColourMap
from stages.targets.contour import Contour
from stages.targets.depth_map import DrawnDepthMap
from stages.targets.diffusion_text import DiffusionTextTokens
from tiny_networks.generator_figures import first_scenes, scores
from tiny_networks.pool import load_pool
from weights import store

STEPS, SCENES, GUIDANCE = 50, 32, 3.5
TARGETS = {"contour": lambda: Contour(size=64), "depth": lambda: DrawnDepthMap(side=16), "colour_map": ColourMap}


class Drawing:
    """Draws scenes of a pool under their maps and contexts, or under those of the next scene.

    Parameters
    ----------
    control, adapter : path
        Folders of the branch and of the adapter.
    pool : tiny_networks.pool.Pool
    rows : array of int
    """

    def __init__(self, control, adapter, pool, rows):
        folder = store.path("tiny-stable-diffusion")
        self.rows, self.images = rows, np.array(pool.images[rows])
        self.generator = StableDiffusionGenerator.from_pretrained(
            folder,
            scheduler="ddim",
            controls=[Control("contour", control, (64, 64)), Control("depth", control, (16, 16))],
            adapters=[Control("colour_map", adapter, (8, 8, 3), "nearest")],
        )
        text = DiffusionTextTokens.from_pretrained(folder)
        texts = text.encode([pool.captions[row] for row in rows]).reshape(-1, *text.token_shape)
        self.values = {"clip_text": texts} | {name: maps_of(name, self.images) for name in TARGETS}

    def pictures(self, names, shuffled=()):
        """Draw all, uint8 (n, 64, 64, 3), from noise under some values; those in `shuffled` are the next scene's."""
        values = {
            name: np.roll(self.values[name], 1, axis=0) if name in shuffled else self.values[name] for name in names
        }
        drawn = self.generator.draw(
            values,
            [Item(f"held-out-{row}") for row in self.rows],
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            batch_size=32,
        )
        return np.stack(in_order(drawn))


def maps_of(name, pictures):
    """Maps of uint8 pictures, (n, height, width) or (n, height, width, 3)."""
    target = TARGETS[name]()
    return target.encode(pictures).reshape(-1, *target.shape)


def agreement(name, pictures, maps):
    """Mean correlation of the maps of drawn pictures with given ones; contours are softened first."""
    found = maps_of(name, pictures)
    pairs = zip(_soft(name, found).reshape(len(maps), -1), _soft(name, maps).reshape(len(maps), -1))
    return float(np.mean([np.corrcoef(one, other)[0, 1] if one.std() and other.std() else 0.0 for one, other in pairs]))


def _soft(name, maps):
    """A contour one pixel beside another is nearly the same one."""
    if name != "contour":
        return maps
    from scipy.ndimage import gaussian_filter

    return np.stack([gaussian_filter(each, 1.5) for each in maps])


def figures(workspace, control, adapter, names, n=SCENES):
    """Judge maps: agreement of what is drawn with the map, under the map, without it, and under the next scene's.

    Parameters
    ----------
    workspace, control, adapter : path
    names : sequence of str
        In `TARGETS`.
    n : int
        Held-out scenes.

    Returns
    -------
    dict of str to float
        ``…_agreement``, ``…_text_alone`` and ``…_shuffled``: under another scene's map, judged by the scene's own.
    """
    pool = load_pool(workspace, held_out=True)
    drawing = Drawing(control, adapter, pool, first_scenes(pool, n))
    alone, found = drawing.pictures(["clip_text"]), {}
    for name in names:
        maps = drawing.values[name]
        found[f"{name}_agreement"] = agreement(name, drawing.pictures(["clip_text", name]), maps)
        found[f"{name}_text_alone"] = agreement(name, alone, maps)
        found[f"{name}_shuffled"] = agreement(name, drawing.pictures(["clip_text", name], shuffled=[name]), maps)
    return found


def shuffles(workspace, control, adapter, n=SCENES):
    """Each value in turn the next scene's: what remains of what the text, the depth and the colours tell of the scene itself.

    Arguments as of `figures`.

    Returns
    -------
    dict of str to dict of str to float
        By what is shuffled, "nothing" first: `thing`, the share of pictures in which the evaluation network sees the scene's
        thing; `depth` and `colour_map`, agreements with its maps.
    """
    pool = load_pool(workspace, held_out=True)
    drawing = Drawing(control, adapter, pool, first_scenes(pool, n))
    names, found = ("clip_text", "depth", "colour_map"), {}
    for shuffled in ((), *((name,) for name in names)):
        pictures = drawing.pictures(names, shuffled)
        agreements = {name: agreement(name, pictures, drawing.values[name]) for name in names[1:]}
        found[", ".join(shuffled) or "nothing"] = {"thing": scores(drawing.images, pictures)["category"], **agreements}
    return found


def sheet(workspace, control, adapter, path, n=12):
    """Write a picture: shown scenes, drawn under their text alone, and with contours, nearness, colours, and the last two."""
    pool = load_pool(workspace, held_out=True)
    drawing = Drawing(control, adapter, pool, first_scenes(pool, n))
    ways = [(), ("contour",), ("depth",), ("colour_map",), ("depth", "colour_map"), ("contour", "colour_map")]
    rows = [drawing.images, *(drawing.pictures(["clip_text", *way]) for way in ways)]
    Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows])).save(path)
