"""Simulate the subject of Miyawaki et al. (Neuron 2008): one session of random patterns, one of figures, as BData."""

import os
import zlib
from dataclasses import dataclass

import numpy as np

from brainrecon.datasets.noise_ceiling import noise_ceiling
from brainrecon.simulation.brain.anatomy import ATLASES
from brainrecon.simulation.brain.ceiling import RepeatStatistics
from brainrecon.simulation.brain.local_contrast import (
    AREAS,
    FEWEST_VOXELS,
    MOST_VOXELS,
    SIDE,
    LocalContrastCortex,
    grow_early_cortex,
)
from brainrecon.simulation.brain.noise import begin_session, trial_noise
from brainrecon.simulation.files.bdata_files import write_bdata
from brainrecon.simulation.files.report import SimulationReport, SubjectReport
from brainrecon.simulation.files.simulation_folder import simulate_once
from brainrecon.simulation.options import checked_number
from brainrecon.simulation.world.checker_figures import MOST_FIGURES, RANDOM, draw_figures
from stages.ground.progress import SILENT, Progress

MODEL_VERSION = 1
"""Changes whenever the same options give other data."""

SUBJECT = "subj01"
SESSIONS = {"random": 1, "figure": 2}
FILES = {part: f"visrecon_s1_{part}.h5" for part in SESSIONS}
TRIALS_PER_RUN = {"random": 22, "figure": 10}
VOXEL_MILLIMETRES = 3.0
SOURCE = "simulated by brainrecon, no human was measured"
REST = -1
KINDS = {REST: "rest", 1: "random", 2: "geometric", 3: "thin alphabet", 4: "long alphabet", 5: "alphabet"}

_RUN_OFFSET = 0.5
"""How far runs of a session drift apart, relative to how far sessions do."""

_PATTERNS_OF_ECHO = 200


@dataclass(frozen=True)
class MiyawakiReport(SimulationReport):
    """What `simulate_miyawaki` made or found; the noise ceilings are medians over V1 and V2, for averaged figures."""

    def __str__(self):
        one, options = self.subjects[0], self.options
        return (
            f"{'Simulated' if self.created else 'Found the same simulation in'} {self.directory}\n"
            f"{one.name}: {one.n_train} random patterns to train on, shown once, and {one.n_test} figures to test on, "
            f"{options['repeats']} repeats, {one.n_voxels} voxels of V1 to V3; median noise ceiling of V1 and V2 "
            f"{one.noise_ceiling_known:.1f} % of variance by construction, "
            f"{one.noise_ceiling_estimated:.1f} % as estimated from repeats"
        )


def simulate_miyawaki(
    directory: str | os.PathLike,
    *,
    voxels: int = 1000,
    random_patterns: int = 440,
    figures: int = 40,
    repeats: int = 3,
    noise: float = 1.0,
    seed: int = 0,
    progress: Progress = SILENT,
) -> MiyawakiReport:
    """Write a simulated subject of Miyawaki et al. (2008) in the study's own file format.

    >>> report = simulate_miyawaki("checkers", voxels=50, random_patterns=22, figures=4, repeats=2)
    >>> from brainrecon.datasets import load
    >>> load("miyawaki:checkers").test.n_stimuli
    4

    Random patterns are shown once, in runs of 22; figures, half of them shapes and half letters, are shown in runs of
    10. Rest opens and closes each run. The same options give the same bytes on one machine.

    Parameters
    ----------
    directory : path
        Where ``visrecon_s1_random.h5`` and ``visrecon_s1_figure.h5`` go; the folder appears whole or not at all. A
        finished simulation with the same options is left as it is.
    voxels : int
        Voxels of V1 and V2 together; those of V3, about two fifths as many, come on top.
    random_patterns : int
        Random patterns, no two of them equal and none a figure: the training set.
    figures : int
        Figures, up to 60.
    repeats : int
        How often each figure is shown; twice or more, as the noise ceiling is estimated from it.
    noise : float
        Noise relative to the level at which decoding is about as hard as in the published data, 0 to 100.
    seed : int
        Seed of everything but the figures, which are always the same; 0 or more.
    progress : callable (label, done, total), optional
        Told how many runs have been scanned.

    Returns
    -------
    MiyawakiReport

    Raises
    ------
    InputError
        If the options cannot be met, or the directory holds something else.
    """
    options = {
        "study": "miyawaki",
        "model": MODEL_VERSION,
        "voxels": checked_number("voxels", voxels, FEWEST_VOXELS, MOST_VOXELS),
        "random_patterns": checked_number("random_patterns", random_patterns, 2, 100_000),
        "figures": checked_number("figures", figures, 2, MOST_FIGURES),
        "repeats": checked_number("repeats", repeats, 2, 1000),
        "noise": checked_number("noise", noise, 0, 100, whole=False),
        "seed": checked_number("seed", seed, 0, 2**32 - 1),
    }
    return simulate_once(directory, options, lambda folder: (_Study(options, progress).write(folder),), MiyawakiReport)


