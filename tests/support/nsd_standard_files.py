"""The tiny NSD of `nsd_files` in the standard volume, written from the description of its files alone."""

import shutil

import nibabel
import numpy as np
from nsd_files import write_nsd

AFFINE = np.array([[-1.0, 0, 0, 90], [0, 1, 0, -126], [0, 0, 1, -72], [0, 0, 0, 1]])
"""As of FSL's MNI152_T1_1mm, which is stored from right to left."""


def write_volume(path, values, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def mni_folder(written, subject="subj01"):
    return written.root / "nsddata_betas/ppdata" / subject / "MNI" / "betas_fithrf"


def mni_roi(written, atlas, subject="subj01"):
    return written.root / f"nsddata/ppdata/{subject}/MNI/roi/{atlas}.nii.gz"


def write_nsd_standard(root, regions=True, valid=True, dtype="<i2", **options):
    """As `write_nsd`, with the betas in MNI alone: 0 in voxels that a session did not reach, which `written.valid` tells."""
    written = write_nsd(root, formats=(), **options)
    written.valid = {}
    rng = np.random.default_rng(options.get("seed", 0) + 1)
    for subject, sessions in written.stored.items():
        shutil.rmtree(written.betas_folder(subject).parent)
        shutil.rmtree(written.roi_file("nsdgeneral", subject).parent)
        folder, written.valid[subject] = mni_folder(written, subject), {}
        for session, xyzt in sessions.items():
            reached = rng.random(written.shape) < 0.8
            xyzt[~reached] = 0
            written.valid[subject][session] = reached
            write_volume(folder / f"betas_session{session:02d}.nii.gz", xyzt.astype(dtype))
            if valid:
                write_volume(folder / f"valid_session{session:02d}.nii.gz", reached.astype(np.uint8))
        if regions:
            for atlas in ("nsdgeneral", "prf-visualrois"):
                write_volume(mni_roi(written, atlas, subject), written.rois[subject][atlas].astype(np.int16))
    return written
