"""Pictures in files, read when looked at."""

import numpy as np
import pytest
from PIL import Image

from brainrecon.datasets.stimulus_images import PictureFiles, read_picture
from stages.ground.errors import InputError


def save(folder, *names, size=(8, 6), value=0):
    paths = []
    for step, name in enumerate(names):
        picture = np.full((size[1], size[0], 3), value + step, dtype=np.uint8)
        Image.fromarray(picture).save(folder / name)
        paths.append(folder / name)
    return paths


def test_files_are_indexed_like_an_array(tmp_path):
    files = PictureFiles(save(tmp_path, "0.png", "1.png", "2.png"))
    array = np.stack([np.full((6, 8, 3), step, dtype=np.uint8) for step in range(3)])
    assert len(files) == 3
    for rows in (1, slice(1, 3), np.array([2, 0, 2]), slice(None)):
        np.testing.assert_array_equal(files[rows], array[rows])
    assert [picture[0, 0, 0] for picture in files] == [0, 1, 2]


def test_pictures_of_two_sizes_are_refused(tmp_path):
    paths = save(tmp_path, "a.png") + save(tmp_path, "b.png", size=(8, 8))
    with pytest.raises(InputError, match="8 x 8 pixels but .* 8 x 6"):
        PictureFiles(paths)[:]


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="cannot be read as a picture"):
        read_picture(tmp_path / "b.png")
    Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)).save(tmp_path / "c.tif")
    with pytest.raises(InputError, match="mode F"):
        read_picture(tmp_path / "c.tif")
