"""A benchmark by the workers of a cluster ends in the bytes of one process, whatever is lost on the way."""

import re
from contextlib import contextmanager

import pytest
from cluster_cells import LosingExecutor, results

from brainrecon.cli.main import run_command
from brainrecon.studies.draining import attempt
from brainrecon.studies.presence import present

METHODS = "mean-image,noise"


@pytest.fixture(scope="module")
def subjects(tmp_path_factory):
    folder = tmp_path_factory.mktemp("subjects") / "nsd"
    options = "--subjects 2 --sessions 2 --trials-per-session 60 --shared 6 --voxels 160"
    assert run_command(["simulate", str(folder), *options.split()]) == 0
    return folder


@pytest.fixture(scope="module")
def line(subjects, features):
    line = ["benchmark", f"nsd:{subjects}", "--methods", METHODS, "--controls", "none", "--heldout", "none"]
    return [*line, "--reproducible", "--device", "cpu", "--features", str(features)]


@pytest.fixture(scope="module")
def by_one(line, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "bench"
    assert run_command([*line, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def cluster(tmp_path):
    path = tmp_path / "cluster.toml"
    path.write_text('engine = "dask"\nretries = 2\n')
    return path


@pytest.fixture
def workers(monkeypatch):
    """Have an executor stand in for that of an engine."""

    def use(executor):
        @contextmanager
        def executor_of(cluster, folder):
            yield executor

        monkeypatch.setattr("brainrecon.studies.cluster.executor_of", executor_of)
        return executor

    return use


def only_fitted(name, work, arguments, *rest):
    attempt(name, work, arguments | {"only": "fit"}, *rest)


def test_the_results_are_those_of_one_process_byte_for_byte(by_one, line, cluster, workers, tmp_path, capsys):
    executor = workers(LosingExecutor({0, 2, 4}, only_fitted))
    folder = tmp_path / "bench"
    assert run_command([*line, "--out", str(folder), "--cluster", str(cluster)]) == 0
    assert results(folder) == results(by_one)
    assert len(executor.submitted) == 4 + 3
    printed = capsys.readouterr().out
    # The first was lost twice, the third once.
    assert sorted(map(int, re.findall(r" done +(\d+) ", printed))) == [1, 1, 2, 3]
    assert "4 of 4 cells were done by workers" in printed
    # Nothing is handed out again.
    again = workers(LosingExecutor())
    assert run_command([*line, "--out", str(folder), "--cluster", str(cluster)]) == 0
    assert not again.submitted and results(folder) == results(by_one)


def test_a_cell_that_is_drawn_in_shards_is_the_same(by_one, line, cluster, workers, tmp_path):
    cluster.write_text(cluster.read_text() + "shards = 2\n")
    executor, folder = workers(LosingExecutor({2})), tmp_path / "bench"
    few = [*line, "--subjects", "subj02", "--methods", "noise", "--out", str(folder), "--cluster", str(cluster)]
    assert run_command(few) == 0
    assert executor.submitted == [
        *("noise/subj02, fit", "noise/subj02, draw 0 of 2", "noise/subj02, draw 1 of 2"),
        *("noise/subj02, draw 1 of 2", "noise/subj02, rest"),
    ]
    cell, one = (results(place / "noise" / "subj02") for place in (folder, by_one))
    assert cell == one and sum(name.endswith(".png") for name in cell) == 6


def test_a_cell_fails_alone_and_the_same_command_goes_on(by_one, line, cluster, workers, tmp_path, capsys):
    folder = tmp_path / "bench"
    workers(LosingExecutor(range(99)))
    assert run_command([*line, "--out", str(folder), "--cluster", str(cluster)]) == 2
    said = capsys.readouterr()
    assert "4 of 4 cells are not done, the first is mean-image/subj01;" in said.err and said.out.count(" lost ") == 4
    # Something that is not the benchmark's own stands where a cell should go.
    strange = folder / "mean-image" / "subj02" / "default" / "note.txt"
    strange.parent.mkdir(parents=True)
    strange.write_text("mine")
    executor = workers(LosingExecutor())
    assert run_command([*line, "--out", str(folder), "--cluster", str(cluster)]) == 2
    said = capsys.readouterr()
    assert "1 of 4 cells are not done, the first is mean-image/subj02;" in said.err
    assert "mean-image/subj02: " in said.out and "exists and is no run folder" in said.out
    assert executor.submitted.count("mean-image/subj02") == 1 and (folder / "leaderboard.csv").exists()
    strange.unlink()
    executor = workers(LosingExecutor())
    assert run_command([*line, "--out", str(folder), "--cluster", str(cluster)]) == 0
    assert executor.submitted == ["mean-image/subj02"] and results(folder) == results(by_one)


def test_a_second_one_on_the_same_folder_is_refused_and_hands_out_nothing(line, cluster, workers, tmp_path, capsys):
    folder, executor = tmp_path / "bench", workers(LosingExecutor())
    with present(folder / ".cluster" / "head.json"):
        assert run_command([*line, "--out", str(folder), "--cluster", str(cluster)]) == 2
    assert "is being worked through by process" in capsys.readouterr().err and not executor.submitted


def test_a_file_that_cannot_be_followed_leaves_nothing_behind(line, cluster, tmp_path, capsys):
    cluster.write_text('engine = "dusk"')
    assert run_command([*line, "--out", str(tmp_path / "bench"), "--cluster", str(cluster)]) == 2
    assert "did you mean 'dask'?" in capsys.readouterr().err and not (tmp_path / "bench").exists()
