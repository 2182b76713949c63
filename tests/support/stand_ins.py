"""Stand-ins: simulated subjects in the own files of other studies, large enough that a decoder learns from them."""

from bold5000_files import write_stand_in as write_bold5000
from things_fmri_files import write_things_study

STAND_INS = {}
import ocd_files
import vim1_files

STAND_INS = {
    "vim1, CRCNS": ("vim1", lambda folder, study: vim1_files.stand_in(folder, study, "crcns"), {}),
    "vim1, OSF": ("vim1", lambda folder, study: vim1_files.stand_in(folder, study, "osf"), {}),
    "ocd": ("ocd", ocd_files.stand_in, {}),
    "ocd, peak alone": ("ocd", ocd_files.stand_in, {"window": "6"}),
from nsd_form_stand_ins import algonauts, mindeye, own_bdata, standard

STAND_INS = {
    "algonauts2023": ("algonauts2023", algonauts, {"one_in": 6}),
    "nsd, MNI": ("nsd", standard, {"space": "MNI"}),
    "packed, MindEye": ("packed", mindeye, {}),
    "bdata": ("bdata", own_bdata, {"stimulus": "picture", "split": "half", "train": 4, "test": 5}),
import mosaic_files
import nod_files

STAND_INS = {
    "nod": ("nod", nod_files.stand_in, {}),
    "mosaic": ("mosaic", mosaic_files.stand_in, {}),
}
"""Name -> kind of data, ``make(folder, study) -> path`` with a `simulated_study.SimulatedStudy`, options of the loader."""

STAND_INS["bold5000"] = ("bold5000", write_bold5000, {})
STAND_INS["things-fmri"] = ("things-fmri", write_things_study, {"image_size": 64})
