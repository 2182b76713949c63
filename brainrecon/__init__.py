"""From fMRI responses to the pictures that were seen.

The public names are loaded when they are first asked for, so that ``import brainrecon`` stays light:

load            read a dataset's subject: ``load("nsd:/data/nsd", subject="subj01")``
simulate        write a simulated cohort in NSD's own files
Cohort          several subjects, and the stimuli they share
Subject         one person's responses, stimuli and regions
Decoder         voxels to targets
MultiscaleDecoder   voxels to pictures of a few cells, by local elements
Reconstructor   a published system, assembled: fit, predict, reconstruct
evaluate        score pictures against what was shown
Run             a run folder: plan, resume, read
"""

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

# Public name -> (module, name there).
_PUBLIC = {
    "load": ("brainrecon.datasets", "load"),
    "simulate": ("brainrecon.simulation", "simulate"),
    "Cohort": ("brainrecon.datasets.cohort", "Cohort"),
    "Subject": ("brainrecon.datasets.subject", "Subject"),
    "Decoder": ("stages.decoders.ridge.ridge", "RidgeDecoder"),
    "MultiscaleDecoder": ("stages.decoders.local.multiscale", "MultiscaleDecoder"),
    "Reconstructor": ("brainrecon.assembly.reconstructor", "Reconstructor"),
    "evaluate": ("brainrecon.evaluation.scoring", "evaluate"),
    "Run": ("brainrecon.runs.run", "Run"),
}

__all__ = [
    "Cohort",
    "Decoder",
    "MultiscaleDecoder",
    "Reconstructor",
    "Run",
    "Subject",
    "__version__",
    "evaluate",
    "load",
    "simulate",
]

if TYPE_CHECKING:
    from brainrecon.assembly.reconstructor import Reconstructor
    from brainrecon.datasets import load
    from brainrecon.datasets.cohort import Cohort
    from brainrecon.datasets.subject import Subject
    from brainrecon.evaluation.scoring import evaluate
    from brainrecon.runs.run import Run
    from brainrecon.simulation import simulate
    from stages.decoders.local.multiscale import MultiscaleDecoder
    from stages.decoders.ridge.ridge import RidgeDecoder as Decoder


def _refuse_shadowed_packages() -> None:
    """Raise ImportError when `stages` or `weights` would be imported from anywhere but beside this package.

    The names are plain words, so a user's own ``weights.py`` or ``stages/__init__.py`` in the current folder
    can win. A folder without an ``__init__.py`` cannot. Nothing is imported to find out.
    """
    home = Path(__file__).resolve().parent.parent
    for name in ("stages", "weights"):
        spec = importlib.util.find_spec(name)
        origin = spec.origin if spec else None
        if origin is None:
            raise ImportError(f"brainrecon's package {name!r} is missing from {home}; reinstall brainrecon.", name=name)
        found = Path(origin).resolve()
        if found != home / name / "__init__.py":
            shadow = found.parent if found.name == "__init__.py" else found
            raise ImportError(
                f"{shadow} hides brainrecon's own package {name!r}, which lies in {home / name}; "
                f"rename it, or run Python from another folder.",
                name=name,
                path=str(found),
            )


_refuse_shadowed_packages()


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'brainrecon' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names alone: modules are found by whoever imports them."""
    return sorted(__all__)
