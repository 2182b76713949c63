"""Stand-ins: simulated subjects in the own files of other studies, large enough that a decoder learns from them."""

STAND_INS = {}
"""Name -> kind of data, ``make(folder, study) -> path`` with a `simulated_study.SimulatedStudy`, options of the loader."""
