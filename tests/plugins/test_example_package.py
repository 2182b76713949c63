"""The example package is built, installed beside the toolkit, and used through every verb; its page is its source."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tests" / "example_package"

# Runs the commands of a JSON file in order, and writes exit code, output and errors of each into another.
PROGRAM = """
import contextlib, io, json, sys
from brainrecon.cli.main import run_command
done = {}
for name, words in json.load(open(sys.argv[1])).items():
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_command(words)
    done[name] = [code, out.getvalue(), err.getvalue()]
json.dump(done, open(sys.argv[2], "w"))
"""

DATA, FILES = "flicker:flicker.npz", ["--features", "features"]
PROTOCOL = "site/flicker/protocol.toml"
PARTS = ["--set", "targets.resnet=resnet18", "--set", "generator=unconditional"]
CELLS = ["--protocol", "miyawaki-2008"]
RUN = ["run", "flicker-2026", DATA, "--out", "run", *FILES, "--controls", "essential", *CELLS]
COMMANDS = {
    "methods": ["methods"],
    "method": ["methods", "flicker-2026"],
    "data": ["data", "info", DATA],
    "run": RUN,
    "again": RUN,
    "evaluate": ["evaluate", "run", "--protocol", PROTOCOL, *FILES],
    "report": ["report", "run", "--protocol", PROTOCOL],
    "trace": ["trace", "run", "p036", *FILES],
    "assembled": ["run", "assembled", DATA, "--out", "by-name", *FILES, *PARTS, "--set", "decoder=perceptron", *CELLS],
    "by ridge": ["run", "assembled", DATA, "--out", "by-ridge", *FILES, *PARTS, *CELLS],
    "benchmark": [
        *("benchmark", DATA, "--methods", "flicker-2026,mean-image", "--protocols", PROTOCOL, "--heldout", "none"),
        *("--controls", "none", "--out", "bench", *FILES),
    ],
    "misspelt": ["run", "assembled", DATA, "--out", "nothing", *PARTS, "--set", "generator=unconditonal"],
}


class Done(NamedTuple):
    code: int
    out: str
    err: str


def call(*command, folder, path=None):
    line = [str(part) for part in command]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | ({"PYTHONPATH": path} if path else {})
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the installed package in `site`, and its data in `flicker.npz`."""
    folder = tmp_path_factory.mktemp("flicker")
    call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, folder=PACKAGE)
    (wheel,) = folder.glob("flicker-*.whl")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    call(*pip, "--target", folder / "site", wheel, folder=folder)
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (40, 1, 1, 3), dtype=np.uint8).repeat(16, axis=1).repeat(16, axis=2)
    shown = np.repeat(np.arange(40), 2)
    told = pictures[shown, 0, 0].astype(float) @ random.normal(size=(3, 30)) / 100
    np.savez(folder / "flicker.npz", betas=told + random.normal(size=told.shape), shown=shown, pictures=pictures)
    return folder


@pytest.fixture(scope="module")
def done(place):
    """What each command did, all of them in one process that sees the installed package and the toolkit of this checkout."""
    (place / "commands.json").write_text(json.dumps(COMMANDS))
    path = os.pathsep.join([str(place / "site"), str(ROOT)])
    call(sys.executable, "-c", PROGRAM, "commands.json", "done.json", folder=place, path=path)
    return {name: Done(*what) for name, what in json.loads((place / "done.json").read_text()).items()}


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "misspelt"])
def test_every_verb_ends_well(done, name):
    assert done[name].code == 0, done[name].err


def test_its_names_are_listed_and_told(done):
    assert "flicker-2026" in done["methods"].out
    said = done["method"].out
    assert "Learn: patterns -> resnet" in said and "Nobody (2026)" in said and "trials = 'averaged'" in said
    assert "voxels: 30 of all" in done["data"].out


def test_its_system_is_scored_by_its_metric_and_reported(done, place):
    said = done["evaluate"].out
    assert "Colour agreement" in said and "Shuffled responses" in said and "Picture from brain" in said
    report = (place / "run" / "report.html").read_text()
    for text in (
        "Colour agreement",
        "Nobody (2026). An example.",
        "Nothing was measured",
        "Picture from brain",
        "Validation loss",
    ):
        assert text in report, text
    assert "resnet (Learn)" in done["trace"].out


def test_a_second_time_nothing_is_done_again(done):
    assert "training resnet: 60/60" in done["run"].err and "reconstructing" in done["run"].err
    assert "reconstructing" not in done["again"].err and "training" not in done["again"].err


def test_its_parts_are_assembled_by_name(done, place):
    own, other = (
        {path.name: path.read_bytes() for path in (place / name / "images").iterdir()}
        for name in ("by-name", "by-ridge")
    )
    assert own.keys() == other.keys() and own != other


def test_it_stands_in_a_benchmark_beside_a_null(done, place):
    board = (place / "bench" / "leaderboard.csv").read_text()
    assert "flicker-2026" in board and "mean-image" in board and "colour" in board


def test_a_misspelt_part_is_told(done, place):
    assert done["misspelt"].code == 2 and "did you mean 'unconditional'" in done["misspelt"].err
    assert not (place / "nothing").exists()


def test_the_page_is_the_source():
    page = (ROOT / "docs" / "guide" / "your-own.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"`([\w/.]+)`:\n\n```\w+\n(.*?)```", page, re.DOTALL))
    files = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".toml") and path.name != "__init__.py"]
    assert blocks.keys() == {path.relative_to(PACKAGE).as_posix() for path in files}
    for path in files:
        assert blocks[path.relative_to(PACKAGE).as_posix()] == path.read_text(encoding="utf-8"), path
