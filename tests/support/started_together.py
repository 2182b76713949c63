"""Command lines of several processes that torchrun starts together."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from interruption import COMMAND_LINE, ROOT


def together(n, folder, *line, program=COMMAND_LINE, kill_when=None, seconds=900):
    """Run a command line by several processes; its exit code, and what it printed on both streams.

    Parameters
    ----------
    n : int
    folder : path
        Where the program is written.
    line : sequence
        What follows `brainrecon`.
    program : str
        Python source.
    kill_when : callable, optional
        Asked again and again; when it is true, all processes are killed without warning.
    seconds : float
    """
    path = Path(folder) / "program.py"
    path.write_text(program)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(n)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as printed:
        command = [sys.executable, *launch, str(path), *map(str, line)]
        process = subprocess.Popen(command, env=environment, stdout=printed, stderr=printed)
        deadline = time.monotonic() + seconds
        try:
            while process.poll() is None and time.monotonic() < deadline and not (kill_when and kill_when()):
                time.sleep(0.02)
        finally:
            _kill(process)
        printed.seek(0)
        return process.returncode, printed.read()


def _kill(process):
    """Kill a launcher and all that it has started, if it still runs."""
    if process.poll() is None:
        started = psutil.Process(process.pid).children(recursive=True)
        for one in (process, *started):
            one.kill()
        psutil.wait_procs(started, timeout=60)
    process.wait()
