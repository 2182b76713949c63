"""JSON and TOML files: their content, with its type checked, or one sentence."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from stages.ground.errors import InputError
from stages.ground.reading.wall import reading

_NAMES: dict[type, str] = {dict: "an object, {...}", list: "a list, [...]"}


def read_json(path: str | Path, kind: type | None = None, remedy: str = "mend it") -> Any:
    """Read a JSON file in UTF-8, with or without a byte order mark.

    >>> path = getfixture("tmp_path") / "subject.json"
    >>> _ = path.write_text('{"n_trials": 3}')
    >>> read_json(path, dict)
    {'n_trials': 3}

    Parameters
    ----------
    path : path
    kind : type, optional
        What its outermost value has to be, such as dict.
    remedy : str
        What to do about a file that cannot be read, for the message.

    Raises
    ------
    InputError
        The file is absent, no JSON, names a key twice, or holds another kind of value.
    """
    with reading(path, "JSON", remedy):
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"), object_pairs_hook=_distinct)
    if kind is not None and not isinstance(content, kind):
        raise InputError(
            f"{path} holds {type(content).__name__} where {_NAMES.get(kind, kind.__name__)} was expected; {remedy}."
        )
    return content


def read_toml(path: str | Path, remedy: str = "mend it") -> dict[str, Any]:
    """Read a TOML file in UTF-8, with or without a byte order mark.

    >>> path = getfixture("tmp_path") / "config.toml"
    >>> _ = path.write_text("seed = 1")
    >>> read_toml(path)
    {'seed': 1}

    Parameters
    ----------
    path : path
    remedy : str
        What to do about a file that cannot be read, for the message.

    Raises
    ------
    InputError
        The file is absent or no TOML.
    """
    with reading(path, "TOML", remedy):
        return tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return found
