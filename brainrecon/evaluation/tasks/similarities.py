"""True and predicted values of a target, and how similar each is to each."""

import numpy as np

from brainrecon.evaluation.metrics.correlation import correlation_matrix
from stages.ground.errors import InputError


def similarities(target, true, predicted, stimulus_ids, kinds):
    """Compare every true value of a target with every prediction.

    >>> similarities("clip_image", np.eye(3), np.eye(3), ("a", "b", "c"), ["cosine"])["cosine"].diagonal()
    array([1., 1., 1.])

    Parameters
    ----------
    target : str
        Its name, for messages.
    true, predicted : array or FeatureTable of shape (n_stimuli, n_targets)
        Rows in the order of `stimulus_ids`.
    stimulus_ids : tuple of str
    kinds : iterable of {"pearson", "cosine"}

    Returns
    -------
    matrices : dict of str to float64 array of shape (n_stimuli, n_stimuli)
        By kind; true values by rows, predictions by columns. NaN if a row is constant.

    Raises
    ------
    InputError
        If shapes or the order of stimuli do not match, or a value is not finite.
    """
    pair = paired(target, true, predicted, stimulus_ids)
    try:
        return {kind: correlation_matrix(*pair, kind) for kind in dict.fromkeys(kinds)}
    except InputError as error:
        raise InputError(f"Target {target!r}: {error}") from error


def in_order(outputs, shown):
    """The predicted values of a condition by target, rows in the order of what was shown.

    Parameters
    ----------
    outputs : brainrecon.evaluation.tasks.task.Outputs
        Of all stimuli that were shown, each once.
    shown : brainrecon.evaluation.tasks.task.Shown

    Raises
    ------
    InputError
        If the stimuli are others.
    """
    ids, wanted = [str(one) for one in outputs.stimulus_ids], [str(one) for one in shown.stimulus_ids]
    if ids == wanted:
        return outputs.values
    check_stimuli(ids)
    if set(ids) != set(wanted):
        raise InputError(
            f"There are predictions for {len(ids):,} stimuli, {len(set(ids) & set(wanted)):,} of them among the {len(wanted):,} "
            "that were shown; expected one for each. Decode the same split again."
        )
    places = {one: row for row, one in enumerate(ids)}
    rows = [places[one] for one in wanted]
    return {target: np.asarray(values)[rows] for target, values in outputs.values.items()}


def check_stimuli(stimulus_ids):
    """Refuse stimuli that come twice: each has one prediction."""
    if len(set(stimulus_ids)) < len(stimulus_ids):
        raise InputError(
            f"There are {len(set(stimulus_ids)):,} different ones among {len(stimulus_ids):,} stimulus ids; expected each "
            "once. Average the predictions of a stimulus first."
        )


def check_paired(target, true, predicted, stimulus_ids):
    """Refuse true and predicted values of a target that are not of one shape, or of other stimuli; nothing is read."""
    for what, values in (("true values", true), ("predictions", predicted)):
        own = getattr(values, "stimulus_ids", stimulus_ids)
        if tuple(map(str, own)) != stimulus_ids:
            raise InputError(
                f"The {what} of target {target!r} are a table of {len(own):,} stimuli in another order than the "
                f"{len(stimulus_ids):,} to score, or of others; pass the table of the same split."
            )
    shapes = [tuple(np.shape(one)) if isinstance(one, list | tuple) else tuple(one.shape) for one in (true, predicted)]
    if len(shapes[0]) != 2 or shapes[0] != shapes[1] or shapes[0][0] != len(stimulus_ids):
        raise InputError(
            f"Target {target!r} has true values of shape {shapes[0]} and predictions of shape {shapes[1]} for "
            f"{len(stimulus_ids):,} stimuli; expected (n_stimuli, n_targets) of both. Decode the same split again."
        )


def paired(target, true, predicted, stimulus_ids):
    """True and predicted values of a target as two arrays in memory, of one shape."""
    check_paired(target, true, predicted, stimulus_ids)
    return np.asarray(true), np.asarray(predicted)
