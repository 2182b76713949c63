"""What a simulation reached."""

from dataclasses import dataclass
from pathlib import Path

from brainrecon.simulation.design import REPEATS


@dataclass(frozen=True)
class SubjectReport:
    """Report of one simulated subject.

    >>> reached = SubjectReport("subj01", 160, n_train=15, n_test=5, noise_ceiling_known=34.7, noise_ceiling_estimated=36.0)
    >>> reached.n_train + reached.n_test
    20

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
    """Report of a simulation: its folder, its options and its subjects.

    >>> from brainrecon.simulation import simulate_miyawaki
    >>> report = simulate_miyawaki("checkers", voxels=50, random_patterns=22, figures=4, repeats=2)
    >>> isinstance(report, SimulationReport), report.created, len(report.subjects)
    (True, True, 1)
    """

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
        if self.options.get("further"):
            lines.append(f"and one further session each of {' and '.join(self.options['further'])}")
        return "\n".join(lines)
