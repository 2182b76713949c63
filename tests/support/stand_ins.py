"""Stand-ins: simulated subjects in the own files of other studies, large enough that a decoder learns from them."""

import mosaic_files
import nod_files

STAND_INS = {
    "nod": ("nod", nod_files.stand_in, {}),
    "mosaic": ("mosaic", mosaic_files.stand_in, {}),
}
"""Name -> kind of data, ``make(folder, study) -> path`` with a `simulated_study.SimulatedStudy`, options of the loader."""
