"""How one output came about: every value on its way, beside what it should have been."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from brainrecon.assembly.condition import RECONSTRUCTION, condition
from brainrecon.assembly.values import ABSENT, PATTERNS
from brainrecon.evaluation.metrics.correlation import correlation_matrix
from brainrecon.runs.layout import MEDIA
from brainrecon.runs.values import RunValues
from stages.ground.errors import InputError


@dataclass(frozen=True)
class TracedValue:
    """One value of one stimulus.

    Attributes
    ----------
    name : str
    step : str
        Kind of the step that gives it, "measured" for the response.
    medium : str
    facts : dict of str to (float or str)
        What there is to say of it, in order: of predicted features correlation with the truth, how many other test
        stimuli it is less like, and its spread beside the truth's; of a picture correlation and contrast beside the shown
        one; of the last step its settings.
    picture : uint8 array of shape (height, width, 3), optional
    """

    name: str
    step: str
    medium: str
    facts: dict[str, Any]
    picture: Any = None


@dataclass(frozen=True)
class Trace:
    """The way of one stimulus, in the order of the chain; `shown` is the picture that was seen, or None."""

    method: str
    stimulus_id: str
    condition: str
    simulated: bool
    shown: Any
    values: list[TracedValue]


def trace(run, stimulus_id, name=RECONSTRUCTION, sample=0):
    """Follow one test stimulus through the chain of a run that has been drawn.

    Parameters
    ----------
    run : brainrecon.runs.run.Run
        If it has folds, the one that tests the stimulus is taken.
    stimulus_id : str
    name : str
        The condition.
    sample : int

    Returns
    -------
    Trace

    Raises
    ------
    InputError
        No such test stimulus or condition, or a condition that replaces the output itself.
    """
    part = next((one for one in run.parts if stimulus_id in map(str, one.subject.test.stimulus_ids)), None)
    if part is None:
        first = run.parts[0].subject.test.stimulus_ids[0]
        raise InputError(f"Stimulus {stimulus_id!r} is not among the test stimuli; the first is {str(first)!r}.")
    values, chain, one = RunValues(part), part.chain, condition(name)
    if reason := one.why_not(chain):
        raise InputError(f"{part.config.method} is not drawn under {name}: {reason}; trace another condition.")
    replacement = one.replacement(chain, chain.output)
    if replacement is not None and replacement.is_drawn:
        raise InputError(
            f"{name} takes the place of the whole chain, so that there is no way to trace; trace another condition."
        )
    images = part.subject.test.images
    shown = None if images is None else np.asarray(images[values.row[stimulus_id]])
    traced = [] if chain.encodes else [_measured(values, name, stimulus_id, sample)]
    for step in chain.steps:
        for given in step.gives:
            if given == chain.output and chain.draws:
                traced.append(_output(part, values, step, name, stimulus_id, sample, shown))
            elif given == chain.output or chain.readers(given):
                traced.append(_on_the_way(values, step, given, name, stimulus_id, shown))
    return Trace(part.config.method, stimulus_id, name, part.subject.simulated, shown, traced)


def _measured(values, name, stimulus_id, sample):
    pattern = values.value(name, PATTERNS, stimulus_id, sample)
    facts = {"voxels": len(pattern), "trials": int(values.subject.test.repeats[values.row[stimulus_id]])}
    if values.subject.train.has_responses:
        train = values.subject.train.patterns
        spread = np.std(pattern - train.mean(axis=0)) / np.std(train - train.mean(axis=0))
        facts["spread beside a training pattern's"] = float(spread)
    return TracedValue(PATTERNS, "measured", "features", facts)


def _on_the_way(values, step, given, name, stimulus_id, shown):
    value, kind = values.value(name, given, stimulus_id), type(step).__name__
    if value is ABSENT:
        return TracedValue(given, kind, step.medium(given), {"absent": f"taken away by {name}"})
    if step.medium(given) != "features":
        return TracedValue(given, kind, step.medium(given), _beside(value, shown), value)
    facts: dict[str, Any] = {"values": int(np.size(value))}
    if given in values.chain.targets:
        truths = np.asarray(values.true_features((given,), "test")[given])
        row, one = values.row[stimulus_id], np.ravel(value)
        likeness = _correlations(one, truths)
        others = np.delete(likeness, row)
        facts |= {
            "correlation with the truth": float(likeness[row]),
            "with other stimuli's truth, mean": float(others.mean()) if len(others) else float("nan"),
            "others that it is less like (%)": 100 * float((others < likeness[row]).mean())
            if len(others)
            else float("nan"),
            "spread beside the truth's": float(one.std() / max(truths[row].std(), 1e-12)),
        }
    return TracedValue(given, kind, "features", facts)


def _output(run, values, step, name, stimulus_id, sample, shown):
    medium = values.chain.medium(values.chain.output)
    path = run.image_path(name, stimulus_id, sample)
    if not path.exists():
        raise InputError(
            f"{path} is not drawn yet; type `brainrecon reconstruct {run.folder} --stimuli {stimulus_id}`"
            + ("." if name == RECONSTRUCTION else f" --controls {name}.")
        )
    output = MEDIA[medium][0].read(path)
    present = frozenset(
        one for one in (*step.reads, *step.optional) if values.source(name, one, stimulus_id) is not None
    )
    facts = (_beside(output, shown) if medium == "picture" else {}) | step.told(present)
    return TracedValue(values.chain.output, type(step).__name__, medium, facts, output if medium == "picture" else None)


def _beside(picture, shown):
    """A picture beside the shown one, which is brought to its size."""
    if shown is None:
        return {"size": _size(picture)}
    from stages.ground.pictures import resized_to

    same = resized_to(shown, picture.shape[:2])
    return {
        "size": _size(picture),
        "pixel correlation with the shown picture": float(_correlations(picture.ravel(), same.reshape(1, -1))[0]),
        "contrast beside the shown picture's": float(picture.std() / max(same.std(), 1e-12)),
        "fine detail beside the shown picture's": float(_detail(picture) / max(_detail(same), 1e-12)),
    }


def _size(picture):
    return f"{picture.shape[1]}\N{NO-BREAK SPACE}x\N{NO-BREAK SPACE}{picture.shape[0]}"


def _detail(picture):
    """Mean absolute difference of neighbouring pixels: what blur takes away first."""
    grey = picture.astype(float).mean(axis=-1)
    return np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()


def _correlations(one, others):
    """Pearson correlation of a vector with each row of others; 0 if it is undefined, for one of them is constant."""
    return np.nan_to_num(correlation_matrix(others, one[None])[:, 0])
