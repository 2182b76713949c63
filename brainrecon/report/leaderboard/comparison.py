"""Means and paired differences over the subjects of a benchmark, and the sentence that follows from them."""

from dataclasses import dataclass

import numpy as np

from brainrecon.assembly.condition import MEAN_PICTURE, PRIOR_ONLY
from brainrecon.evaluation.scores.scores import ROUNDING
from brainrecon.evaluation.statistics import intervals
from brainrecon.report.names import difference_text, in_sentence, interval_text, score_text
from brainrecon.report.run.verdict import CONTROLS, STAGE_ONE


@dataclass(frozen=True)
class AcrossSubjects:
    """A mean over subjects with its interval; or why there is none.

    Attributes
    ----------
    n_subjects : int
    n_stimuli : (int, int)
        Fewest and most per subject.
    mean : float or None
        Mean over subjects of the means over stimuli; None if `reason` says why.
    ci_low, ci_high : float or None
    reason : str
    within : (float, float) or None
        Of differences over several subjects: the lowest and the highest end of the subjects' own intervals, which are over
        stimuli, if all of these lie on one and the same side of zero.
    """

    n_subjects: int
    n_stimuli: tuple
    mean: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    reason: str = ""
    within: tuple | None = None

    @property
    def every_subject(self):
        """Whether each subject's own interval lies on one and the same side of zero."""
        return self.within is not None

    @property
    def excludes_zero(self):
        """Whether the interval lies on one side of zero, or that of every subject does.

        Two to four subjects, as most datasets of the field have, are too few for an interval over subjects to say much;
        each of them is a replication of its own.
        """
        return self.every_subject or self._over_subjects

    @property
    def _over_subjects(self):
        return self.ci_low is not None and (self.ci_low > ROUNDING or self.ci_high < -ROUNDING)

    def interval_text(self, metric):
        """The interval of a difference that decides whether it is one: '+2.1 to +8.4', or '+1.0 to +9.9 in every subject'."""
        if self._over_subjects or not self.every_subject:
            return interval_text(self, metric, signed=True)
        low, high = (difference_text(end, metric) for end in self.within)
        return f"{low} to {high} in every subject"


def mean_over_subjects(scores, condition, metric):
    """Mean of a condition over subjects.

    Parameters
    ----------
    scores : sequence of Scores
        One per subject.
    condition : str or None
        None for the method itself: the reference condition of each.
    metric : str

    Returns
    -------
    mean : AcrossSubjects or None
        With one subject the interval that its scores give; None if no subject has the condition.
    """
    rows = [row for one in scores if (row := one.mean(condition or one.reference, metric)) is not None]
    if len(rows) < 2:
        return _of_one(rows[0]) if rows else None
    found = [_values(one, condition, metric)[1] for one in scores if _values(one, condition, metric) is not None]
    bounds = scores[0].metrics[metric].metric.bounds
    return _pooled(intervals.mean_over_subjects(found, bounds=bounds), [len(values) for values in found])


def control_difference(scores, condition, metric):
    """Mean over subjects of (method minus one of its own conditions), paired by stimulus.

    Each subject's difference is the one that its scores hold, so that identification was computed anew where a condition
    was drawn for some stimuli only.

    Parameters
    ----------
    scores : sequence of Scores
        One per subject.
    condition, metric : str

    Returns
    -------
    difference : AcrossSubjects or None
        None if no subject has the condition.
    """
    held = [row for one in scores if (row := one.difference(condition, metric)) is not None]
    if len(held) < 2:
        return _of_one(held[0]) if held else None
    bounds = _bounds_of_differences(scores[0].metrics[metric].metric)
    estimate = intervals.mean_over_subjects([row.mean for row in held], bounds=bounds)
    return _pooled(estimate, [row.n for row in held], _within(held))


def method_difference(ours, theirs, metric):
    """Mean over the subjects that both have of (one method minus another), paired by stimulus.

    Parameters
    ----------
    ours, theirs : mappings of str to Scores
        By subject.
    metric : str

    Returns
    -------
    difference : AcrossSubjects
        Without a mean if a subject's stimuli differ in a metric that compares stimuli with one another: there the
        competitors would differ too. A subject's own interval is over stimuli, each with its rate: for identification a
        little narrow, because the comparisons behind a rate are not kept with the scores.
    """
    found = next(iter(ours.values())).metrics[metric].metric
    return _difference(
        ours, theirs, lambda one: _values(one, None, metric), found.relational, _bounds_of_differences(found)
    )


