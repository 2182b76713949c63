"""Pictures on their way to what compares them: read once, brought to every form that is asked for, a few at a time.

Pictures are 8-bit and never changed. They may lie in files: whatever has a length and gives uint8 arrays for arrays of
rows will do.
"""

from threading import Lock

import numpy as np

from brainrecon.evaluation.views.resize_and_crop import Form, views
from stages.ground.lazy_rows import LazyRows
from stages.ground.threads import in_order

# So many pictures a network is shown at a time.
PICTURES_PER_BLOCK = 64
# And so many are read and prepared by one thread at a time.
PICTURES_PER_PIECE = 8
_KEPT_BYTES = 1 << 30


class ReadPictures:
    """A set of pictures, each of which is read once.

    What was looked at before the walk begins, to tell that they are pictures at all, is kept until it is read.

    Parameters
    ----------
    images : array or sequence of uint8 pictures, (n, height, width, 3)
        Anything with `len` that gives a uint8 array (m, height, width, 3) for an array of m rows.
    again : bool
        Whether they are read more than once: then they are kept, unless they are more than a gigabyte together.
    """

    def __init__(self, images, again=False):
        self._images, self._kept, self._again = images, {}, again
        # Whatever is not of the toolkit may not be made for several threads.
        self._one_at_a_time = None if isinstance(images, np.ndarray | LazyRows) else Lock()

    def __len__(self):
        return len(self._images)

    @property
    def shape(self):
        """(n, height, width, 3); of what has no shape of its own, that of the first picture."""
        return tuple(getattr(self._images, "shape", ())) or (len(self), *self[np.arange(min(1, len(self)))].shape[1:])

    @property
    def dtype(self):
        return getattr(self._images, "dtype", None) or self[np.arange(min(1, len(self)))].dtype

    def __getitem__(self, rows):
        """Some pictures, uint8 (n_rows, height, width, 3), which are kept until they are read."""
        if isinstance(self._images, np.ndarray):
            return self._images[rows]
        rows = np.arange(len(self))[rows]
        for row, picture in zip(rows, self.read(rows)):
            self._kept[int(row)] = picture
        return np.stack([self._kept[int(row)] for row in rows])

    def read(self, rows):
        """The pictures `rows`, uint8 (n_rows, height, width, 3)."""
        if isinstance(self._images, np.ndarray):
            return self._images[rows]
        keep = self._again and 3 * len(self) * self._kept_size() <= _KEPT_BYTES
        take = self._kept.get if keep else self._kept.pop
        found = {int(row): take(int(row), None) for row in rows}
        # In ascending order, each once: what lies in files asks for that.
        if absent := sorted(row for row, picture in found.items() if picture is None):
            found |= zip(absent, self._from_source(np.array(absent)))
        if keep:
            self._kept |= found
        return np.stack([found[int(row)] for row in rows])

    def _from_source(self, rows):
        if self._one_at_a_time is None:
            return np.asarray(self._images[rows])
        with self._one_at_a_time:
            return np.asarray(self._images[rows])

    def _kept_size(self):
        """Pixels of a picture."""
        height, width = getattr(self._images, "shape", (0, 0, 0))[1:3]
        return height * width


def blocks_of(rows, size=PICTURES_PER_BLOCK):
    """Yield stretches of `size` rows."""
    rows = np.asarray(rows)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def prepared_blocks(pictures, forms):
    """Yield all pictures, as many at a time as a network is shown: dict of Form to array (n, ...).

    Parameters
    ----------
    pictures : ReadPictures
    forms : sequence of Form
    """
    pieces = blocks_of(np.arange(len(pictures)), PICTURES_PER_PIECE)
    found = []
    for seen in in_order(lambda rows: views(pictures.read(rows), forms), pieces):
        found.append(seen)
        if len(found) * PICTURES_PER_PIECE == PICTURES_PER_BLOCK:
            yield joined(found)
            found = []
    if found:
        yield joined(found)


def joined(pieces):
    """What several threads brought to the same forms, in a row: dict of Form to array."""
    return {form: np.concatenate([seen[form] for seen in pieces]) for form in pieces[0]}


def embedded(network, prepared):
    """What a network makes of prepared pictures: float32 (n, n_features)."""
    features = np.asarray(network.embed(prepared), dtype=np.float32)
    return features.reshape(len(features), -1)


def features_of(images, protocol, spec, network):
    """What a network makes of all pictures of a set: float32 (n, n_features).

    Parameters
    ----------
    images : as for `ReadPictures`
    protocol : brainrecon.evaluation.protocols.protocol.Protocol
    spec : brainrecon.evaluation.protocols.protocol.NetworkSpec
    network : brainrecon.evaluation.views.networks.Network
    """
    form, pictures, features, start = (
        Form.of_network(protocol.resize, spec.preparation),
        ReadPictures(images),
        None,
        0,
    )
    for seen in prepared_blocks(pictures, [form]):
        block = embedded(network, seen[form])
        if features is None:
            features = np.empty((len(pictures), block.shape[1]), dtype=np.float32)
        features[start : start + len(block)] = block
        start += len(block)
    return features
