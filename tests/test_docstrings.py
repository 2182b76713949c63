"""The examples in docstrings run, offline and in seconds, and every public name has one."""

import doctest
import importlib
from pathlib import Path

import pytest

import brainrecon

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules_with_examples():
    for package in ("brainrecon", "stages", "weights"):
        for file in sorted((ROOT / package).rglob("*.py")):
            if ">>>" in file.read_text(encoding="utf-8"):
                yield ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_run(name, tmp_path, monkeypatch, capsys, request):
    monkeypatch.chdir(tmp_path)
    # As in pytest's own runs of examples.
    result = doctest.testmod(
        importlib.import_module(name), optionflags=OPTIONS, extraglobs={"getfixture": request.getfixturevalue}
    )
    assert not result.failed, capsys.readouterr().out


@pytest.mark.parametrize("name", [name for name in brainrecon.__all__ if name != "__version__"])
def test_every_public_name_has_an_example_that_runs(name):
    examples = doctest.DocTestParser().get_examples(getattr(brainrecon, name).__doc__)
    assert any(not example.options.get(doctest.SKIP) for example in examples)
