"""Command lines of several processes that torchrun starts together, or that are started as torchrun does."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from interruption import COMMAND_LINE
from warm_processes import ROOT, started


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


def joined(n, *line, program=COMMAND_LINE, seconds=900):
    """Run a command line, or another program, by several processes as torchrun does, but forked from one with the libraries.

    They get what torchrun sets, and if one fails the others are ended.

    Parameters
    ----------
    n : int
    line : sequence
        What follows `brainrecon`.
    program : str
        Python source.
    seconds : float

    Returns
    -------
    code : int
        The first that is not 0, or 0.
    printed : str
        On both streams.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.NamedTemporaryFile("r") as printed:
        processes = []
        for rank in range(n):
            own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": n, "LOCAL_WORLD_SIZE": n, "GROUP_RANK": 0}
            own |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            environment = os.environ | {name: str(value) for name, value in own.items()}
            processes.append(started(program, *line, environment=environment, printed=printed.name))
        deadline = time.monotonic() + seconds
        while None in (codes := [process.poll() for process in processes]) and time.monotonic() < deadline:
            if any(codes):
                break
            time.sleep(0.02)
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(60)
        return next((code for code in codes if code), 0), printed.read()
