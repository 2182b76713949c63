"""The batch scripts for SLURM: sound, and what they start, by commands that stand in for those of a cluster."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[2] / "scripts" / "slurm").glob("*.sh"))

STAND_INS = {
    # Runs the script as SLURM does, the jobs of an array one after another, with what the lines at its top ask for.
    "sbatch": r"""
while [[ "$1" == --* ]]; do given+=" $1"; shift; done
script="$1"; shift
asked="$(sed -n 's/^#SBATCH //p' "$script") $given"
of() { grep -oE -- "--$1=[^ ]+" <<< "$asked" | tail -n 1 | cut -d= -f2; }
export SLURM_JOB_ID=21007 SLURM_JOB_NODELIST="node[1-2]" SLURM_NODEID=0
export SLURM_CPUS_PER_TASK="$(of cpus-per-task)" SLURM_GPUS_ON_NODE="$(of gpus-per-node)"
export SLURM_JOB_NUM_NODES="$(of nodes || true)"
export NODES_OF_THE_JOB="${SLURM_JOB_NUM_NODES:-1}"
if array="$(of array)" && [ -n "$array" ]; then
    array="${array%%%*}"
    export SLURM_ARRAY_TASK_MIN="${array%-*}" SLURM_ARRAY_TASK_COUNT="$((${array#*-} - ${array%-*} + 1))"
    for task in $(seq "${array%-*}" "${array#*-}"); do SLURM_ARRAY_TASK_ID="$task" bash "$script" "$@"; done
else
    bash "$script" "$@"
fi
""",
    "srun": 'for node in $(seq 0 $((NODES_OF_THE_JOB - 1))); do SLURM_NODEID="$node" "$@"; done',
    "scontrol": '[ "$*" = "show hostnames node[1-2]" ] && printf "node1\\nnode2\\n"',
    "brainrecon": 'echo "$OMP_NUM_THREADS: brainrecon $*"; exit "${EXIT_CODE:-0}"',
    "accelerate": 'echo "$OMP_NUM_THREADS: accelerate $*"; exit "${EXIT_CODE:-0}"',
}


@pytest.fixture
def batch(tmp_path):
    """Hand a script to the stand-ins; the lines that its programs printed, and the exit code."""
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tmp_path / name).chmod(0o755)

    def run(name, *arguments, options=(), exit_code=0):
        script = next(path for path in SCRIPTS if path.stem == name)
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "EXIT_CODE": str(exit_code)}
        command = ["sbatch", *options, str(script), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert not done.stderr, done.stderr
        return done.stdout.splitlines(), done.returncode

    return run


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_each_parses_can_be_run_and_names_no_machine(script):
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    assert os.access(script, os.X_OK)
    text = script.read_text()
    assert "set -euo pipefail" in text and text.splitlines()[1].startswith("#SBATCH --job-name=brainrecon-")
    assert not re.findall(r"(?:^|[\s=:\"'])(/(?!usr/bin/env|dev/null)[\w.]+/)", text), "a path of a machine"
    assert "--partition" not in text and "--account" not in text


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_shellcheck_finds_nothing(script):
    found = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_fitting_takes_the_threads_that_the_job_has(batch):
    assert batch("fit", "brain-diffuser", "nsd:data", "--roi", "V1 + V2", "--out", "runs/a") == (
        ["8: brainrecon fit brain-diffuser nsd:data --roi V1 + V2 --out runs/a"],
        0,
    )
    assert batch("fit", "noise", options=["--cpus-per-task=3"], exit_code=2) == (["3: brainrecon fit noise"], 2)


@pytest.mark.parametrize(("array", "n"), [(None, 8), ("0-2", 3), ("1-4%2", 4)])
def test_every_shard_is_drawn_by_one_job_of_the_array(batch, array, n):
    lines, code = batch("draw", "runs/a", "--samples", "5", options=[f"--array={array}"] if array else [])
    assert code == 0
    assert lines == [f"4: brainrecon reconstruct runs/a --samples 5 --shard {k}/{n}" for k in range(n)]


def test_a_training_has_a_process_per_gpu_and_a_launcher_per_node(batch):
    (line,), code = batch("train", "mindeye2023", "nsd:data", "--out", "runs/a b")
    assert code == 0 and line.startswith("4: accelerate launch --multi_gpu --num_machines 1 --num_processes 4 ")
    assert "--machine_rank 0 --main_process_ip node1 --main_process_port 21007" in line
    assert line.endswith("--module brainrecon fit mindeye2023 nsd:data --out runs/a b")
    lines, _ = batch("train", "mindeye2023", options=["--nodes=2", "--gpus-per-node=8"])
    assert [re.search(r"--num_processes (\d+) --machine_rank (\d)", line).groups() for line in lines] == [
        ("16", "0"),
        ("16", "1"),
    ]
    (line,), _ = batch("train", "mindeye2023", options=["--gpus-per-node=1"])
    assert "--multi_gpu" not in line and line.startswith("16: ")


def test_a_training_that_fails_is_a_job_that_fails(batch):
    assert batch("train", "mindeye2023", exit_code=2)[1] == 2


def test_the_launcher_takes_the_options_that_it_is_given(batch):
    from accelerate.commands.launch import launch_command_parser

    (line,), _ = batch("train", "mindeye2023", "--out", "runs/a")
    taken = launch_command_parser().parse_args(line.split()[3:])
    assert (taken.num_processes, taken.num_machines, taken.multi_gpu, taken.module) == (4, 1, True, True)
    assert (
        taken.training_script == "brainrecon" and taken.training_script_args == "fit mindeye2023 --out runs/a".split()
    )
