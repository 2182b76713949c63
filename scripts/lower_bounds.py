"""Print the lowest versions that the project allows of what it requires, as lines of a pip constraints file.

python scripts/lower_bounds.py > lowest.txt
python -m pip install --constraint lowest.txt .
python scripts/lower_bounds.py --extra test --extra perceptual
"""

import argparse
import re
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def main(arguments=None):
    """Print a line for each package."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--extra", action="append", default=[], help="also those of this extra; may be given again")
    asked = parser.parse_args(arguments)
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    if unknown := [name for name in asked.extra if name not in extras]:
        sys.exit(f"There is no extra {unknown[0]!r}; expected one of {', '.join(extras)}.")
    requirements = [*project["dependencies"], *(line for name in asked.extra for line in extras[name])]
    print("\n".join(lower_bounds(requirements)))


def lower_bounds(requirements):
    """Pin each requirement to its lower bound.

    >>> lower_bounds(["torch>=2.6", "dreamsim>=0.2.1,<0.3", "torch>=2.6"])
    ['dreamsim==0.2.1', 'torch==2.6']

    Parameters
    ----------
    requirements : iterable of str
        As they stand in `pyproject.toml`, each with one ``>=``.

    Returns
    -------
    lines : list of str
        One for each package, sorted.

    Raises
    ------
    SystemExit
        A requirement has no lower bound.
    """
    found = set()
    for requirement in requirements:
        match = re.match(r"([\w.-]+)(?:\[[^\]]*\])?[^;]*?>=\s*([\w.]+)", requirement)
        if match is None:
            sys.exit(f"{requirement!r} has no lower bound; write {requirement}>=VERSION in pyproject.toml.")
        found.add("{}=={}".format(*match.groups()))
    return sorted(found, key=str.lower)


if __name__ == "__main__":
    main()
