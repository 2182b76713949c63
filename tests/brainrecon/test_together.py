"""Two processes at once on one run, and two people with one folder of weights: both end well."""

import contextlib
import io
import json
import multiprocessing
import os
import shutil
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from interruption import COMMAND_LINE
from PIL import Image
from warm_processes import started

from brainrecon.cli.main import run_command
from stages.generators.diffusion import unconditional_embedding
from stages.generators.diffusion.unconditional_embedding import stored_embedding
from weights.whole_files import locked

NOBODY = 65534


def at_once(*lines):
    """Run command lines at the same time, each in a process of its own."""
    with tempfile.NamedTemporaryFile("r") as printed:
        processes = [started(COMMAND_LINE, *line, printed=printed.name) for line in lines]
        codes = [process.wait() for process in processes]
        assert codes == [0] * len(lines), printed.read()


def pictures(folder):
    return {path.name: np.asarray(Image.open(path)) for path in sorted(Path(folder).glob("images/*.png"))}


def drawn_twice(folder):
    lines = [json.loads(line)["file"] for line in (Path(folder) / "manifest.jsonl").read_text().splitlines()]
    return [name for name, count in Counter(lines).items() if count > 1]


def test_one_run_started_twice_is_fitted_and_drawn_once(cohort, tmp_path):
    line = ["run", "ridge-to-pixels", f"nsd:{cohort}", "--features", tmp_path / "features", "--samples", "1"]
    at_once(*[[*line, "--out", tmp_path / "both"]] * 2)
    assert run_command([str(part) for part in (*line, "--out", tmp_path / "alone")]) == 0
    both, alone = tmp_path / "both", tmp_path / "alone"
    kept = [
        path.relative_to(alone) for part in ("decoder", "embeddings", "scores") for path in alone.glob(f"{part}/**/*")
    ]
    assert any(name.suffix == ".safetensors" for name in kept)
    for name in kept:
        assert (alone / name).is_dir() or (both / name).read_bytes() == (alone / name).read_bytes(), name
    found, expected = pictures(both), pictures(alone)
    assert found.keys() == expected.keys() and all((found[name] == expected[name]).all() for name in expected)
    assert not drawn_twice(both)


