"""One at a time, across machines that share files and no locks."""

import json
import os
import subprocess
import sys

import pytest

from brainrecon.studies import presence
from brainrecon.studies.presence import present
from stages.ground.errors import InputError


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(presence, "SECONDS_BETWEEN_LOOKS", 0.01)


def test_a_second_one_is_told_who_is_at_work_and_then_comes_in(tmp_path):
    note = tmp_path / "bench" / ".cluster" / "head.json"
    with present(note, wait=False):
        with pytest.raises(
            InputError, match=rf"bench is being worked through by process {os.getpid()} on .* already; wait"
        ):
            with present(note, wait=False):
                pass
    with present(note, wait=False):
        assert note.exists()
    assert not list(note.parent.iterdir())


def test_the_note_of_a_process_that_was_killed_counts_for_nothing(tmp_path):
    note = tmp_path / "head.json"
    code = "import sys, os; from brainrecon.studies.presence import present\nwith present(sys.argv[1]): os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code, str(note)], check=False).returncode == -9
    assert note.exists()
    with present(note, wait=False):
        assert json.loads(note.read_text())["process"] == os.getpid()


def test_another_process_with_the_same_number_is_another_one(tmp_path):
    note = tmp_path / "head.json"
    with present(note):
        own = json.loads(note.read_text())
    note.write_text(json.dumps(own | {"began": own["began"] - 3600}))
    with present(note, wait=False):
        pass


@pytest.mark.parametrize("said", ['{"machine": "elsewhere", "host": "node7", "process": 12}', "", "7"])
def test_of_another_machine_it_counts_until_it_is_silent(tmp_path, said):
    note = tmp_path / "head.json"
    note.write_text(said)
    with pytest.raises(InputError, match="already"), present(note, wait=False):
        pass
    silent = os.stat(note).st_mtime - presence.SECONDS_OF_SILENCE - 1
    os.utime(note, (silent, silent))
    with present(note, wait=False):
        pass


def test_it_is_touched_while_its_writer_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(presence, "SECONDS_BETWEEN_BEATS", 0.01)
    note = tmp_path / "head.json"
    with present(note):
        os.utime(note, (0, 0))
        for _ in range(3000):
            if os.stat(note).st_mtime > 0:
                break
            presence.time.sleep(0.01)
        assert os.stat(note).st_mtime > 0
