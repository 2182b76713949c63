"""What a simulation reached, and what an earlier one left in a folder."""

import json
from dataclasses import dataclass
from pathlib import Path

from brainrecon.datasets.simulated.design import REPEATS
from brainrecon.datasets.simulated.nsd_files import MARKER
from stages.errors import InputError

VERSION = 5
"""Changes whenever the same options give other data."""


@dataclass(frozen=True)
class SubjectReport:
    """What was reached for one subject.

    Noise ceilings are medians over nsdgeneral, for averages of three trials, in percent of variance.
    """

    name: str
    n_voxels: int
    n_train: int
    n_test: int
    noise_ceiling_known: float
    """From the signal and the noise that went in."""
    noise_ceiling_estimated: float
    """From the repeats, as NSD estimates it and as ncsnr.nii.gz holds it."""


@dataclass(frozen=True)
class SimulationReport:
    """What `simulate` made or found."""

    directory: Path
    options: dict
    subjects: tuple[SubjectReport, ...]
    created: bool
    """False where the same cohort was there already."""

    def __str__(self):
        lines = [f"{'Simulated' if self.created else 'Found the same simulation in'} {self.directory}"]
        for one in self.subjects:
            lines.append(
                f"{one.name}: {one.n_train} training and {one.n_test} test pictures, {REPEATS} repeats, "
                f"{one.n_voxels} voxels; median noise ceiling {one.noise_ceiling_known:.1f} % of variance "
                f"by construction, {one.noise_ceiling_estimated:.1f} % as estimated from repeats"
            )
        return "\n".join(lines)


def find_earlier(target: Path, options: dict) -> SimulationReport | None:
    """Look for an earlier simulation with the same options.

    Parameters
    ----------
    target : Path
        Where a simulation is to go.
    options : dict
        What is asked for.

    Returns
    -------
    SimulationReport or None
        None where the target is free, that is absent or empty.

    Raises
    ------
    InputError
        If something else is there, or a simulation with other options.
    """
    marker = target / MARKER
    if marker.is_file():
        try:
            content = json.loads(marker.read_text(encoding="utf-8"))
            earlier, version = content["options"], content["version"]
            reports = tuple(SubjectReport(**one) for one in content["subjects"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{marker} is damaged ({error}); remove {target} or give another folder."
            ) from error
        different = [name for name in options if earlier.get(name) != options[name]]
        if different:
            name = different[0]
            raise InputError(
                f"{target} holds a simulation with {name} {earlier.get(name)}, not {options[name]}; "
                "give another folder or the earlier options."
            )
        if version != VERSION:
            raise InputError(
                f"{target} holds a simulation of version {version}, not {VERSION} as this brainrecon makes; "
                "remove it or give another folder."
            )
        return SimulationReport(target, options, reports, created=False)
    if target.is_dir() and not any(target.iterdir()):
        return None
    if target.exists():
        raise InputError(f"{target} exists and is no simulated cohort; give a folder that is new or empty.")
    return None
