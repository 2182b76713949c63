"""A simulated cohort in NSD's own files and folders.

`simulate` lives in `cohort`, the reports it returns in `report`; both are loaded on first use.
"""

__all__ = ["SimulationReport", "SubjectReport", "simulate"]


def __getattr__(name):
    if name in __all__:
        from brainrecon.datasets.simulated import cohort

        return getattr(cohort, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
