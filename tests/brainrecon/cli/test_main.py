"""The registry of verbs and what happens when one fails."""

import errno
import os
import shlex
import subprocess
import sys
import types

import pytest
import typer

from brainrecon.cli import main as command_line
from stages.ground.errors import InputError
from weights.store import CheckpointError


@pytest.fixture
def verb(monkeypatch):
    """Put a function in the place of the verb ``fit``."""

    def install(function):
        module = types.ModuleType("brainrecon.cli.fit")
        module.fit = function
        monkeypatch.setitem(sys.modules, "brainrecon.cli.fit", module)

    return install


def raising(error):
    def fit() -> None:
        raise error

    return fit


def run(capsys, *arguments):
    """Run the command line; give exit code, standard output, standard error."""
    code = command_line.run_command(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_help_lists_every_verb_with_its_line(capsys, arguments):
    code, out, err = run(capsys, *arguments)
    assert (code, err) == (0, "")
    for verb, line in command_line.VERBS.items():
        assert verb in out
        assert line.split(",")[0].split(":")[0].split()[0] in out


def test_help_imports_no_verb(capsys, monkeypatch):
    monkeypatch.setattr(command_line, "load_verb", lambda verb: pytest.fail(f"{verb} was imported"))
    assert run(capsys, "--help")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["frobnicate"], "No such command 'frobnicate'; see brainrecon --help."),
        (["docter"], "No such command 'docter'. Did you mean 'doctor'? See brainrecon --help."),
        (["--frobnicate"], "No such option: --frobnicate; see brainrecon --help."),
        (["weights", "verify", "--all"], "No such option: --all; see brainrecon weights verify --help."),
        (["weights", "path"], "Missing argument 'NAME'; see brainrecon weights path --help."),
        (["weights"], "Missing command; see brainrecon weights --help."),
        (["doctor", "me"], None),
    ],
)
def test_a_usage_error_is_one_sentence_and_exit_code_2(capsys, arguments, sentence):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    if sentence is not None:
        assert err == sentence + "\n"


@pytest.mark.parametrize("kind", [InputError, CheckpointError])
def test_a_mendable_error_is_its_sentence_alone(capsys, verb, kind):
    verb(raising(kind("Betas have 3 voxels\n but 4 were expected. Load another subject.")))
    assert run(capsys, "fit") == (2, "", "Betas have 3 voxels but 4 were expected. Load another subject.\n")


@pytest.mark.parametrize("arguments", [["--debug", "fit"], ["fit", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(capsys, verb, arguments):
    verb(raising(InputError("Nothing to fit.")))
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert err.startswith("Traceback") and "raise error" in err and err.endswith("\nNothing to fit.\n")


def test_debug_after_a_bare_double_dash_belongs_to_the_verb(capsys, verb):
    def fit(words: list[str]) -> None:
        print(words)

    verb(fit)
    assert run(capsys, "fit", "--", "--debug")[1] == "['--debug']\n"


def test_an_unforeseen_error_names_its_type_and_points_to_debug(capsys, verb):
    verb(raising(KeyError("voxels")))
    code, out, err = run(capsys, "fit")
    assert (code, out) == (1, "")
    assert err == "Unexpected KeyError: 'voxels'. Run again with --debug for the traceback.\n"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "run/images"),
            "No space left on device: run/images; free some space and run the same command again.\n",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied"),
            "Permission denied; choose a folder that you may read and write and run the same command again.\n",
        ),
    ],
)
def test_what_the_system_refuses_can_be_mended(capsys, verb, error, sentence):
    verb(raising(error))
    assert run(capsys, "fit") == (2, "", sentence)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 7 bytes."),
    ],
)
def test_too_little_memory_can_be_mended(capsys, verb, error):
    verb(raising(error))
    code, _, told = run(capsys, "fit")
    assert code == 2 and told.startswith("Memory does not suffice (") and "--batch-size" in told


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_an_interruption_is_one_line_and_exit_code_130(capsys, verb, error):
    verb(raising(error))
    told = "Interrupted; what is finished is kept. Go on with:\nbrainrecon fit\n"
    assert run(capsys, "fit") == (130, "", told)


def test_the_line_to_go_on_with_can_be_pasted(capsys, verb):
    def fit(data: str, out: str = "") -> None:
        raise KeyboardInterrupt

    verb(fit)
    line = ["fit", "arrays:/my data/it's", "--out", "a  b"]
    *_, last = run(capsys, *line)[2].splitlines()
    assert shlex.split(last) == ["brainrecon", *line]


def completed(line):
    """What the shell is offered after some words."""
    asked = {"_BRAINRECON_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    program = "from brainrecon.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | asked | {"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("brainrecon rep", ["report"]),
        ("brainrecon weights ve", ["verify"]),
        ("brainrecon run brain-diffuser-sd", ["brain-diffuser-sd", "brain-diffuser-sdxl"]),
        ("brainrecon run --protocol mindeye2", ["mindeye2-2024", "mindeye2-2024-brain"]),
        ("brainrecon run --weights t", ["tiny"]),
    ],
)
def test_the_shell_completes_verbs_methods_and_protocols(line, offered):
    assert completed(line) == offered


def test_completion_can_be_installed(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0 and "--install-completion" in out


@pytest.mark.parametrize(
    "line", [["--help"], ["fit", "--help"], ["evaluate", "--help"], ["data", "--help"], ["data", "info", "-h"]]
)
def test_flags_have_no_type_in_the_help(capsys, line):
    code, out, _ = run(capsys, *line)
    assert code == 0 and "<bool>" not in out and "--help" in out


def test_a_verbs_own_exit_code_is_passed_on(capsys, verb):
    verb(raising(typer.Exit(7)))
    assert run(capsys, "fit") == (7, "", "")


def test_a_mismatched_torchvision_is_recognised_wherever_it_surfaces(capsys, verb):
    def fit() -> None:
        try:
            raise RuntimeError("operator torchvision::nms does not exist")
        except RuntimeError as reason:
            raise ImportError("open_clip could not be imported") from reason

    verb(fit)
    code, _, err = run(capsys, "fit")
    assert code == 2
    assert "not a matching pair" in err and "pip install torch torchvision" in err


def test_main_exits_with_the_code(capsys):
    with pytest.raises(SystemExit) as caught:
        command_line.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("brainrecon ")


@pytest.mark.parametrize("verb_name", list(command_line.VERBS))
def test_every_listed_verb_can_be_loaded_and_helps(capsys, verb_name):
    code, out, err = run(capsys, verb_name, "--help")
    assert (code, err) == (0, "")
    assert f"brainrecon {verb_name}" in out
