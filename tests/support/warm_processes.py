"""Programs in processes of their own that need not import the libraries: they are forked from one that has.

Torch, diffusers and open_clip take 4 to 8 seconds of a core to import, most of the time of a small command. A process that has
imported them and done nothing else is started once by each process of tests, and forks a child for each program. To
the program the child is a fresh interpreter: its own environment, folder, arguments and streams, no signal handled, nobody's
locks. What a test proves of imports, of the interpreter's own options or of torchrun needs `subprocess`.
"""

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def started(program, *arguments, environment=None, printed=None, told=None):
    """Start a program.

    >>> started("import sys; sys.exit(int(sys.argv[1]))", 3).wait()
    3

    Parameters
    ----------
    program : str
        Python source; it sees this checkout's packages, and `arguments` in ``sys.argv[1:]``.
    *arguments
    environment : dict of str, optional
        By default this process's own.
    printed : path, optional
        File that is there, and takes what it prints on standard output; by default nothing is kept.
    told : path, optional
        The same of standard error; by default it goes to `printed`.

    Returns
    -------
    process : WarmProcess or subprocess.Popen
        The latter where processes with such libraries cannot be forked.
    """
    environment = dict(os.environ if environment is None else environment)
    arguments, printed = [str(one) for one in arguments], str(printed or os.devnull)
    streams = [printed, str(told or printed)]
    if sys.platform == "linux":
        parent = _parent(os.getpid())
        return WarmProcess(parent, parent.start(program, arguments, environment, os.getcwd(), streams))
    with open(streams[0], "a") as out, open(streams[1], "a") as err:
        environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([sys.executable, "-c", program, *arguments], env=environment, stdout=out, stderr=err)


class WarmProcess:
    """A program that runs, with the part of `subprocess.Popen` that tests need.

    Attributes
    ----------
    pid : int
    returncode : int
        None while it runs; minus a signal's number if that ended it.
    """

    def __init__(self, parent, pid):
        self._parent, self.pid, self.returncode = parent, pid, None

    def poll(self):
        if self.returncode is None:
            self.returncode = self._parent.code(self.pid)
        return self.returncode

    def wait(self, timeout=900):
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.005)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class _Parent:
    """The process with the libraries, as a test sees it."""

    def __init__(self):
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env=environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._rest, self._pids, self._codes = b"", [], {}
        atexit.register(self._process.stdin.close)

    def start(self, *asked):
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        while not self._pids:
            self._hear()
        return self._pids.pop()

    def code(self, pid):
        while pid not in self._codes and select.select([self._process.stdout], [], [], 0)[0]:
            self._hear()
        return self._codes.get(pid)

    def _hear(self):
        part = self._process.stdout.read(65536)
        assert part, f"the process that forks others has ended (exit code {self._process.poll()})"
        *lines, self._rest = (self._rest + part).split(b"\n")
        for pid, code in map(json.loads, lines):
            if code is None:
                self._pids.append(pid)
            else:
                self._codes[pid] = code


@cache
def _parent(_pid):
    """One for each process of tests: what a test forks itself must not share its pipes."""
    return _Parent()


def _import_all():
    """Import every module of the toolkit, and with them the libraries."""
    import importlib
    import pkgutil

    for name in ("brainrecon", "stages", "weights"):
        for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def _serve():
    """Fork for each line that is asked on standard input; tell (pid, None) of a start and (pid, exit code) of an end."""
    import gc

    asked_at, told_at = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    _import_all()
    # Children then copy fewer pages.
    gc.collect()
    gc.freeze()
    ended_at, ends = os.pipe()
    for end in (ended_at, ends):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(ends, warn_on_full_buffer=False)

    def tell(pid, code):
        os.write(told_at, json.dumps([pid, code]).encode() + b"\n")

    waiting = b""
    while True:
        ready, _, _ = select.select([asked_at, ended_at], [], [])
        if asked_at in ready:
            part = os.read(asked_at, 65536)
            if not part:
                return
            *lines, waiting = (waiting + part).split(b"\n")
            for line in lines:
                pid = os.fork()
                if not pid:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for descriptor in (asked_at, told_at, ended_at, ends):
                        os.close(descriptor)
                    _play(*json.loads(line))
                tell(pid, None)
        if ended_at in ready:
            os.read(ended_at, 65536)
            for pid, code in _ended():
                tell(pid, code)


def _ended():
    """(pid, exit code) of every child that has ended since."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, os.waitstatus_to_exitcode(status)


def _play(program, arguments, environment, folder, streams):
    """Be a program, with the exit codes of an interpreter; never returns."""
    code = 1
    try:
        opened = [os.open(os.devnull, os.O_RDONLY), *(os.open(one, os.O_WRONLY | os.O_APPEND) for one in streams)]
        for stream, file in enumerate(opened):
            os.dup2(file, stream)
        # Where tests run in the background, what they start would ignore Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["-c", *arguments]
        sys.modules["__main__"] = main = type(sys)("__main__")
        exec(compile(program, "<string>", "exec"), main.__dict__)
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        try:
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code & 0xFF)


if __name__ == "__main__":
    _serve()
