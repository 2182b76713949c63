"""Texts of a run that are scored: captions, and what it writes on the way to a picture."""

from __future__ import annotations

from brainrecon.assembly.class_labels import labels_of_stimuli
from brainrecon.assembly.condition import CONDITIONS
from brainrecon.evaluation.tasks.task import Outputs
from brainrecon.runs.values import RunValues

LABELS = "labels"


def true_captions(run):
    """True captions of all test stimuli of all parts, a list for each, or None if some have none."""
    found = [captions for part in run.parts for captions in (part.subject.test.captions or [None])]
    return None if None in found else found


def texts_shown(run):
    """What a system's texts are read beside: captions, or labels if it gives these, a list for each test stimulus, or None."""
    return _true_labels(run) if run.unfitted.output == LABELS else true_captions(run)


def true_texts(run, protocol):
    """What the texts that a protocol scores are held against: captions or labels, a list for each test stimulus, or None."""
    if protocol.captions_of != LABELS:
        return true_captions(run)
    return _true_labels(run)


def texts_on_the_way(run, protocol, conditions):
    """The text that a protocol scores of a system that draws pictures and writes it on the way.

    Parameters
    ----------
    run : brainrecon.runs.run.Run
    protocol : brainrecon.evaluation.protocols.protocol.Protocol
    conditions : mapping of str to (list of str, ...)
        By condition, the stimuli of its pictures.

    Returns
    -------
    texts : dict of str to Outputs, or None
        A text for each picture; of those conditions whose pictures come of it. None if the system writes none.
    """
    chain, of = run.unfitted, protocol.captions_of
    if of not in chain.given or chain.medium(of) != "caption" or of == chain.output:
        return None
    found = {}
    for name, (ids, _) in conditions.items():
        one, texts = CONDITIONS[name], {}
        if one.shown(chain) != chain.output or one.replacement(chain, chain.output) is not None:
            continue
        for part in run.parts:
            values = RunValues(part)
            texts |= {own: values.value(name, of, own) for own in values.stimulus_ids if own in set(ids)}
        found[name] = Outputs(ids, [texts[own] for own in ids])
    return found


def _true_labels(run):
    return [[label] for part in run.parts for label in labels_of_stimuli(part.subject.test)]
