"""The cortex as a picture, against formulas written out; what goes in comes back."""

import json
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from nilearn import datasets

from stages.adapters.icosphere import SphereMap, icosphere_of
from stages.adapters.surface_raster import SurfaceRaster, crop_box
from stages.ground.errors import InputError

BUNDLED = Path(datasets.__file__).parent / "data" / "fsaverage5"


@cache
def fsaverage5():
    """Flat places, hemispheres and sphere of all vertices on nilearn's flat maps, read by nibabel alone."""
    flats, sheets, spheres, edge = [], [], [], 0.0
    for number, side in enumerate(("left", "right")):
        points, triangles = (array.data for array in nibabel.load(BUNDLED / f"flat_{side}.gii.gz").darrays)
        used = np.unique(triangles)
        flat = points[used, :2] - (points[used, 0].min(), 0) + (edge, 0)
        edge = flat[:, 0].max() + 5
        flats.append(flat)
        sheets.append(np.full(len(used), number))
        spheres.append(nibabel.load(BUNDLED / f"sphere_{side}.gii.gz").darrays[0].data[used])
    return np.concatenate(flats), np.concatenate(sheets), np.concatenate(spheres)


def visual():
    """The same of the back of both hemispheres, about a sixth of the cortex."""
    flat, sheets, sphere = fsaverage5()
    back = sphere[:, 1] < -65
    return flat[back], sheets[back], sphere[back], (flat[:, 1].min(), flat[:, 1].max())


def test_a_random_map_of_visual_cortex_comes_back_to_the_bit():
    flat, sheets, _, extent = visual()
    raster = SurfaceRaster.of_flat(flat, sheets, extent=extent)
    maps = torch.randn(5, len(flat), generator=torch.Generator().manual_seed(0))
    back = raster.to_vertices(raster.to_raster(maps))
    alone = torch.from_numpy(raster.alone)
    assert alone.float().mean() > 0.99
    assert torch.equal(back[:, alone], maps[:, alone])
    # Places of one pixel get their mean.
    for pixel in np.unique(raster.pixels[~raster.alone]):
        here = torch.from_numpy(raster.pixels == pixel)
        for sheet in np.unique(sheets[here]):
            own = here & torch.from_numpy(sheets == sheet)
            first = sheet == sheets[here].min()
            assert not first or torch.allclose(back[:, own], maps[:, own].mean(1, keepdim=True))


def test_of_the_whole_cortex_most_vertices_have_their_own_pixel():
    flat, sheets, sphere = fsaverage5()
    raster = SurfaceRaster.of_flat(flat, sheets)
    smooth = torch.from_numpy(np.sin(sphere / 15).sum(axis=1)[None]).float()
    back = raster.to_vertices(raster.to_raster(smooth))
    assert raster.alone.mean() > 0.9
    assert torch.equal(back[0, raster.alone], smooth[0, raster.alone])
    shared = ~raster.alone
    assert np.corrcoef(back[0, shared], smooth[0, shared])[0, 1] > 0.99


def test_a_smooth_picture_survives_the_vertices():
    flat, sheets, _, extent = visual()
    raster = SurfaceRaster.of_flat(flat, sheets, extent=extent)
    row, column = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    picture = (torch.sin(row / 20) + torch.cos(column / 25)) * torch.from_numpy(raster.mask)
    again = raster.to_raster(raster.to_vertices(picture[None, None]))[0, 0]
    mask = raster.mask
    assert np.corrcoef(again[mask], picture[mask])[0, 1] > 0.98
    assert (again[~mask] == 0).all()


def test_a_constant_stays_constant_inside_the_mask():
    flat, sheets, _, extent = visual()
    raster = SurfaceRaster.of_flat(flat, sheets, extent=extent)
    picture = raster.to_raster(torch.full((1, len(flat)), 3.0))[0, 0].numpy()
    np.testing.assert_allclose(picture[raster.mask], 3, rtol=1e-6)
    assert (picture[~raster.mask] == 0).all() and 0.3 < raster.mask.mean() < 0.8


def test_the_box_is_one_row_and_ten_columns_around_the_places():
    rows, columns = np.array([5, 9, 7]), np.array([30, 22, 41])
    assert crop_box(rows, columns) == (4, 10, 12, 51)
    # 1,024 rows of a map that is 1,024 high: one unit is one pixel of it.
    flat = np.stack([columns + 0.5, 1024 - (rows + 0.5)], axis=1)
    raster = SurfaceRaster.of_flat(flat, side=256, extent=(0, 1024))
    # Columns count from the leftmost place, whose pixel is the first of the map then.
    top, bottom, left, right = crop_box(rows, np.floor(columns - columns.min()))
    expected_rows = np.floor((rows + 0.5 - top) / (bottom - top + 1) * 256)
    expected_columns = np.floor((columns - columns.min() - left) / (right - left + 1) * 256)
    np.testing.assert_array_equal(raster.pixels, expected_rows * 256 + expected_columns)


def test_a_plane_is_drawn_as_a_plane_between_places():
    row, column = np.divmod(np.array([0, 8, 16, 5, 30, 21]) + 32 * np.array([1, 2, 0, 16, 18, 30]), 32)
    raster = SurfaceRaster(row * 32 + column, np.zeros(6, dtype=int), side=32)
    picture = raster.to_raster(torch.from_numpy(2.0 * row - 3.0 * column + 1)[None])[0, 0].numpy()
    inside = raster.mask.copy()
    rows, columns = np.nonzero(inside)
    expected = 2.0 * rows - 3.0 * columns + 1
    off = np.abs(picture[inside] - expected) > 1e-9
    # Beside the triangles a pixel repeats the nearest place, half way to a neighbour at most.
    distances = np.hypot(rows[off][:, None] - row, columns[off][:, None] - column)
    np.testing.assert_array_equal(picture[inside][off], (2.0 * row - 3.0 * column + 1)[distances.argmin(axis=1)])
    assert off.mean() < 0.5 < (~off).sum()


