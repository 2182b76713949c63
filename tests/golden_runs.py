"""Golden runs: one small run of every method, hashed, to hold a change of structure against what was there before.

Every method runs on one simulated subject with the embedded networks (the maintained generators with random checkpoints
in the published layouts), under every condition it has, through the command line alone. Embeddings, pictures and scores
are hashed by value, not as files, so that a file may move. Hashes are compared on one machine: matrix kernels differ from
processor to processor.

    python tests/golden_runs.py --write before.json          in the checkout before the change
    python tests/golden_runs.py --against before.json        in the checkout after it
"""

import argparse
import csv
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import load_file
from small_systems import SMALL, pull_random

from brainrecon.assembly.registry import system_class
from brainrecon.cli.main import run_command

# The default protocol scores pictures.
PICTURES = [name for name in SMALL if system_class(name).output == "picture"]


def main():
    """Run every method, or those that are named, and write or compare the hashes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", type=Path, help="write the hashes here")
    parser.add_argument("--against", type=Path, help="compare with hashes that were written before")
    parser.add_argument("--methods", default=",".join(PICTURES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        cohort = place / "nsd"
        options = "--sessions 3 --trials-per-session 60 --shared 12 --voxels 300"
        command("simulate", cohort, *options.split())
        for method in arguments.methods.split(","):
            found[method] = golden(method, cohort, place)
    if arguments.write:
        arguments.write.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    if arguments.against:
        return compare(json.loads(arguments.against.read_text()), found)
    return 0


def golden(method, cohort, place):
    """Hashes of one run: dict of what was hashed to a short digest."""
    small = SMALL[method]
    os.environ["BRAINRECON_WEIGHTS"] = str(place / "store" / method)
    pull_random(method, place / "origins" / method)
    run = place / "runs" / method
    chosen = [f"--set={text}" for text in small.settings]
    options = ["--weights", small.weights] if small.weights else []
    features = ["--features", place / "features"]
    # Reproducible: each picture by itself, so that which pictures share a batch changes no hash.
    drawn = ["--controls", "all", "--reproducible"]
    command("run", method, f"nsd:{cohort}", "--out", run, *features, *drawn, *options, *chosen)
    return hashes(run)


def hashes(run):
    """Hashes of the embeddings, of the pictures under each condition, and of the scores of a run folder."""
    found = {}
    for path in sorted((run / "embeddings").glob("*.safetensors")):
        for name, values in sorted(load_file(path).items()):
            found[f"embeddings/{path.stem}/{name}"] = digest(values)
    for folder in sorted({path.parent for path in run.rglob("*.png")}):
        name = folder.relative_to(run).as_posix()
        pictures = (np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.png")))
        found[f"pictures/{name}"] = digest(*pictures)
    for path in sorted((run / "scores").glob("*.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            found[f"scores/{path.stem}"] = digest(json.dumps(list(csv.reader(file))))
    return found


def digest(*parts):
    """Short hash of arrays and texts."""
    whole = hashlib.sha256()
    for part in parts:
        if not isinstance(part, str):
            whole.update(f"{part.shape} {part.dtype}".encode())
            part = np.ascontiguousarray(part).tobytes()
        whole.update(part if isinstance(part, bytes) else part.encode())
    return whole.hexdigest()[:16]


def compare(before, after):
    """Print every hash that differs; 1 if there is one."""
    differing, equal = 0, 0
    for method, now in after.items():
        then = before.get(method, {})
        for name in sorted(then.keys() | now.keys()):
            if then.get(name) == now.get(name):
                equal += 1
            else:
                differing += 1
                print(f"{method}: {name} was {then.get(name, 'absent')}, is {now.get(name, 'absent')}")
    print(f"{equal} hashes equal, {differing} differ, over {len(after)} methods")
    return 1 if differing else 0


def command(*words):
    """Run one command of the toolkit; a failure ends everything."""
    if code := run_command([str(word) for word in words]):
        raise SystemExit(f"brainrecon {' '.join(map(str, words))} ended with {code}")


if __name__ == "__main__":
    sys.exit(main())
