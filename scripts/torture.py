"""Kill work of every kind at random moments, finish it, and compare it with what was left in peace.

    python scripts/torture.py [--count 100] [--seed 0] [--first 0] [--only KIND] [--jobs 1] [--out FILE.json] [--folder DIR]

A case is a kind of work (`killed_runs.kinds`) in a folder of its own: the same command is typed again and again, each time in
a process of its own that is killed by SIGKILL at a moment that is drawn from `--seed` and the case's number, up to five times.
A moment is drawn either from the time that is left by the undisturbed work, or from its calls that change the folder: the
process is killed before one. Then the command is left in peace, and the folder is compared with the undisturbed one
(`killed_runs.comparison` says what counts as equal). A case is one of

    equal       also to the byte, but for what is said there
    grey level  pictures that are drawn in batches differ by one grey level
    differing   a file is missing, is left, or is another one
    failed      a command ended with an error, or came to no end

The exit code is 1 if a case is differing or failed. A case is done again alone with ``--count 1 --first NUMBER``: the draws are
the same, but a moment by the clock is only as exact as the clock. `--only` takes the cases of the kinds whose name begins so.
Cases that `--out` has already are not done again; with `--folder` folders that differ are kept in it.
"""

import argparse
import importlib
import json
import os
import pkgutil
import shutil
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts"), str(ROOT / "tests" / "support")]
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np
from killed_runs.comparison import contents, differences
from killed_runs.kinds import KINDS, write_checkpoints_often
from killed_runs.materials import Materials
from killed_runs.processes import in_child

MOST_KILLS = 5
# What the toolkit imports when it needs it.
LIBRARIES = (
    "diffusers",
    "open_clip",
    "h5py",
    "nibabel",
    "pandas",
    "scipy.io",
    "skimage.metrics",
    "sklearn.linear_model",
)
STATES = ("equal", "grey level", "differing", "failed")
BAD = ("differing", "failed")


def main(arguments=None):
    """Do the cases that were asked for; 1 if one of them is not as it must be."""
    options = parse(arguments)
    import_all()
    write_checkpoints_often()
    return torture(options)


def torture(options, kinds=KINDS):
    """Do cases of some kinds, print what came of it, and return the exit code."""
    numbers = list(_numbers(options, kinds))
    with tempfile.TemporaryDirectory() as temporary:
        session = Session(Path(options.folder or temporary).absolute(), options.seed, kinds)
        found = _known(options)
        left = [number for number in numbers if number not in found]
        n_kinds = len({session.kind(number).name for number in left})
        print(f"{len(left)} cases of {n_kinds} kinds, seed {options.seed}", flush=True)
        for case in _done(session, left, options.jobs):
            found[case["number"]] = case
            told = f": {case['told']}" if case["told"] else ""
            print(f"{case['number']}: {case['kind']}: {len(case['kills'])} kills, {case['outcome']}{told}", flush=True)
            _write(options, found)
    cases = [found[number] for number in numbers]
    report(cases)
    return int(any(case["outcome"] in BAD for case in cases))


