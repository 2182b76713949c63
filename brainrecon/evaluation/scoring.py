"""Scoring: what was shown and what came out under each condition in, all scores that a protocol asks for out."""

from dataclasses import replace

import numpy as np

from brainrecon.evaluation.judges import about_strangers
from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.evaluation.scores.joining import joined
from brainrecon.evaluation.scores.scores import ConditionScores
from brainrecon.evaluation.statistics import intervals
from brainrecon.evaluation.tasks.captioning import caption_outputs
from brainrecon.evaluation.tasks.task import Outputs, Shown, find_task, task_names
from stages.ground.devices import AUTO, chosen_device
from stages.ground.errors import InputError
from stages.ground.notebook_progress import IN_NOTEBOOKS
from stages.ground.picture_stack import pictures_given

RECONSTRUCTION = "reconstruction"


def evaluate(
    shown,
    conditions,
    *,
    stimulus_ids,
    categories=None,
    captions=None,
    predicted_captions=None,
    embeddings=None,
    decoded=None,
    candidates=None,
    responses=None,
    brain=None,
    protocol="brainrecon-1",
    reference=None,
    data=None,
    seed=0,
    n_resamples=intervals.N_RESAMPLES,
    networks=None,
    device=AUTO,
    progress=IN_NOTEBOOKS,
):
    """Score every condition against what was shown, by every task that the protocol has a table for.

    >>> shown = 255 * np.random.default_rng(0).integers(0, 2, (8, 10, 10, 1), dtype=np.uint8).repeat(3, axis=-1)
    >>> ids = [f"pattern{number}" for number in range(8)]
    >>> scores = evaluate(
    ...     shown, {"reconstruction": shown}, stimulus_ids=ids, protocol="miyawaki-2008", n_resamples=2000
    ... )
    >>> round(scores.mean("reconstruction", "pixcorr").mean, 6)
    1.0

    Several samples of each stimulus, as `Reconstructor.reconstruct` gives them, are scored one by one and averaged:

    >>> mine = np.stack([shown, 255 - shown], axis=1)
    >>> scores = evaluate(shown, {"mine": mine}, stimulus_ids=ids, protocol="miyawaki-2008", n_resamples=2000)
    >>> round(scores.mean("mine", "pixcorr").mean, 6) + 0.0, scores.conditions["mine"].n_samples[0]
    (0.0, 2)

    Conditions may cover fewer stimuli than were shown. Nothing given is changed.

    Parameters
    ----------
    shown : pictures of n_stimuli, or None
        The pictures that were seen: an array or a tensor of shape (n_stimuli, height, width, 3) or (n_stimuli, 3, height,
        width), uint8 or floats in 0 to 1; a list of PIL pictures; or anything with `len` and `shape` that gives such an array for
        an array of rows.
    conditions : mapping of str to (pictures, pair, or Outputs)
        Pictures by name of the condition: any name, those of `brainrecon.assembly.condition.CONDITIONS` have a label and an
        explanation in reports. They may have any size, and are given like those that were shown, a picture for each of
        `stimulus_ids` in their order, or several: an axis n_samples behind n_stimuli, or a list for each. A pair is (stimulus
        ids, pictures). Empty for a system that draws none.
    stimulus_ids : sequence of str, length n_stimuli
        The stimulus of each shown picture, each once.
    categories : sequence of sequence of str, length n_stimuli, optional
        The categories of each shown picture. Metrics that compare within a category are left out without them; a
        stimulus that shares its categories with no other has no score there.
    captions : sequence of sequence of str, length n_stimuli, optional
        The true captions of each stimulus. Predicted ones are not scored without them, and a note says so.
    predicted_captions : mapping of str to (mapping of str to (str or list of str), or Outputs), optional
        By condition, what was read from the responses in words: by stimulus a caption, or several samples.
    embeddings : pair of mappings, optional
        (true, predicted) values of each target, arrays or feature tables of shape (n_stimuli, n_targets), rows in the
        order of `stimulus_ids`.
    decoded : mapping of str to brainrecon.evaluation.tasks.features.Decoded, optional
        By predicted value that is not called as its target: the target, the region that it was decoded from, and what
        correlations of features need.
    candidates : mapping of str to brainrecon.evaluation.tasks.categories.Candidates, optional
        By predicted value, the categories among which it is looked for; without any, categories are not identified.
    responses : pair of (brainrecon.evaluation.tasks.responses.MeasuredResponses, array of shape (n_stimuli, n_voxels)), optional
        Measured and predicted responses, rows in the order of `stimulus_ids`.
    brain : brainrecon.evaluation.tasks.reconstruction.Brain, optional
        Metrics of brain correlation are left out without it.
    protocol : str or Protocol
        How to score.
    reference : str, optional
        The condition that others are subtracted from; "reconstruction" if there is one of that name, else the first.
    data : dict, optional
        What was tested, in plain values; goes into the scores as it is. `data["dataset"]` is compared with the
        protocol's test set, `data["pictures"]` ("photographs" or "drawn pictures") with what the judges know.
    seed, n_resamples : int
        Of the bootstrap over stimuli.
    networks : mapping of str to Network, optional
        The protocol's networks by name; those not given are loaded from their checkpoints.
    device : str
        Torch device of the networks that are loaded; the best there is by default.
    progress : callable, optional
        `progress(label, done, total)`.

    Returns
    -------
    scores : Scores

    Raises
    ------
    InputError
        If a condition holds an unknown stimulus, numbers do not match, the reference is missing, pictures are out of their
        range, or nothing that is given is scored by the protocol.
    weights.store.CheckpointError
        If a network's checkpoint is absent or damaged.
    """
    protocol, data = load_protocol(protocol), dict(data or {})
    stimulus_ids = [str(one) for one in stimulus_ids]
    reference = reference or _reference(conditions, predicted_captions or {})
    device = chosen_device(device)
    true, predicted = embeddings or ({}, {})
    measured, evoked = responses or (None, None)
    outputs = {
        "picture": {
            name: _picture_outputs(drawn, stimulus_ids, f"pictures of {name!r}") for name, drawn in conditions.items()
        },
        "caption": {name: caption_outputs(read) for name, read in (predicted_captions or {}).items()},
        "embeddings": {reference: Outputs(stimulus_ids, predicted)} if embeddings else {},
        "responses": {reference: Outputs(stimulus_ids, evoked)} if responses else {},
    }
    # Networks given by hand are nobody's checkpoints.
    notes = about_strangers(protocol, data.get("pictures", "")) if data and outputs["picture"] and not networks else []
    if outputs["caption"] and protocol.captions and captions is None:
        outputs["caption"] = {}
        notes.append("Captions were predicted but not scored: the stimuli have no true ones.")
    pictures = None if shown is None else _shown(shown)
    test_set = Shown(
        stimulus_ids, pictures, categories, captions, true, brain, dict(decoded or {}), dict(candidates or {}), measured
    )
    parts = []
    for name in task_names():
        task = find_task(name)(reference=reference, seed=seed, n_resamples=n_resamples, networks=networks or {})
        (value,) = task.reads
        if task.asked_by(protocol) and outputs[value]:
            parts.append(task.score(outputs[value], test_set, protocol, device=device, progress=progress))
    alone = not outputs["picture"] and not outputs["caption"]
    if not any(part.conditions or (alone and _found(part)) for part in parts):
        given = ", ".join(name for name, own in outputs.items() if own) or "nothing"
        asked = ", ".join(
            ["picture"] * bool(protocol.metrics)
            + ["caption"] * bool(protocol.captions)
            + [f"embeddings of {target}" for target in sorted(protocol.targets)]
            + ["categories"] * bool(protocol.categories)
        )
        raise InputError(
            f"Protocol {protocol.name} scores {asked}, and there is {given}; expected one of those. Reconstruct first, or "
            "score under another protocol."
        )
    scores = joined(parts, stimulus_ids, data)
    if not scores.conditions:
        # Of a system that draws nothing, the stimuli whose embeddings or responses were scored.
        predicted_for = ConditionScores(tuple(stimulus_ids), (1,) * len(stimulus_ids), {})
        scores = replace(scores, conditions={reference: predicted_for})
    n_stimuli = len(scores.conditions[reference].stimulus_ids)
    return scores.with_notes(*_about_the_test_set(protocol, n_stimuli, data), *notes)


