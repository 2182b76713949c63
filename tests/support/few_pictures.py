"""A pool of few drawn pictures, for the recipes of small networks."""

import numpy as np


class FewPictures:
    """Pictures, their captions and labels, as the recipes' own pool has them; batches go through them in order, again and again.

    Parameters
    ----------
    images : uint8 array of shape (n_pictures, height, width, 3)
    labels : dict of str to list of str, optional
        By default all are scenes.
    captions : list of (list of str), optional
    """

    def __init__(self, images, labels=None, captions=None):
        self.images = self.relit = images
        self.labels, self.captions = labels or {"kind": ["scene"] * len(images)}, captions

    @classmethod
    def of(cls, drawn, names):
        """Those of drawn pictures, with the labels `names`."""
        labels = {name: [getattr(picture, name) for picture in drawn] for name in names}
        images, captions = np.stack([picture.image for picture in drawn]), [list(one.captions) for one in drawn]
        return cls(images, labels, captions)

    def __len__(self):
        return len(self.images)

    def batch_indices(self, step, batch_size, seed=0):
        """Rows of a batch."""
        return np.arange(batch_size) % len(self)
