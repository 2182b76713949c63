"""Test pictures that nearly equal a training picture."""

import numpy as np
from PIL import Image

from stages.ground.progress import SILENT

SIDE = 16
BLOCK = 64
SIMILAR = 0.98
"""Correlation of 16 x 16 grey thumbnails from which two pictures count as near-duplicates."""


def near_duplicates(train, test, threshold=SIMILAR, progress=SILENT):
    """Find test pictures that a training picture resembles to the pixel, as copies, crops by a hair and re-encodings do.

    >>> pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    >>> train, test = pictures[:2], pictures[[2, 0]]
    >>> [(in_test, in_train) for in_test, in_train, correlation in near_duplicates(train, test)]
    [(1, 0)]

    Parameters
    ----------
    train, test : array-like of shape (n_stimuli, height, width, 3), uint8
        Read by blocks.
    threshold : float
        Pearson correlation of thumbnails, grey, 16 x 16 pixels.
    progress : callable, optional
        Called as ``progress(label, done, total)``.

    Returns
    -------
    pairs : list of (int, int, float)
        Row of the test picture, row of the training picture closest to it, their correlation; the closest first.
        Pictures of one colour resemble nothing.
    """
    total = len(train) + len(test)
    known = _thumbnails(train, 0, total, progress)
    asked = _thumbnails(test, len(train), total, progress)
    pairs = []
    for start in range(0, len(asked), BLOCK):
        correlation = asked[start : start + BLOCK] @ known.T
        closest = correlation.argmax(axis=1)
        for row, column in enumerate(closest):
            if correlation[row, column] >= threshold:
                pairs.append((start + row, int(column), float(correlation[row, column])))
    return sorted(pairs, key=lambda pair: -pair[2])


def _thumbnails(images, done, total, progress):
    """Grey thumbnails as unit vectors about their mean, (n, SIDE * SIDE) float32; zeros where nothing varies."""
    vectors = np.zeros((len(images), SIDE * SIDE), dtype=np.float32)
    for start in range(0, len(images), BLOCK):
        for row, picture in enumerate(np.asarray(images[start : start + BLOCK])):
            grey = Image.fromarray(picture).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
            values = np.asarray(grey, dtype=np.float32).ravel()
            values -= values.mean()
            # A deviation of less than one grey level is rounding.
            if (norm := np.linalg.norm(values)) > SIDE:
                vectors[start + row] = values / norm
        progress("looking for near-duplicates", done + min(start + BLOCK, len(images)), total)
    return vectors
