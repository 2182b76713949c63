"""Simulated subjects in the own files of the studies that they stand for.

`simulate` writes a cohort of NSD (`cohort`), `simulate_miyawaki` a subject of Miyawaki et al. 2008 (`miyawaki_study`);
the reports they return are `SimulationReport`. All are loaded on first use.
"""

from importlib import import_module

_PLACES = {
    "SimulationReport": "cohort",
    "SubjectReport": "cohort",
    "simulate": "cohort",
    "simulate_miyawaki": "miyawaki_study",
}

__all__ = ["SimulationReport", "SubjectReport", "simulate", "simulate_miyawaki"]


def __getattr__(name):
    if name in __all__:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
