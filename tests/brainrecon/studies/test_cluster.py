"""A cluster's file is read strictly, and gives an executor; both engines are optional."""

import re
import sys
from pathlib import Path

import pytest

from brainrecon.studies.cluster import Cluster, executor_of
from stages.ground.errors import InputError

PAGE = (Path(__file__).parents[3] / "docs" / "guide" / "cluster.md").read_text(encoding="utf-8")


def read(tmp_path, text):
    path = tmp_path / "cluster.toml"
    path.write_text(text)
    return Cluster.read(path)


def test_what_is_not_said_is_as_the_engine_has_it(tmp_path):
    slurm = read(
        tmp_path, 'engine = "submitit"\n[submitit]\ncluster = "slurm"\ncpus_per_task = 6\nslurm_partition = "gpu"\n'
    )
    assert (slurm.n_threads, slurm.n_at_once, slurm.retries, slurm.shards) == (6, 0, 3, 1)
    local = read(tmp_path, 'engine = "submitit"\n[submitit]\ncluster = "local"\n')
    assert local.n_threads == 1 and local.n_at_once >= 1
    dask = read(tmp_path, 'engine = "dask"\nthreads = 2\n[dask]\nn_workers = 4\n')
    assert (dask.n_threads, dask.n_at_once, dask.dask) == (2, 0, {"n_workers": 4})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('engine = "submitti"', r"engine is 'submitti'; expected one of submitit, dask \(did you mean 'submitit'\?\)"),
        ('engine = "dask"\nretrys = 2', "There is no setting 'retrys'.*did you mean 'retries'"),
        ('engine = "dask"\nretries = "two"', r"'retries' is 'two' \(str\); expected int"),
        ('engine = "dask"\nretries = -1', "retries is -1; expected 0 or more"),
        ('engine = "dask"\nblock_size = 100', "block_size is 100; expected a multiple of 64.*write 64 or 128"),
        ('engine = "dask"\nblock_size = 0', "block_size is 0; expected 64 or more"),
        ('engine = "dask"\n[submitit]\ncluster = "local"', r"engine is 'dask' but there is a table \[submitit\]"),
        ("retries = 2", "names no engine; write for example"),
        ("engine = ", "cluster.toml cannot be read as TOML"),
    ],
)
def test_a_file_that_cannot_be_followed_is_refused_in_a_sentence(tmp_path, text, words):
    with pytest.raises(InputError, match=words) as told:
        read(tmp_path, text)
    assert "--set" not in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("engine", "module", "extra"), [("submitit", "submitit", "slurm"), ("dask", "distributed", "dask")]
)
def test_an_engine_that_is_absent_is_told_with_what_to_type(tmp_path, monkeypatch, engine, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"is not installed here; type `pip install 'brainrecon\[{extra}\]'`"):
        with executor_of(Cluster(engine), tmp_path):
            pass


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cluster": "local", "timeout": 3}, "submitit does not take the settings.*timeout"),
        ({"cluster": "local", "slurm_partiton": "gpu"}, "partiton"),
        ({"cluster": "local", "timeout_min": "long"}, "timeout_min"),
        ({"cluster": "moon"}, "moon"),
    ],
)
def test_settings_that_submitit_does_not_take(tmp_path, settings, words):
    pytest.importorskip("submitit")
    with pytest.raises(InputError, match=words), executor_of(Cluster("submitit", submitit=settings), tmp_path):
        pass


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_worker": 3}, "no setting dask.n_worker; .*did you mean 'dask.n_workers'"),
        ({"scheduler": "tcp://127.0.0.1:1", "n_workers": 3}, "has scheduler and n_workers; expected scheduler alone"),
        (
            {"scheduler": "tcp://127.0.0.1:1"},
            "No scheduler of Dask answers at tcp://127.0.0.1:1.*start it with `dask scheduler`",
        ),
        ({"scheduler_file": "nowhere.json"}, "No scheduler of Dask answers at nowhere.json"),
    ],
)
def test_settings_that_dask_does_not_take(tmp_path, monkeypatch, settings, words):
    pytest.importorskip("distributed")
    monkeypatch.setattr("brainrecon.studies.cluster._SECONDS_FOR_A_SCHEDULER", "300ms")
    with pytest.raises(InputError, match=words), executor_of(Cluster("dask", dask=settings), tmp_path):
        pass


def test_neither_engine_is_imported_before_it_is_asked_for():
    import subprocess

    code = "import sys, brainrecon.cli.benchmark, brainrecon.cli.on_cluster, brainrecon.studies.cluster\n"
    code += "sys.exit(any(name in sys.modules for name in ('submitit', 'dask', 'distributed')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# The page


def examples():
    return re.findall(r"^```toml\n(.*?)^```", PAGE, flags=re.M | re.S)


def test_the_files_on_the_page_can_be_used(tmp_path):
    engines = [read(tmp_path, text).engine for text in examples()]
    assert engines == ["dask", "submitit", "submitit", "dask"]


def test_the_file_for_slurm_on_the_page_becomes_what_sbatch_is_given(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    for name, text in {"srun": "", "sbatch": 'cp "$1" given.sh; echo Submitted batch job 7'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    cluster = read(tmp_path, examples()[2])
    with executor_of(cluster, tmp_path) as executor:
        with executor.batch():
            jobs = [executor.submit(len, name) for name in ("a", "b")]
        assert [job.job_id for job in jobs] == ["7_0", "7_1"]
    given = (tmp_path / "given.sh").read_text()
    wanted = (
        "--partition=gpu",
        "--account=vision",
        "--array=0-1%2",
        "--cpus-per-task=8",
        "--gpus-per-node=1",
        "--mem=64GB",
    )
    assert [one for one in (*wanted, "--time=720", "source ENVIRONMENT/bin/activate") if one not in given] == []


def test_every_name_of_the_file_is_on_the_page_with_its_default():
    import dataclasses

    for one in dataclasses.fields(Cluster):
        assert f"`{one.name}`" in PAGE or f"`[{one.name}]`" in PAGE, one.name
    for name in ("retries", "at_once", "shards", "block_size"):
        default = next(one.default for one in dataclasses.fields(Cluster) if one.name == name)
        assert f"| `{name}` | {default} |" in PAGE, name
