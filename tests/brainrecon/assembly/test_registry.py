"""Systems by name: listed without being imported, and brought by other packages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from brainrecon import methods
from brainrecon.assembly import registry
from brainrecon.assembly.registry import system, system_class, system_names
from brainrecon.assembly.system import System
from stages.ground.errors import InputError
from weights.manifest import CheckpointError

OWN = {path.stem.replace("_", "-") for path in Path(methods.__file__).parent.glob("*.py")} - {"--init--"}


@pytest.fixture(autouse=True)
def nothing_stays():
    """Forget what a test registers."""
    before = set(registry._REGISTERED)
    yield
    for name in registry._REGISTERED.keys() - before - OWN:
        del registry._REGISTERED[name]


def class_called(called):
    """A class of a system by that name."""

    class Mine(System):
        name, explanation = called, "nothing yet"

        def steps(self, machine):
            return []

    return Mine


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    """Maker of an installed package `dreams` that brings one system, as a module and its metadata."""

    def install(source, entry="dreamer = dreams:Dreamer"):
        (tmp_path / "dreams.py").write_text(source)
        known = tmp_path / "dreams-1.0.dist-info"
        known.mkdir()
        (known / "METADATA").write_text("Metadata-Version: 2.1\nName: dreams\nVersion: 1.0\n")
        (known / "entry_points.txt").write_text(f"[brainrecon.systems]\n{entry}\n")
        monkeypatch.syspath_prepend(tmp_path)

    yield install
    sys.modules.pop("dreams", None)


DREAMER = """
from brainrecon.assembly.system import System

class Dreamer(System):
    name, explanation = "dreamer", "what was dreamt"

    def steps(self, machine):
        return []
"""


def test_names_are_known_without_importing_a_module():
    program = (
        "import sys\nfrom brainrecon.assembly.registry import system_names\nprint(*system_names())\n"
        "sys.exit(any(name.startswith('brainrecon.methods.') for name in sys.modules) or 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0 and set(done.stdout.split()) == OWN, done


def test_targets_and_rules_of_drawing_are_named_without_the_libraries_that_draw():
    """`brainrecon methods` names them, and a run that draws nothing estimates with them."""
    program = (
        "import sys, stages.targets.clip, stages.generators.diffusion.start_rule, brainrecon.runs.estimate\n"
        "print(*{'diffusers', 'open_clip', 'transformers', 'timm'} & set(sys.modules))\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, []), done


@pytest.mark.parametrize("name", sorted(OWN))
def test_a_module_is_named_after_its_system(name):
    kind = system_class(name)
    assert kind.name == name and issubclass(kind, System)
    assert kind.__module__ == f"brainrecon.methods.{name.replace('-', '_')}"


def test_an_unknown_name_is_told_the_known_ones_and_the_nearest():
    with pytest.raises(InputError, match="no method 'brain-difuser'; expected one of .*did you mean 'brain-diffuser'?"):
        system_class("brain-difuser")
    with pytest.raises(InputError, match="no method 'xyz'; expected one of .*noise.*[^?]$"):
        system_class("xyz")


def test_a_class_is_there_once_it_is_registered():
    kind = class_called("mine")
    assert system(kind) is kind and system_class("mine") is kind
    assert system_names()[-1] == "mine" and system_names().count("mine") == 1
    assert set(system_names()[: len(OWN)]) == OWN


def test_two_classes_of_one_name_are_refused_and_one_may_be_defined_again():
    system(class_called("mine"))
    system(class_called("mine"))  # the same class, as a notebook defines it when a cell is run again

    class Other(class_called("mine")):
        pass

    with pytest.raises(InputError, match="Other and .*Mine are both called 'mine'; give one of them another name"):
        system(Other)


def test_a_system_of_the_toolkit_is_not_replaced_before_it_is_imported(monkeypatch):
    monkeypatch.delitem(registry._REGISTERED, "noise", raising=False)
    with pytest.raises(InputError, match="Mine and brainrecon.methods.noise are both called 'noise'"):
        system(class_called("noise"))


def test_another_package_brings_a_system(plug_in):
    plug_in(DREAMER)
    assert "dreamer" in system_names() and "dreams" not in sys.modules
    assert system_class("dreamer").explanation == "what was dreamt"
    assert system_names().count("dreamer") == 1 and set(system_names()[: len(OWN)]) == OWN


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("Sleeper = 3", "AttributeError: module 'dreams' has no attribute 'Dreamer'"),
    ],
)
def test_a_package_that_cannot_be_loaded_is_told_in_a_sentence(plug_in, source, said):
    plug_in(source)
    assert "dreamer" in system_names()
    with pytest.raises(InputError) as error:
        system_class("dreamer")
    assert str(error.value) == f"System 'dreamer' of dreams cannot be loaded ({said}); mend or uninstall that package."
    # The others are as they were.
    assert system_class("noise").name == "noise"


@pytest.mark.parametrize("source", ["Dreamer = 3", DREAMER.replace('"dreamer"', '"sleeper"')])
def test_a_package_that_brings_something_else_is_told_in_a_sentence(plug_in, source):
    plug_in(source)
    with pytest.raises(InputError, match="System 'dreamer' of dreams is .*; expected a class of System of that name"):
        system_class("dreamer")


def test_checkpoints_that_are_absent_are_named_together_with_their_sizes(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path))
    with pytest.raises(CheckpointError) as caught:
        system_class("brain-diffuser")().folder("vdvae")
    told = str(caught.value)
    assert all(
        name in told
        for name in ("vdvae-imagenet64 (about", "clip-vit-l-14-quickgelu (about", "versatile-diffusion (about")
    )
    assert (
        "together, absent here; fetch them with `brainrecon weights pull clip-vit-l-14-quickgelu" in told
        and "--weights tiny" in told
    )


def test_one_that_is_damaged_is_told_by_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path))
    (tmp_path / "clip-vit-l-14-quickgelu").mkdir()
    (tmp_path / "clip-vit-l-14-quickgelu" / "open_clip_model.safetensors").write_bytes(b"1")
    with pytest.raises(CheckpointError, match="clip-vit-l-14-quickgelu is (damaged|absent)"):
        system_class("brain-diffuser")({"checkpoints": {"vdvae": "tiny-vdvae", "generator": "tiny-generator"}}).folder(
            "clip"
        )
