"""Damage valid files of every kind that the toolkit reads, and see what becomes of it.

    python scripts/torture_files.py [--count 1000] [--seed 0] [--only run] [--seconds 20] [--memory 2] [--out FILE.json]

Each of `--count` cases draws a file and a way to damage it from `--seed` and its own number, reads it in a process of its
own, under a limit of seconds of the processor and of memory in GB, and is one of

    refused    one sentence that names the file, its folder or its data; exit code 2
    equal      the result is that of the valid file
    other      the result is another one: with the reason why nobody could have known, or with none
    unnamed    refused in a sentence that names no file, or in more than one line
    traceback, hang, memory, killed: what must not be

The exit code is 1 if anything must not be. A case is done again alone with ``--count 1 --first NUMBER``.
"""

import argparse
import io
import json
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "support")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from damaged_files.cases import Refused, cases_of_data, cases_of_runs, cases_of_single_files, copied
from damaged_files.mutations import damage
from damaged_files.reasons import reason

from stages.ground.errors import InputError
from weights.manifest import CheckpointError

MUST_NOT_BE = ("traceback", "hang", "memory", "killed", "unnamed")
GOOD = ("refused", "equal", "other")


def main():
    """Run the cases that were asked for; 1 if anything must not be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("data", "run", "single"))
    parser.add_argument("--seconds", type=float, default=20, help="of the processor; five times as many by the clock")
    parser.add_argument("--memory", type=float, default=2, help="GB above what the process has at its start")
    parser.add_argument("--out", type=Path, help="every case as JSON")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        makers = {"data": cases_of_data, "run": cases_of_runs, "single": cases_of_single_files}
        cases = []
        for name, make in makers.items():
            if options.only in (None, name):
                with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                    cases += make(folder)
        kinds = sorted({case.kind for case in cases})
        print(
            f"{len(cases)} files of {len(kinds)} kinds; {options.count} cases from {options.first}, seed {options.seed}"
        )
        expected, found = {}, []
        for number in range(options.first, options.first + options.count):
            draw = np.random.default_rng([options.seed, number])
            kind = kinds[draw.integers(len(kinds))]
            of_kind = [case for case in cases if case.kind == kind]
            case = of_kind[draw.integers(len(of_kind))]
            if (key := id(case)) not in expected:
                _, state, expected[key] = outcome(case, folder / "valid", None, options)
                if state != "read":
                    raise SystemExit(f"The valid {case.kind} {case.file} is not read: {expected[key]}")
            way, state, told = outcome(case, folder / "case", draw, options)
            about = {"told": told}
            if state == "read":
                valid = expected[key]
                changed = sorted(part for part in valid.keys() | told.keys() if valid.get(part) != told.get(part))
                state = "other" if changed and way != "nothing" else "equal"
                about = {"changed": changed, "reason": reason(case.file, way, changed)} if state == "other" else {}
            found.append({"number": number, "kind": kind, "file": str(case.file), "way": way, "outcome": state} | about)
            if state in MUST_NOT_BE or (state == "other" and not about["reason"]):
                what = told if state in MUST_NOT_BE else ", ".join(about["changed"])
                print(f"{number}: {kind}, {case.file}, {way}: {state}: {what[:300]}", flush=True)
            if options.out and (number % 20 == 19 or number == options.first + options.count - 1):
                options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    report(found, kinds)
    return any(one["outcome"] in MUST_NOT_BE for one in found)


def outcome(case, place, draw, options):
    """Read a copy of a case, damaged if `draw` is given, in a process of its own: (way, state, what it told)."""
    with tempfile.TemporaryDirectory(dir=place.parent) as own:
        copy = Path(own) / "copy"
        file = copied(case, copy)
        way = damage(file, draw) if draw is not None else ""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            _limit(options)
            state, told = _read(case, copy, file)
            with os.fdopen(writing, "w", encoding="utf-8", errors="replace") as pipe:
                pipe.write(json.dumps([state, told]))
            os._exit(0)
        os.close(writing)
        # Other programs may keep it waiting.
        deadline, status = time.monotonic() + 5 * options.seconds, None
        while status is None:
            ended, status = os.waitpid(child, os.WNOHANG)
            status = status if ended else None
            if status is None and time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                os.close(reading)
                return way, "hang", f"longer than {5 * options.seconds:g} s by the clock"
            time.sleep(0.002)
        with os.fdopen(reading, encoding="utf-8") as pipe:
            answer = pipe.read()
        if not answer and os.WTERMSIG(status) == signal.SIGXCPU:
            return way, "hang", f"longer than {options.seconds:g} s of the processor"
        if not answer:
            return way, "killed", f"by signal {os.WTERMSIG(status)}"
        return way, *json.loads(answer)


def _limit(options):
    seconds = int(options.seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(options.memory * 2**30),) * 2)


def _read(case, copy, file):
    """State and what was told, in the process of the case."""
    printed = io.StringIO()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return "read", case.read(copy)
    except (InputError, CheckpointError) as error:
        message = str(error)
    except Refused:
        lines = [line for line in printed.getvalue().splitlines() if line.strip()]
        message = lines[-1] if lines else ""
    except MemoryError as error:
        return "memory", str(error)
    except BaseException as error:
        text = printed.getvalue().strip().splitlines()
        return "traceback", f"{type(error).__name__}: {error} {text[-1] if text else ''}"
    named = file.name in message or file.stem in message or str(copy) in message or str(file.parent.name) in message
    return ("refused" if named and "\n" not in message else "unnamed"), message


def report(found, kinds):
    """Print a row for each kind."""
    states = [*GOOD, *MUST_NOT_BE]
    width = max(map(len, kinds))
    print(f"\n{'':{width}}  " + "  ".join(f"{state:>9}" for state in states))
    for kind in kinds:
        counts = Counter(one["outcome"] for one in found if one["kind"] == kind)
        print(f"{kind:{width}}  " + "  ".join(f"{counts[state]:9}" for state in states))
    counts = Counter(one["outcome"] for one in found)
    print(f"{'all':{width}}  " + "  ".join(f"{counts[state]:9}" for state in states))
    reasons = Counter((one["reason"] or "no reason") for one in found if one["outcome"] == "other")
    for why, count in reasons.most_common():
        print(f"{count:5}  other: {why}")


if __name__ == "__main__":
    sys.exit(main())
