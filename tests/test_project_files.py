"""The pages at the root say what is there."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "README.md"])
def test_every_file_that_a_page_names_is_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(
        r"(?<![\w./:])(?:\./)?((?:brainrecon|stages|weights|scripts|tests|docs|notebooks)/[\w./-]*)", text
    )
    absent = [name for name in named if not (ROOT / name).exists()]
    assert named and not absent


def test_the_citation_is_of_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["project"]["version"]
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["authors"] == [{"name": "The brainrecon developers"}]
    assert "The brainrecon developers" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_the_newest_changes_are_of_this_version():
    headings = re.findall(r"^## (\S+?),? ", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.M)
    assert headings[0] == PROJECT["project"]["version"]


def test_the_source_archive_holds_every_page_and_folder_that_is_kept():
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    pages = {path.name for path in ROOT.iterdir() if path.suffix in (".md", ".cff") or path.name == "LICENSE"}
    folders = {"brainrecon", "docs", "examples", "notebooks", "scripts", "stages", "tests", "weights", ".ci"}
    assert set(included) == pages | folders


def test_every_file_whose_types_are_checked_is_there():
    assert all((ROOT / name).exists() for name in PROJECT["tool"]["mypy"]["files"])


def test_nothing_that_a_test_or_an_example_wrote_is_kept():
    """What is run in the checkout may leave files; they are not to be handed on."""
    asked = ["git", "-C", str(ROOT), "ls-files"]
    listed = subprocess.run(asked, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no checkout")
    folders = {"brainrecon", "docs", "examples", "notebooks", "scripts", "stages", "tests", "weights", ".ci"}
    pages = {"CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "README.md", "pyproject.toml"}
    at_root = {name.partition("/")[0] for name in listed.stdout.splitlines()}
    assert at_root - folders == pages | {".gitignore", ".gitattributes"}
