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
        reference in bold; what limits them below, where it is known; then protocol, digest and notes. Text is escaped.
    """
    metrics = [spec for spec in scores.metrics.values() if any(row.metric == spec.name for row in scores.summary)]
    head = "".join(f'<th scope="col" style="{_CELL}">{escape(_heading(spec))}</th>' for spec in metrics)
    body = [
        _row(
            name.replace("_", " "),
            [scores.mean(name, spec.name) for spec in metrics],
            metrics,
            name == scores.reference,
        )
        for name in scores.conditions
    ]
    for kind, rows in scores.ceilings.items():
        body.append(_row(kind.replace("_", " "), [rows.get(spec.name) for spec in metrics], metrics, False))
    lower = [spec.label for spec in metrics if not spec.metric.higher_is_better]
    lines = [
        f"Mean ± half of the {100 * scores.confidence:g} % interval over stimuli"
        + (f"; lower is better in {', '.join(lower)}." if lower else "."),
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


def _row(label, found, metrics, bold):
    n = max((row.n for row in found if row is not None), default=0)
    cells = [f"{n:,}", *(_cell(row, spec.metric) for row, spec in zip(found, metrics, strict=True))]
    mark = ("<b>", "</b>") if bold else ("", "")
    return (
        f'<tr><th scope="row" style="{_NAME};font-weight:normal">{mark[0]}{escape(label)}{mark[1]}</th>'
        + "".join(f'<td style="{_CELL}">{mark[0]}{cell}{mark[1]}</td>' for cell in cells)
        + "</tr>"
    )


def _cell(row, metric):
    """'87.1 ± 2.9' for percentages, '0.312 ± 0.021' elsewhere; the mean alone where there is no interval."""
    if row is None:
        return "\N{EN DASH}"
    scale, digits = (100, 1) if metric.percent else (1, 3)
    text = f"{scale * row.mean:.{digits}f}".replace("-", "\N{MINUS SIGN}")
    if row.ci_low is None:
        return text
    return f"{text} ± {scale * (row.ci_high - row.ci_low) / 2:.{digits}f}"
