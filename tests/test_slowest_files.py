"""The files that took longest are said at the end of a run, and begun first."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import slowest_files
from slowest_files import LONGEST, longest_first, seconds_by_file, table

ROOT = Path(__file__).resolve().parents[1]


def test_every_phase_of_every_test_of_a_file_counts():
    reports = [
        ("a.py::test_one[x::y]", 1.0),
        ("b.py::test_two", 0.5),
        ("a.py::test_one[x::y]", 0.25),
        ("a.py::C::t", 2),
    ]
    assert seconds_by_file(reports) == {"a.py": 3.25, "b.py": 0.5}


def test_the_table_is_sorted_and_says_the_share():
    lines = table({"short.py": 1.0, "long.py": 6.0, "middle.py": 3.0}, 2)
    assert lines == ["   6.0 s  long.py", "   3.0 s  middle.py", "90 % of the 10 s of 3 files"]
    assert table({}, 2) == []


def test_long_files_come_first_and_no_test_changes_its_place_in_its_file(monkeypatch):
    monkeypatch.setattr(slowest_files, "LONGEST", ("c.py", "b.py"))
    names = ["a.py::2", "a.py::1", "b.py::2", "b.py::1", "c.py::1", "d.py::1"]
    items = [SimpleNamespace(nodeid=name) for name in names]
    sorted_names = [item.nodeid for item in longest_first(items)]
    assert sorted_names == ["c.py::1", "b.py::2", "b.py::1", "a.py::2", "a.py::1", "d.py::1"]


def test_every_file_that_is_begun_first_is_there():
    assert LONGEST and len(set(LONGEST)) == len(LONGEST)
    assert not [name for name in LONGEST if not (ROOT / name).is_file()]


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_run_says_its_slowest_files(tmp_path, processes):
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    waits = {"quick": (0.0, 0.0), "long": (0.4, 0.4), "middle": (0.2, 0.2)}
    for name, (made, done) in waits.items():
        (tmp_path / f"test_{name}.py").write_text(
            "import pytest, time\n"
            f"@pytest.fixture\ndef made():\n    time.sleep({made})\n"
            f"def test_one(made):\n    time.sleep({done})\n"
        )
    command = [sys.executable, "-m", "pytest", "-q", "--numprocesses", processes, "--dist", "loadfile"]
    ran = subprocess.run(
        [*command, "--no-loadscope-reorder", "--slowest-files", "2"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / "support")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "slowest 2 files" in ran.stdout
    assert "3 passed" in ran.stdout
    found = re.findall(r"^ *(\d+\.\d) s  (test_\w+\.py)$", ran.stdout, flags=re.M)
    # A machine that is busy makes them longer and never shorter.
    assert len(found) == 2 and [float(seconds) >= 0.4 for seconds, _ in found] == [True, True]
    assert re.search(r"^\d+ % of the \d+ s of 3 files$", ran.stdout, flags=re.M)
