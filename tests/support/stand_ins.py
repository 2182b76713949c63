"""Stand-ins: simulated subjects in the own files of other studies, large enough that a decoder learns from them."""

from things_fmri_files import write_things_study

STAND_INS = {}
"""Name -> kind of data, ``make(folder, study) -> path`` with a `simulated_study.SimulatedStudy`, options of the loader."""

STAND_INS["things-fmri"] = ("things-fmri", write_things_study, {"image_size": 64})
