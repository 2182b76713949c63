"""The wheel and the sdist: built, installed beside the outer packages, used from another folder without the checkout."""

import ast
import importlib.metadata
import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


def built(kind, source, folder):
    """A wheel or an sdist of the sources in a folder, without the network."""
    result = call(sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", folder, folder=source)
    assert result.returncode == 0, result.stderr
    (file,) = folder.glob("brainrecon-*")
    return file


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return built("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def unpacked_sdist(tmp_path_factory):
    sdist = built("sdist", ROOT, tmp_path_factory.mktemp("sdist"))
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        # Python 3.11 has filters from 3.11.4 on.
        archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (top,) = folder.iterdir()
    assert top.name == f"brainrecon-{brainrecon.__version__}"
    return top


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


def contents(wheel):
    """Name of each file of a wheel -> its checksum, without the list of the files themselves."""
    with zipfile.ZipFile(wheel) as archive:
        return {one.filename: one.CRC for one in archive.infolist() if not one.filename.endswith("/RECORD")}


def test_the_sdist_makes_the_same_wheel(wheel, unpacked_sdist, tmp_path):
    assert contents(built("wheel", unpacked_sdist, tmp_path)) == contents(wheel)


def test_the_sdist_holds_what_it_takes_to_test_and_document_it(unpacked_sdist):
    there = {path.name for path in unpacked_sdist.iterdir()}
    wanted = {"brainrecon", "stages", "weights", "tests", "scripts", "docs", "notebooks", "examples", "pyproject.toml"}
    assert wanted <= there
    assert not list(unpacked_sdist.rglob("__pycache__")) and not (unpacked_sdist / "build").exists()


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@cache
def modules_imported():
    """Names of other packages that files of the wheel import at the top or inside a function."""
    found = set()
    for package in ("brainrecon", "stages", "weights"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"brainrecon", "stages", "weights"}


def test_every_package_that_is_imported_is_required():
    extras = project()["optional-dependencies"]
    lines = [
        *project()["dependencies"],
        *(line for name in extras if name not in ("test", "docs") for line in extras[name]),
    ]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    homes = importlib.metadata.packages_distributions()
    absent = {
        name: homes.get(name)
        for name in modules_imported()
        if not declared & {canonicalize_name(home) for home in homes.get(name, [name])}
    }
    # distributed brings dask.
    assert absent.keys() - {"dask"} == set()


def test_every_requirement_is_imported():
    homes = importlib.metadata.packages_distributions()
    used = {canonicalize_name(home) for name in modules_imported() for home in homes.get(name, [name])}
    required = {canonicalize_name(Requirement(line).name) for line in project()["dependencies"]}
    assert required - used == set()


def test_extras_of_the_tests_are_those_that_users_are_offered():
    extras = project()["optional-dependencies"]
    assert set(extras) == {"alignment", "banded", "captions", "dask", "docs", "perceptual", "slurm", "surface", "test"}
    for name in set(extras) - {"docs", "test"}:
        assert set(extras[name]) <= set(extras["test"]), name


# Their builds for CUDA are several times as large as those for the CPU.
DIFFERENT_ON_A_CPU = ("torch", "triton")
LARGEST = 750e6
"""Bytes, without compiled bytecode: with torch's CPU build, 700 MB, a light installation stays below 1.5 GB."""


def brought(name, found):
    """Add to `found` the distributions that an installed one requires here, and itself."""
    name = canonicalize_name(name)
    if name in found or name in DIFFERENT_ON_A_CPU or name.startswith(("nvidia-", "cuda-")):
        return found
    found[name] = distribution = importlib.metadata.distribution(name)
    for requirement in map(Requirement, distribution.requires or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            brought(requirement.name, found)
    return found


def test_what_the_requirements_bring_beside_torch_is_small():
    found = {}
    for line in project()["dependencies"]:
        brought(Requirement(line).name, found)
    sizes = {
        name: sum(
            path.stat().st_size
            for path in (Path(file.locate()) for file in distribution.files or ())
            if path.suffix != ".pyc" and path.is_file()
        )
        for name, distribution in found.items()
    }
    # Whoever makes this fail looks at the largest.
    largest = sorted(sizes.items(), key=lambda pair: -pair[1])[:10]
    assert sum(sizes.values()) < LARGEST, largest


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


@pytest.mark.slow
def test_a_short_demo_runs_from_the_wheel(command, tmp_path):
    if any(status.state == "absent" for status in store.verify() if status.name.startswith("tiny-")):
        pytest.skip("the embedded checkpoints are not trained yet")
    # Every picture is drawn with as many steps as a user's: two of them, which is what shuffled responses need.
    size = ("--sessions", 1, "--trials-per-session", 60, "--shared", 2, "--voxels", 160)
    result = call(command, "demo", "--out", "small", *size, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    (report,) = (tmp_path / "small").rglob("report.html")
    assert "<img" in report.read_text(encoding="utf-8")
