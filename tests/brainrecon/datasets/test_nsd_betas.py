import numpy as np
import pytest

from brainrecon.datasets import nsd_betas
from brainrecon.datasets.nsd_betas import SessionBetas, SessionStore, read_session


@pytest.mark.parametrize("block_bytes", [1, 500, 10**9])
@pytest.mark.parametrize("suffix", [".hdf5", ".nii.gz"])
def test_a_session_is_the_same_in_blocks_of_any_size(nsd_writer, monkeypatch, block_bytes, suffix):
    nsd = nsd_writer(formats=("hdf5", "nifti"))
    monkeypatch.setattr(nsd_betas, "BLOCK_BYTES", block_bytes)
    mask = np.random.default_rng(0).random(nsd.shape) < 0.2
    stored = read_session(nsd.session(2, suffix=suffix), mask)
    assert stored.dtype == np.int16
    np.testing.assert_array_equal(stored, nsd.stored["subj01"][2][mask].T)


def test_chunks_of_several_planes(tmp_path):
    import h5py

    volume = np.random.default_rng(0).integers(-99, 99, (6, 5, 9, 4)).astype(">i2")
    with h5py.File(tmp_path / "betas_session01.hdf5", "w") as file:
        file.create_dataset("betas", data=volume.T, chunks=(2, 4, 5, 3), compression="gzip")
    mask = np.zeros((6, 5, 9), bool)
    mask[2:4, 1, [3, 7, 8]] = True
    stored = read_session(tmp_path / "betas_session01.hdf5", mask)
    assert stored.dtype.isnative
    np.testing.assert_array_equal(stored, volume[mask].T)


@pytest.fixture
def store(nsd):
    return SessionStore({number: nsd.session(number) for number in (1, 2, 3)}, nsd.rois["subj01"]["nsdgeneral"] > 0)


def test_betas_index_like_an_array(store):
    rng = np.random.default_rng(3)
    betas = SessionBetas(store, rng.integers(1, 4, 20), rng.integers(0, 9, 20))
    whole = np.asarray(betas)
    assert whole.shape == betas.shape == (20, store.n_voxels) and len(betas) == 20
    for index in [3, -1, slice(2, 9, 3), [5, 5, 0], rng.random(20) < 0.5, np.array([], dtype=int)]:
        np.testing.assert_array_equal(betas[index], whole[index])
        assert betas[index].dtype == np.float32
    np.testing.assert_array_equal(betas[4:9, 2:5], whole[4:9, 2:5])
    np.testing.assert_array_equal(betas[4, [1, 0]], whole[4, [1, 0]])


def test_only_what_fits_is_kept(store, nsd, monkeypatch):
    reads = []
    monkeypatch.setattr(nsd_betas, "read_session", lambda path, mask: reads.append(path) or read_session(path, mask))
    for session in (1, 2, 3, 1, 2, 3):
        store.read(session)
    assert len(reads) == 3
    small = SessionStore(store.files, store.mask, cache_bytes=1)
    for session in (1, 1, 2, 2, 1):
        small.read(session)
    assert len(reads) == 3 + 3 and len(small._kept) == 1
