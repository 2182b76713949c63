"""A network that stands in for the trained ones, and pictures that it can judge."""

import numpy as np

N = 14
IDS = [f"stim{row:03d}" for row in range(N)]


class MeanColours:
    """Features: colours on a 4 x 4 grid. Category: the strongest colour. Digit: the brighter half."""

    def __init__(self):
        self.calls = 0

    def embed(self, images):
        self.calls += 1
        assert images.dtype == np.uint8 and images.shape[1:] == (64, 64, 3)
        return images.reshape(len(images), 4, 16, 4, 16, 3).mean(axis=(2, 4)).reshape(len(images), -1)

    def classify(self, images):
        strongest = images.mean(axis=(1, 2)).argmax(axis=1)
        upper = images[:, :32].mean(axis=(1, 2, 3)) > images[:, 32:].mean(axis=(1, 2, 3))
        return {
            "category": [("digit", "tree", "house")[k] for k in strongest],
            "digit": ["6" if one else "9" for one in upper],
        }


def noisy(shown, amount, seed=1):
    noise = np.random.default_rng(seed).normal(0, amount, shown.shape)
    return np.clip(shown + noise, 0, 255).astype(np.uint8)


class Grey:
    """An encoding model of one voxel per grey value on a 4 x 4 grid."""

    def predict(self, features):
        return np.asarray(features, dtype=np.float32).reshape(len(features), 16, 3).mean(axis=2)
