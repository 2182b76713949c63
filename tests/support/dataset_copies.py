"""A small copy of every kind of data in every layout that is read, each written without the reader that it is for."""

import numpy as np
from algonauts_files import Algonauts
from array_files import WRITERS, content
from bids_study import Study
from bold5000_files import Bold5000
from drawn_digits import write_digits
from eeg_files import EegVoa, ThingsEeg2
from faces_files import Faces
from kamitani_files import Dir, God
from laion_fmri_files import LaionFmri
from miyawaki_copies import draw_bdata, draw_mat, write_mat, write_nilearn
from miyawaki_copies import write_bdata as write_miyawaki_bdata
from mosaic_files import Mosaic
from nod_files import Nod
from nsd_files import write_nsd
from nsd_further_files import write_nsd_further
from nsd_standard_files import write_nsd_standard
from nsd_surface_files import write_nsd_surface
from ocd_files import Objects
from own_bdata_files import OwnBData
from packed_layouts import write_brain_diffuser, write_mind_vis, write_mindeye1, write_mindeye2
from things_fmri_files import Things
from vim1_files import Kay

from brainrecon.datasets.arrays.reader import write_template


def nsd(folder):
    return write_nsd(folder / "nsd", formats=("hdf5",)).root


def nsd_nifti(folder):
    return write_nsd(folder / "nsd", formats=("nifti",)).root


def nsd_surface(folder):
    return write_nsd_surface(folder / "nsd").root


def nsd_further(folder):
    return write_nsd_further(folder / "nsd").root


def nsd_further_surface(folder):
    return write_nsd_further(folder / "nsd", surface=True).root


def nsd_standard(folder):
    return write_nsd_standard(folder / "nsd").root


def god(folder):
    written = God(folder / "god")
    written.draw_pictures()
    return written.root


def dir_(folder):
    return Dir(folder / "dir").root


def own_bdata(folder):
    written = OwnBData(folder / "mine")
    written.draw_pictures()
    return written.file


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


def mindeye1(folder):
    return write_mindeye1(folder / "packed").root


def mindeye2(folder):
    return write_mindeye2(folder / "packed").root


def mind_vis(folder):
    return write_mind_vis(folder / "packed").root


def digits69(folder):
    write_digits(folder / "digits.mat")
    return folder / "digits.mat"


def algonauts2023(folder):
    return Algonauts(folder / "challenge").root


def faces(folder):
    return Faces(folder / "ds001761").root


def bold5000(*parts, subject="CSI1"):
    def make(folder):
        return Bold5000(folder / "bold5000", sessions={subject: [3, 2, 3]}, parts=parts).root

    return make


def things_table(folder):
    return Things(folder / "things", forms=("table",)).root


def things_volume(folder):
    return Things(folder / "things", forms=("volume",)).root


def vim1_crcns(folder):
    return Kay(folder / "vim1").write_crcns().root


def vim1_full(folder):
    return Kay(folder / "vim1", version="5").write_crcns(small=False, full=True).root


def vim1_osf(folder):
    return Kay(folder / "vim1").write_osf().root


def ocd(folder):
    return Objects(folder / "ocd").write().root


def nod(folder):
    return Nod(folder / "ds004496").root


def mosaic(folder):
    written = Mosaic(folder / "mosaic")
    Mosaic(folder / "mosaic", seed=1, study="GOD", subject="sub-02", pictures=False, tell="trials")
    return written.root


def mosaic_lists(folder):
    written = Mosaic(folder / "mosaic", seed=2)
    written.write_lists()
    return written.root


def things_eeg2(folder):
    return ThingsEeg2(folder / "things-eeg2").root


def eeg_voa(folder):
    return EegVoa(folder / "eeg").root


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
    "nsd, further": ("nsd", nsd_further, {"also": "all"}),
    "nsd, further on a surface": (
        "nsd",
        nsd_further_surface,
        {"space": "fsaverage", "also": "imagery,synthetic", "also_scale": "run"},
    ),
    "nsd, MNI": ("nsd", nsd_standard, {"space": "MNI"}),
    "god": ("god", god, {}),
    "dir": ("dir", dir_, {}),
    "miyawaki, nilearn": ("miyawaki", miyawaki_nilearn, {}),
    "miyawaki, MATLAB": ("miyawaki", miyawaki_matlab, {}),
    "miyawaki, BData": ("miyawaki", miyawaki_bdata, {}),
    "packed, Brain-Diffuser": ("packed", brain_diffuser, {}),
    "packed, MindEye": ("packed", mindeye1, {}),
    "packed, MindEye2": ("packed", mindeye2, {}),
    "packed, MinD-Vis": ("packed", mind_vis, {}),
    "digits69": ("digits69", digits69, {}),
    "faces": ("faces", faces, {}),
    "bold5000, regions": ("bold5000", bold5000("lists", "repeated", "pictures", "labels", "regions", "masks"), {}),
    "bold5000, z-scores": (
        "bold5000",
        bold5000("events", "pictures", "regions", subject="CSI2"),
        {"scaling": "session"},
    ),
    "bold5000, brain": ("bold5000", bold5000("lists", "imgnames", "repeated", "brain", "masks"), {}),
    "bold5000, release 1": ("bold5000", bold5000("stim_lists", "pictures", "first"), {}),
    "things-fmri, table": ("things-fmri", things_table, {}),
    "things-fmri, volume": ("things-fmri", things_volume, {"form": "volume"}),
    "vim1, CRCNS": ("vim1", vim1_crcns, {}),
    "vim1, full resolution": ("vim1", vim1_full, {}),
    "vim1, OSF": ("vim1", vim1_osf, {}),
    "ocd": ("ocd", ocd, {}),
    "ocd, mean of a window": ("ocd", ocd, {"window": "4-8", "times": "mean"}),
    "algonauts2023": ("algonauts2023", algonauts2023, {"one_in": 3}),
    "bdata": ("bdata", own_bdata, {"split": "part", "stimulus": "picture", "train": "fit", "test": "check"}),
    "nod": ("nod", nod, {}),
    "nod, categories": ("nod", nod, {"split": "categories"}),
    "mosaic": ("mosaic", mosaic, {"dataset": "NSD"}),
    "mosaic, its lists": ("mosaic", mosaic_lists, {"split": "mosaic"}),
    "laion-fmri": ("laion-fmri", laion_fmri, {}),
    "laion-fmri, unpacked": ("laion-fmri", laion_fmri_unpacked, {"split": "tau"}),
    "arrays, folder": ("arrays", arrays_folder, {}),
    "arrays, BIDS": ("arrays", arrays_bids, {}),
    "arrays, npz": ("arrays", arrays_file("npz"), {}),
    "arrays, HDF5": ("arrays", arrays_file("hdf5"), {}),
    "arrays, MATLAB": ("arrays", arrays_file("MATLAB 7.3"), {}),
    "things-eeg2": ("things-eeg2", things_eeg2, {}),
    "eeg-voa": ("eeg-voa", eeg_voa, {}),
}
"""Name -> kind of data, ``make(folder) -> path``, options of the loader."""


def rng(name):
    """Random numbers of a copy's own."""
    return np.random.default_rng(sum(map(ord, name)))
