"""pycocoevalcap, an optional package: its parts, its Java programs, and what to say if one of them is not there."""

import shutil
import subprocess
import threading
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

from stages.ground.errors import InputError

# As pycocoevalcap starts it: captions come on its standard input.
_METEOR = ("java", "-jar", "-Xmx2G", "meteor-1.5.jar", "-", "-", "-stdio", "-l", "en", "-norm")
_LONGEST = 300  # letters of what a program says: its first lines name the cause, what follows is its stack


def load_part(module, name):
    """Something of pycocoevalcap. Importing its metrics starts no Java and loads nothing else."""
    try:
        return getattr(import_module(f"pycocoevalcap.{module}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pycocoevalcap":
            raise
        raise InputError(
            "Captions are scored with pycocoevalcap, which is not installed here; "
            "install it with `pip install 'brainrecon[captions]'`."
        ) from None


def folder_of(part):
    """Where pycocoevalcap keeps the jars of one of its parts."""
    return Path(next(iter(import_module(f"pycocoevalcap.{part}").__path__)))


def require_java(what):
    """Refuse to go on without Java, in the name of what needs it."""
    if shutil.which("java") is None:
        raise InputError(
            f"{what} is a Java program and there is no `java` on the PATH; install a Java runtime, for example with "
            "`apt install default-jre-headless` or `conda install openjdk`, or choose bleu, rouge_l or cider "
            'with tokenisation="simple".'
        )


def meteor_with_paraphrases(scorer_class):
    """Pycocoevalcap's scorer, started with the place of its paraphrases: METEOR looks in vain below a folder with a space."""

    class Scorer(scorer_class):
        def __init__(self):
            self.lock = threading.Lock()
            self.meteor_p = subprocess.Popen(
                [*_METEOR, "-a", "data/paraphrase-en.gz"],
                cwd=folder_of("meteor"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )

    return Scorer


@contextmanager
def in_one_sentence(what, program=lambda: None):
    """Turn what a Java program's end leaves behind into one sentence, with the program's own words if it said any.

    Parameters
    ----------
    what : str
        What the program is called.
    program : callable
        Called without arguments after an error, it returns the program's process, or None. The process is ended.
    """
    try:
        yield
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        told = _said(error, program()) or " ".join(str(error).split())
        raise InputError(
            f"{what} stopped ({told}); see whether `java -version` works, is one that this program runs on, and "
            "finds enough memory."
        ) from error


def _said(error, process):
    """The first words that a program that failed wrote to its standard error."""
    written = getattr(error, "stderr", None)
    if written is None and process is not None:
        process.kill()  # it may wait for more captions, and its words end with it
        written = process.stderr.read()
        with suppress(OSError):  # of what it never read
            process.stdin.close()
    return " ".join((written or b"").decode(errors="replace").split())[:_LONGEST]
