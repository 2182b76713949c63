"""Parts of other packages by name: targets, decoders and generators, through entry points.

A package names them in its pyproject.toml::

    [project.entry-points."brainrecon.targets"]
    resnet18 = "my_package.target:ResNet18"
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

GROUPS = {kind: f"brainrecon.{kind}s" for kind in ("target", "decoder", "generator")}


def part_names(kind: str) -> list[str]:
    """Names of the parts of a kind that other packages bring, sorted.

    >>> part_names("target")  # doctest: +SKIP
    ['resnet18']
    """
    return sorted({point.name for point in entry_points(group=GROUPS[kind])})


def named_part(kind: str, name: str) -> Any:
    """What a package calls `name`.

    Parameters
    ----------
    kind : {"target", "decoder", "generator"}
    name : str

    Returns
    -------
    object
        A class or a function: ``part(device=...)`` gives the target, the unfitted decoder, or the generator.

    Raises
    ------
    InputError
        No package has such a part, or the one that has cannot be loaded.
    """
    for point in entry_points(group=GROUPS[kind], name=name):
        try:
            return point.load()
        except Exception as error:
            raise InputError(
                f"The {kind} {name!r} of {point.dist.name if point.dist else point.value} cannot be loaded "
                f"({type(error).__name__}: {error}); mend or uninstall that package."
            ) from error
    known = part_names(kind)
    raise InputError(
        f"There is no {kind} {name!r} in any package here; there are {', '.join(known) or 'none'}"
        f"{did_you_mean(name, known) or f'; install the package whose entry points {GROUPS[kind]} name it'}."
    )
