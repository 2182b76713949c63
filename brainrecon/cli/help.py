"""The text of ``--help``: plain lines that are whole at any width, on a terminal and in a pipe.

Every option says what happens without it, and every verb ends with lines that can be typed
(`brainrecon.cli.examples`). `docs/reference/command-line.md` is made of the same parts.
"""

import shlex
import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple

import typer

from brainrecon.cli.examples import EXAMPLES

# Names of options stand beside their explanations if both have room.
_NAMES = 28
_WIDE = 72


class Row(NamedTuple):
    """An argument or an option in words.

    Attributes
    ----------
    names : str
        As it is typed, with the word for its value, for example ``--out FOLDER``.
    text : str
        A sentence or two.
    default : str or None
        Without it; None if it has to be given, or prints something and ends.
    required : bool
    """

    names: str
    text: str
    default: str | None
    required: bool

    @property
    def sentences(self) -> str:
        """The whole explanation."""
        ending = "Required." if self.required else f"Default: {self.default}." if self.default is not None else ""
        return f"{self.text.rstrip('.')}. {ending}".strip()


def arguments_of(command) -> list[Row]:
    """The arguments of a verb, in the order in which they are typed."""
    found = [param for param in command.params if param.param_type_name == "argument"]
    return [Row(_argument(param), param.help or "", default_of(param), param.required) for param in found]


def options_of(command, context) -> list[Row]:
    """The options of a verb, ``--help`` last."""
    found = [param for param in command.get_params(context) if param.param_type_name == "option"]
    return [Row(_option(param), _text(param), default_of(param), param.required) for param in found]


def default_of(param) -> str | None:
    """What happens without an argument or an option, in words; None if nothing says so.

    What is printed instead of the work (``--version``, ``--help``) has none.
    """
    if isinstance(param.show_default, str):
        return param.show_default
    if param.required or param.is_eager or param.default is None:
        return None
    if getattr(param, "is_flag", False):
        return "on" if param.default else "off"
    return str(param.default)


def _text(param) -> str:
    least = getattr(param, "min", None)
    bound = "" if least is None else f" {least} or more."
    return f"{(param.help or '').rstrip('.')}.{bound}"


def _argument(param) -> str:
    return (param.metavar or param.name.upper()) + ("..." if param.nargs != 1 else "")


def _option(param) -> str:
    names = sorted([*param.opts, *param.secondary_opts], key=lambda name: name.startswith("--"))
    value = "" if param.is_flag or param.is_eager else f" {param.metavar or param.name.upper()}"
    return (" / " if param.secondary_opts else ", ").join(names) + value


def examples_of(context) -> tuple[str, ...]:
    """The lines that a verb's help ends with, each to be typed as it stands."""
    return EXAMPLES.get(context.command_path.partition(" ")[2], ())


def broken(line: str, width: int) -> list[str]:
    r"""A command as lines that a shell takes for one.

    >>> broken("brainrecon report runs/first --out page.html", 40)
    ['brainrecon report runs/first \\', '    --out page.html']
    """
    parts: list[str] = []
    for word in map(shlex.quote, shlex.split(line)):
        # A value stays beside its option.
        if parts and parts[-1].startswith("--") and " " not in parts[-1] and not word.startswith("--"):
            parts[-1] += f" {word}"
        else:
            parts.append(word)
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) + len("  \\") > width:
            lines[-1] += " \\"
            lines.append(f"    {part}")
        else:
            lines[-1] += f" {part}"
    return lines


def help_text(command, context, width: int) -> str:
    """The help of a verb.

    Parameters
    ----------
    command : typer.core.TyperCommand or typer.core.TyperGroup
    context : typer.Context
        Of the command.
    width : int
        Characters in a line; a longer word alone sticks out.
    """
    return "\n".join(_lines(command, context, width)) + "\n"


def _lines(command, context, width: int) -> Iterator[str]:
    first, *others = _filled(usage_of(command, context), width - len("Usage: "), "")
    yield from (f"Usage: {first}", *(f"       {line}" for line in others))
    for paragraph in paragraphs_of(command):
        yield ""
        yield from _filled(paragraph, width, "  ")
    verbs = getattr(command, "commands", {})
    listed = [Row(name, summary_of(one), None, False) for name, one in verbs.items()]
    for title, rows in (
        ("Arguments", arguments_of(command)),
        ("Commands", listed),
        ("Options", options_of(command, context)),
    ):
        if rows:
            yield ""
            yield f"{title}:"
            for row in rows:
                yield from _row(row, width, max(len(one.names) for one in rows))
    if lines := examples_of(context):
        yield ""
        yield "Examples:" if len(lines) > 1 else "Example:"
        for line in lines:
            yield from (f"  {part}" for part in broken(line, width - 2))


def usage_of(command, context) -> str:
    """How a verb is typed: its arguments, the options that it has to be given, and that there are others."""
    words = [context.command_path]
    for row in arguments_of(command):
        words.append(row.names if row.required else f"[{row.names}]")
    words += [row.names for row in options_of(command, context) if row.required]
    return " ".join([*words, "[OPTIONS]", *(["COMMAND ..."] if hasattr(command, "commands") else [])])


def paragraphs_of(command) -> list[str]:
    """Paragraphs of what a verb does, each in one line."""
    return [" ".join(paragraph.split()) for paragraph in (command.help or "").split("\n\n")]


def summary_of(command) -> str:
    """The first paragraph of what a verb does, in one line."""
    return paragraphs_of(command)[0]


def _row(row: Row, width: int, longest: int) -> Iterator[str]:
    indent = min(longest + 4, _NAMES) if width >= _WIDE or longest < 14 else 8
    told = _filled(row.sentences, width, " " * indent)
    names = f"  {typer.style(row.names, bold=True)}"
    if len(row.names) + 4 <= indent:
        yield names + told[0][len(row.names) + 2 :]
        yield from told[1:]
    else:
        yield names
        yield from told


def _filled(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def with_own_help(command: Any) -> None:
    """Give a verb, and the verbs that it has, the help of this module in place of typer's tables.

    Those cut what does not fit into a column, so that a name of an option could not be read in full.
    """
    for one in (command, *getattr(command, "commands", {}).values()):
        # The text is written without its escapes where the stream is no terminal.
        one.format_help = lambda context, formatter, one=one: formatter.write(help_text(one, context, formatter.width))
