"""Held-out figures of the generator under true embeddings, and a sheet of pictures to look at."""

from pathlib import Path

import numpy as np
from PIL import Image

from brainrecon.evaluation.metrics.identification import two_way_identification
from brainrecon.evaluation.metrics.pixel_metrics import pixel_correlation
from stages.generators.diffusion.dual_context import DualContextGenerator
from stages.generators.generator import Item, in_order
from stages.networks.evaluation_network import EvaluationNetwork
from stages.targets.vdvae import VDVAELatents
from tiny_networks.generator_data import encode_pool
from tiny_networks.pool import load_pool

TINY = Path(__file__).parents[2] / "weights" / "tiny"


def first_scenes(pool, n):
    """Rows of the first `n` drawn scenes of a pool."""
    return np.array([row for row, kind in enumerate(pool.labels["kind"]) if kind == "scene"][:n])


def stage_one(images):
    """What the embedded VDVAE keeps of uint8 pictures (n, height, width, 3) in its target layers."""
    target = VDVAELatents.from_pretrained(TINY / "vdvae")
    return target.decode(target.encode(images))


def draw(generator, encoded, rows, starts=None, *, weights=(0.6, 0.4), guidance_scale=None, steps=50):
    """Draw pictures under the true embeddings of some pictures.

    Parameters
    ----------
    generator : DualContextGenerator
    encoded : EncodedPool
    rows : array of int
    starts : uint8 array of shape (len(rows), height, width, 3), optional
        Pictures to redraw at strength 0.75; from noise if there are none.

    Returns
    -------
    drawn : uint8 array of shape (len(rows), image_size, image_size, 3)
    """
    values = {
        "clip_image": encoded.image_tokens[rows].astype(np.float32),
        "clip_text": encoded.text_tokens(rows),
        "first_picture": starts,
    }
    drawn = generator.draw(
        values,
        [Item(f"held-out-{row}") for row in rows],
        num_inference_steps=steps,
        guidance_scale=guidance_scale,
        weights=dict(zip(("clip_image", "clip_text"), weights)),
        batch_size=32,
    )
    return np.stack(in_order(drawn))


def scores(shown, drawn):
    """Mean pixel correlation, and what the evaluation network says: identification and share of right names."""
    judge = EvaluationNetwork.from_pretrained(TINY / "evaluation")
    truth, names = judge.classify(shown), judge.classify(drawn)
    return {
        "pixel_correlation": float(np.mean(pixel_correlation(shown, drawn))),
        "two_way_identification": float(two_way_identification(judge.embed(shown), judge.embed(drawn)).mean()),
    } | {
        head: float(np.mean([a == b for a, b in zip(truth[head], names[head])]))
        for head in ("category", "colour", "background")
    }


def figures(workspace, folder, n=100):
    """Judge an exported generator on held-out drawn scenes under true embeddings.

    Parameters
    ----------
    workspace : path-like
    folder : path-like
        The generator, in diffusers' layout.
    n : int
        Held-out scenes.

    Returns
    -------
    dict of str to float
        ``oracle_…``: redrawn from the true stage-one picture; ``from_noise_…``; and, for comparison, what that
        stage-one picture itself scores, ``stage_one_…``. Names count as right where the evaluation network says of
        the drawn picture what it says of the shown one.
    """
    pool = load_pool(workspace, held_out=True)
    rows = first_scenes(pool, n)
    images = np.array(pool.images[rows])
    encoded = encode_pool(workspace, held_out=True, pictures=max(2 * n, 512))
    generator, starts = DualContextGenerator.from_pretrained(folder), stage_one(images)
    drawn = {
        "oracle": draw(generator, encoded, rows, starts),
        "from_noise": draw(generator, encoded, rows),
        "stage_one": starts,
    }
    return {
        f"{label}_{name}": value
        for label, pictures in drawn.items()
        for name, value in scores(images, pictures).items()
    }


def sheet(workspace, folder, path, n=24, guidance_scale=None, weights=(0.6, 0.4)):
    """Write a picture: a row of shown scenes, their true stage-one pictures, redrawn from these, drawn from noise."""
    pool = load_pool(workspace, held_out=True)
    rows = first_scenes(pool, n)
    images = np.array(pool.images[rows])
    encoded = encode_pool(workspace, held_out=True, pictures=max(2 * n, 512))
    generator, starts = DualContextGenerator.from_pretrained(folder), stage_one(images)
    options = {"guidance_scale": guidance_scale, "weights": weights}
    shown = [
        images,
        starts,
        draw(generator, encoded, rows, starts, **options),
        draw(generator, encoded, rows, **options),
    ]
    grid = np.concatenate([np.concatenate(list(row), axis=1) for row in shown])
    Image.fromarray(grid).save(path)
