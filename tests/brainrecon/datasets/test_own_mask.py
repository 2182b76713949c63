"""A mask of one's own, as a file or an array, in every form of data that takes one."""

import nibabel
import numpy as np
import pytest
from kamitani_files import Dir, God
from miyawaki_copies import draw_bdata, write_bdata, write_nilearn

from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.datasets.arrays.reader import write, write_template
from brainrecon.datasets.own_mask import read_mask
from stages.ground.errors import InputError
from tests.support.bids_study import AFFINE, Study


def save(path, values, affine):
    nibabel.save(nibabel.Nifti1Image(np.asarray(values, dtype=np.float32), affine), path)
    return path


def test_a_mask_of_nsd_takes_voxels_outside_its_default_region(cohort, tmp_path):
    subject = load(f"nsd:{cohort}", roi="V1 + V2")
    volume = np.zeros(subject.grid.shape, dtype=bool)
    volume[tuple(subject.grid.indices[::3].T)] = True
    path = save(tmp_path / "mine.nii.gz", volume, subject.grid.affine)
    np.save(tmp_path / "mine.npy", volume)
    for mask in (path, str(path), tmp_path / "mine.npy", volume, volume.astype(int)):
        own = load(f"nsd:{cohort}", mask=mask)
        assert own.roi == "mask" and own.n_voxels == volume.sum()
        np.testing.assert_array_equal(own.test.betas[:], subject.test.betas[:][:, ::3])
    both = load(f"nsd:{cohort}", roi="V1 & mask", mask=path)
    np.testing.assert_array_equal(both.test.betas[:], subject.test.betas[:][:, ::3][:, subject.rois["V1"][::3]])
    with pytest.raises(InputError, match="has shape .* but the responses"):
        load(f"nsd:{cohort}", mask=volume[1:])
    moved = save(tmp_path / "moved.nii.gz", volume, subject.grid.affine + np.eye(4))
    with pytest.raises(InputError, match="another affine"):
        load(f"nsd:{cohort}", mask=moved)


def test_a_mask_of_one_s_own_arrays(tmp_path, capsys):
    write_template(tmp_path / "mine")
    mask = np.arange(50) % 7 == 0
    np.save(tmp_path / "mask.npy", mask)
    found = load(f"arrays:{tmp_path / 'mine'}", mask=tmp_path / "mask.npy")
    np.testing.assert_array_equal(found.train.betas[:], np.load(tmp_path / "mine" / "train" / "betas.npy")[:, mask])
    assert load(f"arrays:{tmp_path / 'mine'}", mask=mask, roi="early & mask", fold=(0, 2)).n_voxels == 3
    line = ["data", "info", f"arrays:{tmp_path / 'mine'}", "--mask", str(tmp_path / "mask.npy")]
    assert run_command(line) == 0 and "voxels: 8 of mask" in capsys.readouterr().out
    with pytest.raises(InputError, match="but there are 50 voxels"):
        load(f"arrays:{tmp_path / 'mine'}", mask=mask[1:])


def test_a_mask_of_a_bids_folder_and_of_what_is_made_of_it(tmp_path):
    study = Study(tmp_path / "bids", 5)
    path = save(tmp_path / "mine.nii.gz", study.v1, AFFINE)
    found, right = load(study.source, mask=path), load(study.source, roi="V1")
    np.testing.assert_array_equal(found.train.betas[:], right.train.betas[:])
    write(load(study.source), tmp_path / "plain")
    again = load(f"arrays:{tmp_path / 'plain'}", mask=path)
    np.testing.assert_array_equal(again.test.betas[:], right.test.betas[:])


def test_what_is_no_mask_is_refused(tmp_path):
    np.save(tmp_path / "none.npy", np.zeros(4))
    (tmp_path / "mask.txt").write_text("1 0 1")
    for mask, told in [
        (tmp_path / "none.npy", "holds no voxel"),
        (tmp_path / "mask.txt", "save it as NIfTI"),
        (tmp_path / "absent.nii.gz", "There is no mask"),
        (np.array([0, 1, 2]), "The mask holds 2 beside 0 and 1"),
        (np.array(["a"]), "expected a mask of bools"),
    ]:
        with pytest.raises(InputError, match=told):
            read_mask(mask)


def kamitani(folder):
    God(folder / "god"), Dir(folder / "dir")
    columns, regions, _ = draw_bdata()[1:]
    # Voxels lie on a diagonal in steps of 3 mm, as the other writers have them.
    extra = {f"voxel_{axis}": np.arange(8) * 3.0 for axis in "xyz"}
    write_bdata(folder / "miyawaki.h5", columns, regions, extra)
    return [f"god:{folder / 'god'}", f"dir:{folder / 'dir'}", f"miyawaki:{folder / 'miyawaki.h5'}"]


def test_a_volume_is_looked_up_where_the_data_know_millimetres(tmp_path):
    for source in kamitani(tmp_path):
        whole = load(source, roi="all")
        n, inside = whole.n_voxels, whole.rois["V1"]
        volume, affine = (
            np.zeros((n + 2, n + 1, n), bool),
            np.array([[3.0, 0, 0, -6], [0, 3, 0, -3], [0, 0, 3, 0], [0, 0, 0, 1]]),
        )
        volume[np.arange(n) + 2, np.arange(n) + 1, np.arange(n)] = inside
        own = load(source, mask=save(tmp_path / "mine.nii.gz", volume, affine))
        np.testing.assert_array_equal(own.test.betas[:], whole.test.betas[:][:, inside])
        # The same places, described from the other end of an axis.
        flipped = affine @ np.array([[-1.0, 0, 0, n + 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        own = load(source, mask=save(tmp_path / "mine.nii.gz", volume[::-1], flipped))
        np.testing.assert_array_equal(own.test.betas[:], whole.test.betas[:][:, inside])
        for mask, told in [
            (
                save(tmp_path / "moved.nii.gz", volume, affine + np.eye(4, k=3)),
                f"{n} of {n} voxels lie beside the grid",
            ),
            (save(tmp_path / "small.nii.gz", volume[:-1], affine), f"1 of {n} voxels lie beside the grid"),
            (volume, "no affine that says where that is"),
        ]:
            with pytest.raises(InputError, match=told):
                load(source, mask=mask)


def test_a_volume_on_the_grid_of_miyawaki_s_runs(tmp_path):
    written = write_nilearn(tmp_path / "miyawaki2008")
    source, v1d = f"miyawaki:{written.root}", written.regions["LHV1d"]
    own, right = load(source, mask=v1d), load(source, roi="LHV1d")
    np.testing.assert_array_equal(own.test.betas[:], right.test.betas[:])
    np.testing.assert_array_equal(own.to_nifti(np.ones(own.n_voxels)).get_fdata() == 1, v1d & written.mask)
