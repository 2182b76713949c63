"""Whether this toolkit is right and fast on a device: one command, a table, and the same as JSON.

    python scripts/gpu_check.py                            a CUDA device, published sizes, random weights, within 8 minutes
    python scripts/gpu_check.py --device cpu --size tiny   the same anywhere, within about 2 minutes; its times say nothing

Nothing is downloaded and no data is needed. Right is held against the CPU in float32 (stage one against numpy in float64).
Fast is held against a plain loop, one picture at a time in float32, and against the device's own rate of matrix products,
measured first. A part that fails says so in its row, and the others go on; a part for which no time is left is skipped, and
says so. The exit code is 1 if a part failed or an allowed difference is exceeded.
"""

import argparse
import gc
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import diffusers
import torch
from diffusers.utils import logging
from gpu_parts.check import Check, Row
from gpu_parts.drawing import drawing, settings, waiting
from gpu_parts.features import features
from gpu_parts.matrix_rate import matrix_rate
from gpu_parts.right_generators import right_generators, same_at_any_batch
from gpu_parts.right_networks import right_networks, right_ridge
from gpu_parts.stage_one import stage_one
from gpu_parts.training import training

# Name, part, and the seconds that must be left for it to begin: about what it takes at full size.
PARTS = [
    ("matrix products", matrix_rate, 5),
    ("stage one is right", right_ridge, 5),
    ("networks are right", right_networks, 20),
    ("generators are right", right_generators, 20),
    ("nothing waits", waiting, 20),
    ("drawing", drawing, 60),
    ("same at any batch", same_at_any_batch, 45),
    ("features", features, 30),
    ("stage one", stage_one, 40),
    ("training", training, 40),
    ("settings", settings, 40),
]


def parsed(arguments=None):
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog=f"Parts: {', '.join(name for name, *_ in PARTS)}."
    )
    parser.add_argument("--device", default="cuda", help="as in torch (default cuda)")
    parser.add_argument("--size", choices=["full", "tiny"], default="full")
    parser.add_argument("--minutes", type=float, default=8, help="begin no part after which this would be over (8)")
    parser.add_argument("--only", nargs="+", metavar="PART", help="these parts alone, and matrix products")
    parser.add_argument("--out", type=Path, default=Path("gpu_check.json"), help="default gpu_check.json")
    options = parser.parse_args(arguments)
    unknown = set(options.only or ()) - {name for name, *_ in PARTS}
    if unknown:
        parser.error(f"--only has {', '.join(sorted(unknown))}; the parts are {', '.join(name for name, *_ in PARTS)}")
    if torch.device(options.device).type == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device; pass --device cpu --size tiny to try the script itself")
    return options


def checked(check, only=None, parts=PARTS, say=print):
    """Run the parts; a dict for each row, and one for each part that failed or was left out."""
    found = []
    for name, part, needed in parts:
        if only and name not in only and part is not matrix_rate:
            continue
        began = time.perf_counter()
        if check.left() < (needed if check.full else 1):
            rows = [{"what": f"skipped: {check.left():.0f} s left, {needed} needed", "skipped": True}]
        else:
            rows = _rows_of(check, part)
        for row in rows:
            found.append({"part": name, **row})
            say(line(found[-1]))
        # Not in the table: what the parts cost, for the next budget.
        found.append({"part": name, "what": "took", "found": time.perf_counter() - began, "unit": "s"})
        gc.collect()
        if check.device.type == "cuda":
            torch.cuda.empty_cache()
    return found


def _rows_of(check, part):
    """Yield a part's rows as plain data; if it fails, a row that says why."""
    try:
        for row in part(check):
            yield row.as_data(check.rates)
    except Exception as error:
        # Whatever fails in one part, the others are worth their minutes.
        yield Row.of_failure("the rest of it", error).as_data(check.rates)


def line(row):
    """One line of the table, as markdown."""
    verdict = "FAILED" if row.get("failed") else {True: "right", False: "WRONG", None: ""}[row.get("right")]
    value = row.get("found")
    shown = "" if value is None else f"{value:.3g} {row['unit']}"
    allowed = "" if row.get("allowed") is None else f"{row['allowed']:.3g}"
    times = f"{row['times']:.2f} x" if row.get("times") else ""
    share = f"{100 * row['share']:.0f} %" if row.get("share") else ""
    note = " ".join(filter(None, (row.get("failed"), row.get("note"))))
    cells = (row["part"], row["what"], shown, allowed, verdict, times, share, note)
    return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"


HEADING = [
    "| part | | found | allowed | | times plain | of matrix rate | |",
    "|---|---|---|---|---|---|---|---|",
]


def machine(device):
    """What it was measured on, as plain data."""
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else f"a CPU, {torch.get_num_threads()} threads"
    return {"device": named, "torch": torch.__version__, "diffusers": diffusers.__version__, "cuda": torch.version.cuda}


def main(arguments=None):
    """Run all parts, print the table, write the JSON; the exit code."""
    options = parsed(arguments)
    logging.set_verbosity_error()
    check = Check(torch.device(options.device), options.size, options.minutes)
    about = machine(check.device) | {"size": check.size, "minutes": check.minutes}
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print("\n".join(HEADING), flush=True)
    found = checked(check, options.only, say=lambda text: print(text, flush=True))
    wrong = [row for row in found if row.get("failed") or row.get("right") is False]
    skipped = sorted({row["part"] for row in found if row.get("skipped")})
    about["seconds"] = time.perf_counter() - check.began
    options.out.write_text(json.dumps(about | {"rows": found}, indent=1, allow_nan=False) + "\n")
    print(
        f"\n{about['seconds']:.0f} s; {len(wrong)} wrong or failed; skipped: {', '.join(skipped) or 'nothing'}; "
        f"written to {options.out}"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
