"""Every verb's help: lines that can be typed, what happens without each option, and nothing that is cut."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import typer

from brainrecon.assembly.registry import system_names
from brainrecon.cli.examples import EXAMPLES
from brainrecon.cli.help import broken, default_of, options_of
from brainrecon.cli.main import VERBS, app, load_verb, run_command
from brainrecon.datasets import load
from weights import store

# What --help, --version and the shell's completion print instead of any work has no value that could be left out.
INSTEAD_OF_WORK = {"help", "version", "install_completion", "show_completion"}


def tree():
    """Every verb by its words, and every verb of a verb; the command itself has none."""
    found = {"": typer.main.get_command(app)}
    for name in VERBS:
        found[name] = load_verb(name)
        found |= {f"{name} {below}": one for below, one in getattr(found[name], "commands", {}).items()}
    return found


TREE = tree()


def context_of(command, words=""):
    return typer.Context(command, info_name=f"brainrecon {words}".strip())


def trouble_with_example(line):
    """What is wrong with a line that a help shows, or None: its verb and options have to be there, and its values to be read."""
    program, *words = shlex.split(line)
    if program != "brainrecon":
        return f"{program!r} is another command"
    verb = []
    while words and " ".join([*verb, words[0]]) in TREE:
        verb.append(words.pop(0))
    command = TREE[" ".join(verb)]
    if not verb or hasattr(command, "commands"):
        return f"{' '.join(verb)!r} is no verb that does anything"
    try:
        command.make_context(f"brainrecon {' '.join(verb)}", words)
    except Exception as error:
        return error.format_message() if hasattr(error, "format_message") else str(error)
    return None


def silent_options(command):
    """Arguments and options that do not say what happens without them."""
    asked = [param for param in command.params if not (param.required or param.name in INSTEAD_OF_WORK)]
    return [param.name for param in asked if not default_of(param)]


@pytest.mark.parametrize("words", TREE)
def test_examples_can_be_typed(words):
    assert 1 <= len(EXAMPLES[words]) <= 3
    assert [line for line in EXAMPLES[words] if trouble_with_example(line)] == []
    if words:
        assert all(line.startswith(f"brainrecon {words}") for line in EXAMPLES[words])


def test_methods_and_checkpoints_of_examples_are_known():
    words = {name: [shlex.split(line) for line in lines] for name, lines in EXAMPLES.items()}
    methods = [line[2] for verb in ("run", "fit", "methods") for line in words[verb] if len(line) > 2]
    compared = [line[line.index("--methods") + 1] for line in words["benchmark"] if "--methods" in line]
    methods += [name for names in compared for name in names.split(",")]
    assert methods and set(methods) <= set(system_names())
    checkpoints = [line[3] for verb in ("weights pull", "weights path") for line in words[verb] if "--for" not in line]
    assert checkpoints and set(checkpoints) <= set(store.checkpoints())


def test_examples_are_of_verbs():
    assert set(EXAMPLES) == set(TREE)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("brainrecon reconstrct runs/first", "no verb"),
        ("brainrecon data", "no verb"),
        ("brainrecon run noise digits69:file --out runs/a --sed 3", "sed"),
        ("brainrecon run noise digits69:file --out runs/a --samples few", "--samples"),
        ("brainrecon report", "Missing argument"),
        ("python -m brainrecon", "another command"),
    ],
)
def test_an_example_that_cannot_be_typed_is_found(line, said):
    assert said in trouble_with_example(line)


@pytest.mark.parametrize("words", TREE)
def test_options_say_what_happens_without_them(words):
    command = TREE[words]
    assert silent_options(command) == []
    assert all(param.help for param in command.params)
    # The explanation itself does not say it again.
    assert [param.name for param in command.params if re.search("by default|unless told", param.help)] == []


def test_an_option_that_does_not_say_it_is_found():
    def verb(out: str, seed: int = 0, split: str | None = None, plan: bool = False) -> None: ...

    single = typer.Typer(add_completion=False)
    single.command()(verb)
    command = typer.main.get_command(single)
    assert silent_options(command) == ["split"]
    defaults = {row.names: row.default for row in options_of(command, context_of(command))}
    assert defaults["--seed SEED"] == "0" and defaults["--plan / --no-plan"] == "off"


@pytest.mark.parametrize("width", ["60", "80", "200"])
@pytest.mark.parametrize("words", TREE)
def test_nothing_is_cut_at_any_width(capsys, monkeypatch, words, width):
    monkeypatch.setenv("COLUMNS", width)
    assert run_command([*words.split(), "--help"]) == 0
    out = capsys.readouterr().out
    told = " ".join(out.split())
    context = context_of(TREE[words], words)
    for row in options_of(TREE[words], context):
        assert f"{row.names} {row.sentences}" in told
    for line in EXAMPLES[words]:
        assert " ".join(line.split()) in told.replace(" \\ ", " ")
    assert "…" not in out and max(map(len, out.splitlines())) < int(width)


def test_a_broken_line_is_the_same_command():
    for line in (line for lines in EXAMPLES.values() for line in lines):
        for width in (30, 56, 76):
            # As a shell joins them.
            assert shlex.split("\n".join(broken(line, width)).replace("\\\n", "")) == shlex.split(line)


# What is fetched, or reads published weights, is not there offline; the demo has tests of its own.
NOT_HERE = ("brainrecon demo", "--agree", "weights pull", "--targets clip_image")


@pytest.mark.slow
def test_examples_work_in_their_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRAINRECON_FEATURES", str(tmp_path / "features"))
    np.save("patterns.npy", np.random.default_rng(0).standard_normal((2, 300)).astype(np.float32))
    lines = dict.fromkeys(line for lines in EXAMPLES.values() for line in lines)
    here = [line for line in lines if not any(one in line for one in NOT_HERE)]
    # The simulated dataset, and a stimulus of its test set.
    typed = [line.replace("/data/nsd", "nsd").replace("nsd00042", "nsd00011") for line in here]
    assert len(typed) > 25
    for line in typed:
        if "drawn-elsewhere" in line:
            shutil.copytree("runs/subj01/images", "drawn-elsewhere")
        if "said.json" in line:
            test = load("nsd:nsd").test
            said = {str(name): captions[0] for name, captions in zip(test.stimulus_ids, test.captions)}
            Path("said.json").write_text(json.dumps(said))
        assert run_command(shlex.split(line)[1:]) == 0, f"{line}: {capsys.readouterr().err}"
