"""NSD's single-trial betas, read session by session.

A session is one file: HDF5 ``betas`` (n_trials, z, y, x) or NIfTI (x, y, z, n_trials), int16, percent signal
change times 300. Only the chosen voxels are kept, in C order of the (x, y, z) volume, the same for both
formats. On a surface a session is two files, see `brainrecon.datasets.nsd.hemispheres`, and a voxel a vertex.
"""

import copy
import os
from collections import OrderedDict
from contextlib import contextmanager

import numpy as np

from brainrecon.datasets.nsd import hemispheres
from brainrecon.datasets.nsd.hemispheres import HemisphereFiles
from brainrecon.datasets.responses import Responses
from brainrecon.datasets.split import check_finite
from stages.ground.errors import InputError
from stages.ground.lazy_rows import as_slice, positions
from stages.ground.reading.hdf5_files import dataset, hdf5_file
from stages.ground.reading.nifti_files import nifti_values, open_nifti

SCALE = 300
BLOCK_BYTES = 64 * 2**20
CACHE_BYTES = 2**30
MOST_BY_RUNS = 0.25  # share of the volume up to which voxels are looked up one run after the other


def session_shape(path):
    """Number of trials and (x, y, z) shape of a session, (n_vertices,) on a surface, from the file's header.

    Raises
    ------
    InputError
        The file cannot be opened or has another layout.
    """
    if isinstance(path, HemisphereFiles):
        return hemispheres.session_shape(path)
    if path.suffix == ".hdf5":
        with _open_hdf5(path) as file:
            n_trials, *zyx = file["betas"].shape
        return n_trials, tuple(zyx[::-1])
    *xyz, n_trials = _open_nifti(path).shape
    return n_trials, tuple(xyz)


def read_session(path, mask):
    """Voxels of one session, as stored.

    Parameters
    ----------
    path : pathlib.Path or brainrecon.datasets.nsd.hemispheres.HemisphereFiles
    mask : array of shape (x, y, z) or (n_vertices,), bool

    Returns
    -------
    stored : array of shape (n_trials, n_voxels)
        In the file's own type and scale; voxels in C order of `mask`. Reads about 64 MB at a time.

    Raises
    ------
    InputError
        The file is damaged.
    """
    if isinstance(path, HemisphereFiles):
        return hemispheres.read_session(path, mask)
    return _read_hdf5(path, mask) if path.suffix == ".hdf5" else _read_nifti(path, mask)


def _read_hdf5(path, mask):
    with _open_hdf5(path) as file:
        betas = file["betas"]
        stored = np.empty((len(betas), int(mask.sum())), dtype=betas.dtype.newbyteorder("="))
        # The original keeps each voxel's trials in a chunk of their own.
        few = betas.chunks == (len(betas), 1, 1, 1) and mask.mean() < MOST_BY_RUNS
        read = _read_runs if few else _read_slabs
        read(file, np.nonzero(mask), stored)
    return stored


def _read_runs(file, places, stored):
    """Read runs of neighbours along x: chunks of no other voxel are touched."""
    if hasattr(os, "posix_fadvise"):
        # Reading ahead would fetch mostly other voxels.
        os.posix_fadvise(file.id.get_vfd_handle(), 0, 0, os.POSIX_FADV_RANDOM)
    x, y, z = places
    order = np.lexsort(places)
    apart = np.diff(np.stack([x, y, z])[:, order], axis=1) != np.array([[1], [0], [0]])
    for columns in np.split(order, np.flatnonzero(apart.any(axis=0)) + 1):
        first, last = columns[0], columns[-1]
        stored[:, columns] = file["betas"][:, z[first], y[first], x[first] : x[last] + 1]


