"""What a paper has to say of a run, in words that can be copied."""

from brainrecon import __version__
from brainrecon.report.names import in_sentence, interval_text, score_text
from brainrecon.report.run.verdict import leading_metrics


def cite_this(title, scores):
    """A few sentences: what was scored, by what, with which result, and the software.

    Parameters
    ----------
    title : str
        Of the report: the method, and on which data.
    scores : brainrecon.evaluation.scores.scores.Scores

    Returns
    -------
    str
    """
    protocol, found = scores.protocol, scores.conditions.get(scores.reference)
    stimuli = "" if found is None else f" ({len(found.stimulus_ids):,} test stimuli)"
    text = (
        f"{title}{stimuli}, scored under protocol {protocol.name} (sha256 {protocol.sha256[:16]}, with its judges "
        f"{scores.identity[:16]}) of brainrecon {__version__}."
    )
    headline, _ = leading_metrics(scores)
    row = None if headline is None else scores.mean(scores.reference, headline)
    if row is not None:
        spec = scores.metrics[headline]
        interval = (
            "" if row.ci_low is None else f" ({100 * scores.confidence:g} % interval {interval_text(row, spec.metric)})"
        )
        label = in_sentence(spec.label)
        text += f" {label[:1].upper()}{label[1:]}: {score_text(row.mean, spec.metric)}{interval}."
    notes = "".join(f" {note}" for note in scores.notes)
    software = f"The brainrecon developers: brainrecon, version {__version__}."
    return f"{text}{notes}\n{software}"
