"""Stand-ins: simulated subjects in the own files of other studies, large enough that a decoder learns from them."""

from stand_in_laion_fmri import stand_in_laion_fmri

STAND_INS = {"laion-fmri": ("laion-fmri", stand_in_laion_fmri, {})}
"""Name -> kind of data, ``make(folder, study) -> path`` with a `simulated_study.SimulatedStudy`, options of the loader."""
