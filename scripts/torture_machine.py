"""Hinder every command that writes: no room, no rights, no locks, little memory, a wrong clock, another version.

    python scripts/torture_machine.py [--seed 0] [--places 5] [--works fit,run] [--only ROWS] [--out FILE]

Each case types a command while something hinders it, takes the hindrance away, and types the same command again, which has to
end in the folder of a command that nothing hindered, byte for byte. The first is

    done          and its folder is that of the undisturbed one
    done, told    likewise, or what could not be kept was told
    refused       exit code 2 and one sentence, which names a path or what was asked for
    unexpected, unnamed, killed, hang, other result, lost: what must not be

and the exit code is 1 if anything must not be. It has to be started by root: then a disk of memory can be mounted, in a name
space of this process alone, and a command can be an ordinary user's. File systems without locks are stood in for by calls that
fail as they do there. With less memory than a process needs to go on at all, Python itself may be ended by a signal.
"""

import argparse
import io
import os
import sys
import tempfile
import zlib
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "support")]
os.environ.setdefault("OMP_NUM_THREADS", "1")
_WITHIN = "BRAINRECON_IN_A_NAME_SPACE_OF_ITS_OWN"

import numpy as np
from damaged_files.places import write_weights
from hindered.cases import BAD, GOOD, hindrances_of, outcome, undisturbed
from hindered.command import written
from hindered.folders import emptied
from hindered.works import FEW, WORKS, Place

from brainrecon.cli.main import run_command


def main():
    """Do the cases that were asked for; 1 if anything must not be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--places", type=int, default=5, help="at how many places of a work the disk is full")
    parser.add_argument("--works", default=",".join(WORKS), help="separated by commas")
    parser.add_argument("--only", default="", help="rows of the table, separated by commas")
    parser.add_argument("--out", type=Path, help="every case as JSON")
    options = parser.parse_args()
    if os.geteuid():
        raise SystemExit("Only root can mount a disk and be an ordinary user; type sudo before the command.")
    if not os.environ.get(_WITHIN):
        # What is mounted is seen by this process and its children alone, and is gone with them.
        os.environ[_WITHIN] = "yes"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])
    found = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        # An ordinary user looks into it, too.
        folder.chmod(0o755)
        place, names = Place(folder / "place"), options.works.split(",")
        _prepare(place, folder)
        known = undisturbed(place, names, folder)
        for name in names:
            draw = np.random.default_rng([options.seed, zlib.crc32(name.encode())])
            for hindrance, is_finished in hindrances_of(WORKS[name], known[name], options.places, draw):
                if options.only and hindrance.name not in options.only.split(","):
                    continue
                state, about, seconds = outcome(WORKS[name], known[name], hindrance, is_finished, place)
                how = hindrance.how + (" (of a finished folder)" if is_finished else "")
                found.append(
                    {"work": name, "hindrance": hindrance.name, "how": how, "outcome": state, "told": about}
                    | {"seconds": round(seconds, 2)}
                )
                if state in BAD:
                    print(f"{name}, {hindrance.name}, {how}: {state}: {about[:600]}", flush=True)
                if options.out:
                    written(options.out, found)
    report(found)
    return any(one["outcome"] in BAD for one in found)


def _prepare(place, folder):
    """Write the data, and load once all that commands load."""
    import torch

    torch.set_num_threads(1)
    os.environ |= {"XDG_CACHE_HOME": str(folder / "cache"), "MPLCONFIGDIR": str(folder / "cache")}
    (folder / "cache").mkdir()
    (folder / "cache").chmod(0o777)
    for own in (warm := Place(folder / "warm"), place):
        own.root.mkdir()
        own.disk.mkdir()
        own.weights.parent.mkdir()
        write_weights(own.weights.parent)
        os.environ["BRAINRECON_WEIGHTS"] = str(own.disk / "weights")
        with redirect_stdout(io.StringIO()), redirect_stderr(told := io.StringIO()):
            code = run_command(["simulate", str(own.data), *FEW.split()])
            for work in WORKS.values() if own is warm else ():
                if not work.before:
                    emptied(own.disk)
                code = code or run_command(work.words(work.line, own))
        if code:
            raise SystemExit(f"Undisturbed, a command ended with {code}: {told.getvalue()[-500:]}")


def report(found):
    """Print what became of how many cases, for each hindrance and each work."""
    states = [*GOOD, *BAD]
    for key in ("hindrance", "work"):
        rows = [*dict.fromkeys(one[key] for one in found), "all"]
        width = max(map(len, rows))
        print(f"\n{'':{width}}  " + "  ".join(f"{state:>12}" for state in states))
        for row in rows:
            counts = Counter(one["outcome"] for one in found if row in (one[key], "all"))
            print(f"{row:{width}}  " + "  ".join(f"{counts[state] or '':12}" for state in states))


if __name__ == "__main__":
    sys.exit(main())
