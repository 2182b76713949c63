"""Programs that are killed: without warning, at a moment that a test names."""

import signal
import tempfile
import time

from warm_processes import started

COMMAND_LINE = (
    "import sys, torch\n"
    "torch.set_num_threads(1)\n"
    "from brainrecon.cli.main import run_command\n"
    "sys.exit(run_command(sys.argv[1:]))\n"
)
"""The program `brainrecon`, on one thread as the tests are, so that it ends in the same bytes."""


def interrupted(program, *arguments, when, seconds=900):
    """Run a program in a process of its own and kill it as soon as `when()` is true.

    >>> interrupted("import time; time.sleep(60)", when=lambda: True)

    Parameters
    ----------
    program : str
        Python source; it sees this checkout's packages, and `arguments` in ``sys.argv[1:]``.
    when : callable
        Asked again and again, for example whether a file is there.
    seconds : float
        How long to wait for it. Ample, since tests share the machine: what is waited for is the event and not the time.

    Raises
    ------
    AssertionError
        The program ended by itself, or `when()` never was true. The message has what the program printed.
    """
    with tempfile.NamedTemporaryFile("w+") as printed:
        process = started(program, *arguments, printed=printed.name)
        deadline = time.monotonic() + seconds
        try:
            while not when() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            came = when()
        finally:
            process.kill()
            process.wait()
        printed.seek(0)
        assert came and process.returncode == -signal.SIGKILL, (
            f"the program was to be killed but {'ended' if process.returncode >= 0 else 'waited'} "
            f"(exit code {process.returncode}); it printed:\n{printed.read()}"
        )
