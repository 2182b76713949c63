"""A command in a process of its own, in a folder of its own, with everything looked at that it leaves behind."""

import hashlib
import json
import os
import resource
import shlex
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from brainrecon.cli.main import run_command

# A program that a file in PostScript would start, and that writes down that it was.
_STAND_IN = "#!/bin/sh\necho gs was started > {marker}\n"


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes
    ----------
    code : int or None
        Exit code; None if it was ended after its time.
    told : str
        Standard error.
    printed : str
        Standard output.
    seconds : float
    gigabytes : float
        Most memory that it had, above what it began with.
    """

    code: int | None
    told: str
    printed: str
    seconds: float
    gigabytes: float


class Sandbox:
    """A folder with a home, a program called gs, and room for valid data in `a/b`, several folders deep.

    Parameters
    ----------
    folder : pathlib.Path
        Is made.
    """

    def __init__(self, folder):
        self.root = Path(folder)
        self.home, self.here = self.root / "home", self.root / "work" / "a" / "b"
        self.out = self.here / "made" / "OUT"
        self.marker = self.root / "gs-was-started"
        for made in (self.home, self.here, self.root / "bin"):
            made.mkdir(parents=True)
        (self.home / ".bashrc").write_text("# mine\n")
        program = self.root / "bin" / "gs"
        program.write_text(_STAND_IN.format(marker=shlex.quote(str(self.marker))))
        program.chmod(0o755)

    def fill(self, valid):
        """Copy valid data by hard links, which costs nothing; no command writes into a file that is there."""
        shutil.copytree(valid, self.here, copy_function=os.link, dirs_exist_ok=True, symlinks=True)

    def words(self, text):
        """A text with the places of this sandbox in the place of their words."""
        return text.format(here=self.here, out=self.out, home=self.home)

    def run(self, line, seconds, gigabytes=2):
        """Run ``brainrecon LINE``; its limits are seconds, and gigabytes above what this process has."""
        arguments = [self.words(part) for part in line.split()]
        streams = [self.root.parent / f"{self.root.name}.{name}" for name in ("out", "err")]
        begun, child = time.monotonic(), os.fork()
        if not child:
            self._become(arguments, streams, gigabytes)
        status = None
        while status is None:
            ended, status, usage = os.wait4(child, os.WNOHANG)
            if not ended:
                status = None
                if time.monotonic() - begun > seconds:
                    os.killpg(child, signal.SIGKILL)
                    _, _, usage = os.wait4(child, 0)
                    break
                time.sleep(0.005)
        printed, told = (path.read_text(encoding="utf-8", errors="replace") for path in streams)
        code = None if status is None else os.waitstatus_to_exitcode(status)
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return Ended(code, told, printed, time.monotonic() - begun, max(usage.ru_maxrss - own, 0) / 2**20)

    def _become(self, arguments, streams, gigabytes):
        """Be the command, in a process of its own."""
        code = 70
        try:
            os.setpgid(0, 0)
            sys.stdout.flush()
            sys.stderr.flush()
            for number, path in enumerate(streams, start=1):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
            # Those of a test that captures what is printed are other streams.
            sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
            os.environ |= {
                "HOME": str(self.home),
                "XDG_CACHE_HOME": str(self.root / "cache"),
                "MPLCONFIGDIR": str(self.root / "cache"),
                "BRAINRECON_WEIGHTS": str(self.home / ".cache/brainrecon/weights"),
                "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            }
            os.chdir(self.here)
            with open("/proc/self/statm") as file:
                used = int(file.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + int(gigabytes * 2**30),) * 2)
            code = run_command(arguments)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)

    def state(self):
        """Every file, folder and link but the cache: path to what identifies it and its content."""
        found = {}
        for folder, folders, files in os.walk(self.root):
            if folder == str(self.root) and "cache" in folders:
                folders.remove("cache")
            for name in folders + files:
                path = Path(folder) / name
                found[path] = _identity(path)
        return found


def _identity(path):
    status = path.lstat()
    if path.is_symlink():
        return os.readlink(path)
    # What is written anew has another time, and another number; links of the valid data have one of their own.
    return (status.st_mode, status.st_size, status.st_ino, status.st_mtime_ns) if path.is_file() else "folder"


def changed(before, after, named):
    """Paths that are new, gone or other, and lie outside of `named`; its own parents are none."""
    named = Path(named)
    different = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    return sorted(path for path in different if not path.is_relative_to(named) and path not in named.parents)


def digest(path):
    """Content of a file or folder, but for words about it: (digest, notes of prepared data); None if it is not there."""
    path = Path(path)
    if not path.exists():
        return None, []
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    whole, notes = hashlib.sha256(), []
    for one in files:
        if one.name.startswith("."):
            continue
        content = one.read_bytes()
        if one.name == "subject.json":
            kept = json.loads(content)
            notes = kept.pop("notes", [])
            # These follow from the notes or the files of the source.
            kept = {key: value for key, value in kept.items() if key not in ("fingerprint", "content")}
            content = json.dumps(kept, sort_keys=True).encode()
        whole.update(f"{one.relative_to(path)} {len(content)}\n".encode() + content)
    return whole.hexdigest(), notes
