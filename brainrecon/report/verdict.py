"""The first sentences of a report, written from the numbers alone."""

from dataclasses import dataclass

from brainrecon.report.names import (
    condition_label,
    difference_text,
    in_sentence,
    interval_text,
    score_text,
)

STAGE_ONE, SHUFFLED = "stage_one", "shuffled_responses"


@dataclass(frozen=True)
class Verdict:
    """What a reader should take away.

    Attributes
    ----------
    sentence : str
        The main result: the reference condition's score, against stage one alone and shuffled responses.
    details : list of str
        What qualifies it.
    informative : bool or None
        Whether the pictures say more about what was shown than those from shuffled responses; None where
        that cannot be told: no such control was scored, or the interval of the difference holds zero.
    """

    sentence: str
    details: list
    informative: bool | None


def write_verdict(scores):
    """Say what the scores show and what they do not.

    Parameters
    ----------
    scores : brainrecon.evaluation.scores.Scores
        Of which the protocol's headline and low-level metrics are read.

    Returns
    -------
    verdict : Verdict
    """
    headline = _first_available(scores, scores.protocol.headline)
    if headline is None:
        return Verdict("Nothing has been scored.", [], None)
    spec, row = scores.metrics[headline], scores.mean(scores.reference, headline)
    sentence = f"{_score_phrase(scores, spec, row)}{_comparisons(scores, spec)}."
    details = []

    informative = _better(scores, SHUFFLED, spec)
    if scores.difference(SHUFFLED, spec.name) is None:
        details.append("Shuffled responses were not scored, so nothing here says what the method draws anyway.")
    elif informative is None:
        details.append(
            "By this measure it cannot be told whether the pictures say more about what was shown than pictures "
            "drawn from the responses to another stimulus."
        )
    elif not informative:
        details.append(
            "By this measure the pictures tell no more about what was shown than pictures drawn from the "
            "responses to another stimulus."
        )
    details += _about_chance(scores, spec)

    low_level = _first_available(scores, scores.protocol.low_level)
    if low_level != headline:
        spec, row = scores.metrics[low_level], scores.mean(scores.reference, low_level)
        score = f"In {in_sentence(spec.label)} they score {_with_interval(row, spec)}"
        details.append(f"{score}{_comparisons(scores, spec)}.")
    return Verdict(sentence, details, informative)


def _score_phrase(scores, spec, row):
    name = condition_label(scores.reference)
    subject = "The reconstructions" if scores.reference == "reconstruction" else f"The pictures of \u201c{name}\u201d"
    chance = ""
    if spec.metric.chance is not None:
        scale, sign = (100, " %") if spec.metric.percent else (1, "")
        chance = f", chance {scale * spec.metric.chance:g}{sign}"
    interval = interval_text(row, spec.metric)
    if row.ci_low is not None:
        interval = f"{100 * scores.confidence:g} % interval {interval}"
    mean = score_text(row.mean, spec.metric)
    return f"{subject} of {row.n} stimuli score {mean} in {in_sentence(spec.label)} ({interval}{chance})"


def _with_interval(row, spec):
    return f"{score_text(row.mean, spec.metric)} ({interval_text(row, spec.metric)})"


def _comparisons(scores, spec):
    """How the reference stands to stage one alone and to shuffled responses: ': ... and ...', or nothing."""
    phrases = []
    for name in (STAGE_ONE, SHUFFLED):
        row = scores.difference(name, spec.name)
        if row is not None:
            phrases.append(_comparison(row, spec, in_sentence(condition_label(name))))
    return ": " + ", and ".join(phrases) if phrases else ""


def _comparison(row, spec, name):
    unit = " points" if spec.metric.percent else ""
    if not row.excludes_zero:
        difference = f"{difference_text(row.mean, spec.metric)}{unit}"
        interval = interval_text(row, spec.metric, signed=True)
        return f"not distinguishable from {name} (difference {difference}, {interval})"
    sign = 1 if row.mean > 0 else -1
    low, high = sorted((sign * row.ci_low, sign * row.ci_high))
    # As percentage points the numbers carry no sign: "above" and "below" do.
    amount, low, high = (score_text(value, spec.metric, unit=False) for value in (sign * row.mean, low, high))
    direction = "above" if sign > 0 else "below"
    aside = "" if spec.metric.higher_is_better else ", lower is better"
    return f"{amount}{unit} {direction} {name} ({low} to {high}{aside})"


def _better(scores, name, spec):
    """Whether the reference is better than a condition; None where the interval of the difference leaves it open."""
    row = scores.difference(name, spec.name)
    if row is None or not row.excludes_zero:
        return None
    return (row.mean > 0) == spec.metric.higher_is_better


def _about_chance(scores, spec):
    row, chance = scores.mean(SHUFFLED, spec.name), spec.metric.chance
    if row is None or chance is None or row.ci_low is None:
        return []
    if row.ci_low <= chance <= row.ci_high:
        return [f"Shuffled responses stay at chance: {_with_interval(row, spec)}."]
    return [
        f"Shuffled responses are away from chance: {_with_interval(row, spec)}. "
        "Read every other score against them, not against chance."
    ]


def _first_available(scores, preferred):
    names = [name for name in scores.metrics if scores.mean(scores.reference, name) is not None]
    return preferred if preferred in names else next(iter(names), None)
