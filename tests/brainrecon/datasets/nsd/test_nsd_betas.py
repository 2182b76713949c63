import numpy as np
import pytest

from brainrecon.datasets import load
from brainrecon.datasets.nsd import betas as nsd_betas
from brainrecon.datasets.nsd.betas import SessionBetas, SessionStore, read_session
from stages.ground.errors import InputError


@pytest.mark.parametrize("share", [0.02, 0.2, 0.7])
@pytest.mark.parametrize("block_bytes", [1, 500, 10**9])
@pytest.mark.parametrize("suffix", [".hdf5", ".nii.gz"])
def test_a_session_is_the_same_in_blocks_of_any_size(nsd_writer, monkeypatch, block_bytes, suffix, share):
    nsd = nsd_writer(formats=("hdf5", "nifti"))
    monkeypatch.setattr(nsd_betas, "BLOCK_BYTES", block_bytes)
    mask = np.random.default_rng(0).random(nsd.shape) < share
    stored = read_session(nsd.session(2, suffix=suffix), mask)
    assert stored.dtype == np.int16
    np.testing.assert_array_equal(stored, nsd.stored["subj01"][2][mask].T)


@pytest.mark.parametrize("block_bytes", [1, 10**9])
def test_a_session_whose_checksum_is_another_is_refused(nsd_writer, monkeypatch, block_bytes):
    nsd = nsd_writer(formats=("hdf5", "nifti"))
    monkeypatch.setattr(nsd_betas, "BLOCK_BYTES", block_bytes)
    path = nsd.session(2, suffix=".nii.gz")
    content = bytearray(path.read_bytes())
    # The checksum stands in the last eight bytes.
    content[-8] ^= 1
    path.unlink()
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{path.name} cannot be read as NIfTI .*CRC check failed"):
        read_session(path, np.ones(nsd.shape, dtype=bool))


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


def test_only_the_chunks_of_the_voxels_are_read(nsd_writer, monkeypatch):
    """The chunk of a voxel outside the mask may be damaged; one inside may not."""
    import h5py

    nsd = nsd_writer()
    path, mask = nsd.session(1), np.zeros(nsd.shape, bool)
    mask[2:5, 1, 3] = True
    with h5py.File(path) as file:
        values, trials = file["betas"][()], len(file["betas"])
    with h5py.File(path, "w") as file:
        file.create_dataset("betas", data=values, chunks=(trials, 1, 1, 1), fletcher32=True)
        offset = file["betas"].id.get_chunk_info_by_coord((0, 3, 1, 5)).byte_offset
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"\xff\x00\xff")
    np.testing.assert_array_equal(read_session(path, mask), values.transpose(3, 2, 1, 0)[mask].T)
    mask[5, 1, 3] = True
    with pytest.raises(InputError, match="betas_session01.hdf5 cannot be read as HDF5"):
        read_session(path, mask)


def test_z_scores_within_sessions_leave_the_test_pictures_out(nsd):
    """The formula written out over what was written: each session's training trials have mean 0 and deviation 1."""
    source = f"nsd:{nsd.root}"
    plain, scored = load(source), load(source, zscore=True)
    mask = nsd.rois["subj01"]["nsdgeneral"] > 0
    for name in ("train", "test"):
        found, before = np.asarray(scored.splits[name].betas), plain.splits[name]
        for session in np.unique(before.sessions):
            stored = nsd.stored["subj01"][session][mask].T.astype(float)
            is_train = ~np.isin(nsd.shown["subj01"][session], nsd.shared)
            mean, spread = stored[is_train].mean(axis=0), stored[is_train].std(axis=0, ddof=1)
            expected = (np.asarray(before.betas)[before.sessions == session] * 300 - mean) / spread
            np.testing.assert_allclose(found[before.sessions == session], expected, atol=1e-4)
    assert scored.details["units"] == "z-scores within sessions"
    assert scored.fingerprint == plain.fingerprint
