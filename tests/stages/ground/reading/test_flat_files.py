"""Flat maps as nibabel and FreeSurfer write them, and files that are none."""

import nibabel
import numpy as np
import pytest
from nibabel.gifti import GiftiDataArray, GiftiImage

from stages.ground.errors import InputError
from stages.ground.reading.flat_files import read_flat

PLACES = np.float32([[0, 1, 0], [2, 3, 0], [4, 5, 0], [9, 9, 9]])


def gifti(path, places=PLACES, triangles=((0, 1, 2),)):
    arrays = [
        GiftiDataArray(places, intent="NIFTI_INTENT_POINTSET"),
        GiftiDataArray(np.int32(triangles), intent="NIFTI_INTENT_TRIANGLE"),
    ]
    nibabel.save(GiftiImage(darrays=arrays), path)
    return path


def patch(path, vertices=(3, -1, 7), n=None, places=PLACES[:3]):
    """As mris_flatten writes it: -1, the count, and for each vertex its number from 1, negative on the border, and a place."""
    content = np.array([-1, len(vertices) if n is None else n], ">i4").tobytes()
    for vertex, place in zip(vertices, places):
        content += np.array([vertex], ">i4").tobytes() + place.astype(">f4").tobytes()
    path.write_bytes(content)
    return path


def test_a_surface_counts_the_vertices_of_its_triangles(tmp_path):
    vertices, places = read_flat(gifti(tmp_path / "flat.gii"))
    assert vertices.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(places, PLACES[:3, :2])


def test_a_patch_is_sorted_by_vertex(tmp_path):
    vertices, places = read_flat(patch(tmp_path / "lh.cortex.patch.flat"))
    assert vertices.tolist() == [0, 2, 6]
    np.testing.assert_array_equal(places, PLACES[[1, 0, 2], :2])


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: gifti(path / "a.gii", triangles=((0, 1, 3),)), "three dimensions"),
        (lambda path: gifti(path / "a.gii", triangles=((0, 1, 8),)), "triangles of other points"),
        (lambda path: gifti(path / "a.gii", places=np.float32([[0, 0, 0], [np.nan, 1, 0], [1, 1, 0]])), "not finite"),
        (lambda path: patch(path / "a.flat", n=4), "no patch of 4 vertices"),
        (lambda path: patch(path / "a.flat", vertices=(3, 3, 1)), "names a vertex twice"),
        (lambda path: patch(path / "a.flat", vertices=(0, 3, 1)), "vertex 0"),
        (lambda path: path / "absent.gii", "There is no file"),
        (lambda path: path / "absent.flat", "There is no file"),
    ],
)
def test_what_is_no_flat_map_is_said(make, told, tmp_path):
    with pytest.raises(InputError, match=told):
        read_flat(make(tmp_path))


def test_other_bytes_are_refused(tmp_path):
    for name in ("a.gii", "a.gii.gz", "a.flat"):
        (tmp_path / name).write_bytes(b"\x00\x01nothing")
        with pytest.raises(InputError, match=str(tmp_path / name)):
            read_flat(tmp_path / name)
    nibabel.save(GiftiImage(darrays=[GiftiDataArray(np.float32([1, 2]))]), tmp_path / "map.gii")
    with pytest.raises(InputError, match="holds no surface"):
        read_flat(tmp_path / "map.gii")


def test_numbers_of_another_file_are_not_followed(tmp_path):
    path = gifti(tmp_path / "flat.gii")
    text = (
        path.read_text()
        .replace("GZipBase64Binary", "ExternalFileBinary")
        .replace('ExternalFileName=""', 'ExternalFileName="x"')
    )
    path.write_text(text)
    with pytest.raises(InputError, match="keeps its numbers in another file"):
        read_flat(path)
