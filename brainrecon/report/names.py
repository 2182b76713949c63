"""How conditions, metrics and numbers read in a report."""

from brainrecon.assembly.condition import CONDITIONS, MEAN_PICTURE

CEILINGS = {
    "shown_pictures": "what the shown pictures themselves score through the encoding model; a reconstruction can pass it, for "
    "it carries the noise of the very responses it was decoded from",
    "best_constant_picture": "what the best picture that is the same for every stimulus scores, chosen with the shown ones at "
    "hand: a method has to be above it before its score says anything of a response",
    "noise_ceiling": "what a perfect prediction of the pattern would score, given the noise of the responses: the root of the "
    "patterns' mean reliability, by halves of their repeats",
}

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"


def condition_label(name):
    """A condition's name as people say it; unknown names without their underscores."""
    return CONDITIONS[name].label if name in CONDITIONS else name.replace("_", " ").strip().capitalize()


def condition_explanation(name):
    """One line on how the pictures of a condition were made, or an empty string."""
    text = CONDITIONS[name].explanation if name in CONDITIONS else ""
    return text[:1].upper() + text[1:]


def ceiling_explanation(kind):
    """One line on what a kind of ceiling is, or an empty string."""
    text = CEILINGS.get(kind, "")
    return text[:1].upper() + text[1:]


def in_sentence(label):
    """A label in the middle of a sentence: its first letter small, unless it is an acronym or a name."""
    first = label.split(" ", 1)[0]
    return label[:1].lower() + label[1:] if first[1:].islower() else label


def chance_level(spec):
    """The score of a metric, as a protocol uses it, that predictions without information expect; None if unknown."""
    return spec.metric.chance_level(**spec.options)


def chance_of(scores, spec):
    """The score that predictions without information expect in these scores; None if it is not known.

    If every stimulus was tested in a fold it is that of the mean picture: a picture that was left out is not in the mean of the
    others, which therefore resembles it less than it resembles them.
    """
    if not scores.data.get("folds"):
        return chance_level(spec)
    row = scores.mean(MEAN_PICTURE, spec.name)
    return None if row is None else row.mean


def chance_phrase(scores, spec):
    """What a score is to be read against: 'chance 50 %', 'the mean picture 44.7 %', and a floor if it has one; or nothing."""
    level, parts = chance_of(scores, spec), []
    if level is not None and scores.data.get("folds"):
        parts.append(f"the mean picture {score_text(level, spec.metric)}")
    elif level is not None:
        parts.append(f"chance {100 * level:.3g} %" if spec.metric.percent else f"chance {level:.3g}")
    floor = scores.ceilings.get("best_constant_picture", {}).get(spec.name)
    if floor is not None:
        parts.append(f"the best constant picture {score_text(floor.mean, spec.metric)}")
    return ", ".join(parts)


def score_text(value, metric, unit=True):
    """A score: '87.1 %' where people read percentages, '0.312' elsewhere.

    Parameters
    ----------
    value : float or None
        None gives a dash.
    metric : brainrecon.evaluation.metrics.metric.Metric
        Says whether it is a percentage.
    unit : bool
        Whether to write the percent sign.
    """
    if value is None:
        return NOTHING
    text = f"{100 * value:.1f}" if metric.percent else f"{value:.3f}"
    return _typeset(text) + (" %" if unit and metric.percent else "")


def mean_text(row, metric):
    """A mean with half the width of its interval: '87.1 ±2.9'; '98.0 (93.1 to 100.0)' if that would leave the scale.

    Parameters
    ----------
    row : object with mean, ci_low, ci_high; or None
        None gives a hyphen.
    metric : brainrecon.evaluation.metrics.metric.Metric
        Says what the lowest and the highest possible score are.
    """
    if row is None:
        return "-"
    mean = score_text(row.mean, metric, unit=False)
    if row.ci_low is None:
        return mean
    half, (low, high) = (row.ci_high - row.ci_low) / 2, metric.bounds
    if row.mean - half < low or row.mean + half > high:
        return f"{mean} ({interval_text(row, metric)})"
    return f"{mean} ±{score_text(half, metric, unit=False)}"


def difference_text(value, metric):
    """A difference with its sign: '+12.3' (percentage points) or '+0.041'."""
    if value is None:
        return NOTHING
    return _typeset(f"{100 * value:+.1f}" if metric.percent else f"{value:+.3f}")


def interval_text(row, metric, signed=False):
    """The interval of a summary row: '84.2 to 89.9', or 'no interval' for one stimulus."""
    if row.ci_low is None:
        return "no interval"
    if signed:
        return f"{difference_text(row.ci_low, metric)} to {difference_text(row.ci_high, metric)}"
    return f"{score_text(row.ci_low, metric, unit=False)} to {score_text(row.ci_high, metric, unit=False)}"


def _typeset(number):
    """A real minus sign, and no sign at all for what rounds to zero."""
    if not number.strip("+-0."):
        return number.lstrip("+-")
    return number.replace("-", MINUS)
