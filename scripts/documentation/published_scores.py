"""Published scores of a system as Markdown: a table for each protocol under which its authors, or others, printed some."""

from __future__ import annotations

from brainrecon.evaluation.protocols.protocol import available, load_protocol
from brainrecon.evaluation.scores.published import COMPUTED, READ, published_values
from documentation.markdown import table


def published_scores(beginnings, others=()):
    """All published rows whose names begin so.

    Parameters
    ----------
    beginnings : tuple of str
        As `brainrecon.assembly.evidence.Evidence.published` has them.
    others : sequence of str
        Beginnings of other systems: a row belongs to the longest that it begins with.

    Returns
    -------
    text : str
        Empty if there are none.
    """
    rows = {
        name: [row for row in published_values(name) if _length(row, beginnings) > _length(row, others)]
        for name in available()
    }
    shown = [name for name in rows if rows[name] and not any(_within(rows, name, other) for other in rows)]
    return "\n\n".join(_of_protocol(load_protocol(name), rows[name]) for name in shown)


def _length(row, beginnings):
    """Length of the longest beginning of a row's name; 0 if there is none."""
    # "MindEye" is a row of its own and "MindEye, subj01" one of its subjects; "MindEye2" is another system.
    fits = [one for one in beginnings if row.method == one or row.method.startswith((f"{one},", f"{one} without"))]
    return max(map(len, fits), default=0)


def _within(rows, name, other):
    """Whether another protocol shows all values of this one, and more or the same earlier in the list."""
    mine, theirs = _values(rows[name]), _values(rows[other])
    return name != other and mine <= theirs and (mine < theirs or list(rows).index(other) < list(rows).index(name))


def _values(rows):
    return {(row.method, row.source, *item) for row in rows for item in row.values.items()}


def _of_protocol(protocol, rows):
    specs = protocol.columns | protocol.embeddings | protocol.retrieval
    names = [name for name in specs if any(name in row.values for row in rows)]
    names += [name for name in dict.fromkeys(name for row in rows for name in row.values) if name not in names]
    heads = ["published row", *(specs[name].label if name in specs else name for name in names), "subjects", "source"]
    body = [
        [
            row.method,
            *(_cell(row, name) for name in names),
            f"mean of {len(row.subjects)}" if len(row.subjects) > 1 else row.subjects[0],
            "; ".join([row.source, *sorted({READ[how] for how in row.verified.values() if how != "memory"})]),
        ]
        for row in rows
    ]
    notes = []
    if any(row.from_memory for row in rows):
        notes.append(f"† {READ['memory']}: may be wrong in any digit.")
    notes += [f"{row.method}: {text}." for row in rows if (text := COMPUTED[row.computed])]
    notes += list(dict.fromkeys(f"{row.method}: {row.note}" for row in rows if row.note))
    tested = f"{rows[0].n_stimuli:,} {rows[0].dataset.upper()} test stimuli."
    return "\n\n".join([f"Under `{protocol.name}`, {tested}", table(heads, body), *notes])


def _cell(row, name):
    if name not in row.values:
        return "–"
    return f"{row.values[name]:.3f}" + ("†" if row.verified.get(name) == "memory" else "")
