"""The page of the command line, made from the verbs themselves."""

import textwrap

import typer

from brainrecon.cli.examples import EXAMPLES
from brainrecon.cli.help import arguments_of, broken, options_of, paragraphs_of, usage_of
from brainrecon.cli.main import VERBS, app, load_verb

WIDTH = 76
"""Characters of a line of code that fit beside the navigation."""


def command_line(written=""):
    """The whole page, Markdown.

    Parameters
    ----------
    written : str
        Text to begin with; by default the page's own.
    """
    parts = [written or BEGINNING, *_section("", typer.main.get_command(app), "##")]
    for name in VERBS:
        command = load_verb(name)
        parts += _section(name, command, "##")
        for below, one in getattr(command, "commands", {}).items():
            parts += _section(f"{name} {below}", one, "###")
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


BEGINNING = """# Command line

Every verb with its arguments, its options and what happens without each; `brainrecon VERB --help` prints the same. Options
that several verbs have mean the same in all of them. Exit codes: 0 done, 1 something unforeseen, 2 something that you can mend,
130 interrupted, 143 ended by SIGTERM."""


def _section(words, command, heading):
    """A verb as pieces of Markdown."""
    context = typer.Context(command, info_name=f"brainrecon {words}".strip())
    yield f"{heading} {words or 'brainrecon'}"
    yield from map(_text, paragraphs_of(command))
    yield _code("text", textwrap.wrap(usage_of(command, context), WIDTH, subsequent_indent="    "))
    yield _code("sh", [part for line in EXAMPLES[words] for part in broken(line, WIDTH)])
    for title, rows in (("argument", arguments_of(command)), ("option", options_of(command, context))):
        # Each verb has --help.
        rows = [row for row in rows if "--help" not in row.names]
        if rows:
            yield _table(title, rows)


def _code(language, lines):
    return "\n".join([f"```{language}", *lines, "```"])


def _table(title, rows):
    """A table of arguments or options; each has its default, or has to be given."""
    # On a narrow screen the cells of these tables stand below each other, see `docs/_static/site.css`.
    lines = [":::{table}", ":class: stacked", "", f"| {title} | meaning | default |", "|---|---|---|"]
    for row in rows:
        default = "**required**" if row.required else _text(row.default or "off")
        lines.append(f"| {_names(row.names)} | {_text(row.text)} | {default} |")
    lines.append(":::")
    return "\n".join(lines)


def _names(names):
    """Each name as code of its own, so that a narrow column is broken between two."""
    return " / ".join(f"`{name}`" for name in names.split(" / "))


def _text(text):
    """Text of a help as Markdown: options and settings are code, nothing else is marked."""
    words, inside = [], False
    for word in text.split(" "):
        begins, ends = word.startswith("`"), word.rstrip(".,;:").endswith("`")
        inside = inside or begins
        words.append(word if inside else _word(word))
        inside = inside and not ends
    return " ".join(words).replace("|", "\\|")


def _word(word):
    bare = word.rstrip(".,;:)")
    if bare.startswith(("--", "$")) or any(sign in bare for sign in "_*={}<>"):
        return f"`{bare}`{word[len(bare) :]}"
    return word
