"""The training of a decoder's network: batches, first weights, objectives, and what identifies it; and what it will cost."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import torch

from stages.checkpoints.named_networks import name_of
from stages.decoders.learner import ChangedBatches, NetworkWithObjectives, change_patterns
from stages.decoders.network_files import start_from
from stages.decoders.samples import Samples
from stages.decoders.standardised import TOGETHER, standardised
from stages.ground.errors import InputError
from stages.objectives.regression import MeanSquaredError
from stages.training.batches import random_state_kept, seed_all
from stages.training.cost import cost_of
from stages.training.curves import Curves
from stages.training.loop import train
from stages.training.reading_ahead import ReadingAhead
from stages.training.sharing import BySubject, n_samples
from stages.training.trouble import CannotTrain, telling_of_short_memory
from weights.suggestions import did_you_mean

AFTERWARDS = "afterwards"
"""Folder, below that of a decoder, of the checkpoints of its second training."""

_PLAIN = (bool, int, float, str)


def fit_network(decoder, training, folder, progress, pretrained):
    """Train the network of a decoder.

    Parameters
    ----------
    decoder : stages.decoders.trained.TrainedDecoder
        Its parameters are read.
    training, folder, progress, pretrained
        See `stages.decoders.trained.TrainedDecoder.fit`.

    Returns
    -------
    network : stages.decoders.standardised.Standardised or StandardisedSubjects
    gives : dict of str to tuple of int
    curves : stages.training.curves.Curves
    """
    recipe, samples = decoder.recipe, Samples(training, decoder.recipe, decoder.reads_subjects)
    gives, n_in_epoch = samples.gives, samples.n_in_epoch
    with random_state_kept():
        seed_all(recipe.seed)
        network = standardised(decoder.make(samples.n_voxels, gives, **decoder.arguments), samples.n_voxels)
    began = [] if decoder.begin is None else [decoder.begin(network.network)]
    measured = []
    for subject, trials in samples.trials.items():
        voxels = network.voxels(subject)
        voxels.measure(trials.responses, trials.learned, together=decoder.standardise == TOGETHER)
        measured += [voxels.mean, voxels.scale]
        if not decoder.standardise:
            voxels.leave_as_they_are()
    if pretrained is not None:
        began.append(start_from(network, pretrained, decoder.make))
        recipe = decoder.new_subject.recipe(network, pretrained, recipe)
    objectives = _objectives_of(decoder, network.network, gives, {**gives, **samples.stored})
    if n_in_epoch < recipe.batch_size and any(getattr(one, "compares", False) for one in objectives):
        raise CannotTrain(
            f"A batch of {recipe.batch_size} samples is to be compared but there are {n_in_epoch:,} to learn from",
            "load more stimuli, or make batches of so many or fewer: {batch_size}",
            {"batch_size": max(n_in_epoch // 2, 1)},
        )
    changed = partial(change_patterns, objectives)
    with telling_of_short_memory(recipe, decoder.device):
        learner = NetworkWithObjectives(network, objectives, recipe.accumulate).to(decoder.device)
    identity = _identity(decoder, measured, objectives, *samples.identity(), began)
    recipes = [recipe]
    if pretrained is not None and decoder.new_subject.afterwards is not None:
        recipes.append(decoder.new_subject.afterwards)
    n_steps, lines = sum(one.steps for one in recipes), []
    with ReadingAhead(samples.read, n_steps) if samples.are_read else nullcontext() as ahead:
        read = samples.read if ahead is None else ahead
        for number, own in enumerate(recipes):
            # Steps of the second training are counted on from those of the first.
            first = number * recipe.steps
            curves = train(
                learner,
                lambda step, first=first: changed(samples.completed(read(first + step), first + step)),
                own,
                folder if folder is None or not number else Path(folder) / AFTERWARDS,
                held_out=ChangedBatches(changed, samples.validation(ahead and ahead.now)),
                identity=identity,
                progress=progress,
                label=f"training {', '.join(gives)}{', afterwards' if number else ''}",
                seconds_between_checkpoints=decoder.seconds_between_checkpoints,
            )
            lines += [line | {"step": first + line["step"]} for line in curves.lines]
    return network, gives, Curves(lines)


def cost_of_fit(decoder, n_voxels, gives, beside):
    """Count what a fit will take, on outlines; see `stages.decoders.trained.TrainedDecoder.cost`."""
    recipe, known = decoder.recipe, {**gives, **beside}

    def learner():
        network = standardised(decoder.make(n_voxels, gives, **decoder.arguments), n_voxels)
        return NetworkWithObjectives(network, _objectives_of(decoder, network.network, gives, known), recipe.accumulate)

    def batch(n):
        if decoder.reads_subjects:
            each = -(-n // len(n_voxels))
            patterns = BySubject({subject: torch.empty(each, size) for subject, size in n_voxels.items()})
        else:
            patterns = torch.empty(n, n_voxels)
        targets = {name: torch.empty(n_samples(patterns), *shape) for name, shape in known.items()}
        return {"patterns": patterns, "targets": targets, "step": 0}

    return cost_of(learner, batch, recipe)


def _objectives_of(decoder, network, gives, known):
    """Objectives of some of the known values; by default of those that are given."""
    if decoder.objectives is None:
        return [MeanSquaredError(name) for name in gives]
    objectives = decoder.objectives(network) if callable(decoder.objectives) else decoder.objectives
    # What a new subject is held against beside the pictures is not there before there is one.
    objectives = [one for one in objectives if not getattr(one, "if_known", False) or {*_held_to(one)} <= {*known}]
    for objective in objectives:
        if unknown := [name for name in _held_to(objective) if name not in known]:
            raise InputError(
                f"{objective!r} reads {unknown[0]!r}, which is not predicted; expected some of {', '.join(known)}"
                f"{did_you_mean(unknown[0], known)}."
            )
    return list(objectives)


def _held_to(objective):
    """Names of the true values that an objective reads: those of its outputs, unless it says otherwise."""
    return getattr(objective, "held_to", objective.reads)


def _identity(decoder, measured, objectives, described, arrays, began):
    """A hash of what training depends on beside the recipe: voxels' statistics stand for the responses."""
    # Plain attributes alone: the representation of anything else may hold its place in memory.
    plain = [
        [
            getattr(one, "__qualname__", type(one).__qualname__),
            one.reads,
            {name: value for name, value in vars(one).items() if isinstance(value, _PLAIN)},
        ]
        for one in objectives
    ]
    parts = [name_of(decoder.make), decoder.arguments, plain, described, *began]
    # The measured numbers tell the other ways apart.
    parts += [] if decoder.standardise else ["as they are"]
    digest = hashlib.sha256(repr(parts).encode())
    statistics = [one.cpu().numpy() for one in measured]
    for values in (*statistics, *arrays):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
