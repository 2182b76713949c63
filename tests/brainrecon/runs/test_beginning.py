"""A start that fails takes back what it wrote, and only that."""

import subprocess
import sys

import pytest

from brainrecon.runs.beginning import undone_if_it_fails
from brainrecon.runs.layout import FIT_LOCK
from brainrecon.runs.run import Run
from stages.ground.errors import InputError

HOLD = (
    "import sys\nfrom weights.whole_files import locked\n"
    "with locked(sys.argv[1], name=sys.argv[2]):\n print(1, flush=True)\n input()"
)


def fail(folder, *names):
    with pytest.raises(ValueError, match="no such data"), undone_if_it_fails(folder):
        folder.mkdir(exist_ok=True)
        for name in names:
            (folder / name).write_text("written")
        raise ValueError("no such data")


def test_what_was_asked_is_taken_back(tmp_path):
    fail(tmp_path / "run", "config.toml", "environment.json", ".lock")
    assert not (tmp_path / "run").exists()


def test_what_was_there_before_stays(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    fail(tmp_path, "config.toml")
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["notes.txt"]


def test_what_was_computed_stays(tmp_path):
    fail(tmp_path / "run", "config.toml", "captions.json")
    assert (tmp_path / "run" / "config.toml").exists()


def test_what_another_process_works_on_stays(tmp_path):
    folder = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), FIT_LOCK], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout.readline()
        fail(folder, "config.toml")
        assert (folder / "config.toml").exists()
    finally:
        holder.kill()
        holder.wait()


def test_what_could_not_begin_is_begun_again_and_files_of_others_are_refused(cohort, tmp_path):
    """A cell of a benchmark whose checkpoints were absent leaves a folder in a folder, and a lock."""
    config = {"method": "mean-image", "data": {"source": f"nsd:{cohort}"}}
    folder = tmp_path / "run"
    (folder / "heldout").mkdir(parents=True)
    (folder / ".fit.lock").touch()
    assert Run.create(folder, config).layout.config.exists()
    (tmp_path / "other" / "heldout").mkdir(parents=True)
    (tmp_path / "other" / "heldout" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is no run folder"):
        Run.create(tmp_path / "other", config)
