"""Kinds of data: what they are, and how others add theirs."""

import sys
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import numpy as np
import pytest

from brainrecon.datasets import dataset as registry
from brainrecon.datasets import dataset_of, inventory, kinds, load
from brainrecon.datasets.dataset import GROUP, MODULES, Dataset, DatasetOf, ExpectedFile, Option, register
from brainrecon.datasets.description import Description
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from stages.ground.errors import InputError


class Flicker:
    """What a package of somebody else's may hold."""

    description = Description("one person saw flicker", "from us", "Somebody (2030), doi 10.1/1", "CC0")
    options = (Option("scale", "a factor"), Option("format", "of files", for_files=True, keyword="file_format"))

    def subjects(self, path):
        return ["subj01"]

    def load(self, path, subject=None, roi=None, scale=1.0, file_format="npy"):
        betas = np.full((2, 3), scale, np.float32)
        splits = {"train": Split(betas, ["a", "b"]), "test": Split(betas, ["c", "d"])}
        return Subject("subj01", "flicker", f"flicker:{path}", splits, "all", details={"format": file_format})

    def files(self, path, subject=None, file_format="npy"):
        return [ExpectedFile(path / f"betas.{file_format}", "responses")]


@pytest.fixture(autouse=True)
def forgotten():
    """What a test adds is gone after it."""
    yield
    registry._registered.pop("flicker", None)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write a package of one module and the entry point ``flicker`` of what it holds."""

    def write(text, value="flicker_of_somebody:Flicker"):
        (tmp_path / "flicker_of_somebody.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "flicker_of_somebody", raising=False)
        point = EntryPoint("flicker", value, GROUP)
        monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == GROUP else [])

    return write


def test_every_kind_is_a_dataset():
    assert set(MODULES) <= set(kinds())
    for kind in MODULES:
        assert isinstance(dataset_of(kind), Dataset)


def test_a_reader_that_knows_no_masks_is_given_one_over_the_voxels_that_it_loads(tmp_path):
    register("flicker", Flicker())
    whole, mask = load(f"flicker:{tmp_path}"), np.array([0, 1, 1])
    own = load(f"flicker:{tmp_path}", mask=mask)
    assert own.roi == "mask" and own.n_voxels == 2 and own.notes[-1] == "2 voxels of the mask the array are used"
    assert own.test.stimulus_ids.tolist() == whole.test.stimulus_ids.tolist()
    np.testing.assert_array_equal(own.train.betas[:], whole.train.betas[:, :2])
    assert load(f"flicker:{tmp_path}", roi="all - mask", mask=mask, fold=(0, 2)).n_voxels == 1


def test_what_is_registered_loads_and_takes_its_options(tmp_path):
    register("flicker", Flicker())
    assert "flicker" in kinds()
    subject = load(f"flicker:{tmp_path}", scale=2.5, format="h5")
    assert subject.details["format"] == "h5" and (subject.train.patterns == 2.5).all()
    assert load(f"flicker:{tmp_path}", fold=(1, 2)).test.n_stimuli == 2
    assert inventory.describe(subject)["about"]["citation"] == Flicker.description.citation
    assert inventory.files("flicker", tmp_path, format="mat")[0]["path"].endswith("betas.mat")
    with pytest.raises(InputError, match="'size' is no option of flicker data; it takes scale, format, mask, fold"):
        load(f"flicker:{tmp_path}", size=1)
    with pytest.raises(InputError, match="'scale' does not matter for the files of flicker data"):
        inventory.files("flicker", tmp_path, scale=1)
    with pytest.raises(InputError, match="cannot be fetched from here; they are to be had so: from us"):
        inventory.terms("flicker")


def test_another_package_adds_a_kind(package):
    package(
        "from brainrecon.datasets.dataset import DatasetOf\n"
        "from brainrecon.datasets.description import Description\n"
        "flicker = DatasetOf(Description('m', 'a', 'c', 'l'), lambda path: [str(path)], None, None)\n",
        "flicker_of_somebody:flicker",
    )
    assert "flicker" in kinds() and "flicker_of_somebody" not in sys.modules
    assert dataset_of("flicker").subjects("here") == ["here"]


def test_packages_are_looked_for_only_if_a_kind_is_unknown(monkeypatch):
    def refused(group):
        raise AssertionError("looked for")

    monkeypatch.setattr(registry, "entry_points", refused)
    assert dataset_of("digits69").description.citation
    with pytest.raises(AssertionError, match="looked for"):
        dataset_of("digit")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import a_module_that_is_not_there", r"ModuleNotFoundError: No module named 'a_module"),
        ("Flicker = 1 / 0", r"ZeroDivisionError"),
        ("Paces = 1", r"AttributeError"),
        ("class Flicker:\n    description = None", "has no options, subjects, load, files"),
    ],
)
def test_a_broken_package_is_one_sentence(package, tmp_path, text, told):
    package(text)
    with pytest.raises(InputError, match=told) as caught:
        load(f"flicker:{tmp_path}")
    assert "flicker" in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_kind_names_the_one_that_was_meant(package):
    package("")
    with pytest.raises(InputError, match=r"no kind of data 'Nsd'; it has nsd, .*, flicker \(did you mean 'nsd'\?\)"):
        dataset_of("Nsd")


def test_a_dataset_of_functions_cannot_be_fetched_unless_it_says_how():
    made = DatasetOf(Flicker.description, None, None, None)
    assert made.options == () and not made.download
    with pytest.raises(InputError, match="has no description, options"):
        register("flicker", SimpleNamespace(load=None, subjects=None, files=None))
