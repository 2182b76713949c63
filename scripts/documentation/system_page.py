"""The generated parts of a system's page: what it predicts and needs, published scores, fidelity, and all of its settings."""

from __future__ import annotations

import re

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.condition import CONDITIONS
from brainrecon.assembly.registry import system_class
from brainrecon.assembly.system import WITH_MANY_SUBJECTS
from documentation.markdown import after_title, table
from documentation.published_scores import published_scores
from documentation.settings_table import settings_of
from documentation.systems_table import needs, own_systems, tasks
from weights import store
from weights.sizes import in_words


def system_page(name, written):
    """The whole page of a system.

    Parameters
    ----------
    name : str
    written : str
        The page as it lies in `docs/systems`: a title, a paragraph that says what the system is, and more.
    """
    system = system_class(name)()
    parts = [_facts(system), _chain(system), _start(system)]
    others = [one for other in own_systems() if other != name for one in system_class(other).evidence.published]
    published = published_scores(system.evidence.published, others)
    below = [f"## Published scores\n\n{published}"] if published else []
    below.append(f"## All settings\n\n{_settings(system)}")
    return (
        after_title(written, "\n\n".join(part for part in parts if part)).rstrip() + "\n\n" + "\n\n".join(below) + "\n"
    )


def _facts(system):
    rows = []
    if system.citation:
        rows.append(("cite", system.citation))
    if not system.asks_for:
        chain = Chain(system)
        rows += [("predicts", _codes(chain.predicts) or "nothing on the way"), ("gives", f"`{chain.output}`")]
        rows += [("scored as", ", ".join(tasks(system)))]
    rows += [
        ("learns from", needs(system)),
        ("subjects", re.sub(r"(--[a-z-]+)", r"`\1`", WITH_MANY_SUBJECTS[system.many_subjects])),
    ]
    rows += [("checkpoints", _checkpoints(system))]
    if not system.asks_for:
        chain = Chain(system)
        controls = [one.name for one in CONDITIONS.values() if one.is_control and one.applies_to(chain)]
        rows.append(("controls", _codes(controls)))
    rows += [
        ("fidelity", system.evidence.fidelity),
        ("run from responses to scores on", ", ".join(system.evidence.tested_on)),
        ("code", f"`{type(system).__module__.replace('.', '/')}.py`"),
        ("settings", "[all, with their defaults](#all-settings)"),
    ]
    return table(("in short", system.explanation), rows)


def _codes(names):
    return ", ".join(f"`{name}`" for name in names)


def _checkpoints(system):
    entries = [store.entry(name) for name in system.checkpoints]
    if not entries:
        return "none"
    sizes = [in_words(one.size, one.reckoned_size).replace("?", "size not known") for one in entries]
    told = [f"`{one.name}` ({size}, {one.licence})" for one, size in zip(entries, sizes)]
    return f"{', '.join(told)}; `brainrecon weights pull --for {system.name}` brings them"


def _chain(system):
    if system.asks_for:
        return ""
    lines = []
    for step in Chain(system).steps:
        read = ", ".join((*step.reads, *(f"{one} (optional)" for one in step.optional)))
        lines.append(f"{type(step).__name__}: {read} -> {', '.join(step.gives)}")
    return "Its [chain of steps](../guide/steps.md):\n\n```text\n" + "\n".join(lines) + "\n```"


def _start(system):
    if system.asks_for:
        return ""
    line = f"brainrecon run {system.name} nsd:/data/nsd --subject subj01"
    out = f"--out runs/{system.name}"
    tiny = f"\n{line} --weights tiny \\\n    {out}-tiny    # with the embedded networks" if system.tiny else ""
    return f"```sh\n{line} \\\n    {out}{tiny}\n```"


def _settings(system):
    """Settings, those of one table together."""
    settings = settings_of(system)
    if not settings:
        return "It has none."
    rows = [(f"`{one.name}`", _default(one.default), _meaning(system, one)) for one in settings]
    return "Names are typed as `--set NAME=VALUE`, or stand in the table `[settings]` of a TOML file.\n\n" + table(
        ("setting", "default", "meaning"), rows
    )


def _default(value):
    if value is None:
        return "–"
    if isinstance(value, (tuple, list)) and len(value) > 4:
        return f"`[{value[0]!r}, ..., {value[-1]!r}]` ({len(value)})"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{list(value) if isinstance(value, tuple) else value}`"


def _meaning(system, setting):
    if setting.name.startswith("checkpoints."):
        return f"checkpoint: {store.entry(setting.default).role}" if setting.default else "checkpoint; none by default"
    allowed = f" ({setting.allowed})" if "{" in setting.allowed else ""
    return setting.meaning + allowed
