"""What an import loads, and what happens when a user's files hide packages."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import brainrecon

ROOT = Path(__file__).resolve().parents[1]
HOME = Path(brainrecon.__file__).resolve().parents[1]
"""Where the packages lie: in this checkout, or in the site-packages of an environment with the wheel."""
HEAVY = ("torch", "torchvision", "diffusers", "transformers", "open_clip", "sklearn", "matplotlib")
ALSO_UNWANTED = ("scipy", "pandas", "skimage", "h5py", "nibabel")


def run_python(code, folder):
    """Run code in a fresh interpreter whose current folder comes first on the path, as with ``python -c``."""
    environment = {**os.environ, "PYTHONPATH": ""}
    # An interpreter that finds the packages through the installation finds these same ones.
    code = f"import sys\nsys.path.append({str(HOME)!r})\n{code}"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    "code",
    [
        "import brainrecon; dir(brainrecon)",
        "import brainrecon, brainrecon.datasets, brainrecon.methods, brainrecon.runs, brainrecon.evaluation",
        "import stages, stages.targets, stages.decoders, stages.generators, stages.networks, weights",
        "from brainrecon.cli.main import run_command; assert run_command(['--help']) == 0",
        "from brainrecon.cli.main import run_command; assert run_command(['weights', 'list']) == 0",
    ],
)
def test_no_heavy_library_is_loaded(code, tmp_path):
    result = run_python(f"{code}\nprint('loaded', *sys.modules)", tmp_path)
    assert result.returncode == 0, result.stderr
    loaded = set(result.stdout.splitlines()[-1].split())
    assert not loaded & {*HEAVY, *ALSO_UNWANTED}


def test_every_public_name_loads_and_is_listed():
    for name in ("load", "simulate", "Subject", "Decoder", "Reconstructor", "evaluate", "Run"):
        assert callable(getattr(brainrecon, name))
        assert name in dir(brainrecon)
        assert name in brainrecon.__all__


def test_the_public_names_alone_are_listed():
    assert dir(brainrecon) == sorted(brainrecon.__all__)
    # What is loaded on the way lists itself nowhere.
    assert brainrecon.Subject and dir(brainrecon) == sorted(brainrecon.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'reconstruct_everything'"):
        _ = brainrecon.reconstruct_everything


def test_the_version_is_the_projects():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert brainrecon.__version__ == project["version"]


@pytest.mark.parametrize(
    ("file", "package"),
    [("weights.py", "weights"), ("stages/__init__.py", "stages"), ("stages.py", "stages")],
)
def test_a_users_file_that_hides_a_package_is_named(file, package, tmp_path):
    shadow = tmp_path / file
    shadow.parent.mkdir(exist_ok=True)
    shadow.write_text("raise RuntimeError('this file must not run')\n")
    result = run_python("import brainrecon", tmp_path)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    named = shadow.parent if shadow.name == "__init__.py" else shadow
    assert last.startswith(f"ImportError: {named} hides brainrecon's own package '{package}'")
    assert str(HOME / package) in last and "rename it" in last
    assert "this file must not run" not in result.stderr


def test_a_users_plain_weights_folder_hides_nothing(tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.bin").write_bytes(b"")
    result = run_python("import brainrecon; from weights import store; print(store.MANIFEST)", tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(HOME / "weights" / "manifest.toml")


def test_the_installed_command_does_not_look_into_the_current_folder(tmp_path):
    command = Path(sys.executable).with_name("brainrecon")
    if not command.exists():
        pytest.skip("brainrecon is not installed in this environment")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights.py").write_text("raise RuntimeError('this file must not run')\n")
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "__init__.py").write_text("raise RuntimeError('this file must not run')\n")
    result = subprocess.run([command, "--version"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.strip() == f"brainrecon {brainrecon.__version__}"
