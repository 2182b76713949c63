"""The examples in docstrings run, offline and in seconds, and every public name has one."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

from brainrecon.assembly import registry
from brainrecon.datasets import dataset

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules_with_examples():
    for package in ("brainrecon", "stages", "weights"):
        for file in sorted((ROOT / package).rglob("*.py")):
            if ">>>" in file.read_text(encoding="utf-8"):
                yield ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.fixture
def nothing_stays_registered():
    """Forget the systems and datasets that examples register."""
    places = ((registry._REGISTERED, registry._own_modules()), (dataset._registered, dataset.MODULES))
    before = [set(registered) for registered, _ in places]
    yield
    for (registered, own), names in zip(places, before):
        for name in set(registered) - names - set(own):
            del registered[name]


@pytest.mark.usefixtures("nothing_stays_registered")
@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_run(name, tmp_path, monkeypatch, capsys, request):
    monkeypatch.chdir(tmp_path)
    # As in pytest's own runs of examples.
    result = doctest.testmod(
        importlib.import_module(name), optionflags=OPTIONS, extraglobs={"getfixture": request.getfixturevalue}
    )
    assert not result.failed, capsys.readouterr().out


def listed_names():
    """Every name that the pages of the reference list, in their order."""
    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
        for block in re.findall(r"\.\. autosummary::\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            yield from re.findall(r"^ +~?([a-zA-Z][\w.]+)$", block, re.MULTILINE)


LISTED = list(listed_names())


def named(name):
    """What a dotted name stands for, imported."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise ImportError(name)


def executed(docstring):
    """Examples of a docstring that are run."""
    examples = doctest.DocTestParser().get_examples(docstring or "")
    return [example.source for example in examples if not example.options.get(doctest.SKIP)]


def examples_of(thing, name):
    """Examples that use a name: those of its docstring that name it, and those of its methods."""
    known = {name.rpartition(".")[2], thing.__name__}
    found = [one for one in executed(thing.__doc__) if known & set(re.findall(r"\w+", one))]
    for member in vars(thing).values() if inspect.isclass(thing) else ():
        member = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
        found += executed(member.__doc__) if inspect.isfunction(member) else []
    return found


@pytest.mark.parametrize("name", LISTED)
def test_every_listed_name_has_an_example_that_runs(name):
    assert examples_of(named(name), name)


def prose(docstring):
    """A docstring without its examples, formulas and code."""
    parts = doctest.DocTestParser().parse(inspect.cleandoc(docstring or ""))
    text = "".join(part for part in parts if isinstance(part, str))
    text = re.sub(r"^( *)\.\. math::.*(\n\1 +.*|\n *(?=\n))*", "", text, flags=re.MULTILINE)
    return re.sub(r"``.+?``|`[^`]+`", "", text, flags=re.DOTALL)


def misread(docstring):
    """What the site would take for a substitution, or for an emphasis that does not end."""
    text = prose(docstring)
    bars, stars = (
        re.findall(r"(?<![\w|])\|[^\s|][^|\n]*\|", text),
        re.findall(r"(?<![\w*\\])\*(?=\w)[^*\n]*(?!\*)$", text, re.M),
    )
    return bars + stars


def test_bars_and_stars_outside_code_are_found():
    assert misread("Mean of |r| over rows.") == ["|r|"] and misread("Shape (n, *shape).") == ["*shape)."]
    assert (
        misread("Mean of ``|r|``, of *all* rows, 2 * 3, a || b.\n\n>>> f(*args)\n\n.. math:: |x| + *y\n    |z|\n") == []
    )


def test_the_site_reads_every_listed_docstring():
    found = {}
    for name in LISTED:
        thing = named(name)
        docstrings = {name: thing.__doc__}
        for key, member in vars(thing).items() if inspect.isclass(thing) else ():
            member = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
            if inspect.isfunction(member) and not key.startswith("_"):
                docstrings[f"{name}.{key}"] = member.__doc__
        found |= {key: odd for key, text in docstrings.items() if (odd := misread(text))}
    assert not found


def test_a_name_without_an_example_is_found():
    def silent():
        """Say nothing."""

    def skipped():
        """Say nothing.

        >>> skipped()  # doctest: +SKIP
        """

    class Other:
        """Nothing.

        >>> 1 + 1
        2
        """

    assert not any(examples_of(one, one.__name__) for one in (silent, skipped, Other))


def test_names_that_a_package_of_ones_own_imports_are_listed():
    guide = (ROOT / "docs" / "guide" / "your-own.md").read_text(encoding="utf-8")
    imports = re.findall(r"^ *from ((?:brainrecon|stages|weights)[\w.]*) import ([\w, ]+)$", guide, re.MULTILINE)
    imported = [f"{module}.{name}" for module, names in imports for name in names.split(", ")]
    listed = [named(name) for name in LISTED]
    assert len(imported) > 10
    assert [name for name in imported if not any(named(name) is one for one in listed)] == []


def test_every_name_is_listed_once():
    assert len(LISTED) == len(set(LISTED)) > 100


@pytest.mark.parametrize(
    "package", ["brainrecon", "brainrecon.datasets", "brainrecon.evaluation", "brainrecon.simulation"]
)
def test_every_public_name_is_listed(package):
    module, listed = importlib.import_module(package), [named(name) for name in LISTED]
    public = [name for name in module.__all__ if not name.startswith("__")]
    # Under whatever name: `brainrecon.Decoder` is `RidgeDecoder`.
    assert [name for name in public if not any(getattr(module, name) is one for one in listed)] == []