def whole(folder):
    """Content of every file by path, but for locks and what else is hidden."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def test_data_prepared_twice_at_once_are_written_once(cohort, tmp_path):
    line = ["data", "prepare", f"nsd:{cohort}", "--out"]
    at_once(*[[*line, tmp_path / "both"]] * 3)
    assert run_command([str(part) for part in (*line, tmp_path / "alone")]) == 0
    assert whole(tmp_path / "both") == whole(tmp_path / "alone")
    assert not list(tmp_path.rglob(".partial-*"))


@pytest.mark.slow
def test_features_encoded_twice_at_once_are_encoded_once(cohort, tmp_path):
    line = ["features", f"nsd:{cohort}", "--weights", "tiny", "--targets", "clip_image", "--store"]
    at_once(*[[*line, tmp_path / "both"]] * 2)
    assert run_command([str(part) for part in (*line, tmp_path / "alone")]) == 0
    assert whole(tmp_path / "both") == whole(tmp_path / "alone")


@pytest.mark.slow
def test_a_benchmark_started_twice_computes_every_cell_once(cohort, tmp_path):
    line = ["benchmark", f"nsd:{cohort}", "--methods", "mean-image,ridge-to-pixels", "--controls", "none"]
    line += ["--heldout", "none", "--features", tmp_path / "features", "--out"]
    at_once(*[[*line, tmp_path / "both"]] * 2)
    assert run_command([str(part) for part in (*line, tmp_path / "alone")]) == 0
    both, alone = whole(tmp_path / "both"), whole(tmp_path / "alone")
    assert both.keys() == alone.keys()
    assert not [
        name for name in both if name.endswith((".json", ".png", ".toml", ".csv")) and both[name] != alone[name]
    ]
    assert not any(drawn_twice(path.parent) for path in (tmp_path / "both").rglob("manifest.jsonl"))


@pytest.mark.slow
def test_two_processes_share_the_drawing_of_one_run(run_folder, features):
    at_once(*[["reconstruct", run_folder, "--features", features, "--controls", "shuffled_responses"]] * 2)
    assert len(pictures(run_folder)) == 12 and not drawn_twice(run_folder)
    assert [path.name for path in (run_folder / ".drawing").iterdir()] == [".lock"]


def test_a_folder_that_a_kill_left_with_nothing_but_parts_is_taken_up(cohort, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".partial-0123456789ab-config.toml").write_text("half")
    line = ["fit", "mean-image", f"nsd:{cohort}", "--out", str(folder), "--features", str(tmp_path / "features")]
    assert run_command(line) == 0
    (folder / "config.toml").rename(folder / "notes.txt")
    assert run_command(line) == 2


@pytest.fixture
def open_to_all():
    """A folder that everybody may look into, as none of pytest's own is."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def _as_nobody(work, *arguments):
    """Do something in a process of an ordinary user; what it returns."""

    def child(connection):
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        try:
            connection.send(work(*arguments))
        except Exception as error:
            connection.send(repr(error))

    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=child, args=(there,))
    process.start()
    answer = here.recv() if here.poll(300) else "no answer"
    process.join(60)
    return answer


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be two people")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_what_one_person_writes_into_shared_weights_another_can_read(open_to_all, umask):
    shared = open_to_all / "weights"
    shared.mkdir()
    shared.chmod(0o777)
    before = os.umask(umask)
    try:
        first = stored_embedding(shared / "model", "text", (1, 4), lambda: torch.ones(1, 4))
    finally:
        os.umask(before)
    files = [path for path in shared.rglob("*") if path.is_file()]
    assert files and unconditional_embedding.FOLDER in str(files[0])

    def read_and_lock():
        with locked(shared / "model"):
            return [len(path.read_bytes()) for path in files]

    with locked(shared / "model"):
        pass
    assert _as_nobody(read_and_lock) == [path.stat().st_size for path in files]
    assert torch.equal(stored_embedding(shared / "model", "text", (1, 4), None), first)


def _quietly(*line):
    """Exit code of a command, and what it printed and warned of."""
    printed = io.StringIO()
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        warnings.catch_warnings(record=True) as told,
    ):
        warnings.simplefilter("always")
        code = run_command([str(part) for part in line])
    return code, printed.getvalue() + " ".join(str(one.message) for one in told)


def test_a_finished_run_that_cannot_be_written_to_is_opened_scored_and_reported(cohort, open_to_all):
    """The run, its features and its data belong to somebody else; root, whom no right stops, looks as nobody."""
    data, run, features = (open_to_all / name for name in ("nsd", "run", "features"))
    shutil.copytree(cohort, data)
    made = ["run", "ridge-to-pixels", f"nsd:{data}", "--out", run, "--features", features]
    assert _quietly(*made)[0] == 0
    (mine := open_to_all / "mine").mkdir()
    mine.chmod(0o777)
    for path in (*run.rglob("*"), *features.rglob("*"), run, features):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    def look():
        return [
            _quietly("evaluate", run, "--again", "--features", features),
            _quietly("report", run, "--features", features, "--out", mine / "page.html"),
            _quietly(*made),
            _quietly("reconstruct", run, "--features", features),
            # Nothing of another store can be read: what is missing is fitted, and not kept.
            _quietly("evaluate", run, "--again", "--features", features / "clip_image"),
        ]

    answers = _as_nobody(look) if os.geteuid() == 0 else look()
    assert [code for code, _ in answers] == [0] * 5, answers
    evaluated, reported, ran, _, elsewhere = (told for _, told in answers)
    assert "PixCorr" in evaluated and f"Scores are not kept: {run} cannot be written to" in evaluated
    assert "PixCorr" in ran and "Reports are not kept" in ran
    assert "Encoding models are not kept" in elsewhere and "PixCorr" in elsewhere
    assert "PixCorr" in (mine / "page.html").read_text() and "page.html" in reported
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
