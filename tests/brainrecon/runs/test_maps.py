"""Maps in the subject's own grid, read back by nibabel voxel for voxel."""

import nibabel
import numpy as np
import pytest

from brainrecon.assembly.weight_maps import weight_maps
from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.datasets.arrays.reader import write
from brainrecon.datasets.spaces.voxel_grid import VoxelGrid
from brainrecon.runs import maps
from brainrecon.runs.run import Run
from stages.ground.errors import InputError


def test_maps_of_a_cohort_are_read_back_voxel_for_voxel(fitted, features, cohort, tmp_path):
    assert (
        run_command(
            ["map", str(fitted), "--out", str(tmp_path), "--features", str(features), "--columns", "clip_image:7"]
        )
        == 0
    )
    run = Run(fitted, features)
    roi = nibabel.load(next(cohort.glob("nsddata/ppdata/subj01/func1pt8mm/roi/nsdgeneral.nii.gz")))
    inside = np.asarray(roi.dataobj) > 0
    ceiling = nibabel.load(tmp_path / "noise_ceiling.nii.gz")
    np.testing.assert_array_equal(ceiling.affine, roi.affine)
    assert ceiling.shape == roi.shape and np.isnan(ceiling.get_fdata()[~inside]).all()
    # NSD data manual: 100 s^2 / (s^2 + 1/k), from the file itself.
    ncsnr = np.asarray(nibabel.load(next(cohort.glob("nsddata_betas/**/ncsnr.nii.gz"))).dataobj, dtype=np.float64)
    expected = 100 * ncsnr**2 / (ncsnr**2 + np.mean(1 / run.subject.test.repeats))
    np.testing.assert_allclose(ceiling.get_fdata()[inside], expected[inside], rtol=1e-5)
    weights = nibabel.load(tmp_path / "weights_clip_image_column7.nii.gz").get_fdata()
    np.testing.assert_allclose(weights[inside], weight_maps(run.chain, [("clip_image", 7)])["clip_image[7]"], rtol=1e-6)
    # In units of the data: the prediction is the offset and the weighted sum of the responses.
    patterns = run.subject.test.patterns
    predicted = run.chain.predict(patterns)["clip_image"].reshape(len(patterns), -1)[:, 7]
    by_map = (patterns - patterns[0]) @ weights[inside]
    np.testing.assert_allclose(by_map, predicted - predicted[0], atol=1e-3 * np.abs(predicted).max())


def test_the_size_of_weights_is_the_norm_over_columns(fitted, features):
    chain = Run(fitted, features).chain
    n_columns = chain.predict(np.zeros((1, chain.n_voxels), np.float32))["clip_image"].size
    found = weight_maps(chain, [("clip_image", column) for column in range(n_columns)])
    each = np.stack([found[f"clip_image[{column}]"] for column in range(n_columns)])
    np.testing.assert_allclose(found["clip_image"], np.linalg.norm(each, axis=0))


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ("clip_image", "expected VALUE:COLUMN"),
        ("clip_image:99999999", "has no column"),
        ("sound:0", "does not predict 'sound'"),
    ],
)
def test_columns_that_are_not_there(columns, told, fitted, features, tmp_path, capsys):
    line = ["map", str(fitted), "--out", str(tmp_path / "new"), "--features", str(features), "--columns", columns]
    assert run_command(line) == 2 and told in capsys.readouterr().err and not (tmp_path / "new").exists()


def test_regions_and_conversions_keep_their_grid(cohort, tmp_path):
    whole, part = load(f"nsd:{cohort}"), load(f"nsd:{cohort}", roi="V1")
    volume = np.asarray(whole.to_nifti(whole.rois["V1"]).dataobj)
    assert volume.dtype == np.int16 and volume.sum() == part.n_voxels
    np.testing.assert_array_equal(np.argwhere(volume), part.grid.indices)
    write(part, tmp_path / "mine")
    again = load(f"arrays:{tmp_path / 'mine'}")
    np.testing.assert_array_equal(again.grid.indices, part.grid.indices)
    np.testing.assert_array_equal(again.to_nifti(np.arange(again.n_voxels)).affine, part.grid.affine)


