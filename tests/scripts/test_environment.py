"""scripts/demo and scripts/test from any folder, from a path with a space, a second time without installing.

A stand-in for the interpreter writes down how it was called, so nothing is installed and no test suite runs.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What scripts/test looks at before the tests.
CHECKS = ("[ruff] [check]", "[ruff] [format]", "lint-imports", "[mypy]")

# Code from standard input (the stamp, the check of torch) runs in the real interpreter; the rest is written
# down.
STAND_IN = """#!/usr/bin/env bash
if [ "$1" = - ]; then exec "{python}" "$@"; fi
if [ "$1" = -c ]; then exit "${{BUILD_TOOLS_ABSENT:-0}}"; fi
printf 'python' >>"{log}"
printf ' [%s]' "$@" >>"{log}"
printf ' threads=%s in=%s\\n' "${{OMP_NUM_THREADS:-}}" "$PWD" >>"{log}"
exit "${{PIP_FAILS:-0}}"
"""


@pytest.fixture
def project(tmp_path):
    """A copy of the scripts in a path with a space, with the two modules the check of torch imports."""
    project = tmp_path / "with space" / "project"
    shutil.copytree(ROOT / "scripts", project / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / ".ci", project / ".ci")
    shutil.copy(ROOT / "pyproject.toml", project)
    return project


@pytest.fixture
def environment(project, tmp_path):
    """An active virtual environment whose interpreter and commands are stand-ins."""
    environment = tmp_path / "active environment"
    (environment / "bin").mkdir(parents=True)
    stand_in = STAND_IN.format(python=sys.executable, log=tmp_path / "log")
    for name in ("python", "brainrecon", "lint-imports"):
        (environment / "bin" / name).write_text(stand_in.replace("'python'", f"'{name}'"))
        (environment / "bin" / name).chmod(0o755)
    return environment


@pytest.fixture
def torchvision(tmp_path):
    """Stand-ins for torch and torchvision, which take seconds to import; the file that a test may break."""
    modules = tmp_path / "modules"
    (modules / "torchvision").mkdir(parents=True)
    (modules / "torch.py").write_text("tensor = list\n")
    (modules / "torchvision" / "__init__.py").write_text("")
    operators = modules / "torchvision" / "ops.py"
    operators.write_text("def nms(boxes, scores, threshold): return [0]\n")
    return operators


@pytest.fixture
def run(project, environment, torchvision, tmp_path):
    def run(script, *arguments, folder=tmp_path, **variables):
        # The check of torch imports brainrecon.cli.installation; an installed project would provide it.
        path = os.pathsep.join([str(torchvision.parents[1]), str(ROOT)])
        inherited = {**os.environ, "VIRTUAL_ENV": str(environment), "PYTHONPATH": path}
        inherited.pop("OMP_NUM_THREADS", None)
        log = tmp_path / "log"
        log.write_text("")
        result = subprocess.run(
            [project / script, *arguments],
            cwd=folder,
            env={**inherited, **variables},
            capture_output=True,
            text=True,
        )
        return result, log.read_text().splitlines()

    return run


def test_the_first_run_installs_and_the_second_does_not(run, project):
    result, calls = run("scripts/test", "-k", "two words")
    assert result.returncode == 0, result.stderr
    install, *checks, test = calls
    assert "[pip] [install]" in install and "[--editable] [.[test]]" in install and f"in={project}" in install
    assert "[-m] [pytest] [-q]" in test and "[-k] [two words] threads=1" in test and f"in={project}" in test
    assert [any(word in check for check in checks) for word in CHECKS] == [True] * 4 and len(checks) == 4
    result, calls = run("scripts/test")
    assert len(calls) == 5 and "pytest" in calls[-1] and not any("[install]" in call for call in calls)
    assert result.stderr == ""


def test_a_changed_project_file_is_installed_again(run, project):
    run("scripts/test")
    with (project / "pyproject.toml").open("a") as file:
        file.write("\n# changed\n")
    assert "[install]" in run("scripts/test")[1][0]


def test_the_demo_runs_in_the_callers_folder_with_its_options(run, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    result, calls = run("scripts/demo", "--seed", "3", folder=elsewhere)
    assert result.returncode == 0, result.stderr
    assert calls[-1] == f"brainrecon [demo] [--seed] [3] threads= in={elsewhere}"


def test_the_build_tools_at_hand_are_used_and_otherwise_fetched(run, project):
    assert "[--no-build-isolation]" in run("scripts/test")[1][0]
    (project / "pyproject.toml").write_text("# another\n")
    assert "[--no-build-isolation]" not in run("scripts/test", BUILD_TOOLS_ABSENT="1")[1][0]


def test_a_failed_installation_stops_and_is_tried_again(run):
    result, calls = run("scripts/demo", PIP_FAILS="1")
    assert result.returncode == 2 and len(calls) == 1
    assert "The installation failed" in result.stderr
    assert len(run("scripts/demo")[1]) == 2


def test_a_broken_torch_pair_is_reported_until_it_is_mended(run, torchvision):
    whole = torchvision.read_text()
    torchvision.write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    for _ in range(2):
        result, calls = run("scripts/demo")
        assert result.returncode == 2 and not any("demo" in call for call in calls)
        assert "operator torchvision::nms does not exist" in result.stderr
        assert result.stderr.endswith("python -m pip install torch torchvision\n")
        assert "Traceback" not in result.stderr
    torchvision.write_text(whole)
    assert run("scripts/demo")[0].returncode == 0


def test_continuous_integration_calls_the_tests(run):
    result, calls = run(".ci/run", "--slow")
    assert result.returncode == 0 and "[pytest]" in calls[-1] and "[--slow] threads=1" in calls[-1]


def test_without_a_suitable_python_the_sentence_says_what_is_missing(project, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "dirname", "env"):
        (tools / name).symlink_to(shutil.which(name))
    variables = {"PATH": str(tools), "HOME": str(tmp_path)}
    result = subprocess.run([project / "scripts" / "demo"], env=variables, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith("No Python of version 3.11 or newer")
    assert result.stderr.count("\n") == 1
