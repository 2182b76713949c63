"""The lines of a constraints file say the same lower bounds as `packaging` reads from the project's requirements."""

import tomllib
from pathlib import Path

import lower_bounds
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("extras", [(), ("perceptual", "slurm")])
def test_each_requirement_is_pinned_to_its_lower_bound(extras, capsys):
    lower_bounds.main([word for extra in extras for word in ("--extra", extra)])
    lines = [Requirement(line) for line in capsys.readouterr().out.splitlines()]
    wanted = [*PROJECT["dependencies"], *(line for extra in extras for line in PROJECT["optional-dependencies"][extra])]
    expected = {
        one.name: min(Version(each.version) for each in one.specifier if each.operator == ">=")
        for one in map(Requirement, wanted)
    }
    pinned = {one.name: Version(next(iter(one.specifier)).version) for one in lines}
    assert all(str(one.specifier).startswith("==") for one in lines)
    assert pinned == expected


def test_every_extra_has_lower_bounds():
    for lines in PROJECT["optional-dependencies"].values():
        assert len(lower_bounds.lower_bounds(lines)) == len(lines)


def test_a_requirement_without_a_lower_bound_and_an_unknown_extra_are_refused():
    with pytest.raises(SystemExit, match="'scipy' has no lower bound"):
        lower_bounds.lower_bounds(["scipy"])
    with pytest.raises(SystemExit, match="no extra 'plots'; expected one of alignment, banded"):
        lower_bounds.main(["--extra", "plots"])
