"""Every example is a page that says that its responses are simulated; it runs in an empty folder, and writes there alone."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PATHS = sorted(EXAMPLES.rglob("[0-9][0-9]_*.py"), key=lambda path: path.name)
NAMES = [path.relative_to(EXAMPLES).as_posix() for path in PATHS]
SECTIONS = sorted({path.parent for path in PATHS})
# A second or two besides what they import.
QUICKEST = ("pictures/09_local_decoders.py",)

INSTALLED = {"brainrecon", "stages", "weights", "matplotlib", "nibabel", "numpy", "PIL", "sklearn", "torch"}
OF_A_MACHINE = r"/(home|Users|root|tmp|work|mnt|var|opt|usr)/|[A-Z]:\\|~/"
FORBIDDEN = r"pickle|https?:|urllib|requests|subprocess|torch\.load|\beval\(|\bexec\(|weights pull"
IN_A_SHELL = """
import runpy, socket, sys
def refuse(self, address, *rest):
    raise RuntimeError(f"an example tried to reach {address}")
socket.socket.connect = socket.socket.connect_ex = refuse
runpy.run_path(sys.argv[1], run_name="__main__")
"""

every_example = pytest.mark.parametrize("name", NAMES)


def source(name):
    return (EXAMPLES / name).read_text(encoding="utf-8")


def docstring(name):
    return ast.get_docstring(ast.parse(source(name)))


def calls(name, function):
    """Calls of a function or method of a name, in an example."""
    for node in ast.walk(ast.parse(source(name))):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", None)) == function:
            yield node


def test_examples_are_numbered_without_a_gap():
    numbers = [int(path.name[:2]) for path in PATHS]
    assert numbers == list(range(1, len(PATHS) + 1)) and len(numbers) >= 18


@pytest.mark.parametrize("folder", [EXAMPLES, *SECTIONS], ids=lambda folder: folder.name)
def test_every_section_has_a_title_and_a_sentence(folder):
    title, line, _, *text = (folder / "README.rst").read_text(encoding="utf-8").splitlines()
    assert len(title) == len(line) and len(set(line)) == 1
    assert " ".join(text).rstrip().endswith(".")


@every_example
def test_it_is_a_page(name):
    title, line, blank, *text = docstring(name).splitlines()
    assert line == "=" * len(title) and not blank
    # What is learned, in two or three sentences.
    assert len(re.findall(r"[.?!](?=\s|$)", " ".join(text))) >= 2
    blocks = re.split(r"^# %%.*$", source(name), flags=re.MULTILINE)
    assert len(blocks) >= 3
    code = [block for block in blocks if any(line and not line.startswith("#") for line in block.splitlines())]
    assert max(len(block.splitlines()) for block in code) <= 75


@every_example
def test_it_says_that_responses_are_simulated(name):
    assert "**simulated**" in docstring(name)
    figures = len(list(calls(name, "subplots")))
    assert 1 <= figures <= 3
    said = re.findall(r"[Ss]imulated", source(name).split('"""', 2)[2])
    assert len(said) >= figures


@every_example
def test_it_prints_numbers_and_ends_with_its_figures(name):
    assert list(calls(name, "print"))
    assert source(name).rstrip().endswith("plt.show()")


@every_example
def test_it_is_of_no_machine_and_reaches_nothing(name):
    assert not re.findall(OF_A_MACHINE, source(name))
    assert not re.findall(FORBIDDEN, source(name))


@every_example
def test_it_imports_what_is_installed(name):
    for node in ast.walk(ast.parse(source(name))):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module] if isinstance(node, ast.ImportFrom) else []
        for module in modules:
            top = module.partition(".")[0]
            assert top in INSTALLED or top in sys.stdlib_module_names, module
            assert not any(part.startswith("_") for part in module.split(".")), module


@every_example
def test_encoded_pictures_are_kept_beside_it(name):
    """Otherwise they would go into the user's cache."""
    reads_networks = [call for call in calls(name, "Reconstructor") if "tiny" in ast.unparse(call)]
    for call in (*reads_networks, *calls(name, "create"), *calls(name, "from_pretrained")):
        assert any(keyword.arg == "features" for keyword in call.keywords), ast.unparse(call)


def test_one_name_stands_for_one_simulation():
    """Examples go on with what another has simulated in the same folder; other options would be refused."""
    options = {}
    for name in NAMES:
        for function in ("simulate", "simulate_miyawaki"):
            for call in calls(name, function):
                folder, *rest = map(ast.unparse, (*call.args, *call.keywords))
                assert options.setdefault(folder, rest) == rest, name
    assert {"'digits'", "'scenes'"} <= options.keys()


def run(name, folder):
    """Run an example in an empty folder, without a network, a display, or anything of the user's."""
    home, place = folder / "home", folder / "place"
    home.mkdir()
    place.mkdir()
    own = {"HOME": str(home), "XDG_CACHE_HOME": str(home), "MPLCONFIGDIR": str(home / "matplotlib")}
    paths = {"PYTHONPATH": str(EXAMPLES.parent), "BRAINRECON_FEATURES": str(home / "features")}
    ended = subprocess.run(
        [sys.executable, "-c", IN_A_SHELL, str(EXAMPLES / name)],
        cwd=place,
        env=os.environ | own | paths | {"MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "Warning" not in ended.stderr, ended.stderr[-2000:]
    # A page would show the folder of whoever built it.
    assert str(folder) not in ended.stdout
    assert {path.name for path in home.iterdir()} <= {"matplotlib"}
    return ended.stdout


@pytest.mark.parametrize("name", QUICKEST)
def test_it_runs_in_an_empty_folder(name, tmp_path):
    assert run(name, tmp_path).count("\n") >= 3


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in QUICKEST])
def test_all_run_in_empty_folders(name, tmp_path):
    assert run(name, tmp_path).count("\n") >= 3
