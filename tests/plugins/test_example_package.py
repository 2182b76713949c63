"""The example package is built, installed beside the toolkit, and used through every verb; its page is its source."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tests" / "example_package"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the installed package in `site`, and its data in `flicker.npz`."""
    folder = tmp_path_factory.mktemp("flicker")
    built = call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, folder=PACKAGE, site=None)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("flicker-*.whl")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", folder / "site")
    installed = call(*pip, wheel, folder=folder, site=None)
    assert installed.returncode == 0, installed.stderr
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (40, 1, 1, 3), dtype=np.uint8).repeat(16, axis=1).repeat(16, axis=2)
    shown = np.repeat(np.arange(40), 2)
    told = pictures[shown, 0, 0].astype(float) @ random.normal(size=(3, 30)) / 100
    np.savez(folder / "flicker.npz", betas=told + random.normal(size=told.shape), shown=shown, pictures=pictures)
    return folder


def call(*command, folder, site):
    """Run a command that sees the installed package, and the toolkit of this checkout."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, filter(None, (site, ROOT)))),
        "OMP_NUM_THREADS": "1",
    }
    line = [str(part) for part in command]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)


def brainrecon(place, *words):
    """The output of a command of the toolkit; it has to end well."""
    done = call(sys.executable, "-m", "brainrecon", *words, folder=place, site=place / "site")
    assert done.returncode == 0, done.stderr
    return done.stdout


PARTS = ["--set", "targets.resnet=resnet18", "--set", "decoder=perceptron", "--set", "generator=unconditional"]


def test_its_names_are_listed_and_told(place):
    assert "flicker-2026" in brainrecon(place, "methods")
    said = brainrecon(place, "methods", "flicker-2026")
    assert "Learn: patterns -> resnet" in said and "Nobody (2026)" in said and "trials = 'averaged'" in said
    assert "voxels: 30 of all" in brainrecon(place, "data", "info", "flicker:flicker.npz")


def test_its_system_runs_on_its_data_and_is_scored_by_its_metric(place):
    files = ["--features", "features", "--controls", "essential"]
    brainrecon(
        place, "run", "flicker-2026", "flicker:flicker.npz", "--out", "run", *files, "--protocol", "miyawaki-2008"
    )
    protocol = place / "site" / "flicker" / "protocol.toml"
    said = brainrecon(place, "evaluate", "run", "--protocol", protocol, "--features", "features")
    assert "Colour agreement" in said and "Shuffled responses" in said and "Picture from brain" in said
    brainrecon(place, "report", "run", "--protocol", protocol)
    report = (place / "run" / "report.html").read_text()
    assert "Colour agreement" in report and "Nobody (2026). An example." in report and "validation loss" in report
    assert "retrieval" in report.lower()
    again = brainrecon(
        place, "run", "flicker-2026", "flicker:flicker.npz", "--out", "run", *files, "--protocol", "miyawaki-2008"
    )
    assert "PixCorr" in again


def test_its_parts_are_assembled_by_name(place):
    line = ["run", "assembled", "flicker:flicker.npz", "--out", "assembled", "--features", "features", *PARTS]
    brainrecon(place, *line, "--protocol", "miyawaki-2008")
    ridge = [word.replace("decoder=perceptron", "decoder=ridge") for word in line]
    ridge[ridge.index("assembled", 3)] = "by-ridge"
    brainrecon(place, *ridge, "--protocol", "miyawaki-2008")
    own, other = (
        {path.name: path.read_bytes() for path in (place / name / "images").iterdir()}
        for name in ("assembled", "by-ridge")
    )
    assert own.keys() == other.keys() and own != other


def test_it_stands_in_a_benchmark_beside_the_nulls(place):
    protocol = place / "site" / "flicker" / "protocol.toml"
    methods = [
        "--methods",
        "flicker-2026,mean-image",
        "--protocols",
        protocol,
        "--heldout",
        "none",
        "--controls",
        "none",
    ]
    brainrecon(place, "benchmark", "flicker:flicker.npz", *methods, "--out", "bench", "--features", "features")
    board = (place / "bench" / "leaderboard.csv").read_text()
    assert "flicker-2026" in board and "mean-image" in board and "colour" in board


def test_a_misspelt_part_is_told(place):
    line = ["run", "assembled", "flicker:flicker.npz", "--out", "nothing", *PARTS, "--set", "generator=unconditonal"]
    done = call(sys.executable, "-m", "brainrecon", *line, folder=place, site=place / "site")
    assert done.returncode == 2 and "did you mean 'unconditional'" in done.stderr
    assert not (place / "nothing").exists()


def test_the_page_is_the_source():
    page = (ROOT / "docs" / "your-own.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"`(?:tests/example_package/)?([\w/.]+)`:\n\n```\w+\n(.*?)```", page, re.DOTALL))
    files = [path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".toml") and path.name != "__init__.py"]
    assert blocks.keys() == {path.relative_to(PACKAGE).as_posix() for path in files}
    for path in files:
        assert blocks[path.relative_to(PACKAGE).as_posix()] == path.read_text(encoding="utf-8"), path
