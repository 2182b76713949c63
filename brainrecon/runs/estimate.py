"""What a run will take, time and memory, before it begins: operations counted on configurations, and a rate measured here.

Time is operations by rate, the rate that of a convolution on this device, which is most of the work: right to a factor of two
or so. Memory is the arithmetic of `stages.generators.diffusion.memory`, and what the libraries take.
"""

from __future__ import annotations

import time
from functools import lru_cache

import numpy as np

from brainrecon.assembly.condition import CONDITIONS, RECONSTRUCTION
from brainrecon.assembly.targets import operations_of_one
from brainrecon.runs.decoder_from import taken_parts
from brainrecon.runs.draw import spread
from weights.manifest import CheckpointError

# Below it nothing is said: seconds on any device.
OPERATIONS_WORTH_SAYING = 2e12
UNTOLD = (CheckpointError, ImportError)


def of_fitting(run):
    """Lines on encoding the training stimuli and on fitting, those that are worth saying; none if it is done.

    Parameters
    ----------
    run : brainrecon.runs.run.Run

    Returns
    -------
    lines : list of str
    """
    if all(part.is_fitted for part in run.parts):
        return []
    part = next(part for part in run.parts if not part.is_fitted)
    chain, device, n_parts = part.unfitted, part.machine.device, sum(not part.is_fitted for part in run.parts)
    taken = taken_parts(part.config, chain)
    learned = [step for step in chain.steps if step.is_learned and step.part not in taken]
    lines = [f"Before {part.subject.name}: {line}" for line in of_fitting(part.pretraining)] if part.pretraining else []
    train, names = part.cohort.train, chain.encoded_to_learn(taken)
    kept = {step.part for step in learned if part.pretraining and step.for_new_subject == "keep"}
    learned = [step for step in learned if step.part not in kept]
    for subject in part.cohort.values():
        lines += of_encoding(chain.learned_targets, names, subject, ["train"], device)
    try:
        works = [(*work, step.precision) for step in learned for work in step.operations(train).items()]
        told = [line for step in learned for line in step.cost(train)]
    except UNTOLD:
        works, told = [], []
    if told and n_parts > 1:
        told.append(f"All of it in each of {n_parts} folds.")
    folds = "" if n_parts == 1 else f" in each of {n_parts} folds"
    return (
        lines
        + told
        + [
            f"{what}{folds}: {taking(n_parts * operations, device, precision)}."
            for what, operations, precision in works
            if n_parts * operations >= OPERATIONS_WORTH_SAYING
        ]
    )


def of_encoding(targets, names, subject, split_names, device):
    """A line on encoding stimuli by some of a chain's targets, if it is worth saying.

    Parameters
    ----------
    targets : mapping of str to TargetSource
    names, split_names : sequence of str
    subject : brainrecon.datasets.subject.Subject
    device : str

    Returns
    -------
    lines : list of str
    """
    splits = [subject.splits[name] for name in split_names]
    n_stimuli, operations = sum(split.n_stimuli for split in splits), 0
    for name in names:
        try:
            operations += n_stimuli * operations_of_one_stimulus(targets[name], splits[0])
        except UNTOLD:
            # Absent: whoever loads it says so.
            continue
    if operations < OPERATIONS_WORTH_SAYING:
        return []
    return [
        f"Encoding {n_stimuli:,} stimuli by {', '.join(names)}: {taking(operations, device)}; what the feature store "
        "holds is not encoded again."
    ]


def of_drawing(run, conditions=(RECONSTRUCTION,), control_stimuli=None, batch_size=None):
    """A line on drawing what is missing, with the memory that it takes, if it is worth saying.

    Parameters
    ----------
    run : brainrecon.runs.run.Run
    conditions : sequence of str
    control_stimuli, batch_size : int, optional
        As `brainrecon.runs.draw.reconstruct` takes them.

    Returns
    -------
    lines : list of str
    """
    size, n = run.config.system.generator_size, n_missing(run, conditions, control_stimuli)
    if size is None or not n:
        return []
    # Takes seconds to import.
    from stages.generators.diffusion.start_rule import denoising_steps

    settings, device = run.config.system.settings.generator, run.machine.device
    steps = denoising_steps(settings.strength, settings.num_inference_steps)
    rows = 1 if settings.guidance_scale == 1 else 2
    operations = n * (steps * rows * size.unet_operations + size.vae_operations)
    if operations < OPERATIONS_WORTH_SAYING:
        return []
    line = f"Drawing {n:,} pictures in {steps} steps each: {taking(operations, device)}"
    need, batch = memory_of_drawing(run, n, batch_size)
    return [f"{line}; {need / 1e9:.1f} GB of memory, {batch} at a time."]