def _found(part):
    """Whether a task has scored embeddings, features, categories or responses."""
    found = (part.embeddings, part.retrieval, part.features, part.categories, part.responses)
    return any(own is not None and own.rows for own in found)


def _reference(*conditions):
    """The condition that others are subtracted from, if nobody says: the method itself, or the first."""
    names = [name for own in conditions for name in own]
    return RECONSTRUCTION if RECONSTRUCTION in names or not names else names[0]


def _shown(pictures):
    """The shown pictures, one of each stimulus."""
    given = pictures_given(pictures, "shown pictures")
    if set(given.n_samples) - {1}:
        raise InputError(
            f"A stimulus has {max(given.n_samples)} shown pictures; expected one, in an array (n_stimuli, height, width, 3)."
        )
    return given.pictures


def _picture_outputs(drawn, stimulus_ids, what):
    """Pictures of one condition with the stimulus of each; `stimulus_ids` are meant if it brings none of its own."""
    ids, pictures = drawn if _is_pair(drawn) else (stimulus_ids, drawn)
    given, ids = pictures_given(pictures, what), [str(one) for one in ids]
    if len(given.n_samples) != len(ids):
        raise InputError(
            f"There are {what} for {len(given.n_samples):,} stimuli but {len(ids):,} stimulus ids; give one for each, or a pair "
            "(stimulus ids, pictures)."
        )
    return Outputs([name for name, count in zip(ids, given.n_samples) for _ in range(count)], given.pictures)


def _is_pair(drawn):
    """Whether a condition is (stimulus ids, pictures)."""
    if isinstance(drawn, Outputs):
        return True
    if not isinstance(drawn, list | tuple) or len(drawn) != 2 or hasattr(drawn[0], "mode"):
        return False
    return np.ndim(drawn[0]) == 1 and all(isinstance(one, str | int | np.integer) for one in drawn[0])


def _about_the_test_set(protocol, n_stimuli, data):
    """What tells these scores from published ones of the protocol, tuple of sentences."""
    wanted = protocol.test_set
    if wanted is None:
        return ()
    dataset = data.get("dataset", wanted.dataset)
    others = data.get("simulated") or data.get("folds")
    if (n_stimuli, dataset) == (wanted.n_stimuli, wanted.dataset) and not others:
        return ()
    what = f"{'simulated ' if data.get('simulated') else ''}{dataset}{', in folds' if data.get('folds') else ''}"
    return (
        f"{protocol.name} was published on {wanted.n_stimuli:,} stimuli of {wanted.dataset}; these are {n_stimuli:,} of "
        f"{what}: no published score compares.",
    )