def retrieval_difference(ours, theirs, metric):
    """Mean over the subjects that both have of (one method's retrieval minus another's), paired by stimulus.

    Parameters
    ----------
    ours, theirs : mappings of str to Scores
        By subject.
    metric : str
        Name of a retrieval of their protocol.

    Returns
    -------
    difference : AcrossSubjects
        In shares of 0..1; without a mean if the stimuli that were searched differ.
    """
    return _difference(ours, theirs, lambda one: _found_in(one.retrieval, metric), True, (-1.0, 1.0))


def embedding_difference(ours, theirs, metric):
    """The same of a score of predicted embeddings; arguments as of `retrieval_difference`."""
    return _difference(ours, theirs, lambda one: _found_in(one.embeddings, metric), True, (-1.0, 1.0))


def is_better(difference, metric):
    """Whether a difference says that the first is better; None if its interval leaves that open."""
    if difference is None or difference.mean is None or not difference.excludes_zero:
        return None
    return (difference.mean > 0) == metric.higher_is_better


def sentence(method, spec, mean, differences, n_subjects, n_stimuli, heldout):
    """What remains of a method's score above its controls.

    Parameters
    ----------
    method : str
    spec : MetricSpec
        The headline metric.
    mean : AcrossSubjects or None
    differences : dict of str to AcrossSubjects
        Method minus control.
    n_subjects : int
    n_stimuli : (int, int)
        How many the method has; a control with fewer says so.
    heldout : tuple of (str, AcrossSubjects, float), or None
        What was held out, the score there, and how much lower that is.

    Returns
    -------
    text : str
    """
    if mean is None:
        return f"{method}: not scored in {metric_phrase(spec)}."
    metric, aside = spec.metric, "" if spec.metric.higher_is_better else ", lower is better"
    interval = "" if mean.ci_low is None else f" ({interval_text(mean, metric)}{aside})"
    parts = [f"{method}: {score_text(mean.mean, metric)}{interval} in {metric_phrase(spec)}"]

    groups = {"above": [], "open": [], "below": [], "no interval": [], "absent": []}
    for name, phrase in CONTROLS.items():
        row = differences.get(name)
        if row is None:
            # A method that has two stages is never without its first, one in folds never without the mean picture, and one that
            # completes tokens never without what its prior makes of none.
            groups["absent"] += [phrase] if name not in (STAGE_ONE, MEAN_PICTURE, PRIOR_ONLY) else []
            continue
        amount = difference_text(row.mean, metric)
        better = is_better(row, metric)
        group = "no interval" if row.ci_low is None else {True: "above", False: "below", None: "open"}[better]
        interval = f", {row.interval_text(metric)}" if group == "open" else ""
        on = fewer(row, n_subjects, n_stimuli)
        groups[group].append(f"{phrase} ({amount}{interval}{f'; {on}' if on else ''})")
    above, below = ("above", "below") if metric.higher_is_better else ("better than", "worse than")
    words = {
        "above": above,
        "open": "not told apart from",
        "below": below,
        "no interval": "without an interval against",
    }
    compared = [f"{word} {_listed(groups[group])}" for group, word in words.items() if groups[group]]
    if compared and not groups["above"]:
        compared.insert(0, f"{above} none of its controls")
    if compared:
        parts.append(", ".join(compared))
    if groups["absent"]:
        several = len(groups["absent"]) > 1 or groups["absent"] == [CONTROLS["shuffled_responses"]]
        parts.append(f"{_listed(groups['absent'])} {'were' if several else 'was'} not scored")
    parts.append(_heldout_phrase(heldout, metric))
    return "; ".join(parts) + "."


def metric_phrase(spec):
    """A metric in the middle of a sentence. Published tables call identification by the network alone."""
    label = in_sentence(spec.label)
    if spec.measure == "two_way_identification" and "identification" not in label.lower():
        return f"two-way identification on {label}"
    return label


