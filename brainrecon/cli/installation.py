"""Whether what is installed fits together, and the pip line that mends it when it does not."""

import importlib
import importlib.metadata
import platform
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

TORCH_LINE = "python -m pip uninstall -y torch torchvision && python -m pip install torch torchvision"

# Both for the CPU: the ordinary torchvision does not go with such a torch.
CPU_TORCH_LINE = f"{TORCH_LINE} --index-url https://download.pytorch.org/whl/cpu"

# What torchvision raises on import when its compiled part was built for another torch: the operator is
# unknown, or the half-imported package lacks the module that would have registered it.
_MISMATCH = (
    r"operator torchvision::nms does not exist|partially initialized module '?torchvision|"
    r"undefined symbol.*(torch|c10)|Couldn't load custom C\+\+ ops"
)


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes
    ----------
    subject : str
        What was looked at.
    state : {"good", "note", "bad"}
        "bad": the toolkit cannot be used; "note": it can, but read the detail.
    detail : str
        One line.
    remedy : str
        For bad ones and some notes: what to type.
    """

    subject: str
    state: str
    detail: str
    remedy: str = ""


def torchvision_remedy(error: BaseException) -> str | None:
    """Recognise a torch and a torchvision that do not belong together.

    Parameters
    ----------
    error : exception
        Anything that was raised while importing or running.

    Returns
    -------
    sentence : str or None
        What is wrong and what to type; None when the error is another one.
    """
    reasons = []
    seen: BaseException | None = error
    while seen is not None and len(reasons) < 10:
        reasons.append(str(seen))
        seen = seen.__cause__ or seen.__context__
    if "torchvision" not in " ".join(reasons) or not re.search(_MISMATCH, " ".join(reasons)):
        return None
    return (
        f"torch {_version('torch')} and torchvision {_version('torchvision')} are not a matching pair "
        f"(operator torchvision::nms does not exist); install one with: {_torch_line()}"
    )


def examine_python() -> Finding:
    """Look at the interpreter."""
    return Finding("python", "good", f"{platform.python_version()} at {sys.executable}")


def examine_torch(import_module: Callable[[str], ModuleType] = importlib.import_module) -> Finding:
    """Import torch and torchvision and call the operator that a mismatched pair lacks.

    Parameters
    ----------
    import_module : callable
        What imports; for tests.
    """
    pair = f"torch {_version('torch')}, torchvision {_version('torchvision')}"
    try:
        torch = import_module("torch")
        operators = import_module("torchvision.ops")
        operators.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    except ModuleNotFoundError as error:
        return Finding("torch and torchvision", "bad", f"{pair}: {error}", "python -m pip install torch torchvision")
    except Exception as error:  # whatever a broken compiled package raises is what there is to report
        detail = f"{pair}: {' '.join(str(error).split()) or type(error).__name__}"
        remedy = (
            _torch_line() if torchvision_remedy(error) else "python -m pip install --force-reinstall torch torchvision"
        )
        return Finding("torch and torchvision", "bad", detail, remedy)
    return Finding("torch and torchvision", "good", pair)


def examine_requirements() -> Finding:
    """Compare the installed packages with what the project asks for."""
    try:
        declared = importlib.metadata.requires("brainrecon") or []
    except importlib.metadata.PackageNotFoundError:
        home = Path(__file__).resolve().parents[2]
        return Finding(
            "packages",
            "note",
            f"brainrecon runs from {home} without being installed",
            f'python -m pip install -e "{home}"',
        )
    from packaging.requirements import Requirement

    requirements = [Requirement(text) for text in declared]
    wanted = [each for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""})]
    troubles = [
        f"{each.name} {_version(each.name)} does not satisfy {each.name}{each.specifier}"
        for each in wanted
        if _version(each.name) == "(absent)" or not each.specifier.contains(_version(each.name), prereleases=True)
    ]
    if troubles:
        names = " ".join(f'"{each}"' for each in (trouble.split()[-1] for trouble in troubles))
        return Finding("packages", "bad", "; ".join(troubles), f"python -m pip install {names}")
    shown = ("numpy", "diffusers", "transformers", "open_clip_torch", "scikit-learn", "accelerate")
    return Finding("packages", "good", ", ".join(f"{name} {_version(name)}" for name in shown))


def _torch_line() -> str:
    """The line that installs a matching pair of the kind of torch that is there."""
    return CPU_TORCH_LINE if _version("torch").endswith("+cpu") else TORCH_LINE


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "(absent)"
