"""A trace as text for a terminal, and as one page without scripts and without anything to fetch."""

from __future__ import annotations

from brainrecon.assembly.condition import CONDITIONS
from brainrecon.report.pictures import data_uri
from brainrecon.report.templates import template


def lines(traced):
    """A trace as lines of text: a line per value, its facts indented below.

    Parameters
    ----------
    traced : brainrecon.runs.trace.Trace

    Returns
    -------
    list of str
    """
    label = CONDITIONS[traced.condition].label
    found = [f"{traced.method}, stimulus {traced.stimulus_id}, {label[:1].lower()}{label[1:]}"]
    found += ["The response was simulated."] if traced.simulated else []
    for value in traced.values:
        found.append("")
        found.append(f"{value.name} ({value.step})")
        found += [f"  {name}: {text}" for name, text in _told(value.facts)]
    return found


def page(traced):
    """A trace as HTML."""
    return template(__file__, "trace.html.jinja").render(
        trace=traced,
        condition=CONDITIONS[traced.condition],
        shown=None if traced.shown is None else data_uri(traced.shown),
        values=[
            (value, list(_told(value.facts)), None if value.picture is None else data_uri(value.picture))
            for value in traced.values
        ],
    )


def _told(facts):
    """(name, text) of each fact; nested ones with their names joined, numbers with three digits."""
    for name, fact in facts.items():
        if isinstance(fact, dict):
            yield from ((f"{name.replace('_', ' ')} {inner}", text) for inner, text in _told(fact))
        elif isinstance(fact, float):
            yield name.replace("_", " "), f"{fact:.3g}"
        else:
            yield (
                name.replace("_", " "),
                f"{fact:,}" if isinstance(fact, int) else "the checkpoint's own" if fact is None else str(fact),
            )
