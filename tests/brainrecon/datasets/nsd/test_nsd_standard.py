"""NSD's betas in MNI: what was written comes back, regions are one's own, and what does not fit is told in one sentence."""

import gzip

import numpy as np
import pytest
from damage import cut
from nsd_standard_files import AFFINE, mni_folder, mni_roi, write_nsd_standard, write_volume

from brainrecon.cli.main import run_command
from brainrecon.datasets import dataset_of, load
from brainrecon.datasets.inventory import files
from stages.ground.errors import InputError


def checked(subject, written, inside, sessions=(1, 2, 3)):
    """Every trial's betas are those that were written, over some voxels (x, y, z)."""
    shown = [f"nsd{picture:05d}" for session in sessions for picture in written.shown["subj01"][session]]
    betas = np.concatenate([written.stored["subj01"][session][inside].T for session in sessions]) / 300
    shared = np.isin(shown, [f"nsd{picture:05d}" for picture in written.shared])
    for split, wanted in ((subject.train, ~shared), (subject.test, shared)):
        np.testing.assert_allclose(split.betas[:], betas[wanted], rtol=1e-6)
        assert split.trial_stimulus_ids.tolist() == np.array(shown)[wanted].tolist()


@pytest.mark.parametrize("seed", range(4))
def test_betas_come_back_in_regions_of_ones_own(tmp_path, seed):
    shape = tuple(np.random.default_rng(seed).integers(3, 8, 3).tolist())
    written = write_nsd_standard(tmp_path, seed=seed, shape=shape, dtype="<i2" if seed % 2 else ">i2")
    subject = load(f"nsd:{tmp_path}", space="MNI")
    general = written.rois["subj01"]["nsdgeneral"] > 0
    checked(subject, written, general)
    assert subject.roi == "nsdgeneral" and subject.details["betas"] == "betas_fithrf"
    assert subject.details["space"] == "MNI" and subject.noise_ceiling is None
    np.testing.assert_array_equal(subject.grid.affine, AFFINE)
    np.testing.assert_array_equal(subject.grid.indices, np.argwhere(general))
    reached = np.all(list(written.valid["subj01"].values()), axis=0)
    np.testing.assert_array_equal(subject.rois["valid"], reached[general])
    areas = load(f"nsd:{tmp_path}", space="MNI", roi="V1 & valid", sessions="1,3")
    both = written.valid["subj01"][1] & written.valid["subj01"][3]
    checked(areas, written, np.isin(written.rois["subj01"]["prf-visualrois"], (1, 2)) & both, (1, 3))
    assert (np.abs(areas.train.betas[:]).max(axis=0) > 0).all()


def test_a_mask_is_enough(tmp_path):
    written = write_nsd_standard(tmp_path / "nsd", regions=False)
    mask = np.random.default_rng(3).random(written.shape) < 0.4
    write_volume(tmp_path / "mine.nii.gz", mask.astype(np.uint8))
    subject = load(f"nsd:{tmp_path / 'nsd'}", space="MNI", mask=tmp_path / "mine.nii.gz")
    checked(subject, written, mask)
    write_volume(tmp_path / "turned.nii.gz", mask.astype(np.uint8), np.diag([1, 1, 1, 1]) + AFFINE * 0)
    with pytest.raises(InputError, match="but another affine; resample"):
        load(f"nsd:{tmp_path / 'nsd'}", space="MNI", mask=tmp_path / "turned.nii.gz")
    reached = np.all(list(written.valid["subj01"].values()), axis=0)
    checked(load(f"nsd:{tmp_path / 'nsd'}", space="MNI", roi="valid"), written, reached)
    with pytest.raises(InputError, match="NSD has no regions in MNI, and .* --mask FILE.* --roi valid"):
        load(f"nsd:{tmp_path / 'nsd'}", space="MNI")


def test_without_files_of_valid_voxels_all_count(tmp_path):
    written = write_nsd_standard(tmp_path, valid=False)
    subject = load(f"nsd:{tmp_path}", space="MNI", roi="valid")
    checked(subject, written, np.ones(written.shape, bool))
    assert any("which 0 of 3 sessions tell" in note for note in subject.notes)


def test_a_ceiling_of_ones_own_is_read(tmp_path):
    written = write_nsd_standard(tmp_path)
    ncsnr = written.ncsnr["subj01"]
    write_volume(mni_folder(written) / "ncsnr.nii.gz", ncsnr)
    subject = load(f"nsd:{tmp_path}", space="MNI")
    squared = ncsnr[written.rois["subj01"]["nsdgeneral"] > 0].astype(float) ** 2
    expected = 100 * squared / (squared + np.mean(1 / subject.test.repeats))
    np.testing.assert_allclose(subject.noise_ceiling, expected, rtol=1e-5)


