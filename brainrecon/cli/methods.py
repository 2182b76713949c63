"""``brainrecon methods``: the systems, what each predicts, needs and cites; one of them with all of its settings."""

import re
from typing import Annotated

import typer

from stages.ground.errors import InputError


def methods(
    name: Annotated[
        str | None,
        typer.Argument(metavar="METHOD", help="One method, with its settings.", show_default="all are listed"),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FAMILY",
            help="Settings for these checkpoints: published or tiny.",
            show_default="those that the method's settings name",
        ),
    ] = None,
) -> None:
    """List the methods; of one, say what it predicts, needs and cites, and its settings with their defaults."""
    if name is None:
        _list()
    else:
        _describe(name, weights)


def _list():
    from brainrecon.assembly.chain import Chain
    from brainrecon.assembly.registry import system_class, system_names
    from brainrecon.cli.console import table

    rows = []
    for name in system_names():
        try:
            kind = system_class(name)
            if kind.asks_for:
                rows.append((name, f"what is asked: {kind.asks_for}", "-", "-"))
                continue
            chain = Chain(kind())
        except InputError as error:
            # One broken package hides no other method.
            rows.append((name, f"cannot be used: {error}", "-", "-"))
            continue
        cited = re.match(r"([^,]+),.*?\((\d{4})\)", chain.system.citation)
        by = " ".join(cited.groups()) if cited else "-"
        rows.append((name, ", ".join(chain.predicts) or "-", chain.output, by))
    table(("method", "predicts", "gives", "cites"), rows)


def _describe(name, weights):
    from brainrecon.assembly.chain import Chain
    from brainrecon.assembly.condition import CONDITIONS
    from brainrecon.assembly.registry import system_class
    from brainrecon.assembly.settings import with_weights
    from brainrecon.assembly.system import WITH_MANY_SUBJECTS
    from brainrecon.cli.console import say

    kind = system_class(name)
    system = kind(with_weights({}, kind, weights))
    if system.asks_for:
        say(f"{name}: {system.explanation}. Its settings have to name {system.asks_for}:")
        say()
        _say_settings(system)
        return
    chain = Chain(system)
    needs = ["responses"] + ["pictures"] * system.needs.pictures
    needs += ["captions"] * system.needs.captions + ["categories"] * system.needs.categories
    needs += ["captions, if there are any"] * bool(system.without_captions)
    applies = [one.name for one in CONDITIONS.values() if one.is_control and one.applies_to(chain)]
    say(f"{name}: {system.explanation}")
    say()
    for step in chain.steps:
        read = ", ".join((*step.reads, *(f"{one} (optional)" for one in step.optional)))
        say(f"  {type(step).__name__}: {read} -> {step.about}")
    say()
    say(f"Needs:       {', '.join(needs)}")
    say(f"Subjects:    {WITH_MANY_SUBJECTS[system.many_subjects]}")
    say(f"Checkpoints: {', '.join(system.checkpoints) or 'none'} (`brainrecon weights list --for {name}`)")
    if released := _released(name):
        say(f"Released:    decoders of {', '.join(released)} (--decoder released)")
    say(f"Controls:    {', '.join(applies)}")
    if system.evidence:
        say(f"Fidelity:    {system.evidence.fidelity}")
        say(f"Run on:      {', '.join(system.evidence.tested_on)}")
    say(f"Cite:        {system.citation or 'nothing: it is no published system'}")
    for note in system.notes:
        say(f"Note:        {note}")
    say()
    say("Settings (--set NAME=VALUE, or the table [settings] of a TOML file):")
    say()
    _say_settings(system)


def _released(name):
    """Subjects for whom decoders of a method are listed, as its authors released them."""
    from weights import store

    entries = store.checkpoints().values()
    own = (entry for entry in entries if entry.parts and name in entry.needed_by)
    return list(dict.fromkeys(entry.subject for entry in own if entry.subject))


def _say_settings(system):
    from brainrecon.assembly.settings import to_dict
    from brainrecon.cli.console import say

    for line in _lines(to_dict(system.settings)) or ["none"]:
        say(f"  {line}")


def _lines(settings, where=""):
    """``name = value`` of every setting, names dotted as for --set; of a long list the first and the last value."""
    lines = []
    for name, value in settings.items():
        if isinstance(value, dict):
            lines += _lines(value, f"{where}{name}.")
        elif isinstance(value, list) and len(value) > 6:
            lines.append(f"{where}{name} = [{value[0]!r}, ..., {value[-1]!r}] ({len(value)} values)")
        else:
            lines.append(f"{where}{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}")
    return lines
