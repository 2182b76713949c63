"""The wheel: built, installed beside the outer packages, used from another folder without the checkout."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import brainrecon
from weights import store

ROOT = Path(__file__).resolve().parents[1]


def call(*command, folder):
    """Run a command that knows nothing of the checkout."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    result = call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, folder=ROOT)
    assert result.returncode == 0, result.stderr
    (wheel,) = folder.glob("brainrecon-*.whl")
    return wheel


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A virtual environment with the wheel, which sees the outer packages but not the outer brainrecon."""
    folder = tmp_path_factory.mktemp("outside") / "environment"
    python = folder / "bin" / "python"
    assert call(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder.parent).returncode == 0
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index")
    result = call(*pip, wheel, folder=folder.parent)
    assert result.returncode == 0, result.stderr
    # Only now, or pip would take the outer brainrecon for the one to replace. Path files of the outer folder,
    # such as an editable install's, are not followed from here.
    inner = call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder.parent)
    outer = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (Path(inner.stdout.strip()) / "outer.pth").write_text("\n".join(outer) + "\n")
    return folder


@pytest.fixture
def command(environment):
    return environment / "bin" / "brainrecon"


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.split("/")[0] for name in names}
    assert tops == {"brainrecon", "stages", "weights", f"brainrecon-{brainrecon.__version__}.dist-info"}
    files = {
        file.relative_to(ROOT).as_posix()
        for package in ("brainrecon", "stages", "weights")
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith(".")
    }
    assert {name for name in names if ".dist-info/" not in name} == files


def test_the_installed_command_is_the_wheels(command, environment, tmp_path):
    result = call(command, "--version", folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"brainrecon {brainrecon.__version__}\n"
    where = "import brainrecon, stages, weights; print(brainrecon.__file__, stages.__file__, weights.__file__)"
    result = call(environment / "bin" / "python", "-c", where, folder=tmp_path)
    assert len(result.stdout.split()) == 3
    assert all(Path(file).is_relative_to(environment) for file in result.stdout.split()), result.stdout


def test_the_installed_checkpoints_verify(command, tmp_path):
    result = call(command, "weights", "verify", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    expected = {status.name: status.state for status in store.verify()}
    shown = dict(line.split()[:2] for line in result.stdout.splitlines()[1:-1])
    assert shown == expected


def test_a_users_plain_weights_folder_does_not_disturb_the_installed_command(command, tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "__init__.py").write_text("raise RuntimeError('this file must not run')\n")
    result = call(command, "weights", "verify", folder=tmp_path)
    assert result.returncode == 0, result.stderr


def test_a_short_demo_runs_from_the_wheel(command, tmp_path):
    if any(status.state == "absent" for status in store.verify() if status.name.startswith("tiny-")):
        pytest.skip("the embedded checkpoints are not trained yet")
    size = ("--sessions", 2, "--trials-per-session", 60, "--shared", 6, "--voxels", 200)
    result = call(command, "demo", "--out", "small", *size, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    (report,) = (tmp_path / "small").rglob("report.html")
    assert "<img" in report.read_text(encoding="utf-8")
