"""Stand-ins: simulated subjects in the own files of other studies, large enough that a decoder learns from them."""

from bold5000_files import write_stand_in as write_bold5000

STAND_INS = {}
"""Name -> kind of data, ``make(folder, study) -> path`` with a `simulated_study.SimulatedStudy`, options of the loader."""

STAND_INS["bold5000"] = ("bold5000", write_bold5000, {})
