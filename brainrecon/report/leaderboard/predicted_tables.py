"""Tables of predicted values: embeddings, retrieval, and the corpus of captions."""

from brainrecon.evaluation.metrics.metric import Metric
from brainrecon.report.leaderboard.comparison import is_better
from brainrecon.report.leaderboard.response_table import response_table
from brainrecon.report.leaderboard.text import MARKS, TOLD_APART, VERDICTS, Table, TableCell, TableRow, unit_of
from brainrecon.report.names import NOTHING, condition_explanation, condition_label, difference_text, score_text
from brainrecon.report.predicted_rows import percent_text, retrieval_explanation

# How a share of stimuli that were found reads.
_SHARE = Metric(None, "features", higher_is_better=True, bounds=(0.0, 1.0), chance=None, percent=True)


def predicted_tables(block, board):
    """The tables of one region for which some method has scores, list of Table."""
    tables = [_embeddings(block, board)] if any(entry.embeddings for entry in block.entries) else []
    tables += [_retrieval(block, board)] if any(entry.retrieval for entry in block.entries) else []
    tables += [_leads(block, board)] if block.retrieval_leads else []
    tables += [response_table(block)] if any(entry.responses for entry in block.entries) else []
    tables += [_corpus(block, board)] if any(entry.corpus for entry in block.entries) else []
    return tables


def _embeddings(block, board):
    rows = []
    for entry in block.entries:
        for row in entry.embeddings:
            spec = board.protocol.embeddings.get(row["metric"])
            mean = row["mean"]
            interval = "" if mean.ci_low is None else f"{percent_text(mean.ci_low)} to {percent_text(mean.ci_high)}"
            rank = NOTHING if row["rank"] is None else f"{row['rank']:.1f}"
            true_rank = "" if row["true_rank"] is None else f"of {row['true_rank']:.1f}"
            score = spec.among(*mean.n_stimuli).label if spec else row["metric"].replace("_", " ")
            cells = (
                TableCell(percent_text(mean.mean), interval),
                TableCell(
                    percent_text(row["null_mean"]),
                    f"{percent_text(row['null_low'])} to {percent_text(row['null_high'])}",
                ),
                TableCell(rank, true_rank),
            )
            rows.append(TableRow(entry.method, cells, f"{row['target'].replace('_', ' ')}: {score}"))
    return Table(
        "Predicted embeddings",
        "Before any picture is drawn. Shuffled: the same score when responses belong to other stimuli, with the widest "
        "central 95 % of a subject's permutations. The effective rank of the predictions stands over that of the true values.",
        (
            ("Method, target and score", "", ""),
            ("Mean", "%", ""),
            ("Shuffled", "%", ""),
            ("Effective rank", "", ""),
        ),
        tuple(rows),
    )


def _retrieval(block, board):
    found = {entry.method: {row["metric"]: row for row in entry.retrieval} for entry in block.entries}
    specs = _retrieval_specs(block, board)
    names = [name for name in specs if any(name in rows for rows in found.values())]
    rows = []
    for method, own in found.items():
        cells = [_retrieval_cell(own.get(name)) for name in names]
        rows.append(TableRow(method, tuple(cells), "" if own else "predicts no such target"))
    chances = [[row["chance"] for own in found.values() if (row := own.get(name))] for name in names]
    rows.append(
        TableRow(
            "Chance",
            tuple(TableCell(_range(min(low for low, _ in one), max(high for _, high in one))) for one in chances),
        )
    )
    return Table(
        "Retrieval",
        "From predicted embeddings: how often what belongs together is found among the candidates of a pool; ties fail. "
        "Mean over stimuli with its interval; of random pools, after it the mean over pools, as it is published.",
        (
            ("Method", "", ""),
            *((specs[name].label, "%", retrieval_explanation(specs[name])) for name in names),
        ),
        tuple(rows),
    )


def _leads(block, board):
    specs, leads = _retrieval_specs(block, board), block.retrieval_leads
    names = [name for name in specs if name in leads]
    rows = []
    for entry in block.entries:
        cells = tuple(_lead_cell(entry.method, *leads[name]) for name in names)
        if any(cell.value != NOTHING or cell.under for cell in cells):
            rows.append(TableRow(entry.method, cells))
    return Table(
        "Retrieval, the best minus each of the others",
        "In every column, paired by stimulus within a subject, then over the subjects that both have. ▲ the best one is better, "
        f"○ not told apart: {TOLD_APART}.",
        (
            ("Compared with", "", ""),
            *((specs[name].label, "points", retrieval_explanation(specs[name])) for name in names),
        ),
        tuple(rows),
        kind="differences",
    )


def _lead_cell(method, best, differences):
    if method == best:
        return TableCell("best", kind="best")
    difference = differences.get(method)
    if difference is None or difference.mean is None:
        return TableCell(NOTHING, "" if difference is None else difference.reason)
    better = is_better(difference, _SHARE)
    return TableCell(
        f"{MARKS[better]} {difference_text(difference.mean, _SHARE)}",
        difference.interval_text(_SHARE),
        VERDICTS[better],
    )


def _retrieval_specs(block, board):
    """Retrievals of the protocol with labels that name how many candidates there were."""
    rows = [row for entry in block.entries for row in entry.retrieval]
    return {
        name: spec.among(*(count for row in rows if row["metric"] == name for count in row["n_candidates"]))
        for name, spec in board.protocol.retrieval.items()
    }


def _retrieval_cell(row):
    if row is None:
        return TableCell(NOTHING)
    mean = row["mean"]
    interval = "no interval" if mean.ci_low is None else f"{percent_text(mean.ci_low)} to {percent_text(mean.ci_high)}"
    return TableCell(percent_text(mean.mean), f"{interval}; over pools {percent_text(row['mean_over_pools'])}")


def _corpus(block, board):
    """Scores of the corpus: the method itself, and under it its controls."""
    specs = {name: spec for name, spec in board.protocol.captions.items() if name in board.metrics}
    rows = []
    for entry in block.entries:
        if not entry.corpus:
            continue
        for condition in (entry.reference, *(name for name in entry.corpus if name != entry.reference)):
            own = entry.corpus.get(condition, {})
            cells = tuple(TableCell(score_text(own.get(name), spec.metric, unit=False)) for name, spec in specs.items())
            is_method = condition == entry.reference
            rows.append(
                TableRow(
                    entry.method if is_method else condition_label(condition),
                    cells,
                    kind="method" if is_method else "",
                    explanation="" if is_method else condition_explanation(condition),
                )
            )
    return Table(
        "Captions of the corpus",
        "All captions of a subject scored together, as published tables print it; mean over subjects, without an interval. "
        "BLEU and METEOR are here no means over stimuli, and differ from the scores above.",
        (
            ("Method and control", "", ""),
            *((spec.label, unit_of(spec, "%"), spec.description) for spec in specs.values()),
        ),
        tuple(rows),
        kind="methods",
    )


def _range(low, high):
    return f"{100 * low:.3g}" if low == high else f"{100 * low:.3g} to {100 * high:.3g}"