def test_a_grid_of_another_number_of_voxels(tmp_path):
    grid = VoxelGrid.of_mask(np.ones((2, 2, 2), bool), np.eye(4))
    assert grid.to_nifti(np.ones((3, 8))).shape == (2, 2, 2, 3)
    for values in (np.ones(7), np.ones((8, 7)), 1.0):
        with pytest.raises(InputError, match="there are 8 voxels"):
            grid.to_nifti(values)


def test_maps_of_a_surface_are_gifti_of_each_hemisphere(surface_cohort, features, tmp_path, capsys):
    run = tmp_path / "run"
    line = ["fit", "brain-diffuser", f"nsd:{surface_cohort}", "--option", "space=fsaverage", "--out", str(run)]
    assert run_command([*line, "--features", str(features), "--weights", "tiny"]) == 0
    assert run_command(["map", str(run), "--features", str(features)]) == 0
    subject = Run(run, features).subject
    for side, there in (("lh", ~subject.surface.right), ("rh", subject.surface.right)):
        found = nibabel.load(run / "maps" / f"noise_ceiling.{side}.func.gii").darrays[0].data
        assert found.shape == (642,) and np.isnan(np.delete(found, subject.surface.vertices[there])).all()
        np.testing.assert_array_equal(found[subject.surface.vertices[there]], subject.noise_ceiling[there])
    assert "noise ceiling of the test patterns, percent, left hemisphere" in capsys.readouterr().out
    assert not list((run / "maps").glob("*.nii.gz"))


def test_values_of_ones_own_stand_beside(fitted, features, tmp_path, capsys):
    n_voxels = Run(fitted, features).subject.n_voxels
    mine = np.random.default_rng(0).standard_normal((2, n_voxels)).astype(np.float32)
    np.save(tmp_path / "mine.npy", mine)
    line = ["map", str(fitted), "--features", str(features), "--out", str(tmp_path / "out")]
    assert run_command([*line, "--values", str(tmp_path / "mine.npy")]) == 0
    found = nibabel.load(tmp_path / "out" / "mine.nii.gz").get_fdata()
    np.testing.assert_array_equal(found[tuple(Run(fitted, features).subject.grid.indices.T)], mine.T)
    capsys.readouterr()
    np.save(tmp_path / "short.npy", mine[:, 1:])
    np.save(tmp_path / "words.npy", np.array(["a"]))
    (tmp_path / "again").mkdir()
    np.save(tmp_path / "again" / "mine.npy", mine)
    for files, told in (
        (["short.npy"], f"(2, {n_voxels - 1}) but there are {n_voxels:,} voxels"),
        (["words.npy"], "expected numbers"),
        (["mine.npy", "again/mine.npy"], "Two of the files with values are named mine"),
        (["absent.npy"], "absent.npy"),
    ):
        new = [*line[:-1], str(tmp_path / "new"), *(f"--values={tmp_path / file}" for file in files)]
        assert run_command(new) == 2 and told in capsys.readouterr().err and not (tmp_path / "new").exists()


def test_what_has_no_weights_of_voxels_is_told_and_the_rest_is_written(fitted, features, tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise InputError("it has no weights of voxels; a linear decoder has.")

    monkeypatch.setattr(maps, "weight_maps", refuse)
    line = ["map", str(fitted), "--features", str(features), "--out", str(tmp_path / "out")]
    assert run_command(line) == 0 and [file.name for file in (tmp_path / "out").iterdir()] == ["noise_ceiling.nii.gz"]
    assert "not written: it has no weights of voxels" in capsys.readouterr().out
    # Who asks for a column asks for weights.
    assert run_command([*line[:-1], str(tmp_path / "new"), "--columns", "clip_image:0"]) == 2
    assert not (tmp_path / "new").exists()
