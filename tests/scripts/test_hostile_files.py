"""Every damaged or hostile file that was once not refused, made anew and read by the line that reads it.

The rows are those of `damaged_files.rows`, each under its own name; `scripts/hostile_files.py` goes through the same rows with
files from elsewhere.
"""

import re
from pathlib import Path

import pytest
import torch
from damaged_files.outcome import Valid, outcome
from damaged_files.rows import MAKE_OUTSIDE, ROWS, rows_named
from damaged_files.sandbox import Sandbox, changed

# A run is made first, which takes a while on a slow machine.
OF_RUNS = {name for name, row in ROWS.items() if row.place.valid == "run"}


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    torch.set_num_threads(1)
    return Valid(tmp_path_factory.mktemp("hostile"))


@pytest.mark.parametrize(
    "name",
    [
        # Of what is no run, every second row in the ordinary group: each reader has several.
        pytest.param(name, marks=pytest.mark.slow) if name in OF_RUNS or place % 2 else name
        for place, name in enumerate(ROWS)
    ],
)
def test_row(name, valid):
    seen = outcome(ROWS[name], valid)
    assert seen["good"], f"expected: {ROWS[name].expected}; found: {seen['found']}: {seen['sentence']}"
    assert "\x1b" not in seen["sentence"] and seen["gigabytes"] < 2


def test_rows_of_one_line_of_a_table_are_found_together():
    found = [re.search(r"\[(\w+)\]$", row.name)[1] for row in rows_named(MAKE_OUTSIDE)]
    assert found == ["storage", "link", "set"]
    assert rows_named("data-nothing") == []


def test_a_sandbox_sees_what_is_written_outside(tmp_path):
    box = Sandbox(tmp_path / "box")
    (box.here / "kept").write_text("kept")
    before = box.state()
    (box.out / "deep").mkdir(parents=True)
    assert changed(before, box.state(), box.out) == []
    (box.home / ".bashrc").write_text("another\n")
    (box.here / "escaped").symlink_to("/etc")
    (box.here / "kept").unlink()
    found = changed(before, box.state(), box.out)
    assert {path.name for path in found} == {".bashrc", "escaped", "kept"}


def test_a_sandbox_ends_what_takes_long_and_tells_a_program_that_was_started(tmp_path, monkeypatch):
    import damaged_files.sandbox as module

    def wait(arguments):
        import time

        time.sleep(60)

    def start(arguments):
        import os

        return os.system("gs -dBATCH") * 0

    box = Sandbox(tmp_path / "box")
    monkeypatch.setattr(module, "run_command", wait)
    assert box.run("anything", seconds=0.5).code is None
    assert not box.marker.exists()
    monkeypatch.setattr(module, "run_command", start)
    assert box.run("anything", seconds=20).code == 0
    assert Path(box.marker).exists()


def test_a_sandbox_limits_memory(tmp_path, monkeypatch):
    import damaged_files.sandbox as module

    def fill(arguments):
        return len(bytearray(3 * 2**30)) * 0

    monkeypatch.setattr(module, "run_command", fill)
    ended = Sandbox(tmp_path / "box").run("anything", seconds=20, gigabytes=1)
    assert ended.code != 0 and ended.gigabytes < 1
