"""What a protocol compares: pixels of pictures, and what its networks make of them, a few pictures at a time.

Pictures are 8-bit and never changed. They may lie in files: whatever has a length and gives uint8 arrays for arrays of
rows will do.
"""

import numpy as np

from brainrecon.evaluation.views.resize_and_crop import prepare, resize_pictures
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

PICTURES_PER_BLOCK = 64
# Prepared pixels up to this size are kept for the metrics that follow; larger ones are prepared again.
_KEPT_BYTES = 1 << 28


class PreparedPictures:
    """One set of pictures under one protocol.

    Parameters
    ----------
    images : array or sequence of uint8 pictures, (n, height, width, 3)
        Anything with `len` that gives a uint8 array (m, height, width, 3) for an array of m rows.
    protocol : brainrecon.evaluation.protocols.protocol.Protocol
    """

    def __init__(self, images, protocol):
        self._images, self._protocol = images, protocol
        self._kept = {}

    def __len__(self):
        return len(self._images)

    def pixels(self, resize, rows):
        """Pictures at the protocol's size and then at a metric's own: float32 (n_rows, height, width, 3) in 0..1."""
        if resize not in self._kept:
            final = resize or self._protocol.resize
            if len(self) * final.size**2 * 12 > _KEPT_BYTES:
                return self._pixels(resize, rows)
            self._kept[resize] = self._pixels(resize, np.arange(len(self)))
        return self._kept[resize][rows]

    def forget(self):
        """Let go of the pixels that were kept."""
        self._kept.clear()

    def features(self, spec, network):
        """What a network makes of the pictures: float32 (n, n_features)."""
        features, start = None, 0
        for prepared in self.prepared(spec):
            block = np.asarray(network.embed(prepared), dtype=np.float32)
            block = block.reshape(len(block), -1)
            if features is None:
                features = np.empty((len(self), block.shape[1]), dtype=np.float32)
            features[start : start + len(block)] = block
            start += len(block)
        return features

    def labels(self, spec, network, heads):
        """A network's classifications: dict of head to list of str, length n."""
        names = {head: [] for head in heads}
        for prepared in self.prepared(spec):
            found = network.classify(prepared)
            if absent := [head for head in heads if head not in found]:
                raise InputError(
                    f"Network {spec.name!r} has no head {absent[0]!r}; it classifies {', '.join(found)}"
                    f"{did_you_mean(absent[0], found)}. Name one of these in the protocol."
                )
            for head in heads:
                names[head] += list(found[head])
        return names

    def prepared(self, spec, rows=None):
        """Yield blocks of pictures as a network takes them, in the order of `rows`, or of all."""
        for block in blocks_of(np.arange(len(self)) if rows is None else rows):
            yield prepare(self._read(block), self._protocol.resize, spec.preparation)

    def _pixels(self, resize, rows):
        steps = [step for step in (self._protocol.resize, resize) if step is not None]
        return np.concatenate([resize_pictures(self._read(block), steps) for block in blocks_of(rows)])

    def _read(self, rows):
        # Rows in ascending order, each once: what lies in files asks for that.
        wanted, where = np.unique(rows, return_inverse=True)
        images = np.asarray(self._images[wanted])
        return images if len(wanted) == len(rows) and (np.diff(rows) > 0).all() else images[where]


def blocks_of(rows, size=PICTURES_PER_BLOCK):
    """Yield stretches of `size` rows."""
    rows = np.asarray(rows)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
