"""The command ``brainrecon``: a registry of verbs, and what happens when one fails.

A verb's module is ``brainrecon/cli/<verb>.py``. It is imported when the verb is invoked and not before, so
that ``brainrecon --help`` is immediate. The module offers either a function named like the verb, or, for a
verb with verbs of its own, a ``typer.Typer`` named ``app``.

Exit codes: 0 done; 1 something unforeseen; 2 something the user can mend; 130 interrupted; 143 ended by SIGTERM, as a
scheduler or ``kill`` sends it.
"""

import errno
import importlib
import shlex
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.core import TyperCommand, TyperGroup

from brainrecon import __version__
from brainrecon.cli import console
from brainrecon.cli.ending import INTERRUPTED, TERMINATED, terminated_like_interrupted
from brainrecon.cli.help import with_own_help
from stages.ground.errors import InputError
from stages.ground.process_group import is_first
from weights.manifest import CheckpointError

VERBS = {
    "demo": "Everything on the embedded default: simulate, run, report.",
    "simulate": "Write simulated subjects in the own files of NSD, or of Miyawaki et al. 2008.",
    "data": "What a dataset holds, what is missing and where to get it; convert once.",
    "features": "Encode the stimuli of a dataset into the feature store.",
    "pretrain": "Pretrain an encoder on responses alone, of any data.",
    "fit": "Fit a method's decoder to one subject.",
    "predict": "Predict embeddings from brain activity.",
    "reconstruct": "Reconstruct the pictures.",
    "evaluate": "Score reconstructions and controls, or pictures and captions from elsewhere.",
    "report": "Write the one-file HTML report of a run.",
    "run": "Fit, reconstruct, evaluate and report.",
    "benchmark": "Compare methods over subjects and regions, with controls, in one table.",
    "trace": "How one picture came about: every value on its way.",
    "map": "Noise ceiling, weights and scores of each voxel, as files of the subject's own space.",
    "methods": "The methods: what each predicts, needs and cites; its settings.",
    "weights": "List, fetch, verify and find the checkpoints.",
    "doctor": "What is installed here, and whether it works.",
}

# What the operating system refuses and the user can mend, with the next thing to do.
_REFUSALS = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EIO: "look whether the disk is sound",
    errno.EROFS: "choose a folder that can be written to",
    errno.EACCES: "choose a folder that you may read and write",
    errno.EPERM: "choose a folder that you may read and write",
    errno.ENOTDIR: "name a folder where there is a file",
    errno.EISDIR: "name a file where there is a folder",
    errno.EEXIST: "name another folder",
    errno.ELOOP: "remove that link",
}

# Usage errors of the option parser; typer exports only this descendant of the common ancestor.
_UsageError = typer.BadParameter.__base__
_ParserError = _UsageError.__base__


class VerbRegistry(TyperGroup):
    """Lists every verb by its line in `VERBS`, and imports a verb's module when it is invoked."""

    def __init__(self, **settings):
        super().__init__(**settings)
        with_own_help(self)
        self.commands = {verb: TyperCommand(verb, help=line) for verb, line in VERBS.items()}

    def resolve_command(self, context, args):
        """Replace the line of help that stands in for the verb by the verb itself."""
        verb, stand_in, rest = super().resolve_command(context, args)
        return verb, load_verb(verb) if stand_in else None, rest


def load_verb(verb: str):
    """Import a verb's module and make its command.

    Parameters
    ----------
    verb : str
        A key of `VERBS`.

    Returns
    -------
    command : typer.core.TyperCommand or typer.core.TyperGroup
    """
    module = importlib.import_module(f"brainrecon.cli.{verb}")
    if hasattr(module, "app"):
        command = typer.main.get_command(module.app)
        command.no_args_is_help = False
    else:
        single = typer.Typer(add_completion=False)
        single.command()(getattr(module, verb))
        command = typer.main.get_command(single)
    command.name = verb
    with_own_help(command)
    return command


app = typer.Typer(cls=VerbRegistry, context_settings={"help_option_names": ["-h", "--help"]})


def _print_version(asked: bool) -> None:
    if asked:
        print(f"brainrecon {__version__}")
        raise typer.Exit()


@app.callback()
def brainrecon(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Print the traceback of an error; works after any verb.")
    ] = False,
) -> None:
    """From fMRI responses to the pictures that were seen."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the command's name; ``sys.argv[1:]`` by default.

    Raises
    ------
    SystemExit
        Always, with the exit codes of this module's description.
    """
    console.be_lenient()
    sys.exit(run_command(list(sys.argv[1:] if arguments is None else arguments)))


def run_command(arguments: list[str]) -> int:
    """Run the command line; print an error as one line on standard error.

    Returns
    -------
    exit_code : int
    """
    arguments, debug = _take_debug(arguments)
    with console.one_voice(), console.plain_remarks(), terminated_like_interrupted() as received:
        try:
            result = typer.main.get_command(app).main(
                arguments or ["--help"], prog_name="brainrecon", standalone_mode=False
            )
        except (KeyboardInterrupt, typer.Abort):
            return _interrupted(arguments, received)
        except (InputError, CheckpointError) as error:
            return _fail(str(error), 2, debug)
        except _ParserError as error:
            return _fail(_usage_sentence(error), 2, debug)
        except Exception as error:  # the outermost frame: everything unforeseen ends here, named
            remedy = _system_refusal(error) or _memory_remedy(error) or _installation_remedy(error)
            if remedy:
                return _fail(remedy, 2, debug)
            hint = "" if debug else " Run again with --debug for the traceback."
            return _fail(f"Unexpected {type(error).__name__}: {str(error).rstrip('.')}.{hint}", 1, debug)
    if result == INTERRUPTED and is_first():
        return _interrupted(arguments, received)
    return result if isinstance(result, int) else 0


def _take_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """Take ``--debug`` off the line, wherever it stands before a bare ``--``."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [argument for argument in arguments[:end] if argument != "--debug"]
    return options + arguments[end:], len(options) < end


def _usage_sentence(error) -> str:
    message = error.format_message().rstrip(" .")
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "brainrecon"
    return f"{message}{' See' if message.endswith('?') else '; see'} {where} --help."


def _system_refusal(error: Exception) -> str | None:
    """A full disk or a folder that cannot be written to in words, else None."""
    if not isinstance(error, OSError) or error.errno not in _REFUSALS:
        return None
    where = f": {error.filename}" if error.filename else ""
    return f"{error.strerror}{where}; {_REFUSALS[error.errno]} and run the same command again."


def _memory_remedy(error: Exception) -> str | None:
    """That memory does not suffice, in words, else None."""
    from stages.ground.out_of_memory import is_short_of_memory

    if not is_short_of_memory(error):
        return None
    said = " ".join(str(error).split())
    return (
        f"Memory does not suffice ({said[:200] or type(error).__name__}); end other programs, or ask for less at a time with "
        "--batch-size or --memory where the verb has them, and run the same command again: what is finished is kept."
    )


def _installation_remedy(error: Exception) -> str | None:
    """What to install when an error shows that the installation itself is broken, else None."""
    from brainrecon.cli.installation import torchvision_remedy

    return torchvision_remedy(error)


def _interrupted(arguments: list[str], received: list[int]) -> int:
    """Say that it was interrupted, and the line that goes on."""
    what = "Ended by SIGTERM" if received else "Interrupted"
    console.note(f"{what}; what is finished is kept. Go on with:\n{shlex.join(['brainrecon', *arguments])}")
    return TERMINATED if received else INTERRUPTED


def _fail(message: str, exit_code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    (console.note if is_first() else console.say_in_need)(" ".join(message.split()))
    return exit_code
