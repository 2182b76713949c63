"""Stand-ins: simulated subjects in the own files of other studies, large enough that a decoder learns from them."""

from eeg_stand_ins import eeg_voa, things_eeg2

STAND_INS = {
    "things-eeg2": ("things-eeg2", things_eeg2, {}),
    "eeg-voa": ("eeg-voa", eeg_voa, {}),
}
"""Name -> kind of data, ``make(folder, study) -> path`` with a `simulated_study.SimulatedStudy`, options of the loader."""
