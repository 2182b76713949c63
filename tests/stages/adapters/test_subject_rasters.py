"""Rasters of several subjects: each reads its own, and they are stored with the network."""

import numpy as np
import pytest
import torch

from stages.adapters.subject_rasters import SubjectRasters, in_order
from stages.adapters.surface_raster import SurfaceRaster
from stages.ground.errors import InputError


def flat(n, size, seed):
    """A raster of places all over a flat map."""
    return SurfaceRaster.of_flat(np.random.default_rng(seed).uniform(size=(n, 2)), side=size)


@pytest.fixture
def rasters():
    made = SubjectRasters({"subj01": 60, "subj02": 40}, size=12)
    made.put("subj01", flat(60, 12, 0))
    made.put("subj02", flat(40, 12, 1))
    return made


def test_pictures_are_each_subjects_own_in_the_order_given(rasters):
    one, other = torch.randn(2, 60), torch.randn(3, 40)
    found = rasters({"subj02": other, "subj01": one})
    assert found.shape == (5, 1, 12, 12)
    assert torch.equal(found, torch.cat([flat(40, 12, 1).to_raster(other), flat(60, 12, 0).to_raster(one)]))


def test_rasters_come_back_from_their_tensors_alone(rasters):
    again = SubjectRasters({"subj01": 60, "subj02": 40}, size=12)
    before = again({"subj02": torch.ones(1, 40)})
    again.load_state_dict(rasters.state_dict())
    patterns = {"subj02": torch.randn(2, 40)}
    assert torch.equal(again(patterns), rasters(patterns))
    assert not torch.equal(again({"subj02": torch.ones(1, 40)}), before)
    assert set(rasters.state_dict()) == {
        place for name in ("subj01", "subj02") for place in rasters.subject_tensors(name).values()
    }


def test_in_outline_there_are_shapes_alone():
    with torch.device("meta"):
        made = SubjectRasters({"subj01": 60}, size=12)
    assert made({"subj01": torch.empty(3, 60, device="meta")}).shape == (3, 1, 12, 12)


def test_a_raster_of_something_else_is_refused(rasters):
    with pytest.raises(InputError, match="60 values.*expected 40"):
        rasters.put("subj02", flat(60, 12, 0))
    with pytest.raises(InputError, match="expected 60 values and 12"):
        rasters.put("subj01", flat(60, 16, 0))
    with pytest.raises(InputError, match="did you mean 'subj01'|subj01"):
        rasters({"subj1": torch.zeros(1, 60)})


@pytest.mark.parametrize("n", [1, 2, 5, 16, 17, 100])
def test_in_order_every_value_is_seen(n):
    """Each value moves its picture; of more than there are pixels, several share one."""
    raster = in_order(n, 4)
    pictures = raster.to_raster(torch.eye(n))
    assert (pictures.flatten(1).abs().sum(dim=1) > 0).all()
    if n <= 16:
        assert torch.equal(raster.to_vertices(pictures), torch.eye(n))
    constant = raster.to_raster(torch.ones(1, n))[0, 0]
    torch.testing.assert_close(constant, torch.from_numpy(raster.mask).float())