def _read_slabs(file, places, stored):
    """Read the box around the voxels, some planes at a time."""
    betas, (x, y, z) = file["betas"], places
    low_x, high_x, low_y, high_y = x.min(), x.max() + 1, y.min(), y.max() + 1
    plane_bytes = len(betas) * (high_y - low_y) * (high_x - low_x) * betas.dtype.itemsize
    # Whole chunks at a time, so that none is decompressed twice.
    chunk = betas.chunks[1] if betas.chunks else 1
    planes = max(1, BLOCK_BYTES // plane_bytes // chunk) * chunk
    for start in range(z.min() // chunk * chunk, z.max() + 1, planes):
        inside = np.flatnonzero((z >= start) & (z < start + planes))
        if len(inside):
            slab = betas[:, start : start + planes, low_y:high_y, low_x:high_x]
            stored[:, inside] = slab[:, z[inside] - start, y[inside] - low_y, x[inside] - low_x]


def _read_nifti(path, mask):
    blocks = []
    with nifti_values(path) as volumes:
        n_trials = volumes.shape[3]
        trials = max(1, BLOCK_BYTES // (mask.size * volumes.dtype.itemsize))
        for start in range(0, n_trials, trials):
            blocks.append(np.asanyarray(volumes[..., start : start + trials])[mask].T)
    stored = np.concatenate(blocks)
    return stored.astype(stored.dtype.newbyteorder("="), copy=False)


@contextmanager
def _open_hdf5(path):
    with hdf5_file(path) as file:
        betas = dataset(file, "betas")
        if betas.ndim != 4:
            raise InputError(
                f"{path} holds betas {betas.shape}; expected a dataset 'betas' (trials, z, y, x): copy the file again."
            )
        if betas.dtype.kind not in "iuf":
            raise InputError(f"{path} holds betas of {betas.dtype}; expected numbers: copy the file again.")
        yield file


def _open_nifti(path):
    image = open_nifti(path)
    if image.ndim != 4:
        raise InputError(f"{path} has shape {image.shape}; expected (x, y, z, trials): copy the file again.")
    return image


class SessionStore:
    """The chosen voxels of all sessions, read when needed and kept while there is room.

    Parameters
    ----------
    files : dict of int to pathlib.Path or brainrecon.datasets.nsd.hemispheres.HemisphereFiles
        Session number to file.
    mask : array of shape (x, y, z) or (n_vertices,), bool
    reference_rows : dict of int to array of int, optional
        Session number to 0-based rows of its file: betas are then z-scored session by session, each voxel by the mean
        and standard deviation (ddof 1) of these rows. Without it they are percent signal change.
    cache_bytes : int
        How much to keep, as stored (int16: all of a subject's nsdgeneral is just under the default 1 GiB).
        One session is always kept.
    scale : float
        What the stored values are divided by to be percent signal change.
    """

    is_quick = False

    def __init__(self, files, mask, reference_rows=None, cache_bytes=CACHE_BYTES, scale=SCALE):
        self.files = files
        self.mask = mask
        self.reference_rows = reference_rows
        self.cache_bytes = cache_bytes
        self.scale = scale
        self.n_voxels = int(mask.sum())
        self._kept = OrderedDict()
        self._centres = {}

    def referring_to(self, reference_rows):
        """The same store, z-scored by other rows; what was read is shared."""
        other = copy.copy(self)
        other.reference_rows, other._centres = reference_rows, {}
        return other

    def rows(self, session, rows, voxels=slice(None)):
        """Betas of some rows and voxels of a session, float32: percent signal change, or z-scores if these are asked for."""
        values = self.read(session)[rows][:, voxels].astype(np.float32)
        if self.reference_rows is None:
            return values / np.float32(self.scale)
        mean, spread = self._centre(session)
        return (values - mean[voxels]) / spread[voxels]

    def _centre(self, session):
        """Mean and standard deviation of each voxel over the session's reference rows, both as stored."""
        if session not in self._centres:
            reference = self.read(session)[self.reference_rows[session]].astype(np.float32)
            mean = reference.mean(axis=0, dtype=np.float64)
            spread = reference.std(axis=0, ddof=1, dtype=np.float64)
            # A voxel without variance, such as one outside the brain mask, becomes zero.
            spread = np.where(spread > 0, spread, np.inf)
            self._centres[session] = mean.astype(np.float32), spread.astype(np.float32)
        return self._centres[session]

    def within_sessions(self):
        """Mean over sessions of each voxel's mean over the reference rows, and its spread within them, percent signal change.

        Returns
        -------
        mean, spread : arrays of shape (n_voxels,), float64
            The spread is the root of the mean variance; infinite for a voxel that has none in any session.
        """
        centres = [self._centre(session) for session in self.files]
        mean = np.mean([centre for centre, _ in centres], axis=0, dtype=np.float64)
        spreads = np.array([np.where(np.isfinite(spread), spread, 0) for _, spread in centres], dtype=np.float64)
        spread = np.sqrt((spreads**2).mean(axis=0))
        return mean / self.scale, np.where(spread > 0, spread, np.inf) / self.scale

    def read(self, session):
        """Betas of one session as stored, (n_trials, n_voxels); InputError at a NaN or infinite value."""
        if session in self._kept:
            self._kept.move_to_end(session)
            return self._kept[session]
        path = self.files[session]
        stored = read_session(path, self.mask)
        if stored.dtype.kind == "f":
            remedy = (
                {"remedy": "leave such vertices out, --roi 'nsdgeneral & finite'"}
                if isinstance(path, HemisphereFiles)
                else {}
            )
            check_finite(stored, f"session {session} ({path})", **remedy)
            if stored.dtype.itemsize > 4:
                stored = stored.astype(np.float32)
        self._kept[session] = stored
        while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > self.cache_bytes:
            self._kept.popitem(last=False)
        return stored


class SessionBetas(Responses):
    """Single-trial betas of some trials, (n_trials, n_voxels) float32, in the units of their store.

    Rows are read in any order but cheapest when those of a session follow each other.

    Parameters
    ----------
    store : SessionStore
        Or another one with ``n_voxels``, ``reference_rows`` and ``rows(session, rows, voxels)``. May be shared by several
        splits.
    sessions, rows : array of int, shape (n_trials,)
        Where each trial is: the session's number and the 0-based row in its file.
    voxels : array of int, shape (n_voxels,), optional
        Which voxels of the store; by default all.
    """

    takes_any_order = True

    def __init__(self, store, sessions, rows, voxels=None):
        self.store, self.sessions, self.rows = store, np.asarray(sessions), np.asarray(rows)
        self._voxels = None if voxels is None else np.asarray(voxels)
        n_voxels = store.n_voxels if voxels is None else len(voxels)
        super().__init__((len(self.rows), n_voxels), np.float32)

    @property
    def standardized(self):
        return "no" if self.store.reference_rows is None else "training"

    @property
    def is_quick(self):
        return self.store.is_quick

    def _read(self, rows):
        sessions, places = self.sessions[rows], self.rows[rows]
        voxels = slice(None) if self._voxels is None else as_slice(self._voxels)
        if (sessions == sessions[0]).all():
            return self.store.rows(int(sessions[0]), as_slice(places), voxels)
        values = np.empty((len(places), self.shape[1]), dtype=np.float32)
        for session in np.unique(sessions):
            wanted = sessions == session
            values[wanted] = self.store.rows(int(session), places[wanted], voxels)
        return values

    def take(self, rows):
        chosen = np.atleast_1d(positions(rows, len(self)))
        return SessionBetas(self.store, self.sessions[chosen], self.rows[chosen], self._voxels)

    def columns(self, chosen):
        places = np.atleast_1d(positions(chosen, self.shape[1], "column"))
        voxels = places if self._voxels is None else self._voxels[places]
        return SessionBetas(self.store, self.sessions, self.rows, voxels)

    def joined(self, others):
        if any(
            getattr(other, "store", None) is not self.store or other._voxels is not self._voxels for other in others
        ):
            return super().joined(others)
        sessions, rows = (
            np.concatenate([getattr(part, name) for part in (self, *others)]) for name in ("sessions", "rows")
        )
        return SessionBetas(self.store, sessions, rows, self._voxels)

    def standardized_by(self, trained):
        """The same betas; z-scores within sessions are taken anew over some trials.

        Raises
        ------
        InputError
            A session has fewer than two of these trials.
        """
        if self.standardized == "no":
            return self
        sessions, rows = self.sessions[trained], self.rows[trained]
        reference = {}
        for session in np.unique(self.sessions).tolist():
            reference[session] = np.sort(rows[sessions == session])
            if len(reference[session]) < 2:
                raise InputError(
                    f"Session {session} ({self.store.files[session]}) has {len(reference[session])} training trials after "
                    "the split; z-scoring within sessions needs 2 or more: leave zscore out, or hold out less."
                )
        return SessionBetas(self.store.referring_to(reference), self.sessions, self.rows, self._voxels)
