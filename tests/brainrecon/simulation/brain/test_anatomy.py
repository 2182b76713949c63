import numpy as np
import pytest

from brainrecon.simulation.brain.anatomy import ATLASES, FEWEST_VOXELS, grow_anatomy
from stages.ground.errors import InputError


@pytest.mark.parametrize("n_voxels", [FEWEST_VOXELS, FEWEST_VOXELS + 1, 200, 777, 1500, 4000])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_area_has_voxels_in_both_hemispheres_and_within_nsdgeneral(n_voxels, seed):
    anatomy = grow_anatomy(n_voxels, np.random.default_rng(seed))
    general = anatomy.labels["nsdgeneral"] == 1
    assert general.sum() == n_voxels
    for atlas, names in ATLASES.items():
        for name in names:
            there = anatomy.within(atlas, name) & general
            assert (there & anatomy.right).any() and (there & ~anatomy.right).any(), name


def test_cortex_lies_in_the_brain_once_and_hemispheres_do_not_touch():
    anatomy = grow_anatomy(1501, np.random.default_rng(5))
    assert len(np.unique(anatomy.ribbon, axis=0)) == anatomy.n_cortex
    assert anatomy.brain[tuple(anatomy.ribbon.T)].all()
    assert (np.lexsort(anatomy.ribbon.T[::-1]) == np.arange(anatomy.n_cortex)).all()
    middle = anatomy.shape[0] / 2
    assert ((anatomy.ribbon[:, 0] > middle) == anatomy.right).all()
    volume = anatomy.volume(np.arange(anatomy.n_cortex), -1)
    assert (volume[anatomy.brain][anatomy.in_brain] == np.arange(anatomy.n_cortex)).all()


def test_fields_are_contralateral_and_early_areas_cover_the_picture():
    anatomy = grow_anatomy(1500, np.random.default_rng(2))
    angle = np.deg2rad(anatomy.polar_angle)
    x, y = anatomy.eccentricity * np.cos(angle), anatomy.eccentricity * np.sin(angle)
    retinotopic = anatomy.labels["prf-visualrois"] > 0
    assert (x[retinotopic & anatomy.right] < 0.2).all() and (x[retinotopic & ~anatomy.right] > -0.2).all()
    for area in ("V1", "V2", "V3"):
        dorsal, ventral = (anatomy.within("prf-visualrois", area + part) for part in "dv")
        assert (y[dorsal] <= 0).all() and (y[ventral] >= 0).all()
    early = anatomy.within("streams", "early")
    for left in (-4.2, -2.1, 0.0, 2.1):
        for low in (-4.2, -2.1, 0.0, 2.1):
            cell = (x >= left) & (x < left + 2.1) & (y >= low) & (y < low + 2.1)
            assert (cell & early).sum() >= 10


def test_eccentricity_bands_follow_the_fields():
    anatomy = grow_anatomy(1500, np.random.default_rng(2))
    bounds = [0, 0.5, 1, 2, 4, 100]
    for name, low, high in zip(ATLASES["prf-eccrois"], bounds[:-1], bounds[1:], strict=True):
        eccentricity = anatomy.eccentricity[anatomy.within("prf-eccrois", name)]
        assert eccentricity.min() >= low and eccentricity.max() <= high


def test_too_few_voxels_are_refused():
    with pytest.raises(InputError, match=f"{FEWEST_VOXELS - 1} voxels.*--voxels"):
        grow_anatomy(FEWEST_VOXELS - 1, np.random.default_rng(0))
