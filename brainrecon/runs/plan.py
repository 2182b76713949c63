"""What a run will take, work by work, with nothing computed: time, memory and disk for this device and these data."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from brainrecon.assembly.condition import RECONSTRUCTION
from brainrecon.runs import beside
from brainrecon.runs.decoder_from import is_path, taken_parts
from brainrecon.runs.estimate import (
    UNTOLD,
    memory_of_drawing,
    n_missing,
    operations_of_one_stimulus,
    rate,
    rate_in,
)
from brainrecon.runs.layout import Layout
from brainrecon.runs.run import Run
from weights import store

FETCHING, BEFORE = "fetching", "before"


@dataclass(frozen=True)
class Work:
    """A part of what a run does.

    Attributes
    ----------
    what, amount : str
    seconds : float or None
        To a factor of two or so; None if nobody can count it.
    memory, disk : float or None
        Bytes: at the peak, and to be written or fetched; None if nobody can count them.
    told : tuple of str
        Sentences below the table, which say as well if the memory does not suffice.
    """

    what: str
    amount: str
    seconds: float | None = None
    memory: float | None = None
    disk: float | None = None
    told: tuple[str, ...] = ()


@contextmanager
def planned(folder, config, features=None, device="auto", memory=None):
    """A run as it would be in a folder, which is not written to; the one that is there if there is one.

    >>> with planned("runs/subj01", config) as run:  # doctest: +SKIP
    ...     works_of(run)

    The data are opened, and refused as `Run.create` refuses them. A split by clusters of look-alikes has to be known, for which
    their pictures are encoded.
    """
    if Layout(Path(folder)).config.exists():
        run = Run(folder, features, device, memory)
        if config is not None:
            asked = beside.with_those_there(replace(run.config, samples=config.samples, splits=config.splits), config)
            run.config = beside.settled(asked, run.subject)
        yield run
        return
    with TemporaryDirectory(prefix="brainrecon-plan-") as place:
        if config.pretrained and not Layout(Path(config.pretrained)).config.exists():
            # It would be made where it is to stand.
            config = replace(config, pretrained=None)
        yield Run.create(Path(place) / Path(folder).name, config, features, device, memory)


def works_of_splits(run, conditions=(RECONSTRUCTION,), control_stimuli=None, batch_size=None, *, fits=True, draws=True):
    """What is still to be done in a run and in those of the splits that are tested beside its own; none is made.

    Parameters
    ----------
    run, conditions, control_stimuli, batch_size, fits, draws
        As of `works_of`; of the conditions each split has those that it can have.

    Returns
    -------
    list of Work
    """

    def works(one, fits):
        asked = [name for name in conditions if name not in one.not_drawn(conditions)]
        return works_of(one, asked, control_stimuli, batch_size, fits=fits, draws=draws)

    found = works(run, fits)
    run.config = beside.settled(run.config, run.parts[0].subject)
    for name, (config, folder) in run.places_beside.items():
        machine = (run.store.folder, run.machine.device, run.machine.memory)
        with planned(folder, config, *machine) as one:
            # What is fetched is fetched once.
            own = [work for work in works(one, False) if not work.what.startswith(FETCHING)]
            found += [replace(work, what=f"{name}: {work.what}") for work in own]
    return found


def works_of(run, conditions=(RECONSTRUCTION,), control_stimuli=None, batch_size=None, *, fits=True, draws=True):
    """What is still to be done in a run.

    Parameters
    ----------
    run : brainrecon.runs.run.Run
    conditions, control_stimuli, batch_size
        As of `brainrecon.runs.draw.reconstruct`.
    fits, draws : bool
        Whether the steps are fitted, and outputs drawn.

    Returns
    -------
    list of Work
    """
    train, test = run.parts[0].subject.train, run.parts[0].subject.test
    responses = 4 * (train.n_stimuli + test.n_stimuli) * train.n_voxels
    amount = (
        f"{train.n_stimuli:,} + {test.n_stimuli:,} stimuli x {train.n_voxels:,} voxels of {run.parts[0].subject.region}"
    )
    works = [Work("averaging responses", amount, memory=responses)]
    works += _checkpoints(run)
    works += _fitting(run) if fits else []
    works += _drawing(run, conditions, control_stimuli, batch_size) if draws else []
    return works


def _checkpoints(run):
    statuses = store.verify([*run.config.system.checkpoints, *run.config.checkpoints_taken], check=False)
    absent = [store.entry(one.name) for one in statuses if one.state == "absent"]
    return [Work(f"{FETCHING} {entry.name}", "weights", disk=entry.size or entry.reckoned_size) for entry in absent]


def _fitting(run):
    left = [part for part in run.parts if not part.is_fitted]
    if not left:
        return []
    subject, chain, rate_here = left[0].subject, run.unfitted, rate(str(run.machine.device))
    train, before = left[0].cohort.train, left[0].pretraining
    folds = "" if len(left) == 1 else f", in each of {len(left)} folds"
    works = [replace(work, what=f"{BEFORE} {subject.name}: {work.what}") for work in _fitting(before)] if before else []
    taken = taken_parts(run.config, chain)
    learned = [step for step in chain.steps if step.is_learned and step.part not in taken]
    learned = [step for step in learned if not (before and step.for_new_subject == "keep")]
    for name in chain.encoded_to_learn(taken):
        source, n_stimuli = chain.learned_targets[name], train.n_stimuli
        try:
            seconds = len(left) * n_stimuli * operations_of_one_stimulus(source, subject.train) / rate_here
            disk = len(left) * n_stimuli * source.outline.n_targets * (2 if source.dtype == "float16" else 4)
        except UNTOLD:
            # Absent: it stands among what is to be fetched.
            seconds = disk = None
        works.append(Work(f"encoding {name}", f"{n_stimuli:,} stimuli{folds}", seconds or None, disk=disk))
    for step in learned:
        try:
            operations = sum(step.operations(train).values())
            memory, told = step.memory(train), tuple(step.cost(train))
        except UNTOLD:
            operations, memory, told = 0, None, ()
        amount = f"{train.n_trials:,} trials{folds}"
        seconds = len(left) * operations / rate_in(step.precision, run.machine.device) if operations else None
        works.append(Work(f"fitting {step.about}", amount, seconds, memory, told=told))
    return works + _taking(taken, chain)


def _taking(taken, chain):
    """Decoders that are taken and written into the run's folder, of which nothing is fitted."""
    works = []
    for step in chain.steps:
        if (source := taken.get(step.part)) is None or not step.is_learned:
            continue
        folder = Layout(Path(source)).decoder / step.part if is_path(source) else store.folder(source)
        disk = sum(file.stat().st_size for file in folder.glob("*.safetensors")) or None
        works.append(Work(f"taking {step.about}", f"from {source}, nothing is fitted", disk=disk))
    return works


def _drawing(run, conditions, control_stimuli, batch_size):
    from stages.generators.diffusion.start_rule import denoising_steps

    n, size = n_missing(run, conditions, control_stimuli), run.config.system.generator_size
    if not n:
        return []
    amount = f"{n:,} outputs"
    if size is None:
        return [Work("drawing", amount)]
    settings = run.config.system.settings.generator
    steps = denoising_steps(settings.strength, settings.num_inference_steps)
    rows = 1 if settings.guidance_scale == 1 else 2
    operations = n * (steps * rows * size.unet_operations + size.vae_operations)
    memory, batch = memory_of_drawing(run, n, batch_size)
    # A PNG is no larger than its pixels.
    disk = n * 3 * size.image_size**2
    amount += f" in {steps} steps, {batch} at a time"
    return [Work("drawing", amount, operations / rate(str(run.machine.device)), memory, disk)]
