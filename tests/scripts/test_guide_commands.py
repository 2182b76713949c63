"""Every command line that a page shows is one: its verb, its options and its settings exist."""

import dataclasses
import re
import shlex
import types
import typing
from functools import cache, partial
from pathlib import Path

import pytest

from brainrecon.assembly.pretraining import MaskedBrainSettings
from brainrecon.assembly.registry import system_class, system_names
from brainrecon.assembly.surface_pretraining import SurfaceAutoencoderSettings
from brainrecon.cli.main import VERBS, _ParserError, load_verb
from brainrecon.runs.config import DataSettings, RunConfig

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^(?P<indent> *)```(?:sh|bash|console)\n(?P<text>.*?)^(?P=indent)```", flags=re.M | re.S)


def commands(text):
    """Words behind `brainrecon` of every command line in the fenced sh blocks of a page."""
    for block in BLOCK.finditer(text):
        for line in block["text"].replace("\\\n", " ").splitlines():
            yield from commands_of_line(line)


def commands_of_line(line):
    """Also behind a pipe or `&&`, in quotes (`sbatch --wrap "brainrecon ..."`), and what `torchrun` starts."""
    reader = shlex.shlex(line, posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    words = []
    for word in [*reader, ";"]:
        if word and set(word) <= set(";&|()<>"):
            started = [n for n, one in enumerate(words) if one in ("brainrecon", "$(command -v brainrecon)")]
            # `--set brainrecon` would be no command: it has to begin one, or to be started by another.
            if started and (started[0] == 0 or words[0] in STARTERS or "=" in words[0]):
                yield words[started[0] + 1 :]
            words = []
            continue
        if word.startswith("brainrecon ") and words:
            yield from commands_of_line(word)
        words.append(word)


STARTERS = ("torchrun", "nice", "time", "accelerate", "srun", "env", "nohup")


def wrong(words):
    """What is wrong with the words behind `brainrecon`, in a sentence; None if nothing is."""
    if not words or words[0].startswith("-"):
        return None if words in ([], ["--help"], ["--version"], ["-h"]) else f"brainrecon has no option {words[0]}"
    verb, rest = words[0], [word for word in words[1:] if word not in ("...", "…")]
    if verb not in VERBS:
        return f"there is no verb {verb}"
    command = load_verb(verb)
    if hasattr(command, "commands"):
        if not rest or rest[0] not in command.commands:
            return None if not rest or rest[0] in ("--help", "-h") else f"{verb} has no verb {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    rest = [word for word in rest if word != "--debug"]
    if "--help" in rest or "-h" in rest:
        return None
    try:
        # Parses and converts; it runs nothing.
        context = command.make_context(verb, list(rest))
    except _ParserError as error:
        return f"{verb}: {error.format_message()}"
    known = is_of_a_pretraining if verb == "pretrain" else partial(is_setting, method=context.params.get("method"))
    unknown = [name for name in set_names(rest) if not known(name)]
    return f"no method has the setting {unknown[0]}" if unknown else None


def set_names(words):
    """Names that `--set` sets."""
    for option, value in zip(words, [*words[1:], ""]):
        if option == "--set":
            yield value.partition("=")[0]
        elif option.startswith("--set="):
            yield option.removeprefix("--set=").partition("=")[0]


def is_setting(name, method=None):
    """Whether a name is a setting of the method, or of any if it is none of the toolkit's; those of a split beside are, too."""
    if name.startswith("data."):
        return has(DataSettings, name.split(".")[1:])
    if name.startswith("splits."):
        *_, table, name = name.split(".", 3)
        return table == "settings" and is_setting(name, method)
    if name in {field.name for field in dataclasses.fields(RunConfig)} - {"method", "settings", "data"}:
        return True
    methods = [method] if method in own_methods() else own_methods()
    return any(has(system_class(one).settings_class, name.split(".")) for one in methods)


def is_of_a_pretraining(name):
    return any(has(kind, [name]) for kind in (MaskedBrainSettings, SurfaceAutoencoderSettings))


@cache
def own_methods():
    return tuple(system_names())


def has(kind, names):
    """Whether the dotted names lead to a field of a dataclass; the keys of a mapping are free."""
    if not names:
        return True
    for option in typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,):
        if dataclasses.is_dataclass(option):
            hint = typing.get_type_hints(option).get(names[0])
            if hint is not None and has(hint, names[1:]):
                return True
        elif (typing.get_origin(option) or option) is dict:
            return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_of_a_page_exists(page):
    found = {shlex.join(words): wrong(words) for words in commands(page.read_text(encoding="utf-8"))}
    assert {line: said for line, said in found.items() if said} == {}


def test_the_pages_have_commands():
    assert sum(len(list(commands(page.read_text(encoding="utf-8")))) for page in PAGES) > 100


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("brainrecon runn brain-diffuser nsd:x --out y", "no verb runn"),
        ("brainrecon data infos nsd:x", "no verb infos"),
        ("brainrecon run brain-diffuser nsd:x --out y --gpu", "--gpu"),
        ("brainrecon run brain-diffuser nsd:x", "--out"),
        ("brainrecon run brain-diffuser nsd:x --out y --samples many", "valid integer"),
        ("brainrecon run brain-diffuser nsd:x --out y --set generator.strenght=0.5", "generator.strenght"),
        ("brainrecon run brain-diffuser nsd:x --out y --set iterations=5", "iterations"),
        ("brainrecon fit mine nsd:x --out y --set data.subjekts=5", "data.subjekts"),
        ("true && brainrecon fit \\\n  mindeye2023 nsd:x --out y --wrong  # a remark", "--wrong"),
        ('sbatch --wrap "brainrecon evaluate x && brainrecon report x --wrong"', "--wrong"),
        ('torchrun --nproc_per_node 4 "$(command -v brainrecon)" fit mindeye2023 nsd:x --out y --wrong', "--wrong"),
        ("fit=$(sbatch a.sh); brainrecon evaluate x --wrong", "--wrong"),
    ],
)
def test_a_command_that_does_not_exist_is_found(line, said):
    (words, *_) = [words for words in commands(f"```sh\n{line}\n```\n") if wrong(words)]
    assert said in wrong(words)


@pytest.mark.parametrize(
    "line",
    [
        "brainrecon run brain-diffuser nsd:x --out y --set decoder.alpha='{vdvae=5e4}' --set decoder.alpha.vdvae=1",
        "brainrecon run assembled nsd:x --out y --set targets.mine=theirs --set samples=2",
        "brainrecon run mine nsd:x --out y --set generator.strength=0.5 --debug",
        "brainrecon evaluate --help",
        "pip install brainrecon",
    ],
)
def test_a_command_that_exists_is_not(line):
    assert [wrong(words) for words in commands(f"```sh\n{line}\n```\n") if wrong(words)] == []