class _Study:
    """One run of the simulator."""

    def __init__(self, options, progress):
        self.options, self.progress = options, progress
        self.anatomy = grow_early_cortex(options["voxels"], self.generator("anatomy"))
        self.cortex = LocalContrastCortex(self.anatomy, self.generator("cortex"), options["noise"])
        echo = self.cortex.respond(self.generator("echo").integers(0, 2, (_PATTERNS_OF_ECHO, SIDE, SIDE)))
        # Where a field lies beside the stimulus nothing is evoked, and nothing may be magnified.
        self.echo = (echo - echo.mean(axis=0)) / np.maximum(echo.std(axis=0), 1e-3)

    def generator(self, *purpose):
        """Random numbers for one purpose, which no other purpose can shift."""
        return np.random.default_rng([self.options["seed"], zlib.crc32(":".join(map(str, purpose)).encode())])

    def write(self, folder):
        """Write both files and return what was reached."""
        figures, kinds = draw_figures(self.options["figures"])
        patterns = self.random_patterns(figures)
        order = self.figure_order(len(figures))
        lengths = {
            "random": _run_lengths(len(patterns), TRIALS_PER_RUN["random"]),
            "figure": np.tile(_run_lengths(len(figures), TRIALS_PER_RUN["figure"]), self.options["repeats"]),
        }
        shown = {
            "random": (patterns, np.full(len(patterns), RANDOM)),
            "figure": (figures[order], kinds[order]),
        }
        self.done, self.runs = 0, sum(map(len, lengths.values()))
        responses = {part: self.scan(folder / FILES[part], part, *shown[part], lengths[part]) for part in SESSIONS}

        leading = np.isin(self.cortex.areas, AREAS[:2])
        noise_sd = np.maximum(self.cortex.noise_sd, 1e-9)
        known = (self.cortex.respond(figures).std(axis=0) / noise_sd)[leading]
        statistics = RepeatStatistics(len(figures), leading.sum())
        statistics.add_session(responses["figure"][:, leading], order)
        repeats = [self.options["repeats"]]
        ceilings = [float(np.median(noise_ceiling(ratio, repeats))) for ratio in (known, statistics.ncsnr())]
        return SubjectReport(
            name=SUBJECT,
            n_voxels=self.anatomy.n_cortex,
            n_train=len(patterns),
            n_test=len(figures),
            noise_ceiling_known=round(ceilings[0], 2),
            noise_ceiling_estimated=round(ceilings[1], 2),
        )

    def random_patterns(self, figures):
        """Patterns (n, 10, 10) uint8, each cell on or off by chance, all distinct and none a figure."""
        generator, used, patterns = self.generator("random patterns"), {cells.tobytes() for cells in figures}, []
        while len(patterns) < self.options["random_patterns"]:
            cells = generator.integers(0, 2, (SIDE, SIDE), dtype=np.uint8)
            if cells.tobytes() not in used:
                used.add(cells.tobytes())
                patterns.append(cells)
        return np.array(patterns)

    def figure_order(self, n):
        """Which figure each trial of the figure session shows: all of them, in another order each time."""
        return np.concatenate([self.generator("order", k).permutation(n) for k in range(self.options["repeats"])])

    def scan(self, path, part, patterns, kinds, lengths):
        """Run a session and write its file; return the responses to the patterns, percent signal change."""
        session = begin_session(self.anatomy, len(patterns), self.generator(part, "session"))
        evoked = self.cortex.respond(patterns) - self.cortex.baseline
        rows, shown, runs = [], [], []
        for run, stop in enumerate(np.cumsum(lengths), start=1):
            # Rest opens and closes a run: -1 stands for it among the trials.
            trials = np.r_[-1, np.arange(stop - lengths[run - 1], stop), -1]
            rows.append(self.scan_run(evoked, trials, session, self.generator(part, "run", run)))
            shown.append(trials)
            runs.append(np.full(len(trials), run))
            self.done += 1
            self.progress("scanning runs", self.done, self.runs)
        responses, trials = np.concatenate(rows), np.concatenate(shown)
        rest = trials < 0
        # As in MATLAB, a pattern is written column by column.
        cells = patterns.transpose(0, 2, 1).reshape(len(patterns), -1)[trials].astype(float)
        cells[rest] = REST
        columns = {
            "VoxelData": responses,
            "Run": np.concatenate(runs)[:, None],
            "Session": np.full((len(trials), 1), SESSIONS[part]),
            "StimulusType": np.where(rest, REST, kinds[trials])[:, None],
            "Image": cells,
        }
        write_bdata(path, columns, self.on_voxels(), {"StimulusType": KINDS}, SOURCE)
        return responses[~rest]

    def scan_run(self, evoked, trials, session, generator):
        """Responses of one run, (n_trials, n_voxels): what the trials' rows of `evoked` add; trials below 0 are rest."""
        anatomy, cortex, inside = self.anatomy, self.cortex, self.anatomy.in_brain
        course = begin_session(anatomy, len(trials), generator)
        noise = np.concatenate([
            block[:, inside] for _, block in trial_noise(anatomy, course, len(trials), self.echo, generator)
        ])  # fmt: skip
        noise += (session.offset + _RUN_OFFSET * course.offset)[inside]
        evoked = np.where(trials[:, None] < 0, 0, evoked[trials])
        evoked *= course.gain * session.voxel_gain[inside]
        return cortex.baseline + evoked + noise * cortex.noise_sd

    def on_voxels(self):
        """Coordinates in mm about the middle of the volume, and the regions of both hemispheres and of each."""
        anatomy = self.anatomy
        place = (anatomy.ribbon - (np.array(anatomy.shape) - 1) / 2) * VOXEL_MILLIMETRES
        keys = {f"voxel_{axis}": values for axis, values in zip("xyz", place.T)}
        keys |= {f"ROI_{area}": self.cortex.areas == area for area in AREAS}
        for side, there in (("L", ~anatomy.right), ("R", anatomy.right)):
            for name in ATLASES["prf-visualrois"]:
                if name[:2] in AREAS:
                    keys[f"{side}_{name}"] = there & anatomy.within("prf-visualrois", name)
        return keys


def _run_lengths(n_trials, most):
    """Trials of each run; the last run holds what is left."""
    return np.diff(np.r_[np.arange(0, n_trials, most), n_trials])