def test_what_it_costs_is_told(tmp_path):
    rows = files("nsd", tmp_path, "subj02", space="MNI", sessions="1-2")
    sizes = {row["path"].rsplit("/", 1)[1]: row["largest"] for row in rows}
    assert sizes["betas_session02.nii.gz"] == 182 * 218 * 182 * 750 * 2
    assert "valid_session01.nii.gz" in sizes and all(
        "/MNI/betas_fithrf/" in row["path"] for row in rows if "session" in row["path"]
    )
    # What NSD does not have is not looked for in its bucket.
    listed = {file.path.name: file for file in dataset_of("nsd").files(tmp_path, "subj02", space="MNI", sessions="1-2")}
    assert listed["betas_session01.nii.gz"].address.endswith("/subj02/MNI/betas_fithrf/betas_session01.nii.gz")
    assert listed["nsdgeneral.nii.gz"].optional and not listed["nsdgeneral.nii.gz"].address
    assert not listed["ncsnr.nii.gz"].address and listed["valid_session02.nii.gz"].optional
    for asked, told in (
        ({"betas": "b3"}, "'b3' is no betas of NSD; allowed values are b2"),
        ({"format": "hdf5"}, "'hdf5' is no format of NSD; allowed values are nifti"),
    ):
        with pytest.raises(InputError, match=told):
            files("nsd", tmp_path, "subj02", space="MNI", **asked)


def session(written, number=2):
    return mni_folder(written) / f"betas_session{number:02d}.nii.gz"


def valid(written, number=2):
    return mni_folder(written) / f"valid_session{number:02d}.nii.gz"


def gz_cut(path):
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-500]))


def rewritten(place, change, affine=AFFINE):
    import nibabel

    def spoil(written):
        path = place(written)
        write_volume(path, change(np.asarray(nibabel.load(path).dataobj)), affine)

    return spoil


def general(written):
    return mni_roi(written, "nsdgeneral")


TURNED = np.diag([1.0, 1, 1, 1])
DAMAGE = {
    "a session is cut": (lambda written: cut(session(written)), "betas_session02.nii.gz"),
    "a session is cut within": (lambda written: gz_cut(session(written)), "betas_session02.nii.gz"),
    "a session is empty": (lambda written: session(written).write_bytes(b""), "betas_session02.nii.gz"),
    "a session is text": (lambda written: session(written).write_text("none"), "betas_session02.nii.gz"),
    "other trials": (rewritten(session, lambda betas: betas[..., 1:]), "has 8 trials but the design gives"),
    "another grid": (rewritten(session, lambda betas: betas[1:]), "take both from the same subject and space"),
    "one volume": (rewritten(session, lambda betas: betas[..., 0]), r"expected \(x, y, z, trials\)"),
    "NaN": (
        rewritten(session, lambda betas: np.full(betas.shape, np.nan, np.float32)),
        "voxels hold NaN or infinite betas in session 2",
    ),
    "a folder": (lambda written: (session(written).unlink(), session(written).mkdir()), "betas_session02.nii.gz"),
    "valid of another grid": (rewritten(valid, lambda values: values[:, 1:]), "valid_session02.nii.gz has shape"),
    "valid is cut": (lambda written: cut(valid(written)), "valid_session02.nii.gz"),
    "valid is colours": (
        lambda written: write_volume(valid(written), np.zeros(written.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])),
        "expected whole or real numbers",
    ),
    "regions from left to right": (
        rewritten(general, lambda labels: labels, TURNED),
        "begin with 1, 0, 0, 0 and -1, 0, 0, 90; resample it to the betas",
    ),
    "regions of another grid": (
        rewritten(general, lambda labels: labels[..., 1:]),
        "nsdgeneral.nii.gz has shape|but .*has",
    ),
    "regions of fractions": (
        rewritten(general, lambda labels: np.full(labels.shape, np.inf, np.float32)),
        "holds values that are no labels",
    ),
    "regions without a voxel": (rewritten(general, np.zeros_like), "roi 'nsdgeneral' of .* has no voxels"),
    "a ceiling of another grid": (
        lambda written: write_volume(mni_folder(written) / "ncsnr.nii.gz", np.ones((2, 2, 2), np.float32)),
        "ncsnr.nii.gz has shape",
    ),
    "no session": (
        lambda written: [path.unlink() for path in mni_folder(written).glob("betas*")],
        "MNI/betas_fithrf holds no session",
    ),
    "no betas": (lambda written: mni_folder(written).rename(mni_folder(written).with_name("other")), "holds no betas"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_what_does_not_fit_is_one_sentence(case, tmp_path, capsys):
    spoil, told = DAMAGE[case]
    written = write_nsd_standard(tmp_path / "nsd")
    spoil(written)
    with pytest.raises(InputError, match=told) as caught:
        load(f"nsd:{tmp_path / 'nsd'}", space="MNI").train.patterns
    message = str(caught.value)
    assert "\n" not in message and (message.endswith(".") or case == "no session")
    line = ["data", "prepare", f"nsd:{tmp_path / 'nsd'}", "--option", "space=MNI", "--out", str(tmp_path / "made")]
    assert run_command(line) == 2 and not (tmp_path / "made").exists()
    assert capsys.readouterr().err.splitlines()[-1] == message
