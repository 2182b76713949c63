"""The tiny NSD of `nsd_files` on a surface, written from the description of its files alone: the voxels are the vertices."""

import gzip
import shutil

import nibabel
import numpy as np
from nsd_files import write_nsd

N_LEFT = 80
"""Of 140 vertices; the hemispheres are not alike."""


def write_mgh(path, values):
    """(n_vertices,) or (n_vertices, n_trials), as FreeSurfer has them: vertices by 1 by 1 by trials."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.MGHImage(values.reshape(len(values), 1, 1, *values.shape[1:]), np.eye(4))
    path.write_bytes(gzip.compress(image.to_bytes()) if path.suffix == ".mgz" else image.to_bytes())


def write_halves(folder, name, values):
    write_mgh(folder / f"lh.{name}", values[:N_LEFT])
    write_mgh(folder / f"rh.{name}", values[N_LEFT:])


def write_nsd_surface(root, **options):
    """As `write_nsd`, with the betas on fsaverage alone."""
    written = write_nsd(root, formats=(), **options)
    labels = written.root / "nsddata/freesurfer/fsaverage/label"
    for subject, sessions in written.stored.items():
        shutil.rmtree(written.betas_folder(subject).parent)
        shutil.rmtree(written.roi_file("nsdgeneral", subject).parent)
        folder = written.root / "nsddata_betas/ppdata" / subject / "fsaverage" / "betas_fithrf_GLMdenoise_RR"
        for session, xyzt in sessions.items():
            percent = (xyzt / 300).astype(np.float32).reshape(-1, xyzt.shape[3])
            write_halves(folder, f"betas_session{session:02d}.mgh", percent)
        write_halves(folder, "ncsnr.mgh", written.ncsnr[subject].reshape(-1))
    # Vertex 0 of each hemisphere is the medial wall.
    atlas = np.arange(140, dtype=np.int32) % 4
    atlas[[1, 2, N_LEFT + 1]] = 1
    write_halves(labels, "HCP_MMP1.mgz", atlas)
    (labels / "HCP_MMP1.mgz.ctab").write_text("0 Unknown\n1 V1\n2 MST\n3 V6\n")
    write_halves(labels, "nsdgeneral.mgz", (np.arange(140) % 3 != 1).astype(np.int32))
    return written
