"""A small copy of every kind of data in every layout that is read, each written without the reader that it is for."""

import numpy as np
from array_files import WRITERS, content
from bids_study import Study
from drawn_digits import write_digits
from faces_files import Faces
from kamitani_files import Dir, God
from laion_fmri_files import LaionFmri
from miyawaki_copies import draw_bdata, draw_mat, write_mat, write_nilearn
from miyawaki_copies import write_bdata as write_miyawaki_bdata
from nsd_files import write_nsd
from nsd_surface_files import write_nsd_surface
from packed_layouts import write_brain_diffuser, write_mind_vis, write_mindeye2

from brainrecon.datasets.arrays.reader import write_template


def nsd(folder):
    return write_nsd(folder / "nsd", formats=("hdf5",)).root


def nsd_nifti(folder):
    return write_nsd(folder / "nsd", formats=("nifti",)).root


def nsd_surface(folder):
    return write_nsd_surface(folder / "nsd").root


def god(folder):
    written = God(folder / "god")
    written.draw_pictures()
    return written.root


def dir_(folder):
    return Dir(folder / "dir").root


def miyawaki_nilearn(folder):
    return write_nilearn(folder / "miyawaki2008").root


def miyawaki_matlab(folder):
    write_mat(folder / "data.mat", draw_mat()[1])
    return folder / "data.mat"


def miyawaki_bdata(folder):
    write_miyawaki_bdata(folder / "data.h5", *draw_bdata()[1:])
    return folder / "data.h5"


def brain_diffuser(folder):
    return write_brain_diffuser(folder / "packed").root


def mindeye2(folder):
    return write_mindeye2(folder / "packed").root


def mind_vis(folder):
    return write_mind_vis(folder / "packed").root


def digits69(folder):
    write_digits(folder / "digits.mat")
    return folder / "digits.mat"


def faces(folder):
    return Faces(folder / "ds001761").root


def laion_fmri(folder):
    return LaionFmri(folder / "laion-fmri").root


def laion_fmri_unpacked(folder):
    written = LaionFmri(folder / "laion-fmri", 1, order=">", dtype=np.float64, suffix=".nii", dashes=False, n_ood=4)
    return written.root


def arrays_folder(folder):
    write_template(folder / "mine")
    return folder / "mine"


def arrays_bids(folder):
    return Study(folder, 0).root


def arrays_file(layout):
    def make(folder):
        write, name = WRITERS[layout]
        write(folder / name, content(0))
        return folder / name

    return make


COPIES = {
    "nsd, HDF5": ("nsd", nsd, {}),
    "nsd, NIfTI": ("nsd", nsd_nifti, {}),
    "nsd, z-scores": ("nsd", nsd, {"zscore": True}),
    "nsd, surface": ("nsd", nsd_surface, {"space": "fsaverage"}),
    "god": ("god", god, {}),
    "dir": ("dir", dir_, {}),
    "miyawaki, nilearn": ("miyawaki", miyawaki_nilearn, {}),
    "miyawaki, MATLAB": ("miyawaki", miyawaki_matlab, {}),
    "miyawaki, BData": ("miyawaki", miyawaki_bdata, {}),
    "packed, Brain-Diffuser": ("packed", brain_diffuser, {}),
    "packed, MindEye2": ("packed", mindeye2, {}),
    "packed, MinD-Vis": ("packed", mind_vis, {}),
    "digits69": ("digits69", digits69, {}),
    "faces": ("faces", faces, {}),
    "laion-fmri": ("laion-fmri", laion_fmri, {}),
    "laion-fmri, unpacked": ("laion-fmri", laion_fmri_unpacked, {"split": "tau"}),
    "arrays, folder": ("arrays", arrays_folder, {}),
    "arrays, BIDS": ("arrays", arrays_bids, {}),
    "arrays, npz": ("arrays", arrays_file("npz"), {}),
    "arrays, HDF5": ("arrays", arrays_file("hdf5"), {}),
    "arrays, MATLAB": ("arrays", arrays_file("MATLAB 7.3"), {}),
}
"""Name -> kind of data, ``make(folder) -> path``, options of the loader."""


def rng(name):
    """Random numbers of a copy's own."""
    return np.random.default_rng(sum(map(ord, name)))
