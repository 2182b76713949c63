"""The script that hinders every command: what it compares, what it calls which outcome, and a few cases of it as a whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hindered.cases import _state
from hindered.command import Ended, _is_progress
from hindered.folders import content, differences, laid
from hindered.hindrances import Hindrance, little_memory
from hindered.versions import OF_BENCHMARKS, OF_RUNS
from hindered.works import WORKS, Place

ROOT = Path(__file__).resolve().parents[2]


def test_a_folder_is_compared_to_the_byte_but_for_locks_and_times(tmp_path):
    (one := tmp_path / "one").mkdir()
    (one / "a").write_text("a")
    (one / "manifest.jsonl").write_text(
        '{"file": "a", "sha256": "0", "time": 1}\n{"file": "b", "sha256": "1", "time": 2}\n'
    )
    laid(one, other := tmp_path / "other")
    (other / ".fit.lock").touch()
    (other / "manifest.jsonl").write_text(
        '{"file": "b", "sha256": "1", "time": 3}\n{"file": "a", "sha256": "0", "time": 4}\n'
    )
    assert not differences(content(other), content(one))
    (other / "a").write_text("b")
    (other / ".partial-x").mkdir()
    (one / "c").touch()
    assert differences(content(other), content(one)) == [".partial-x is left", "a is other", "c is missing"]


@pytest.mark.parametrize(
    ("code", "told", "state"),
    [
        (0, [], "done"),
        (0, ["Files cannot be locked."], "done, told"),
        (2, ["Permission denied: {place}/disk; choose a folder."], "refused"),
        (2, ["Permission denied; choose a folder."], "unnamed"),
        (1, ["Unexpected KeyError: 'a'."], "unexpected"),
        (2, ["Traceback (most recent call last):", "{place}"], "unexpected"),
        ("SIGSEGV", [], "killed"),
        ("hang", [], "hang"),
    ],
)
def test_outcomes(tmp_path, code, told, state):
    ended = Ended(code, [line.format(place=tmp_path) for line in told], 0.1)
    assert _state(ended, Hindrance("a", "b"), Place(tmp_path))[0] == state


def test_a_refusal_for_want_of_memory_names_the_memory(tmp_path):
    ended = Ended(2, ["Memory does not suffice (x); end other programs."], 0.1)
    assert _state(ended, little_memory(8), Place(tmp_path))[0] == "refused"


def test_lines_of_progress_are_no_remarks():
    assert _is_progress("stage one: 5/5 (100 %), done in 0.2 s") and not _is_progress("Files in a: 5 of them.")


def test_what_was_forged_is_put_back(tmp_path):
    place = Place(tmp_path)
    files = {
        "run/config.toml": 'method = "a"\n[data]\nsource = "b"\n[settings]\nc = 1\n',
        "run/environment.json": '{"packages": {"brainrecon": "0"}}',
        "run/manifest.jsonl": '{"file": "a", "sha256": "0", "time": 1}\n',
        "bench/benchmark.toml": 'folds = 0\n[methods.a]\nmethod = "a"\n[methods.a.settings]\nc = 1\n',
    }
    for name, text in files.items():
        (place.disk / name).parent.mkdir(parents=True, exist_ok=True)
        (place.disk / name).write_text(text)
    before, changed = content(place.disk), set()
    for hindrance, pattern in (*OF_RUNS, *OF_BENCHMARKS):
        hindrance.lay(place)
        if differences(content(place.disk), before):
            changed.add(pattern)
        hindrance.lift(place)
        assert not differences(content(place.disk), before), hindrance.how
    # Times of the manifest are not compared.
    assert changed == set(files) - {"run/manifest.jsonl"}


def test_every_verb_that_writes_is_there():
    verbs = {"simulate", "data prepare", "features", "fit", "reconstruct", "run", "evaluate", "report", "benchmark"}
    assert WORKS.keys() == verbs | {"predict", "weights pull"}
    assert all(work.line.startswith(name) for name, work in WORKS.items())


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount a disk")
def test_a_few_cases(tmp_path):
    line = [sys.executable, "scripts/torture_machine.py", "--works", "predict,weights pull", "--places", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [*line, "--out", str(tmp_path / "found.json")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert {one["work"] for one in found} == {"predict", "weights pull"}
    assert {"refused", "done"} <= {one["outcome"] for one in found}
