"""Simulate a cohort: draw the pictures, grow the brains, run the sessions, write the files."""

import os
import zlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from brainrecon.datasets.noise_ceiling import noise_ceiling
from brainrecon.simulation import design
from brainrecon.simulation.brain.anatomy import FEWEST_VOXELS, Anatomy, grow_anatomy
from brainrecon.simulation.brain.ceiling import RepeatStatistics
from brainrecon.simulation.brain.cortex import Cortex
from brainrecon.simulation.brain.filters import seen_image
from brainrecon.simulation.brain.noise import scan_session
from brainrecon.simulation.brain.surface import MESHES, Surface, lay_on_surface
from brainrecon.simulation.files import nsd_files, surface_files
from brainrecon.simulation.files.report import SimulationReport, SubjectReport
from brainrecon.simulation.files.simulation_folder import simulate_once
from brainrecon.simulation.further import EXPERIMENTS, run_further
from brainrecon.simulation.options import checked_number
from brainrecon.simulation.world.photographs import Photographs
from brainrecon.simulation.world.pictures import KINDS, LABELS
from brainrecon.simulation.world.stimuli import Shown, calibration_pictures, own_pictures, shared_pictures
from stages.ground.errors import InputError
from stages.ground.progress import SILENT, Progress
from weights.suggestions import did_you_mean

BETAS_FORMATS = {"hdf5": ("hdf5",), "nifti": ("nifti",), "both": ("hdf5", "nifti")}

_AT_ONCE = 64


def simulate(
    directory: str | os.PathLike,
    *,
    subjects: int = 1,
    sessions: int = 10,
    trials_per_session: int = 390,
    shared: int = 100,
    voxels: int = 1500,
    picture_size: int = 64,
    seed: int = 0,
    kinds: Sequence[str] = KINDS,
    photographs: str | os.PathLike | None = None,
    betas_format: str = "hdf5",
    surface: str | None = None,
    further: Sequence[str] | None = None,
    progress: Progress = SILENT,
) -> SimulationReport:
    """Write a simulated cohort in NSD's own files and folders.

    >>> report = simulate("cohort", sessions=2, trials_per_session=30, shared=5, voxels=160)
    >>> from brainrecon.datasets import load
    >>> load("nsd:cohort", subject="subj01").test.n_stimuli
    5

    Every stimulus is shown three times. Subjects share the first `shared` stimuli, the test set; the rest are
    their own. The same options give the same bytes on one machine, and another subject changes nothing about
    those before.

    Parameters
    ----------
    directory : path
        Where the tree goes; it appears whole or not at all. A finished simulation with the same options is
        left as it is.
    subjects : int
        Subjects, 1 to 8.
    sessions, trials_per_session : int
        Their product, divided by three, is the number of stimuli a subject sees.
    shared : int
        Stimuli that all subjects see.
    voxels : int
        Voxels of nsdgeneral; there is cortex and brain beyond it.
    picture_size : int
        Side of the pictures, pixels.
    seed : int
        Seed of everything, 0 or more.
    kinds : sequence of str
        Kinds of pictures that are shown, some of "scene", "digit" and "pattern"; all three by default.
    photographs : path, optional
        A folder of photographs with captions to show instead, see `brainrecon.simulation.world.photographs`.
    betas_format : {"hdf5", "nifti", "both"}
        Which of the two formats of betas to write.
    surface : {"fsaverage3", "fsaverage4", "fsaverage5"}, optional
        Write betas on this mesh too, as NSD's of fsaverage, see `brainrecon.simulation.brain.surface`; by default none. A
        session of fsaverage5 takes 82 kB for each trial.
    further : sequence of str, optional
        Further experiments of each subject, some of "synthetic" and "imagery", see `brainrecon.simulation.further`; by default
        none.
    progress : callable (label, done, total), optional
        Told how far each step has come.

    Returns
    -------
    SimulationReport

    Raises
    ------
    InputError
        If the options cannot be met, or the directory holds something else.
    """
    options = _checked(
        kinds,
        subjects=subjects,
        sessions=sessions,
        trials_per_session=trials_per_session,
        shared=shared,
        voxels=voxels,
        picture_size=picture_size,
        seed=seed,
        betas_format=betas_format,
    )
    own = None if photographs is None else Photographs(photographs, options["picture_size"], options["seed"])
    if surface is not None:
        options["surface"] = _checked_surface(surface)
    if further is not None:
        options["further"] = _checked_further(further)
    if own is not None:
        options["photographs"] = own.digest
        _check_count(own, options)
    return simulate_once(directory, options, lambda folder: _Cohort(folder, options, own, progress).write())