def fewer(row, n_subjects, n_stimuli):
    """On how much less than the whole a mean rests: "30 of 60 stimuli, 2 of 4 subjects", or nothing."""
    parts = []
    if tuple(row.n_stimuli) != tuple(n_stimuli):
        parts.append(f"{range_text(row.n_stimuli)} of {range_text(n_stimuli)} stimuli")
    if row.n_subjects != n_subjects:
        parts.append(f"{row.n_subjects} of {n_subjects} subjects")
    return ", ".join(parts)


def range_text(counts):
    """Fewest and most of some counts: "60" or "50 to 60"."""
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _heldout_phrase(heldout, metric):
    if heldout is None:
        return "no held-out split was scored"
    what, there, drop = heldout
    interval = "" if there.ci_low is None else f", {interval_text(there, metric)}"
    value = f"({score_text(there.mean, metric)}{interval})"
    if metric.relational:
        # A drop would mix two things: training without look-alikes, and candidates that are look-alikes.
        inside = f" ({interval.removeprefix(', ')})" if interval else ""
        return f"{score_text(there.mean, metric)}{inside} on {what}, where candidates resemble one another more"
    amount = score_text(abs(drop), metric, unit=False)
    if not amount.strip("0."):
        return f"the same on {what} {value}"
    return f"{amount} {'points ' if metric.percent else ''}{'lower' if drop > 0 else 'higher'} on {what} {value}"


def _listed(phrases):
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _difference(ours, theirs, values_of, relational, bounds):
    """The difference of two methods over the subjects that both have; `values_of` gives ids and values of a subject's scores."""
    common = [subject for subject in ours if subject in theirs]
    if not common:
        return AcrossSubjects(0, (0, 0), None, reason="no subject in common")
    pairs = []
    for subject in common:
        pair = _paired(values_of(ours[subject]), values_of(theirs[subject]), relational)
        if isinstance(pair, str):
            return AcrossSubjects(0, (0, 0), None, reason=pair)
        pairs.append(pair)
    own = [intervals.bootstrap_difference(*pair) for pair in pairs]
    if len(pairs) == 1:
        return _pooled(own[0], [own[0].n])
    return _pooled(intervals.difference_over_subjects(pairs, bounds=bounds), [one.n for one in own], _within(own))


def _found_in(scores, metric):
    """(stimulus ids, values) of a score of predicted values of one subject, or None; stimuli without one are left out."""
    if scores is None or metric not in scores.values:
        return None
    values = scores.values[metric]
    rows = np.flatnonzero(np.isfinite(values))
    return [scores.stimulus_ids[row] for row in rows], values[rows]


def _values(scores, condition, metric):
    """(stimulus ids, values) of one subject, or None."""
    found = scores.conditions.get(condition or scores.reference)
    return None if found is None else found.scored(metric)


def _paired(one, other, relational):
    """Two arrays over the same stimuli, in the order of the first; or why there is no such pair."""
    if one is None or other is None:
        return "not scored in both"
    places = {stimulus: row for row, stimulus in enumerate(other[0])}
    if relational and set(one[0]) != set(other[0]):
        return "scored among other stimuli"
    rows = [row for row, stimulus in enumerate(one[0]) if stimulus in places]
    if not rows:
        return "no stimulus in common"
    return one[1][rows], other[1][[places[one[0][row]] for row in rows]]


def _of_one(row):
    return AcrossSubjects(1, (row.n, row.n), row.mean, row.ci_low, row.ci_high)


def _pooled(estimate, counts, within=None):
    n_stimuli = min(counts), max(counts)
    return AcrossSubjects(len(counts), n_stimuli, *estimate[1:], within=within)


def _bounds_of_differences(metric):
    """The lowest and highest difference that two scores can have; infinite for a scale without an end."""
    low, high = metric.bounds
    return low - high, high - low


def _within(differences):
    """Ends of the intervals of several differences, if all of them lie on one and the same side of zero; else None."""
    if any(one.ci_low is None for one in differences):
        return None
    low, high = min(one.ci_low for one in differences), max(one.ci_high for one in differences)
    return (low, high) if low > ROUNDING or high < -ROUNDING else None
