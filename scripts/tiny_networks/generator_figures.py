"""Held-out figures of the generator under true embeddings, and a sheet of pictures to look at."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from brainrecon.evaluation.metrics import pixel_correlation, two_way_identification
from stages.generators.dual_context import DualContextGenerator, GenerationRequest
from stages.networks.evaluation_network import EvaluationNetwork
from tiny_networks.generator_data import encode_pool
from tiny_networks.pool import load_pool

EVALUATION = Path(__file__).parents[2] / "weights" / "tiny" / "evaluation"
# A blur of this many pixels stands in for a stage-one picture: layout and colour, no detail.
BLUR = 4


def blurred(images):
    """Blur uint8 pictures (n, height, width, 3) as a stand-in for stage one."""
    return np.stack([np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(BLUR))) for image in images])


def draw(generator, encoded, images, *, weights=(0.6, 0.4), from_noise=False, guidance_scale=None, steps=50):
    """Draw pictures under the true embeddings of the first `len(images)` held-out pictures.

    Returns
    -------
    drawn : uint8 array shaped as `images`
    """
    text = encoded.text_tokens(np.arange(len(images)))
    starts = [None] * len(images) if from_noise else blurred(images)
    requests = [
        GenerationRequest(f"held-out-{k}", 0, encoded.image_tokens[k].astype(np.float32), text[k], weights, starts[k])
        for k in range(len(images))
    ]
    drawn = np.empty_like(images)
    for k, image in generator.generate(
        requests, num_inference_steps=steps, guidance_scale=guidance_scale, batch_size=32
    ):
        drawn[k] = image
    return drawn


def scores(shown, drawn):
    """Mean pixel correlation and, where the evaluation network is, identification and share of right names."""
    result = {"pixel_correlation": float(np.nanmean(pixel_correlation(shown, drawn)))}
    if (EVALUATION / "config.json").exists():
        judge = EvaluationNetwork.from_pretrained(EVALUATION)
        result["two_way_identification"] = float(two_way_identification(judge.embed(shown), judge.embed(drawn)).mean())
        truth, names = judge.classify(shown), judge.classify(drawn)
        for head in ("category", "colour", "background"):
            result[head] = float(np.mean([a == b for a, b in zip(truth[head], names[head])]))
    return result


def figures(workspace, folder, n=96):
    """Judge an exported generator on held-out pictures, redrawn from a blur and drawn from noise.

    Parameters
    ----------
    workspace : path-like
    folder : path-like
        The generator, in diffusers' layout.
    n : int
        Held-out pictures.

    Returns
    -------
    dict of str to float
        ``from_blur_…`` and ``from_noise_…`` scores. Names count as right where the evaluation network says of the
        drawn picture what it says of the shown one.
    """
    images = np.array(load_pool(workspace, held_out=True).images[:n])
    encoded = encode_pool(workspace, held_out=True, pictures=max(n, 512))
    generator = DualContextGenerator.from_pretrained(folder)
    result = {}
    for label, from_noise in (("from_blur", False), ("from_noise", True)):
        for name, value in scores(images, draw(generator, encoded, images, from_noise=from_noise)).items():
            result[f"{label}_{name}"] = value
    return result


def sheet(workspace, folder, path, n=24, guidance_scale=None, weights=(0.6, 0.4)):
    """Write a picture: a row of shown pictures, their blurs, redrawn from the blur, drawn from noise."""
    images = np.array(load_pool(workspace, held_out=True).images[:n])
    encoded = encode_pool(workspace, held_out=True, pictures=max(n, 512))
    generator = DualContextGenerator.from_pretrained(folder)
    options = {"guidance_scale": guidance_scale, "weights": weights}
    rows = [
        images,
        blurred(images),
        draw(generator, encoded, images, **options),
        draw(generator, encoded, images, from_noise=True, **options),
    ]
    grid = np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
    Image.fromarray(grid).save(path)
