"""Stand-ins: simulated subjects in the own files of other studies, large enough that a decoder learns from them."""

import ocd_files
import vim1_files

STAND_INS = {
    "vim1, CRCNS": ("vim1", lambda folder, study: vim1_files.stand_in(folder, study, "crcns"), {}),
    "vim1, OSF": ("vim1", lambda folder, study: vim1_files.stand_in(folder, study, "osf"), {}),
    "ocd": ("ocd", ocd_files.stand_in, {}),
    "ocd, peak alone": ("ocd", ocd_files.stand_in, {"window": "6"}),
}
"""Name -> kind of data, ``make(folder, study) -> path`` with a `simulated_study.SimulatedStudy`, options of the loader."""
