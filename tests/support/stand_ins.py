"""Stand-ins: simulated subjects in the own files of other studies, large enough that a decoder learns from them."""

from nsd_form_stand_ins import algonauts, mindeye, own_bdata, standard

STAND_INS = {
    "algonauts2023": ("algonauts2023", algonauts, {"one_in": 6}),
    "nsd, MNI": ("nsd", standard, {"space": "MNI"}),
    "packed, MindEye": ("packed", mindeye, {}),
    "bdata": ("bdata", own_bdata, {"stimulus": "picture", "split": "half", "train": 4, "test": 5}),
}
"""Name -> kind of data, ``make(folder, study) -> path`` with a `simulated_study.SimulatedStudy`, options of the loader."""
