"""Time several processes that draw into one run folder against one alone, each with one thread, on the same work.

    python scripts/bench_processes.py [--processes 2] [--repeats 3] [--stimuli 60] [--samples 1] [--out FILE.json]

A run of `brain-diffuser` on the embedded default is fitted once. Each repeat draws all its pictures by one process and by
several, one after the other in turns, from "go" until the last has ended; what all of them have loaded is loaded before, since
they are forked. Printed are, for each repeat, the seconds and their ratio, and the ratio that idle cores would give: the time of
the processor that one had over the most that any of several had, with what it waited for others (the least) and without (the
most). The first ratio holds if the machine has a core for each process and nothing else to do.

Every picture has to be there once in the manifest, and to be that of one process to a grey level.
"""

import argparse
import io
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from PIL import Image

from brainrecon.cli.main import run_command
from brainrecon.runs import claims


def main():
    """Print a line for each repeat, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--stimuli", type=int, default=60, help="test pictures of the simulated subject")
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--batch-size", type=int, help="the system's own by default")
    parser.add_argument("--out", type=Path, help="as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        _fit(folder, options)
        for repeat in range(options.repeats):
            # In turns, for a machine gets warm.
            order = (1, options.processes) if repeat % 2 == 0 else (options.processes, 1)
            timed = {n: drawn_by(n, folder, options) for n in order}
            one, several = timed[1], timed[options.processes]
            _compare(folder, options)
            alone = one["processor"][0]
            found.append({
                "ratio": one["seconds"] / several["seconds"],
                "least_on_idle_cores": alone / max(map(sum, zip(several["processor"], several["waited"]))),
                "most_on_idle_cores": alone / max(several["processor"]),
                "one": one,
                "several": several,
            })  # fmt: skip
            print(
                f"one {one['seconds']:.2f} s, {options.processes} {several['seconds']:.2f} s: {_ratios(found[-1])}; one had "
                f"{alone:.2f} s of the processor, several {_listed(several['processor'])} s; they drew "
                f"{_listed(several['pictures'])} pictures, and waited {_listed(several['waited'])} s",
                flush=True,
            )
    names = ("ratio", "least_on_idle_cores", "most_on_idle_cores")
    medians = {name: statistics.median(one[name] for one in found) for name in names}
    print(f"median {_ratios(medians)}")
    if options.out:
        options.out.write_text(json.dumps({"median": medians, "repeats": found}, indent=1) + "\n", encoding="utf-8")


def _listed(values):
    return ", ".join(f"{value:.2f}".removesuffix(".00") for value in values)


def _ratios(values):
    least, most = values["least_on_idle_cores"], values["most_on_idle_cores"]
    return f"ratio {values['ratio']:.2f}, on idle cores {least:.2f} to {most:.2f}"


def _fit(folder, options):
    lines = [
        f"simulate {folder}/nsd --sessions 4 --trials-per-session {3 * options.stimuli} --shared {options.stimuli} --voxels 300",
        f"fit brain-diffuser nsd:{folder}/nsd --weights tiny --samples {options.samples} --out {folder}/fitted",
    ]
    for line in lines:
        _typed([*line.split(), *([] if line.startswith("simulate") else ["--features", str(folder / "features")])])
    # What is loaded once for all.
    shutil.copytree(folder / "fitted", folder / "warm")
    _typed(_line(folder, "warm", options))


def _line(folder, name, options):
    own = ["--batch-size", str(options.batch_size)] if options.batch_size else []
    return ["reconstruct", str(folder / name), "--features", str(folder / "features"), *own]


def _typed(line):
    with redirect_stdout(io.StringIO()), redirect_stderr(told := io.StringIO()):
        code = run_command(line)
    if code:
        raise SystemExit(f"brainrecon {' '.join(line)} ended with {code}: {told.getvalue()[-500:]}")


def drawn_by(n, folder, options):
    """Draw a copy of the run by `n` processes: seconds, and of each its processor's, what it waited, and its pictures."""
    name = f"by-{n}"
    shutil.rmtree(folder / name, ignore_errors=True)
    shutil.copytree(folder / "fitted", folder / name)
    ready, go = os.pipe(), os.pipe()
    answers = []
    for _ in range(n):
        reading, writing = os.pipe()
        if not os.fork():
            os.write(ready[1], b"1")
            os.read(go[0], 1)
            os.write(writing, json.dumps(_draw(_line(folder, name, options))).encode())
            os._exit(0)
        os.close(writing)
        answers.append(reading)
    for _ in range(n):
        os.read(ready[0], 1)
    begun = time.perf_counter()
    os.write(go[1], b"1" * n)
    told = []
    for answer in answers:
        with os.fdopen(answer) as pipe:
            told.append(json.loads(pipe.read()))
    seconds = time.perf_counter() - begun
    for _ in range(n):
        os.wait()
    return {"seconds": seconds} | {key: [one[key] for one in told] for key in ("processor", "waited", "pictures")}


def _draw(line):
    waited, pictures, sleep = [], [], time.sleep

    class Clock:
        """The time as claims see it."""

        @staticmethod
        def sleep(seconds):
            begun = time.perf_counter()
            sleep(seconds)
            waited.append(time.perf_counter() - begun)

    claims.time = Clock
    take = claims.Claims._take

    def counted(self, left, path_of, *rest):
        portion = take(self, left, path_of, *rest)
        pictures.extend(item for item in portion if path_of(item).parent.name == "images")
        return portion

    claims.Claims._take = counted
    begun = time.process_time()
    _typed(line)
    return {"processor": time.process_time() - begun, "waited": sum(waited), "pictures": len(pictures)}


def _compare(folder, options):
    """Refuse pictures that are not those of one process, or that were drawn twice."""
    one, several = folder / "by-1", folder / f"by-{options.processes}"
    names = sorted(path.relative_to(one) for path in one.rglob("*.png"))
    if names != sorted(path.relative_to(several) for path in several.rglob("*.png")):
        raise SystemExit("Several processes left other files than one.")
    for name in names:
        first, other = (np.asarray(Image.open(place / name)).astype(int) for place in (one, several))
        if np.abs(first - other).max() > 1:
            raise SystemExit(f"{name} is another picture.")
    lines = Counter(json.loads(line)["file"] for line in (several / "manifest.jsonl").read_text().splitlines())
    if twice := [name for name, count in lines.items() if count > 1]:
        raise SystemExit(f"{twice[0]} was drawn {lines[twice[0]]} times.")
    if len(lines) != len(names):
        raise SystemExit(f"The manifest has {len(lines)} files of {len(names)}.")


if __name__ == "__main__":
    sys.exit(main())
