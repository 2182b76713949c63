"""Every setting of a system: its name as it is typed, its default, and what its class says of it."""

from __future__ import annotations

import dataclasses
import inspect
from typing import NamedTuple

from numpydoc.docscrape import NumpyDocString


class Setting(NamedTuple):
    """One setting.

    Attributes
    ----------
    name : str
        Dotted, as ``--set`` takes it.
    default : object
    allowed : str
        Its type and range, as the docstring says them.
    meaning : str
    """

    name: str
    default: object
    allowed: str
    meaning: str


def settings_of(system):
    """All settings of a system, nested ones dotted, in the order of their classes.

    >>> from brainrecon.assembly.registry import system_class
    >>> settings_of(system_class("ridge-to-pixels")())[0].name
    'size'

    Returns
    -------
    settings : list of Setting
    """
    return list(_walk(system.settings, ""))


def _walk(settings, where):
    told = _told(type(settings))
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            yield from _walk(value, f"{where}{field.name}.")
            continue
        allowed, meaning = told.get(field.name, ("", ""))
        yield Setting(f"{where}{field.name}", value, allowed, meaning)


def _told(kind):
    """Name of each attribute -> its type and description, of a class and those that it is built on."""
    told = {}
    for one in reversed(kind.__mro__):
        doc = inspect.cleandoc(one.__dict__.get("__doc__") or "")
        for entry in NumpyDocString(doc)["Attributes"]:
            for name in entry.name.split(","):
                told[name.strip()] = (entry.type, " ".join(entry.desc).strip())
    return told
