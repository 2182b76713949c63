"""Chosen voxels of files of betas, which are read when they are asked for."""

from collections import OrderedDict

import numpy as np

from brainrecon.datasets.arrays.finite_voxels import LEFT_OUT
from brainrecon.datasets.nsd.betas import CACHE_BYTES, read_session
from brainrecon.datasets.split import check_finite
from stages.ground.reading.hdf5_files import dataset, hdf5_file

SLAB_BYTES = 64 * 2**20


class VoxelStore:
    """The chosen voxels of files of betas, read when needed and kept while there is room.

    Parameters
    ----------
    files : sequence of pathlib.Path
        NIfTI, or HDF5 of GLMsingle, (x, y, z, trials) each.
    mask : array of shape (x, y, z), bool
    cache_bytes : int
        How much to keep. One file is always kept.
    """

    reference_rows, is_quick = None, True

    def __init__(self, files, mask, cache_bytes=CACHE_BYTES):
        self.files, self.mask, self.cache_bytes = files, mask, cache_bytes
        self.n_voxels = int(mask.sum())
        self._kept = OrderedDict()

    def rows(self, number, rows, voxels=slice(None)):
        """Betas of some volumes and voxels of a file, (n_rows, n_voxels) float32 in the file's own unit."""
        if number not in self._kept:
            self._kept[number] = self._read(self.files[number])
        self._kept.move_to_end(number)
        while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > self.cache_bytes:
            self._kept.popitem(last=False)
        # Never a view: what is kept stays as it was read.
        return np.array(self._kept[number][rows][:, voxels])

    def _read(self, file):
        values = read_voxels(file, self.mask)
        check_finite(values, file, LEFT_OUT)
        return values


def read_voxels(file, mask):
    """Voxels of a file of betas, (n_trials, n_voxels) float32, unchecked."""
    read = _read_glmsingle if file.suffix == ".hdf5" else read_session
    return read(file, mask).astype(np.float32, copy=False)


def _read_glmsingle(file, mask):
    """Voxels of GLMsingle's betasmd, (n_trials, n_voxels), in C order of the mask; about 64 MB are read at a time."""
    with hdf5_file(file) as content:
        betas = dataset(content, "betasmd")
        planes = max(1, SLAB_BYTES * len(betas) // betas.nbytes)
        slabs = [betas[start : start + planes][mask[start : start + planes]] for start in range(0, len(betas), planes)]
    return np.concatenate(slabs).T
