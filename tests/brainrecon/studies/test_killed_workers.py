"""Real workers of Dask and submitit, killed without warning on the way: what is there at the end is what one process leaves."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from cluster_cells import results
from interruption import COMMAND_LINE
from warm_processes import ROOT

from brainrecon.cli.main import run_command

pytestmark = pytest.mark.slow

DASK = 'engine = "dask"\nblock_size = 64\n[dask]\nn_workers = 4\n'
SUBMITIT = 'engine = "submitit"\nat_once = 4\nblock_size = 64\n[submitit]\ncluster = "local"\ntimeout_min = 60\n'
ENGINES = [("dask", DASK, 2), ("submitit", SUBMITIT, 1)]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort") / "nsd"
    options = "--subjects 4 --sessions 2 --trials-per-session 60 --shared 8 --voxels 200"
    assert run_command(["simulate", str(folder), *options.split()]) == 0
    return folder


@pytest.fixture(scope="module")
def many_pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures") / "nsd"
    assert (
        run_command(["simulate", str(folder), *"--sessions 4 --trials-per-session 150 --shared 8 --voxels 160".split()])
        == 0
    )
    return folder


def benchmark(cohort, out):
    """24 cells."""
    line = ["benchmark", f"nsd:{cohort}", "--methods", "mean-image,ridge-to-pixels,noise", "--rois", "V1,nsdgeneral"]
    line += ["--controls", "shuffled_responses,mean_response", "--heldout", "none", "--reproducible", "--device", "cpu"]
    return [*line, "--out", str(out / "bench"), "--features", str(out / "features")]


def features(pictures, out):
    """12 blocks."""
    return ["features", f"nsd:{pictures}", "--weights", "tiny", "--device", "cpu", "--store", str(out)]


@pytest.fixture(scope="module")
def benchmark_by_one(cohort, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    assert run_command(benchmark(cohort, folder)) == 0
    return folder / "bench"


@pytest.fixture(scope="module")
def features_by_one(many_pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "store"
    assert run_command(features(many_pictures, folder)) == 0
    return folder


def with_killed_workers(line, state, cluster, text, n_killed, log):
    """Run a command on a cluster and kill workers in the middle of a cell, apart from each other; its output."""
    cluster.write_text(text)
    command = [sys.executable, "-c", COMMAND_LINE, *line, "--cluster", str(cluster)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    killed = []
    with open(log, "w+") as printed:
        process = subprocess.Popen(command, env=environment, stdout=printed, stderr=subprocess.STDOUT)
        while process.poll() is None:
            texts = [path.read_text() for path in state.glob("logs/**/*.log")]
            done = sum("=== done" in text for text in texts)
            at_work = [
                int(re.findall(r"^=== begun .* process (\d+),", text, flags=re.M)[-1])
                for text in texts
                if text.startswith("=== begun")
                and "=== done" not in text
                and text.split("=== begun")[-1].count("\n") > 1
            ]
            # In the middle of something, and not in the moment before its end.
            if len(killed) < n_killed and done >= 2 + 4 * len(killed) and (alive := set(at_work) - set(killed)):
                killed.append(alive.pop())
                os.kill(killed[-1], signal.SIGKILL)
            time.sleep(0.05)
        printed.seek(0)
        text = printed.read()
    assert process.returncode == 0, text
    assert len(killed) == n_killed, "no worker was killed"
    attempts = [int(found) for found in re.findall(r" done +(\d+) +[\d.]+ +/", text)]
    assert sum(attempts) >= len(attempts) + n_killed, attempts
    print(f"{len(attempts)} cells, {n_killed} workers killed, {sum(attempts)} attempts")
    return text


@pytest.mark.parametrize(("engine", "text", "n_killed"), ENGINES)
def test_a_benchmark_of_24_cells(cohort, benchmark_by_one, tmp_path, engine, text, n_killed):
    folder = tmp_path / "bench"
    line = benchmark(cohort, tmp_path)
    said = with_killed_workers(line, folder / ".cluster", tmp_path / "c.toml", text, n_killed, tmp_path / "log")
    assert "24 of 24 cells were done by workers" in said
    there, wanted = results(folder), results(benchmark_by_one)
    assert [name for name in wanted if there.get(name) != wanted[name]] == [] and there.keys() == wanted.keys()
    assert {"leaderboard.md", "leaderboard.csv", "leaderboard.html"} < there.keys() and len(there) > 24 * 8
    print(f"{len(there)} files, {sum(map(len, there.values())):,} bytes equal")


@pytest.mark.parametrize(("engine", "text", "n_killed"), ENGINES)
def test_features_in_blocks(many_pictures, features_by_one, tmp_path, engine, text, n_killed):
    folder = tmp_path / "store"
    line = features(many_pictures, folder)
    with_killed_workers(line, folder / ".cluster", tmp_path / "c.toml", text, n_killed, tmp_path / "log")
    there, wanted = results(folder), results(features_by_one)
    assert there == wanted and sum(name.endswith("values.npy") for name in there) == 6
    print(f"{len(there)} files, {sum(map(len, there.values())):,} bytes equal")