def _checked(kinds, betas_format, **numbers):
    """The options as plain data, once they can be met."""
    shown = [kind for kind in KINDS if kind in kinds]
    if isinstance(kinds, str) or not shown or set(kinds) - set(KINDS):
        wrong = [] if isinstance(kinds, str) else [kind for kind in kinds if kind not in KINDS]
        meant = did_you_mean(wrong[0], KINDS) if wrong else ""
        raise InputError(
            f"kinds is {kinds!r} but must be some of {', '.join(KINDS)}{meant}; name them with --kinds, separated by commas."
        )
    ranges = {
        "subjects": (1, nsd_files.SUBJECTS_OF_TABLE),
        "sessions": (1, 99),
        "trials_per_session": (2, 10**5),
        "shared": (1, 10**6),
        "voxels": (FEWEST_VOXELS, 10**6),
        "picture_size": (16, 1024),
        "seed": (0, 2**32 - 1),
    }
    options = {name: checked_number(name, numbers[name], *limits) for name, limits in ranges.items()}
    if betas_format not in BETAS_FORMATS:
        raise InputError(
            f"betas_format is {betas_format!r} but must be one of {', '.join(BETAS_FORMATS)}"
            f"{did_you_mean(betas_format, BETAS_FORMATS)}; choose one with --betas-format."
        )
    trials = options["sessions"] * options["trials_per_session"]
    if trials % design.REPEATS:
        fitting = 3 * (options["trials_per_session"] // 3 + 1)
        raise InputError(
            f"{options['sessions']} sessions of {options['trials_per_session']} trials make {trials} trials, "
            f"which three repeats of every stimulus cannot fill; try --trials-per-session {fitting}."
        )
    stimuli = trials // design.REPEATS
    if stimuli <= options["shared"]:
        raise InputError(
            f"{trials} trials hold {stimuli} stimuli with three repeats, but {options['shared']} are to be "
            f"shared and at least one more is needed to train on; give fewer --shared or more --sessions."
        )
    return options | {"kinds": shown, "betas_format": betas_format}


def _checked_surface(mesh):
    if mesh not in MESHES:
        raise InputError(
            f"surface is {mesh!r} but must be one of {', '.join(MESHES)}{did_you_mean(mesh, MESHES)}; choose one with --surface."
        )
    return mesh


def _checked_further(further):
    wrong = [name for name in further if name not in EXPERIMENTS]
    if isinstance(further, str) or wrong or not further:
        meant = did_you_mean(str(wrong[0]), EXPERIMENTS) if wrong and not isinstance(further, str) else ""
        raise InputError(
            f"further is {further!r} but must be some of {', '.join(EXPERIMENTS)}{meant}; name them with --further, separated by "
            "a comma."
        )
    return [name for name in EXPERIMENTS if name in further]


def _check_count(photographs, options):
    """Refuse a cohort that would see more photographs than there are."""
    seen = options["sessions"] * options["trials_per_session"] // design.REPEATS
    needed = options["shared"] + options["subjects"] * (seen - options["shared"])
    if needed > len(photographs):
        raise InputError(
            f"{options['subjects']} subjects who see {seen:,} pictures each, {options['shared']:,} of them shared, need "
            f"{needed:,} photographs but there are {len(photographs):,}; give fewer --sessions or --trials-per-session."
        )


class _Cohort:
    """One run of the simulator; writes into a folder that nobody else sees yet."""

    def __init__(self, root, options, photographs, progress):
        self.root, self.options, self.photographs, self.progress = root, options, photographs, progress
        self.n_shared = options["shared"]
        self.n_stimuli = options["sessions"] * options["trials_per_session"] // design.REPEATS
        self.n_own = self.n_stimuli - self.n_shared
        self.n_pictures = self.n_shared + options["subjects"] * self.n_own

    def generator(self, purpose, subject=0, session=0):
        """Random numbers for one purpose, which no other purpose, subject or session can shift."""
        return np.random.default_rng([self.options["seed"], zlib.crc32(purpose.encode()), subject, session])

    def write(self):
        """Write everything but the marker and return one report per subject."""
        options = self.options
        trials = options["trials_per_session"]
        self.ordering = design.master_ordering(self.n_stimuli, self.generator("ordering"))
        shared_numbers, own_numbers = design.picture_numbers(
            options["subjects"], self.n_shared, self.n_own, lambda subject: self.generator("numbers", subject)
        )
        numbers = np.zeros((nsd_files.SUBJECTS_OF_TABLE, self.n_stimuli), int)
        for row, own in zip(numbers, own_numbers, strict=False):
            row[:] = np.concatenate([shared_numbers, own]) + 1
        pattern = design.stimulus_pattern(options["sessions"], trials, self.generator("slots"))
        counts = design.presentation_counts(self.ordering, trials)
        nsd_files.write_design(self.root, self.ordering, numbers, shared_numbers + 1, pattern, counts)
        nsd_files.write_stimulus_table(self.root, self.n_pictures, shared_numbers + 1, self.ordering, numbers)

        shown: list[Shown | None] = [None] * self.n_pictures
        seed, size, kinds = options["seed"], options["picture_size"], options["kinds"]
        self.calibration = calibration_pictures(seed)
        with nsd_files.new_stimulus_file(self.root, self.n_pictures, size) as file:
            brick = file["imgBrick"]
            shared = []
            if self.photographs is None:
                pictures = shared_pictures(seed, self.n_shared, size, kinds)
            else:
                pictures = self.photographs.pictures(0, self.n_shared)
            for number, picture in zip(shared_numbers, pictures, strict=True):
                brick[number], shown[number] = picture.image, Shown.of(picture)
                shared.append(replace(picture, image=seen_image(picture.image)))
                self.progress("drawing shared pictures", len(shared), self.n_shared)
            avoided = [shown[number] for number in shared_numbers]
            reports = []
            for subject, own in enumerate(own_numbers, start=1):
                if self.photographs is None:
                    pictures = own_pictures(seed, subject, self.n_own, size, avoided, kinds)
                else:
                    start = self.n_shared + (subject - 1) * self.n_own
                    pictures = self.photographs.pictures(start, start + self.n_own)
                reports.append(
                    self.simulate_subject(subject, numbers[subject - 1], shared, own, pictures, brick, shown)
                )
        nsd_files.write_annotations(
            self.root, shown, LABELS if self.photographs is None else self.photographs.categories, size
        )
        return tuple(reports)

    def simulate_subject(self, subject, numbers, shared, own_numbers, own, brick, shown):
        """Grow one subject, show the pictures, run the sessions."""
        anatomy = grow_anatomy(self.options["voxels"], self.generator("anatomy", subject))
        cortex = Cortex(anatomy, self.generator("cortex", subject), self.calibration)
        responses = np.empty((self.n_stimuli, anatomy.n_cortex), np.float32)
        responses[: self.n_shared] = cortex.respond(shared)
        name = nsd_files.subject_name(subject)
        for start in range(0, self.n_own, _AT_ONCE):
            batch = list(islice(own, _AT_ONCE))
            for number, picture in zip(own_numbers[start:], batch, strict=False):
                brick[number], shown[number] = picture.image, Shown.of(picture)
            stop = start + len(batch)
            responses[self.n_shared + start : self.n_shared + stop] = cortex.respond(batch)
            self.progress(f"{name}: drawing and seeing pictures", stop, self.n_own)

        nsd_files.write_anatomy(self.root, subject, anatomy, cortex.receptive_fields)
        surface = None if self.options.get("surface") is None else lay_on_surface(anatomy, self.options["surface"])
        if surface is not None and subject == 1:
            surface_files.write_labels(self.root, surface)
        behaviour = design.behaviour(
            subject,
            self.ordering,
            numbers,
            self.options["trials_per_session"],
            self.generator("behaviour", subject),
        )
        nsd_files.write_responses(self.root, subject, behaviour)
        ncsnr = self.run_sessions(subject, anatomy, cortex, responses, surface)
        nsd_files.write_noise_ceiling(self.root, subject, ncsnr, anatomy.brain)
        if surface is not None:
            surface_files.write_noise_ceiling(self.root, subject, ncsnr, surface)

        for experiment in self.options.get("further", ()):
            images = [brick[number - 1] for number in numbers[: self.n_shared]]
            run_further(
                self.root, experiment, subject, anatomy, cortex, surface, (shared, images, numbers), self.options,
                lambda purpose, experiment=experiment: self.generator(f"{experiment}, {purpose}", subject),
            )  # fmt: skip
            self.progress(f"{name}: scanning {experiment}", 1, 1)

        general = anatomy.labels["nsdgeneral"] == 1
        known = responses.std(0) / cortex.noise_sd
        repeats = [design.REPEATS]
        return SubjectReport(
            name=name,
            n_voxels=int(general.sum()),
            n_train=self.n_own,
            n_test=self.n_shared,
            noise_ceiling_known=round(float(np.median(noise_ceiling(known[general], repeats))), 2),
            noise_ceiling_estimated=round(
                float(np.median(noise_ceiling(ncsnr[anatomy.in_brain][general], repeats))), 2
            ),
        )

    def run_sessions(
        self, subject: int, anatomy: Anatomy, cortex: Cortex, responses: np.ndarray, surface: Surface | None
    ) -> np.ndarray:
        """Write every session's betas; return ncsnr as estimated from them, one value per brain voxel."""
        n_trials = self.options["trials_per_session"]
        n_brain = np.count_nonzero(anatomy.brain)
        statistics = RepeatStatistics(self.n_stimuli, n_brain)
        for session in range(1, self.options["sessions"] + 1):
            generator = self.generator("session", subject, session)
            stimuli = self.ordering[(session - 1) * n_trials : session * n_trials] - 1
            betas = scan_session(anatomy, cortex, responses[stimuli], generator, nsd_files.BETA_UNIT)
            formats = BETAS_FORMATS[self.options["betas_format"]]
            nsd_files.write_betas(self.root, subject, session, betas, anatomy.brain, formats)
            if surface is not None:
                surface_files.write_betas(self.root, subject, session, betas, surface)
            statistics.add_session(betas.astype(np.float32), stimuli)
            self.progress(f"{nsd_files.subject_name(subject)}: scanning sessions", session, self.options["sessions"])
        return statistics.ncsnr()
