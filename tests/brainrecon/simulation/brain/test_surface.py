"""The simulated brain seen from fsaverage: vertices sample voxels of their side, areas lie where they should."""

import nibabel
import numpy as np
import pytest
from nilearn import datasets

from brainrecon.cli.main import run_command
from brainrecon.simulation import simulate
from brainrecon.simulation.brain.anatomy import ATLASES, grow_anatomy
from brainrecon.simulation.brain.surface import MESHES, NUMBERS, lay_on_surface
from stages.ground.errors import InputError

VISUAL = 31


@pytest.fixture(scope="module")
def anatomy():
    return grow_anatomy(400, np.random.default_rng(0))


def sphere(side, n):
    path = f"{datasets.__path__[0]}/data/fsaverage5/sphere_{side}.gii.gz"
    return nibabel.load(path).darrays[0].data[:n]


@pytest.mark.parametrize("mesh", MESHES)
def test_vertices_sample_voxels_of_their_own_hemisphere(mesh, anatomy):
    surface = lay_on_surface(anatomy, mesh)
    n, brain = MESHES[mesh], np.argwhere(anatomy.brain)
    sampled = brain[surface.voxels]
    assert surface.voxels.shape == (2 * n,)
    right = np.arange(2 * n) >= n
    np.testing.assert_array_equal(sampled[:, 0] >= anatomy.shape[0] // 2, right)
    # Behind is behind, up is up, and the midline is where it is on fsaverage; in front there is no cortex.
    for side, there in (("left", ~right), ("right", right)):
        places = sphere(side, n)
        back = places[:, 1] < -50.1
        for axis in range(3):
            assert np.corrcoef(places[back, axis], sampled[there][back, axis])[0, 1] > 0.7
        assert not np.isin(surface.voxels[there][places[:, 1] > -49.9], anatomy.in_brain).any()
        assert np.isin(surface.voxels[there][back], anatomy.in_brain).mean() > 0.95


def test_all_areas_of_the_visual_cortex_are_there(anatomy):
    surface = lay_on_surface(anatomy, "fsaverage4")
    areas = surface.labels["HCP_MMP1"].reshape(2, -1)
    assert len(NUMBERS) == VISUAL + 1 and len(set(NUMBERS.values())) == VISUAL + 1
    for half in areas:
        assert set(NUMBERS.values()) | {0} == set(half.tolist())
    visual = (areas > 0) & (areas != NUMBERS["4"])
    assert 0.1 < visual.mean() < 0.3 and 0.05 < (areas == 0).mean() < 0.12
    general = surface.labels["nsdgeneral"].reshape(2, -1) == 1
    assert (visual | (areas == 0))[general].all()


def test_early_areas_are_those_of_the_voxels(anatomy):
    surface = lay_on_surface(anatomy, "fsaverage4")
    row = np.full(anatomy.brain.sum(), -1)
    row[anatomy.in_brain] = np.arange(anatomy.n_cortex)
    cortical = row[surface.voxels]
    labels = anatomy.labels["prf-visualrois"][cortical]
    inside = surface.labels["HCP_MMP1"] == NUMBERS["V1"]
    names = ("", *ATLASES["prf-visualrois"])
    assert inside.sum() > 20 and {names[value] for value in labels[inside]} == {"V1v", "V1d"}


def test_surfaces_change_nothing_else(tmp_path):
    plain, with_surface = tmp_path / "plain", tmp_path / "surface"
    small = {"sessions": 1, "trials_per_session": 24, "shared": 3, "voxels": 160}
    simulate(plain, **small)
    simulate(with_surface, **small, surface="fsaverage3")
    for path in plain.rglob("*"):
        if path.is_file() and path.name != "simulated.json":
            assert path.read_bytes() == (with_surface / path.relative_to(plain)).read_bytes()
    betas = nibabel.load(next(with_surface.rglob("lh.betas_session01.mgh")))
    assert betas.get_data_dtype() == ">f4" and betas.shape[:3] == (642, 1, 1)
    volume = np.asarray(nibabel.load(next(plain.rglob("meanbeta_session01.nii.gz"))).dataobj) / 300
    means = np.asarray(betas.dataobj)[:, 0, 0].mean(axis=1)
    # Every vertex holds a voxel of the volume; the mean file is rounded to 1 / 300.
    nearest = np.abs(means[:, None] - volume.ravel()[None]).min(axis=1)
    assert nearest.max() <= 0.5 / 300 + 1e-6


def test_a_mesh_that_is_not_there(tmp_path, capsys):
    with pytest.raises(
        InputError, match="surface is 'fsaverage7' but must be one of fsaverage3, fsaverage4, fsaverage5"
    ):
        simulate(tmp_path / "cohort", surface="fsaverage7")
    line = ["simulate", str(tmp_path / "study"), "--study", "miyawaki", "--surface", "fsaverage3"]
    assert run_command(line) == 2 and "--surface does nothing for the study miyawaki" in capsys.readouterr().err
