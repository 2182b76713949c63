"""Scores as a small HTML table, for notebooks."""

from html import escape

_CELL = "text-align:right;padding:2px 10px;white-space:nowrap"
_NAME = "text-align:left;padding:2px 10px"


def scores_html(scores):
    """Means of every condition and metric, each ± half the width of its interval.

    Parameters
    ----------
    scores : brainrecon.evaluation.scores.scores.Scores

    Returns
    -------
    html : str
        A fragment that needs no style sheet and no script and takes the page's own colours: a row per condition, the
        reference in bold; below it what limits them, and scores of the corpus of captions, if they are known; then retrieval,
        protocol, digest and notes. Text is escaped.
    """
    metrics = [spec for spec in scores.metrics.values() if any(row.metric == spec.name for row in scores.summary)]
    head = "".join(f'<th scope="col" style="{_CELL}">{escape(_heading(spec))}</th>' for spec in metrics)
    body = []
    for name in scores.conditions:
        found = [scores.mean(name, spec.name) for spec in metrics]
        body.append(_row(name.replace("_", " "), _means(found, metrics), name == scores.reference))
    for kind, rows in scores.ceilings.items():
        body.append(_row(kind.replace("_", " "), _means([rows.get(spec.name) for spec in metrics], metrics)))
    for name, values in scores.corpus.items():
        cells = [f"{len(scores.conditions[name].stimulus_ids):,}"]
        cells += [_number(values.get(spec.name), spec.metric) for spec in metrics]
        body.append(_row(f"{name.replace('_', ' ')}, corpus", cells))
    lower = [spec.label for spec in metrics if not spec.metric.higher_is_better]
    lines = [
        f"Mean ± half of the {100 * scores.confidence:g} % interval over stimuli"
        + (f"; lower is better in {', '.join(lower)}." if lower else "."),
        *_retrieval_lines(scores),
        f"Protocol {scores.protocol.name}, sha256 {scores.protocol_hash[:16]}.",
        *scores.notes,
    ]
    return (
        f'<table><thead><tr><th scope="col" style="{_NAME}">condition</th><th scope="col" style="{_CELL}">stimuli</th>'
        f"{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
        f"<p><small>{'<br>'.join(map(escape, lines))}</small></p>"
    )


def _heading(spec):
    return f"{spec.label} (%)" if spec.metric.percent else spec.label


def _retrieval_lines(scores):
    """A line per retrieval: 'Picture from brain, among 300: 90.1 ± 1.2 % of 982 (chance 0.333 %).'."""
    lines = []
    for row in scores.retrieval.rows if scores.retrieval else ():
        spec = scores.protocol.retrieval.get(row.metric)
        half = "" if row.ci_low is None else f" ± {50 * (row.ci_high - row.ci_low):.1f}"
        label = spec.among(row.n_candidates).label if spec else row.metric
        lines.append(f"{label}: {100 * row.mean:.1f}{half} % of {row.n:,} (chance {100 * row.chance:.3g} %).")
    return lines


def _row(label, cells, bold=False):
    mark = ("<b>", "</b>") if bold else ("", "")
    return (
        f'<tr><th scope="row" style="{_NAME};font-weight:normal">{mark[0]}{escape(label)}{mark[1]}</th>'
        + "".join(f'<td style="{_CELL}">{mark[0]}{cell}{mark[1]}</td>' for cell in cells)
        + "</tr>"
    )


def _means(found, metrics):
    """How many stimuli, and a mean for each metric: list of str."""
    n = max((row.n for row in found if row is not None), default=0)
    return [f"{n:,}", *(_mean(row, spec.metric) for row, spec in zip(found, metrics, strict=True))]


def _mean(row, metric):
    """'87.1 ± 2.9' for percentages, '0.312 ± 0.021' elsewhere; '98.0 (93.1 to 100.0)' near an end; the mean alone without one."""
    if row is None or row.ci_low is None:
        return _number(None if row is None else row.mean, metric)
    half, (low, high) = (row.ci_high - row.ci_low) / 2, metric.bounds
    if row.mean - half < low or row.mean + half > high:
        # As far as scores go, and no further.
        return f"{_number(row.mean, metric)} ({_number(row.ci_low, metric)} to {_number(row.ci_high, metric)})"
    return f"{_number(row.mean, metric)} ± {_number(half, metric)}"


def _number(value, metric):
    """'87.1' for percentages, '0.312' elsewhere; a dash for None."""
    if value is None:
        return "\N{EN DASH}"
    return (f"{100 * value:.1f}" if metric.percent else f"{value:.3f}").replace("-", "\N{MINUS SIGN}")
