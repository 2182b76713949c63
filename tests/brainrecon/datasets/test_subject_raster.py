"""Pictures of a subject's values: of its surface, of its volume, of neither; and regions that are exchanged."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from brainrecon.datasets import load
from brainrecon.datasets.arrays.reader import write
from brainrecon.datasets.exchanged_regions import exchanged
from brainrecon.datasets.subject_raster import raster_of, slices_beside_each_other
from stages.ground.errors import InputError


def comes_back(raster, patterns):
    back = raster.to_vertices(raster.to_raster(torch.from_numpy(patterns))).numpy()
    np.testing.assert_array_equal(back[:, raster.alone], patterns[:, raster.alone])
    return raster.alone.mean()


def test_a_surface_is_drawn_as_its_flat_map(surface_cohort):
    subject = load(f"nsd:{surface_cohort}", space="fsaverage")
    raster = raster_of(subject)
    assert raster.origin == "own raster of the flat map of fsaverage3 (nilearn's fsaverage5)"
    assert comes_back(raster, subject.test.patterns) == 1
    # Both hemispheres, the left on the left.
    columns = raster.pixels % raster.side
    assert columns[~subject.surface.right].max() < columns[subject.surface.right].min()


def test_a_volume_is_drawn_slice_by_slice(small_cohort):
    subject = load(f"nsd:{small_cohort}")
    raster = raster_of(subject)
    assert "not the authors' raster" in raster.origin and comes_back(raster, subject.test.patterns) == 1
    # Voxels beside each other in a slice are beside each other in the picture, and up is up.
    rows, columns = np.divmod(raster.pixels, raster.side)
    x, y, z = subject.grid.indices.T
    one = z == np.bincount(z).argmax()
    assert (np.corrcoef(x[one], columns[one])[0, 1], np.corrcoef(y[one], rows[one])[0, 1]) == pytest.approx(
        (1, -1), abs=0.01
    )


def test_slices_do_not_lie_on_each_other():
    random = np.random.default_rng(0)
    indices = np.argwhere(random.random((9, 7, 12)) < 0.3)
    flat, slices = slices_beside_each_other(indices)
    assert len(np.unique(flat, axis=0)) == len(indices)
    for number in np.unique(slices):
        own = slices == number
        moved = flat[own] - indices[own, :2]
        assert (moved == moved[0]).all() and len(np.unique(indices[own, 2])) == 1
    boxes = [(flat[slices == number].min(axis=0), flat[slices == number].max(axis=0)) for number in np.unique(slices)]
    for place, (low, high) in enumerate(boxes):
        for other_low, other_high in boxes[:place]:
            assert (other_low > high).any() or (other_high < low).any()


def test_data_without_places_cannot_be_drawn(small_cohort):
    subject = replace(load(f"nsd:{small_cohort}"), space=None)
    with pytest.raises(InputError, match="does not say where its voxels are, so that no picture"):
        raster_of(subject)
    with pytest.raises(InputError, match="has no values on a surface"):
        subject.to_gifti(np.zeros(subject.n_voxels))


def test_arrays_keep_the_surface(surface_cohort, tmp_path):
    subject = load(f"nsd:{surface_cohort}", space="fsaverage", roi="V1 + V2")
    write(subject, tmp_path / "mine")
    again = load(f"arrays:{tmp_path / 'mine'}", roi="V1")
    inside = subject.rois["V1"]
    assert again.surface.mesh == "fsaverage3" and again.surface.extent == subject.surface.extent
    np.testing.assert_array_equal(again.surface.vertices, subject.surface.vertices[inside])
    np.testing.assert_array_equal(again.surface.flat, subject.surface.flat[inside])
    assert raster_of(again).origin == raster_of(subject).origin
    np.save(tmp_path / "mine" / "vertex_indices.npy", np.full((subject.n_voxels, 2), 700))
    with pytest.raises(InputError, match="vertices that hemispheres of 642 and 642 do not have"):
        load(f"arrays:{tmp_path / 'mine'}")
    np.save(tmp_path / "mine" / "vertex_indices.npy", np.zeros((3, 2), int))
    with pytest.raises(InputError, match="expected whole numbers"):
        load(f"arrays:{tmp_path / 'mine'}")


def test_a_region_of_another_stimulus(surface_cohort):
    subject = load(f"nsd:{surface_cohort}", space="fsaverage")
    own, other = subject.test.patterns[:3], subject.test.patterns[3:4]
    mixed = exchanged(subject, "V2 + V3 + V4", own, other)
    inside = subject.rois["V2"] | subject.rois["V3"] | subject.rois["V4"]
    np.testing.assert_array_equal(mixed[:, inside], np.repeat(other[:, inside], 3, axis=0))
    np.testing.assert_array_equal(mixed[:, ~inside], own[:, ~inside])
    assert 0 < inside.sum() < len(inside) and mixed.dtype == own.dtype
    # All areas of A for those of B are B, and a picture of them is B's.
    raster = raster_of(subject)
    swapped = exchanged(subject, "nsdgeneral", own[:1], other)
    assert torch.equal(raster.to_raster(torch.from_numpy(swapped)), raster.to_raster(torch.from_numpy(other)))
    with pytest.raises(InputError, match="has no roi 'V9'"):
        exchanged(subject, "V9", own, other)
    with pytest.raises(InputError, match="The donors have shape"):
        exchanged(subject, "V1", own, own[:2])
    with pytest.raises(InputError, match="The patterns have shape"):
        exchanged(subject, "V1", own[:, :4], other)
