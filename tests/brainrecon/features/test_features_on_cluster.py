"""Stimuli encoded by the workers of a cluster, block by block, are the tables of one process."""

from contextlib import contextmanager

import pytest
from cluster_cells import LosingExecutor, results

from brainrecon.cli.main import run_command
from brainrecon.studies.draining import attempt


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stimuli") / "nsd"
    options = "--sessions 4 --trials-per-session 75 --shared 8 --voxels 160"
    assert run_command(["simulate", str(folder), *options.split()]) == 0
    return ["features", f"nsd:{folder}", "--weights", "tiny", "--targets", "vdvae,clip_text", "--device", "cpu"]


@pytest.fixture(scope="module")
def by_one(line, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "store"
    assert run_command([*line, "--store", str(folder)]) == 0
    return folder


@pytest.fixture
def on_cluster(line, tmp_path, monkeypatch):
    """Run the command with an executor that stands in for that of an engine; the exit code, and the store."""
    cluster, store = tmp_path / "cluster.toml", tmp_path / "store"
    cluster.write_text('engine = "dask"\nretries = 1\nblock_size = 64\n')

    def run(executor, *more):
        @contextmanager
        def executor_of(cluster, folder):
            yield executor

        monkeypatch.setattr("brainrecon.studies.cluster.executor_of", executor_of)
        return run_command([*line, "--store", str(store), "--cluster", str(cluster), *more]), store

    return run


BLOCKS = ["vdvae/train/0 to 64", "vdvae/train/64 to 92", "clip_text/train/0 to 64", "clip_text/train/64 to 92"]
BLOCKS += ["vdvae/test/0 to 8", "clip_text/test/0 to 8"]


def test_whatever_is_lost_the_tables_are_those_of_one_process(by_one, on_cluster, tmp_path, capsys):
    executor = LosingExecutor({1, 4}, lambda *sent: attempt(*sent))
    code, store = on_cluster(executor, "--export", str(tmp_path / "values.npz"))
    assert code == 0 and results(store) == results(by_one)
    # Of one the worker was lost after the batch was written: it is handed out once more, and nothing is encoded anew.
    assert sorted(executor.submitted) == sorted([*BLOCKS, BLOCKS[1], BLOCKS[4]])
    assert capsys.readouterr().out.count(" done ") == 6
    assert (tmp_path / "values-train.npz").exists() and (tmp_path / "values-test.npz").exists()
    again = LosingExecutor()
    assert on_cluster(again)[0] == 0 and not again.submitted


def test_what_was_interrupted_goes_on_with_the_blocks_that_are_missing(by_one, on_cluster, capsys):
    # One block is lost for good.
    executor = LosingExecutor({0, 6})
    code, store = on_cluster(executor)
    assert code == 2
    said = capsys.readouterr()
    assert "1 of 6 cells are not done, the first is vdvae/train/0 to 64;" in said.err
    assert "train vdvae" not in said.out and "train clip_text: 92 x" in said.out
    assert sum(name.endswith("values.npy") for name in results(store)) == 3
    rest = LosingExecutor()
    code, store = on_cluster(rest)
    assert code == 0 and rest.submitted == [BLOCKS[0]] and results(store) == results(by_one)
