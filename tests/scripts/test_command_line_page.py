"""The page of the command line has every verb, option and default, and its tables have three columns throughout."""

import re

import typer
from documentation.command_line import command_line

from brainrecon.cli.help import arguments_of, options_of
from brainrecon.cli.main import VERBS, load_verb

PAGE = command_line()


def section(words):
    """Text from a verb's heading to the next."""
    return re.search(rf"^#+ {re.escape(words)}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]


def plain(text):
    return text.replace("`", "").replace("\\|", "|")


def test_every_verb_has_its_options_and_their_defaults():
    for name in VERBS:
        command = load_verb(name)
        below = {f"{name} {word}": one for word, one in getattr(command, "commands", {}).items()}
        for words, one in ({name: command} | below).items():
            text = plain(section(words))
            assert f"\nbrainrecon {words}" in text
            rows = [*arguments_of(one), *options_of(one, typer.Context(one, info_name=name))]
            for row in (row for row in rows if "--help" not in row.names):
                assert (
                    f"| {row.names} | {plain(row.text)} | {'**required**' if row.required else plain(row.default or 'off')} |"
                    in text
                )


def test_every_row_has_three_cells_and_its_code_is_closed():
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    assert len(rows) > 100
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) == 4 and row.count("`") % 2 == 0


def test_text_that_is_written_comes_first():
    assert command_line("# Verbs\n\nRead this.").startswith("# Verbs\n\nRead this.\n\n## brainrecon\n")
