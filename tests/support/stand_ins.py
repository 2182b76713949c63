"""Stand-ins: simulated subjects in the own files of other studies, large enough that a decoder learns from them."""

import mosaic_files
import nod_files
import ocd_files
import vim1_files
from bold5000_files import write_stand_in as write_bold5000
from eeg_stand_ins import eeg_voa, things_eeg2
from nsd_form_stand_ins import algonauts, mindeye, own_bdata, standard
from stand_in_laion_fmri import stand_in_laion_fmri
from things_fmri_files import write_things_study

STAND_INS = {
    "vim1, CRCNS": ("vim1", lambda folder, study: vim1_files.stand_in(folder, study, "crcns"), {}),
    "vim1, OSF": ("vim1", lambda folder, study: vim1_files.stand_in(folder, study, "osf"), {}),
    "bold5000": ("bold5000", write_bold5000, {}),
    "things-fmri": ("things-fmri", write_things_study, {"image_size": 64}),
    "nod": ("nod", nod_files.stand_in, {}),
    "ocd": ("ocd", ocd_files.stand_in, {}),
    "ocd, peak alone": ("ocd", ocd_files.stand_in, {"window": "6"}),
    "laion-fmri": ("laion-fmri", stand_in_laion_fmri, {}),
    "mosaic": ("mosaic", mosaic_files.stand_in, {}),
    "algonauts2023": ("algonauts2023", algonauts, {"one_in": 6}),
    "nsd, MNI": ("nsd", standard, {"space": "MNI"}),
    "packed, MindEye": ("packed", mindeye, {}),
    "things-eeg2": ("things-eeg2", things_eeg2, {}),
    "eeg-voa": ("eeg-voa", eeg_voa, {}),
    "bdata": ("bdata", own_bdata, {"stimulus": "picture", "split": "half", "train": 4, "test": 5}),
}

"""Name -> kind of data, ``make(folder, study) -> path`` with a `simulated_study.SimulatedStudy`, options of the loader."""
