import h5py
import numpy as np
import pytest

from brainrecon.datasets.stimulus_images import stimulus_images


@pytest.fixture
def pictures(tmp_path):
    brick = np.random.default_rng(0).integers(0, 256, (30, 4, 5, 3), dtype=np.uint8)
    with h5py.File(tmp_path / "pictures.hdf5", "w") as file:
        file["imgBrick"] = brick
    rows = [7, 3, 29, 3, 0]
    return stimulus_images(tmp_path / "pictures.hdf5", rows), brick[rows]


@pytest.mark.parametrize(
    "index",
    [0, -1, np.int64(2), slice(None), slice(4, 1, -2), [3, 1, 1], np.array([4, 0]), np.array([], dtype=int)],
)
def test_indexing_like_an_array(pictures, index):
    lazy, whole = pictures
    np.testing.assert_array_equal(lazy[index], whole[index])
    assert lazy[index].dtype == np.uint8


def test_the_whole(pictures):
    lazy, whole = pictures
    assert lazy.shape == whole.shape and len(lazy) == 5
    np.testing.assert_array_equal(np.asarray(lazy), whole)
    np.testing.assert_array_equal(lazy[np.array([True, False, False, True, False])], whole[[0, 3]])
