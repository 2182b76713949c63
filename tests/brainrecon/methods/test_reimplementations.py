"""Systems of which no description was found: their pages mark every setting, and their defaults are those on the page."""

import re
from pathlib import Path

import pytest
from documentation.settings_table import settings_of

from brainrecon.assembly.registry import system_class

ROOT = Path(__file__).parents[3]
ROW = re.compile(r"^\| `([a-z_.0-9]+)` \| (.+?) \| (\[[PBGT]\])? ?\|", flags=re.M)
FOUND = {
    "brainstreams2024": "Only the abstract",
    "mindldm2024": "Only the abstract",
    "mindformer2024": "Only the abstract",
    "neurovis2024": "Only the title",
    "psychometry2024": "Only the abstract",
}
NAMES = pytest.mark.parametrize("name", FOUND)


def page(name):
    return (ROOT / "docs" / "systems" / f"{name}.md").read_text(encoding="utf-8")


def unmarked(text, settings):
    """Settings that have no row with a mark and their default in a page."""
    rows = {setting: (default, mark) for setting, default, mark in ROW.findall(text.split("rests on\n")[1])}
    return [
        one.name for one in settings if not rows.get(one.name, ("", ""))[1] or rows[one.name][0] != shown(one.default)
    ]


def shown(value):
    """A default as the tables have it."""
    if value is None or value == () or value == "":
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        if len(value) > 4 and not isinstance(value[0], str):
            return f"{value[0]:g} to {value[-1]:g}, {len(value)} values"
        return ", ".join(one if isinstance(one, str) else f"{one:g}" for one in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


@NAMES
def test_a_page_says_first_what_was_found(name):
    first = page(name).split("\n\n")[1]
    assert first.startswith(f"**{FOUND[name]} of this paper was found") and "must not" in " ".join(first.split())
    (note,) = system_class(name)().notes
    assert FOUND[name] in note and f"docs/systems/{name}.md" in note
    assert (
        "reimplementation" in system_class(name).explanation
        and FOUND[name].lower() in system_class(name).evidence.fidelity
    )


@NAMES
def test_every_setting_has_a_source_or_is_marked_as_a_guess(name):
    assert unmarked(page(name), settings_of(system_class(name)())) == []


@NAMES
def test_a_setting_without_a_mark_is_found(name):
    text, settings = page(name), settings_of(system_class(name)())
    row = next(line for line in text.splitlines() if line.startswith("| `generator.guidance_scale`"))
    assert unmarked(text.replace(row, ""), settings) == ["generator.guidance_scale"]
    assert unmarked(text.replace(row, re.sub(r"\[[PBGT]\]", "", row)), settings) == ["generator.guidance_scale"]
    (default,) = (shown(one.default) for one in settings if one.name == "generator.guidance_scale")
    assert unmarked(text.replace(row, row.replace(f"| {default} |", "| 1.25 |")), settings) == [
        "generator.guidance_scale"
    ]


@NAMES
def test_guesses_are_most_of_what_it_is(name):
    marks = [mark for *_, mark in ROW.findall(page(name).split("rests on\n")[1])]
    assert marks.count("[G]") > 15 and marks.count("[G]") + marks.count("[B]") > 2 * marks.count("[P]")
    # Of a title nothing can be a source.
    assert ("[P]" in marks) == (FOUND[name] == "Only the abstract")
