"""The first sentences of a report, written from the numbers alone."""

from dataclasses import dataclass

from brainrecon.assembly.condition import CONDITIONS
from brainrecon.evaluation.judges import DRAWN, judged_by_strangers
from brainrecon.evaluation.metrics.metric import METRICS
from brainrecon.evaluation.scores.response_scores import SHUFFLED_STIMULI, VOXELS
from brainrecon.report.names import (
    chance_of,
    chance_phrase,
    condition_label,
    difference_text,
    in_sentence,
    interval_text,
    score_text,
)
from brainrecon.report.predicted_rows import embedding_rows, retrieval_rows
from brainrecon.report.response_rows import interval_of, label_of, response_text
from brainrecon.report.run.feature_matrix import LABELS, interaction_sentences, number

STAGE_ONE, SHUFFLED = "stage_one", "shuffled_responses"

# What a score has to be above before it says something about a brain, in the order of the sentence: what the method
# draws for another response, for the average one, the best it could have copied, and what its diffusion was given.
_ORDER = (SHUFFLED, "mean_response", "nearest_training_picture", STAGE_ONE)
CONTROLS = {
    name: CONDITIONS[name].in_a_sentence
    for name in sorted(CONDITIONS, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    if CONDITIONS[name].in_a_sentence
}

# Identification among categories is read as that among stimuli is.
_RATE = METRICS["n_way_identification"]


@dataclass(frozen=True)
class Verdict:
    """What a reader should take away.

    Attributes
    ----------
    sentence : str
        The main result: the reference condition's score in the headline metric.
    remains : str
        Which controls it is above, not told apart from, and below; empty if none was scored.
    details : list of str
        What qualifies it.
    informative : bool or None
        Whether the pictures say more about what was shown than those from shuffled responses; None if
        that cannot be told: no such control was scored, or the interval of the difference holds zero.
    """

    sentence: str
    remains: str
    details: list
    informative: bool | None


def write_verdict(scores):
    """Say what the scores show and what they do not.

    Parameters
    ----------
    scores : brainrecon.evaluation.scores.scores.Scores
        Of which the protocol's headline and low-level metrics are read.

    Returns
    -------
    verdict : Verdict
    """
    headline, low_level = leading_metrics(scores)
    if headline is None and scores.responses is not None and scores.responses.rows:
        return _of_responses(scores.responses, scores.confidence)
    if headline is None:
        return _of_embeddings(scores)
    spec, row = scores.metrics[headline], scores.mean(scores.reference, headline)
    sentence = f"{_score_phrase(scores, spec, row)}{_by_strangers(scores, spec)}."
    remains = _what_remains(scores, spec, row.n)
    details = []

    informative = _better(scores, SHUFFLED, spec)
    if scores.difference(SHUFFLED, spec.name) is None:
        details.append("Shuffled responses were not scored, so nothing here says what the method draws anyway.")
    elif informative is None:
        details.append(
            f"By this measure it cannot be told whether the {_outputs(spec)} say more about what was shown than {_outputs(spec)} "
            "drawn from the responses to another stimulus."
        )
    elif not informative:
        details.append(
            f"By this measure the {_outputs(spec)} tell no more about what was shown than {_outputs(spec)} drawn from the "
            "responses to another stimulus."
        )
    details += _about_chance(scores, spec)
    details += _about_categories(scores)

    if low_level != headline:
        spec, row = scores.metrics[low_level], scores.mean(scores.reference, low_level)
        floor = f", {phrase}" if (phrase := chance_phrase(scores, spec)) else ""
        score = f"In {in_sentence(spec.label)} they score {_with_interval(row, spec)}{floor}"
        comparison = _what_remains(scores, spec, row.n)
        details.append(f"{score}: {in_sentence(comparison)}" if comparison else f"{score}.")
    return Verdict(sentence, f"{remains[:1].upper()}{remains[1:]}", details, informative)


def _about_categories(scores):
    """How well categories are identified, by all decoded values together."""
    rows = [] if scores.categories is None else scores.categories.rows
    if not rows:
        return []
    above, best = sum(row.is_above for row in rows), max(rows, key=lambda row: row.mean)
    return [
        f"Of {len(rows):,} decoded values, {above:,} tell the category among {best.n_candidates:,} better than chance (50 %) and "
        f"than shuffled responses, each by its own interval; most often {best.target} from {best.roi}, with "
        f"{score_text(best.mean, _RATE)} ({interval_text(best, _RATE)})."
    ]


def _of_embeddings(scores):
    """What predicted embeddings show, where nothing was drawn."""
    rows = [*retrieval_rows(scores), *embedding_rows(scores)]
    if not rows and scores.features is not None and scores.features.rows:
        return _of_features(scores)
    if not rows:
        return Verdict("Nothing has been scored.", "", [], None)
    row = rows[0]
    told = {"better": "above chance", "worse": "below chance", "open": "not told apart from chance"}[row["verdict"]]
    sentence = (
        f"Of {row['n']} stimuli {row['mean']} % are found by their predicted embeddings in {in_sentence(row['label'])} "
        f"({100 * scores.confidence:g} % interval {row['interval']}; chance {row['chance']} %): {told}."
    )
    details = ["The method draws nothing: what was predicted is scored alone."]
    return Verdict(sentence, "", details, {"better": True, "worse": False, "open": None}[row["verdict"]])


def _of_responses(responses, confidence):
    """What predicted responses show."""
    row = responses.row(VOXELS) or responses.rows[0]
    other = responses.row(row.measure, SHUFFLED_STIMULI)
    interval = interval_of(row.ci_low, row.ci_high, row.measure)
    if row.ci_low is not None:
        interval = f"{100 * confidence:g} % interval {interval}"
    share = "" if row.share is None else f", {100 * row.share:.0f} % of what the noise of the responses allows"
    sentence = (
        f"Responses predicted for {row.n:,} stimuli have a {in_sentence(label_of(row.measure))} of "
        f"{response_text(row.mean, row.measure)} with the measured ones ({interval}){share}."
    )
    is_open = other.above_low is None or other.above_low <= 0 <= other.above_high
    informative = None if is_open else other.above > 0
    told = {True: "above", False: "below", None: "not told apart from"}[informative]
    above = response_text(other.above, row.measure, signed=True)
    between = interval_of(other.above_low, other.above_high, row.measure)
    remains = f"{told} those predicted for other stimuli (difference {above}, {between})."
    details = ["The method draws nothing: it goes from pictures to responses."]
    return Verdict(sentence, f"{remains[:1].upper()}{remains[1:]}", details, informative)


def _of_features(scores):
    """What decoded features show, where nothing was drawn and nothing retrieved."""
    rows = [row for row in scores.features.rows if row.measure == scores.features.rows[0].measure]
    above = sum(row.mean > row.null_high for row in rows)
    means = [row.mean for row in rows]
    ends = " to ".join(dict.fromkeys((number(min(means)), number(max(means)))))
    what = "one decoded value" if len(rows) == 1 else f"{len(rows):,} decoded values"
    sentence = (
        f"Over {rows[0].n:,} stimuli, {what} have a {LABELS[rows[0].measure].lower()} of {ends} with the true ones; "
        f"{above:,} of {len(rows):,} above the central 95 % of what responses to other stimuli give."
    )
    details = ["The method draws nothing: what was decoded is scored alone."]
    sentences = interaction_sentences(scores)
    return Verdict(sentence, sentences[0] if sentences else "", details, True if above == len(rows) else None)


def leading_metrics(scores):
    """The metrics that the report is about, as far as the reference condition has them.

    Returns
    -------
    headline, low_level : str or None
        The protocol's; the first that was scored where one was not, None if nothing was scored.
    """
    return tuple(_first_available(scores, role) for role in (scores.protocol.headline, scores.protocol.low_level))


def _score_phrase(scores, spec, row):
    name = condition_label(scores.reference)
    own = {"captions": "The captions", "pictures": "The reconstructions"}[_outputs(spec)]
    subject = own if scores.reference == "reconstruction" else f"The {_outputs(spec)} of \u201c{name}\u201d"
    chance = f", {phrase}" if (phrase := chance_phrase(scores, spec)) else ""
    interval = interval_text(row, spec.metric)
    if row.ci_low is not None:
        interval = f"{100 * scores.confidence:g} % interval {interval}"
    mean = score_text(row.mean, spec.metric)
    return f"{subject} of {row.n:,} stimuli score {mean} in {in_sentence(spec.label)} ({interval}{chance})"


def _by_strangers(scores, spec):
    """In the same breath: that the network behind a score knows no such pictures."""
    pictures = scores.data.get("pictures", "")
    if not judged_by_strangers(scores.protocol, spec, pictures):
        return ""
    return f", judged by a network that knows only {DRAWN} and no {pictures}"


def _outputs(spec):
    """What a metric judges, as a sentence calls it."""
    return "captions" if spec.metric.takes == "captions" else "pictures"


def _with_interval(row, spec):
    return f"{score_text(row.mean, spec.metric)} ({interval_text(row, spec.metric)})"


def _what_remains(scores, spec, n_reference):
    """'above ...; not told apart from ...; below ....', or nothing if no control was scored.

    A control that was drawn for some of the stimuli only is compared on these; then their number is said.
    """
    groups = {"above": [], "open": [], "below": []}
    for name, phrase in CONTROLS.items():
        row = scores.difference(name, spec.name)
        if row is None or name == scores.reference:
            continue
        group = "open" if not row.excludes_zero else "above" if row.mean > 0 else "below"
        n = f"; {row.n:,} stimuli" if row.n != n_reference else ""
        groups[group].append(f"{phrase} {_amount(row, spec, n)}")
    if not any(groups.values()):
        return ""
    order, words = ("above", "open", "below"), {"open": "not told apart from"}
    if spec.metric.higher_is_better:
        words |= {"above": "above", "below": "below"}
    else:
        # Where less is better, "above" would read as praise.
        order = ("below", "open", "above")
        words |= {"above": "worse (higher) than", "below": "better (lower) than"}
    parts = [] if groups[order[0]] else [f"{words[order[0]]} none of its controls"]
    parts += [f"{words[group]} {_listed(groups[group])}" for group in order if groups[group]]
    return "; ".join(parts) + "."


def _amount(row, spec, n):
    unit = " points" if spec.metric.percent else ""
    if not row.excludes_zero:
        interval = interval_text(row, spec.metric, signed=True)
        return f"(difference {difference_text(row.mean, spec.metric)}{unit}, {interval}{n})"
    # "Above" and "below" carry the sign, the numbers none.
    values = sorted(abs(value) for value in (row.ci_low, row.ci_high))
    mean, low, high = (score_text(value, spec.metric, unit=False) for value in (abs(row.mean), *values))
    return f"by {mean}{unit} ({low} to {high}{n})"


def _listed(phrases):
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _better(scores, name, spec):
    """Whether the reference is better than a condition; None if the interval of the difference leaves it open."""
    row = scores.difference(name, spec.name)
    if row is None or not row.excludes_zero:
        return None
    return (row.mean > 0) == spec.metric.higher_is_better


def _about_chance(scores, spec):
    row, chance = scores.mean(SHUFFLED, spec.name), chance_of(scores, spec)
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