def memory_of_drawing(run, n_pictures, batch_size=None):
    """(bytes that a process takes at its peak while it draws, pictures in a batch)."""
    from stages.generators.diffusion.memory import peak

    system, device = run.config.system, run.machine.device
    acceleration, guided = system.settings.generator.acceleration, system.settings.generator.guidance_scale != 1
    batch = batch_size or acceleration.batch_size_for(system.generator_size, device, guided=guided)
    batch = min(batch, n_pictures)
    return peak(system.generator_size, batch_size=batch, guided=guided, **acceleration.settings_on(device)), batch


def n_missing(run, conditions, control_stimuli):
    """How many outputs of some conditions are still to be drawn, item by item."""
    if not run.unfitted.draws:
        return 0
    n = 0
    for part in run.parts:
        ids, chain = [str(name) for name in part.subject.test.stimulus_ids], part.unfitted
        for name in dict.fromkeys(conditions):
            one = CONDITIONS[name]
            if not one.applies_to(chain) or chain.readers(one.shown(chain)) or one.replacement(chain, chain.output):
                continue
            wanted = spread(ids, control_stimuli) if one.is_control and control_stimuli else ids
            samples = 1 if one.is_control else run.config.samples
            n += sum(not part.image_path(name, each, k).exists() for each in wanted for k in range(samples))
    return n


def operations_of_one_stimulus(source, split):
    """Operations of encoding one stimulus of a split; 0 for a target without an outline."""
    return operations_of_one(source, None if split.images is None else split.images.shape[1:])


def taking(operations, device, precision=None):
    """Operations, and the time that they take here, in words."""
    return f"{operations:.1e} operations, about {in_words(operations / rate_in(precision, device))} on {device}"


def in_words(seconds):
    """Seconds in few digits: ``"40 s"``, ``"12 min"``, ``"5 h"``, ``"11 days"``."""
    for unit, size, least in (("days", 86400, 2), ("h", 3600, 2), ("min", 60, 2)):
        if seconds >= least * size:
            return f"{float(f'{seconds / size:.2g}'):,.0f} {unit}"
    return f"{max(1, seconds):.0f} s"


def rate_in(precision, device):
    """Operations a second of a training in a precision, as `Step.precision` has it, or of a convolution if it is None."""
    return rate(str(device)) if precision is None else rate_of_training(str(device), precision)


@lru_cache
def rate_of_training(device, precision):
    """Operations a second of a product of matrices on a device, in the precision of a training; takes a moment."""
    import torch

    kind, side = torch.bfloat16 if precision == "bf16" else torch.float32, 2048
    rows, weights = (
        torch.zeros(256, side, device=device, dtype=kind),
        torch.zeros(side, side, device=device, dtype=kind),
    )
    return 2 * rows.numel() * side / _quickest(lambda: rows @ weights)


@lru_cache
def rate(device):
    """Operations a second of a convolution on a device, in the precision in which generators compute there; takes a moment."""
    import torch

    dtype = torch.float16 if device.startswith("cuda") else torch.float32
    rows = 8 if device.startswith("cuda") else 1
    maps = torch.zeros(rows, 320, 64, 64, device=device, dtype=dtype)
    kernel = torch.zeros(320, 320, 3, 3, device=device, dtype=dtype)
    return 2 * rows * 64 * 64 * 320 * 320 * 9 / _quickest(lambda: torch.nn.functional.conv2d(maps, kernel, padding=1))


def _quickest(compute):
    """Seconds that computing a tensor takes, the best of three."""
    best = np.inf
    for _ in range(3):
        began = time.perf_counter()
        # Waits for the device.
        float(compute().flatten()[0])
        best = min(best, time.perf_counter() - began)
    return best