def parse(arguments):
    """Options from words."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="KIND", help="or how the names of several begin")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="every case as JSON, written as it goes")
    parser.add_argument("--folder", type=Path, help="a new folder to work in, which stays")
    options = parser.parse_args(arguments)
    if options.folder and options.folder.exists() and any(options.folder.iterdir()):
        parser.error(f"{options.folder} is not empty; name a new folder with --folder.")
    return options


def import_all(packages=("brainrecon", "stages", "weights"), libraries=LIBRARIES):
    """Import packages and all in them, once, before processes are forked that then have it."""
    for name in packages:
        for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    for name in libraries:
        importlib.import_module(name)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def kind_of(seed, number, kinds):
    """Kind of a case: each kind comes once before one comes again, in an order that is drawn anew each time."""
    turn, place = divmod(number, len(kinds))
    return kinds[np.random.default_rng([seed, turn]).permutation(len(kinds))[place]]


def _numbers(options, kinds):
    if not any(kind.name.startswith(options.only) for kind in kinds):
        raise SystemExit(f"No kind begins with {options.only!r}; there are {', '.join(kind.name for kind in kinds)}.")
    number, n_left = options.first, options.count
    while n_left:
        if kind_of(options.seed, number, kinds).name.startswith(options.only):
            yield number
            n_left -= 1
        number += 1


class Session:
    """What the cases of one call of the script share: a folder, materials, and the undisturbed folders.

    Parameters
    ----------
    folder : pathlib.Path
    seed : int
    kinds : sequence of killed_runs.kinds.Kind
    """

    def __init__(self, folder, seed, kinds=KINDS):
        self.folder, self.seed, self.kinds = folder, seed, kinds
        # A kind -> how it ended, its folder, and what was in it.
        self.undisturbed = {}
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        self.materials = Materials(folder / "materials")

    def kind(self, number):
        """Kind of a case."""
        return kind_of(self.seed, number, self.kinds)

    def place(self):
        """Working folder; as many letters whoever works, since some files tell it."""
        return self.folder / f"work-{os.getpid():08d}"

    def refer(self, kind):
        """Do the work of a kind undisturbed, once."""
        if kind.name in self.undisturbed:
            return
        for name in kind.needs:
            self.materials.need(name)
        place = self.place()
        kind.begin(place, self.materials)
        ended = in_child(kind.work(self.materials), place, self.materials.folder / "notes", call=-1)
        if ended.code:
            raise SystemExit(f"{kind.name} cannot be done undisturbed: {ended.said}")
        self.undisturbed[kind.name] = ended, place, contents(place)
        shutil.rmtree(place)

    def case(self, number):
        """Kill a piece of work, finish it, and compare; a dictionary for JSON."""
        kind, place, draw = self.kind(number), self.place(), np.random.default_rng([self.seed, number, 1])
        alone, there, expected = self.undisturbed[kind.name]
        work, notes = kind.work(self.materials), self.materials.folder / "notes"
        do = partial(in_child, work, place, notes, longest=60 + 10 * alone.seconds)
        kills, n_kills = [], draw.integers(1, MOST_KILLS + 1)
        # Where it is over before the first kill it begins anew, and is killed sooner: the machine has less to do by now.
        for attempt in range(MOST_KILLS):
            shutil.rmtree(place, ignore_errors=True)
            kind.begin(place, self.materials)
            ended = _killed(do, place, draw, alone, n_kills, kills, 0.5**attempt)
            if ended.code or kills:
                break
        ended = do() if ended.code is None else ended
        if ended.code:
            outcome, told = "failed", f"exit code {ended.code}: {' '.join(ended.said.split())[-600:]}"
        else:
            wrong, n_other = differences(contents(place), expected, place, there, kind.is_exact)
            outcome = "differing" if wrong else "grey level" if n_other else "equal"
            told = "; ".join(f"{name}: {what}" for name, what in wrong.items())[:2000]
        if outcome in BAD:
            shutil.copytree(place, self.folder / "bad" / f"{self.seed}-{number}", dirs_exist_ok=True, symlinks=True)
        shutil.rmtree(place, ignore_errors=True)
        return dict(number=number, kind=kind.name, kills=kills, outcome=outcome, told=told)


def _killed(do, place, draw, alone, n_kills, kills, share):
    """Do a piece of work and kill it so many times, within a share of what it takes alone; how it ended last."""
    left = share
    for _ in range(n_kills):
        moment, by_clock = draw.uniform(0, left), draw.random() < 0.5
        ended = do(moment=moment * alone.seconds) if by_clock else do(call=int(moment * alone.n_calls))
        if ended.code is not None:
            break
        # What begins anew takes its time, too.
        left = max(left - moment, share / 4)
        about = {"by": "clock" if by_clock else "call", "after": round(moment, 3), "at": ended.place}
        kills.append(about | {"newest": _newest(place)})
    return ended


def _newest(folder):
    """Name of the file below a folder that changed last."""
    times = {}
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                times[path] = path.stat().st_mtime_ns
        except OSError:
            continue
    return max(times, key=times.get).relative_to(folder).as_posix() if times else ""


def _file(place):
    """Name of the file in a place such as "open stages/ground/media.py:20 < ..."."""
    return Path(place.partition(":")[0].split()[-1]).name if place.strip() else "elsewhere"


def _done(session, numbers, jobs):
    """Cases as they are done."""
    if jobs == 1:
        for number in numbers:
            session.refer(session.kind(number))
            yield session.case(number)
        return
    for number in numbers:
        session.refer(session.kind(number))
    with get_context("fork").Pool(jobs) as pool:
        yield from pool.imap_unordered(session.case, numbers)


def _known(options):
    """Cases that an earlier call has written, by number."""
    if options.out is None or not options.out.exists():
        return {}
    written = json.loads(options.out.read_text(encoding="utf-8"))
    if written["seed"] != options.seed:
        raise SystemExit(f"{options.out} has cases of seed {written['seed']}; name another file with --out.")
    return {case["number"]: case for case in written["cases"]}


def _write(options, found):
    if options.out is not None:
        content = {"seed": options.seed, "cases": [found[number] for number in sorted(found)]}
        options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def report(cases):
    """Print a row for each kind: how many cases, kills that hit, what came of it, and the files at work when it was killed."""
    width = max(len(case["kind"]) for case in cases)
    print(f"\n{'':{width}}  cases  kills  " + "  ".join(f"{state:>10}" for state in STATES) + "  killed in")
    groups = {kind: [case for case in cases if case["kind"] == kind] for kind in sorted({c["kind"] for c in cases})}
    for kind, own in (*groups.items(), ("all", cases)):
        counts, kills = Counter(case["outcome"] for case in own), [kill for case in own for kill in case["kills"]]
        places = Counter(_file(kill["at"]) for kill in kills)
        row = "  ".join(f"{counts[state]:10}" for state in STATES)
        where = ", ".join(f"{name} {count}" for name, count in places.most_common(4))
        print(f"{kind:{width}}  {len(own):5}  {len(kills):5}  {row}  {where}" + (", ..." if len(places) > 4 else ""))
    kills = sum(len(case["kills"]) for case in cases)
    print(f"{len(cases)} cases, {kills} kills")


if __name__ == "__main__":
    began = time.monotonic()
    code = main()
    print(f"{time.monotonic() - began:.0f} s")
    sys.exit(code)