def test_nothing_is_drawn_from_one_hemisphere_to_the_other():
    flat = np.array([[0, 0], [0, 9], [9, 0], [9, 9], [12, 0], [12, 9], [21, 0], [21, 9]], dtype=float)
    sheets = np.repeat([0, 1], 4)
    raster = SurfaceRaster.of_flat(flat, sheets, side=64)
    picture = raster.to_raster(torch.tensor([[1.0] * 4 + [-1.0] * 4]))[0, 0]
    assert set(picture.numpy().round(5).ravel().tolist()) == {-1.0, 0.0, 1.0}


def test_places_that_are_on_no_map_are_left_out():
    flat = np.array([[0, 0], [np.nan, 1], [4, 0], [0, 4]])
    raster = SurfaceRaster.of_flat(flat, side=16)
    drawn = raster.to_raster(torch.tensor([[1.0, 100, 2, 3]]))
    assert drawn.max() == 3 and raster.to_vertices(drawn).tolist() == [[1, 0, 2, 3]]
    assert raster.alone.tolist() == [True, False, True, True]
    with pytest.raises(InputError, match="None of 2 places is on the flat map"):
        SurfaceRaster.of_flat(np.full((2, 2), np.nan))


@pytest.mark.parametrize("flat", [[[1, 2]], [[1, 2], [1, 2]], [[0, 0], [1, 1], [2, 2], [3, 3]]])
def test_a_point_and_a_line_are_rasters(flat):
    raster = SurfaceRaster.of_flat(np.array(flat, dtype=float), side=32)
    values = torch.arange(1.0, 1 + len(flat))[None]
    picture = raster.to_raster(values)
    assert (picture[0, 0][torch.from_numpy(raster.mask)] > 0).all()
    same = torch.equal(raster.to_vertices(picture), values)
    assert same or raster.to_vertices(picture).tolist() == [[1.5, 1.5]]


def test_json_and_rows_change_nothing():
    flat, sheets, _, extent = visual()
    raster = SurfaceRaster.of_flat(flat[::9], sheets[::9], 64, extent, origin="a test")
    again = SurfaceRaster.from_facts(json.loads(json.dumps(raster.facts)))
    maps = torch.randn(3, len(raster), generator=torch.Generator().manual_seed(1))
    together = raster.to_raster(maps)
    assert again.origin == "a test" and torch.equal(again.to_raster(maps), together)
    torch.testing.assert_close(torch.cat([raster.to_raster(one[None]) for one in maps]), together)
    assert raster.to_raster(maps.double()).dtype == torch.float64


def test_what_does_not_fit_is_said():
    raster = SurfaceRaster(np.array([0, 5]), np.array([0, 0]), side=4)
    with pytest.raises(InputError, match=r"shape \(1, 3\) but the raster was made for 2 places"):
        raster.to_raster(torch.zeros(1, 3))
    with pytest.raises(InputError, match=r"the raster has 4 x 4 pixels"):
        raster.to_vertices(torch.zeros(1, 1, 8, 8))
    for pixels in ([16], [-2], [-1], []):
        with pytest.raises(InputError, match=r"pixels|expected a whole number for each place"):
            SurfaceRaster(np.array(pixels, dtype=int), np.zeros(len(pixels), dtype=int), side=4)
    with pytest.raises(InputError, match="give one for each place"):
        SurfaceRaster(np.array([1, 2]), np.array([0]), side=4)
    with pytest.raises(InputError, match="expected \\(n_places, 2\\)"):
        SurfaceRaster.of_flat(np.zeros((3, 3)))


def test_from_fs_lr_through_the_raster_and_back_no_vertex_moves():
    sphere = icosphere_of(32492).vertices
    back = sphere[:, 1] < -0.6
    # The back of the head, laid flat at equal area.
    x, y, z = sphere[back].T
    flat = np.stack([x, z], axis=1) * np.sqrt(2 / (1 - y))[:, None]
    raster = SurfaceRaster.of_flat(flat)
    values = torch.randn(1, back.sum(), generator=torch.Generator().manual_seed(2))
    assert raster.alone.all() and back.sum() > 6000
    assert torch.equal(raster.to_vertices(raster.to_raster(values)), values)


def test_from_fsaverage_through_icosphere_and_raster_and_back_no_vertex_moves():
    flat, sheets, sphere, extent = visual()
    left = sheets == 0
    fine = icosphere_of(32492).vertices
    there, again = SphereMap.between(sphere[left], fine), SphereMap.between(fine, sphere[left])
    values = np.random.default_rng(3).standard_normal(left.sum()).astype(np.float32)
    returned = again(there(values))
    np.testing.assert_array_equal(returned, values)
    raster = SurfaceRaster.of_flat(flat[left], extent=extent)
    drawn = raster.to_raster(torch.from_numpy(returned)[None])
    back = raster.to_vertices(drawn)[0].numpy()
    np.testing.assert_array_equal(back[raster.alone], values[raster.alone])
    assert raster.alone.mean() > 0.99
