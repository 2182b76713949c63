"""Targets that are as small as can be, and count what they encode."""

import numpy as np


class MeanColour:
    """A target that counts what it is asked for."""

    name, takes, shape, n_targets = "mean_colour", "images", (3,), 3

    def __init__(self, preprocessing=None, fail_after=None):
        self.preprocessing = preprocessing or {"size": 8}
        self.fail_after, self.encoded = fail_after, 0

    def encode(self, items):
        if self.fail_after is not None and self.encoded >= self.fail_after:
            raise KeyboardInterrupt
        self.encoded += len(items)
        return np.asarray(items, dtype=np.float32).mean(axis=(1, 2))


class Rows(MeanColour):
    """A target whose values are the items themselves, which stand for images."""

    def __init__(self, n_targets, **keywords):
        super().__init__(**keywords)
        self.name, self.shape, self.n_targets = f"rows_{n_targets}", (n_targets,), n_targets

    def encode(self, items):
        self.encoded += len(items)
        return np.asarray(items)


def small_pictures():
    """Some more than two batches."""
    return np.random.default_rng(0).integers(0, 256, size=(150, 4, 4, 3), dtype=np.uint8)


def encode(store, target, items, checkpoint="abc", dataset="d", **keywords):
    ids = [f"s{row}" for row in range(len(items))]
    return store.encode(target, items, ids, dataset=dataset, checkpoint=checkpoint, **keywords)


def normal(n_stimuli, n_targets):
    return np.random.default_rng(n_targets).normal(size=(n_stimuli, n_targets)).astype(np.float32)
