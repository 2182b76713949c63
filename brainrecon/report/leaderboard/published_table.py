"""The table of what others published under a protocol."""

from brainrecon.evaluation.scores.published import COMPUTED, READ
from brainrecon.report.leaderboard.text import Table, TableCell, TableRow, unit_of
from brainrecon.report.names import NOTHING
from brainrecon.report.predicted_rows import percent_text

_FROM_MEMORY = "†"
_ORIGIN_MARKS = {"other code": "‡", "not established": "§"}


def published_table(board):
    """What others published under a board's protocol and on its test set, Table."""
    names = list(dict.fromkeys(name for row in board.published for name in row.values))
    protocol = board.protocol
    specs = protocol.columns | protocol.embeddings | protocol.retrieval
    order = list(specs)
    names.sort(key=lambda name: order.index(name) if name in order else len(order))
    columns, rows = [], []
    for name in names:
        spec = specs.get(name)
        # All scores of embeddings and of retrieval are read as percentages.
        percent = name not in protocol.columns or spec.metric.percent
        unit = unit_of(spec, "%") if name in protocol.columns else "%"
        corpus = ", corpus" if name in protocol.captions else ""
        columns.append(((spec.label if spec else name) + corpus, unit, "", percent))
    for row in board.published:
        cells = []
        for name, (*_, percent) in zip(names, columns, strict=True):
            if name not in row.values:
                cells.append(TableCell(NOTHING))
                continue
            mark = _FROM_MEMORY if row.verified[name] == "memory" else ""
            value = row.values[name]
            cells.append(TableCell((percent_text(value) if percent else f"{value:.3f}") + mark))
        how = sorted({READ[how] for how in row.verified.values() if how != "memory"})
        whose = f"mean of {len(row.subjects)} subjects" if len(row.subjects) > 1 else row.subjects[0]
        small = "; ".join([row.source, *how, whose]) + (f". {row.note}" if row.note else "")
        rows.append(TableRow(row.method + _ORIGIN_MARKS.get(row.computed, ""), tuple(cells), small))
    used = {row.computed for row in board.published}
    below = [f"{_FROM_MEMORY} {READ['memory']}: nobody has read this value again, and it may be wrong in any digit."]
    below = below if any(row.from_memory for row in board.published) else []
    below += [f"{mark} {COMPUTED[computed]}." for computed, mark in _ORIGIN_MARKS.items() if computed in used]
    return Table(
        f"Published under {board.protocol.name}",
        f"On {board.published[0].n_stimuli:,} {board.dataset.upper()} stimuli, as many as here. Others computed these; no "
        "interval was published.",
        (("Method", "", ""), *(column[:3] for column in columns)),
        tuple(rows),
        tuple(below),
    )
