"""Put damaged and hostile files where they belong, type the command that reads them, and see what becomes of it.

    python scripts/hostile_files.py FOLDER [--only WORD] [--out FILE.json]

FOLDER has a README.md with a table, a row a file: what it is called, where it goes, the line, what happened, what is expected.
Each goes into valid data that are written here, and its line is run in a process of its own: no longer than the valid file
takes and 20 seconds, with no more than 2 GB above its start, with a home of its own, and with a program called gs before all
others that writes down that it was started. The exit code is 1 if any row is not as expected.
"""

import argparse
import io
import json
import os
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "support")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

from damaged_files.outcome import Valid, outcome
from damaged_files.rows import rows_named


def main():
    """Go through the rows; 1 if any is not as expected."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with README.md and the files that it lists")
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    parser.add_argument("--out", type=Path, help="every row as JSON")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    listed = rows_of(options.folder / "README.md")
    unknown = [name for name in listed if not rows_named(name)]
    found, missed = [], [f"{name}: no row of that name is known here" for name in unknown]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = str(Path(folder) / "cache")
        valid = Valid(Path(folder))
        for name in listed:
            for row in rows_named(name) if options.only in name else []:
                with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                    try:
                        seen = outcome(row, valid, options.folder / name)
                    except Exception as error:
                        seen = {"good": False, "found": f"could not be tried: {error!r}"}
                found.append({"row": row.name, "expected": row.expected} | seen)
                print(f"{'as expected' if seen['good'] else 'MISSED':11}  {row.name}: {seen['found']}", flush=True)
                if not seen["good"]:
                    missed.append(f"{row.name}: expected: {row.expected}; found: {seen['found']}")
    print(f"\n{len(listed)} rows listed, {len(found)} gone through, {len(missed)} not as expected")
    for line in missed:
        print(line)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return bool(missed)


def rows_of(readme):
    """Names of the rows of a table in Markdown, from its first column."""
    lines = [line for line in readme.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    return [line.split("|")[1].strip() for line in lines[2:]]


if __name__ == "__main__":
    sys.exit(main())
