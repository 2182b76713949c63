"""Where the files of BOLD5000 lie, in whatever of the archives' own folders they were unpacked."""

from __future__ import annotations

import re
from pathlib import Path

from brainrecon.datasets.nsd.sessions import read_sessions
from stages.ground.errors import InputError
from stages.ground.listing import visible
from weights.suggestions import did_you_mean

STIMULI = ("BOLD5000_Stimuli", "")
REGIONS = (
    "BOLD5000_GLMsingle_ROI_betas/py",
    "BOLD5000_GLMsingle_ROI_betas/BOLD5000_GLMsingle_ROI_betas/py",
    "py",
)
FIRST_RELEASE = ("ROIs", "BOLD5000_ROIs/ROIs", "BOLD5000_ROIs")
SESSIONS = ("", "betas")

KNOWN_REGIONS = ("EarlyVis", "LOC", "OPA", "PPA", "RSC")
SIDES = ("LH", "RH")
_OTHER_SPELLINGS = {"LO": "LOC", "RRSC": "RSC"}
_REGION = re.compile(r"(LH|RH)([A-Za-z]\w*)")

MODELS = {
    "A": "TYPEA-ASSUMEHRF",
    "B": "TYPEB-FITHRF",
    "C": "TYPEC-FITHRF-GLMDENOISE",
    "D": "TYPED-FITHRF-GLMDENOISE-RR",
}
"""Models of release 2 and how its files are called; its own table spells the second TYBEB."""


def region_of(text: str) -> str | None:
    """Region of a file's or a matrix' name in one spelling; None if it names none.

    >>> region_of("LHLO"), region_of("RHRRSC"), region_of("RHPPA"), region_of("brain")
    ('LHLOC', 'RHRSC', 'RHPPA', None)
    """
    found = _REGION.fullmatch(text)
    return found and found[1] + _OTHER_SPELLINGS.get(found[2], found[2])


def in_order(regions) -> list[str]:
    """Names of regions: the five that are known first, left before right."""
    known = [side + name for name in KNOWN_REGIONS for side in SIDES]
    return sorted(regions, key=lambda name: (known.index(name) if name in known else len(known), name))


def below(path: Path, places, name: str) -> Path:
    """The first of some places that there is, with a name behind it; the first of all if there is none."""
    candidates = [path / place / name for place in places]
    return next((candidate for candidate in candidates if candidate.exists()), candidates[0])


def checked_model(model: str) -> str:
    """The letter of a model of release 2."""
    letter = str(model).strip().upper().removeprefix("TYPE")[:1]
    if letter not in MODELS:
        meant = did_you_mean(letter, MODELS)
        raise InputError(f"model is {model!r}; expected one of {', '.join(MODELS)}{meant}, or leave it out for D.")
    return letter


def region_files(path: Path, subject: str, model: str = "D") -> dict[str, Path]:
    """Files of release 2 with the responses in a region, by region in order."""
    for place in REGIONS:
        found: dict[str, Path] = {}
        pattern = re.compile(rf"{subject}_GLMbetas-TY[PB]E{model}[^_]*_allses_(\w+)\.npy", re.IGNORECASE)
        for file in visible(path / place, "*.npy"):
            match = pattern.fullmatch(file.name)
            if match and (region := region_of(match[1])):
                _add(found, region, file)
        if found:
            return {name: found[name] for name in in_order(found)}
    return {}


def session_files(path: Path, subject: str, model: str = "D") -> dict[int, Path]:
    """Files of release 2 with the responses of the whole brain, by session."""
    pattern = re.compile(rf"{subject}_GLMbetas-TY[PB]E{model}[^_]*_ses-?0*(\d+)\.nii(\.gz)?", re.IGNORECASE)
    for place in SESSIONS:
        found: dict[int, Path] = {}
        for file in visible(path / place, "*.nii*"):
            if match := pattern.fullmatch(file.name):
                _add(found, int(match[1]), file)
        if found:
            return dict(sorted(found.items()))
    return {}


def wanted_of(found: dict[int, Path], sessions) -> dict[int, Path]:
    """Those of some files of sessions that are asked for; all of them by default."""
    wanted = read_sessions(sessions)
    return {session: file for session, file in found.items() if wanted is None or session in wanted}


def first_release_file(path: Path, subject: str, volume: str) -> Path:
    """File of release 1 with single volumes, or the mean of two: HDF5 if it is there, else MATLAB's."""
    name = f"{subject}_ROIs_{volume}"
    files = [path / place / subject / kind / f"{name}.{kind}" for kind in ("h5", "mat") for place in FIRST_RELEASE]
    return next((file for file in files if file.exists()), files[0])


def mask_files(path: Path, subject: str) -> dict[str, Path]:
    """Masks of the regions, by region in order."""
    found: dict[str, Path] = {}
    prefix = f"sub-{subject}_mask-"
    for file in visible(path / "derivatives" / "spm" / f"sub-{subject}", f"{prefix}*.nii*"):
        if region := region_of(file.name.removeprefix(prefix).split(".")[0]):
            _add(found, region, file)
    return {name: found[name] for name in in_order(found)}


def _add(found: dict, key, file: Path) -> None:
    if key in found:
        what = f"session {key}" if isinstance(key, int) else key
        raise InputError(f"{found[key]} and {file.name} are both {what}; keep one of them.")
    found[key] = file


def subjects_on_disk(path: Path) -> list[str]:
    """Names of the subjects whose responses are there, sorted."""
    names = set()
    for place in (*REGIONS, *SESSIONS):
        for file in visible(path / place, "CSI*_GLMbetas-*"):
            if match := re.match(r"(CSI\d+)_GLMbetas-TY[PB]E[A-D][^_]*_(allses_\w+\.npy|ses-?\d+\.nii)", file.name):
                names.add(match[1])
    for place in FIRST_RELEASE:
        for folder in visible(path / place, "CSI*"):
            if re.fullmatch(r"CSI\d+", folder.name) and any(visible(folder, "*/CSI*_ROIs_TR*")):
                names.add(folder.name)
    return sorted(names, key=lambda name: (len(name), name))
