"""Settings of a method: nested dataclasses that read from and write to plain dictionaries (TOML), strictly."""

from __future__ import annotations

import dataclasses
import types
import typing
from pathlib import Path

from stages.ground.errors import InputError
from stages.ground.reading.json_files import read_json
from weights.own_checkpoints import is_own_folder
from weights.suggestions import did_you_mean

DESCRIPTION = "method.json"
"""File that describes a fitted chain: its method and settings, and what its steps say of themselves."""


def to_dict(settings):
    """Nested dictionary of a settings dataclass; entries that are None are left out, TOML has no null."""
    return {
        field.name: to_dict(value)
        if dataclasses.is_dataclass(value)
        else list(value)
        if isinstance(value, tuple)
        else value
        for field in dataclasses.fields(settings)
        if (value := getattr(settings, field.name)) is not None
    }


def from_dict(kind, values, where=""):
    """Build the settings dataclass `kind` from a nested dictionary.

    Raises
    ------
    InputError
        For a name that `kind` does not have, and for a value of another type; both say what was expected.
    """
    if not isinstance(values, dict):
        raise InputError(f"{where or 'The configuration'} is {values!r}; expected a table of names and values.")
    hints = typing.get_type_hints(kind)
    unknown = sorted(values.keys() - hints.keys())
    if unknown:
        name = f"{where}.{unknown[0]}".lstrip(".")
        raise InputError(
            f"There is no setting {name!r}; expected one of {', '.join(hints)}{did_you_mean(unknown[0], hints, where)}."
        )
    defaults = {field.name: field.default_factory for field in dataclasses.fields(kind)}
    given = {}
    for name, value in values.items():
        own = defaults[name]
        if dataclasses.is_dataclass(hints[name]) and isinstance(value, dict) and own is not dataclasses.MISSING:
            # Missing keys keep the default of this method, which may differ from the default of the part.
            value = merged(to_dict(own()), value)
        given[name] = _converted(hints[name], value, f"{where}.{name}".lstrip("."))
    return kind(**given)


def merged(base, over):
    """Nested dictionary with the entries of both; where both have a table, of both tables."""
    both = base | over
    return both | {
        name: merged(base[name], over[name])
        for name in base.keys() & over.keys()
        if isinstance(base[name], dict) and isinstance(over[name], dict)
    }


def differences(old, new, where=""):
    """Dotted names at which two nested dictionaries differ, each with both values."""
    found = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            found += differences(before, after, f"{where}{name}.")
        elif before != after:
            found.append((where + name, before, after))
    return found


def filled_in(settings, values):
    """Settings with `values`, dict, for those that are None; names that they do not have are left.

    >>> from brainrecon.assembly.generator_settings import GeneratorSettings
    >>> filled_in(GeneratorSettings(strength=0.5), {"guidance_scale": 3.5, "strength": 0.9, "colour": "red"}).guidance_scale
    3.5
    """
    names = {field.name for field in dataclasses.fields(settings)} & values.keys()
    return dataclasses.replace(settings, **{name: values[name] for name in names if getattr(settings, name) is None})


def with_weights(values, kind, weights):
    """Settings of a method with the checkpoints of a family, and with what else these ask for; own folders by their whole path.

    Parameters
    ----------
    values : dict
        Nested settings; what they say themselves stays.
    kind : class
        The method.
    weights : {"published", "tiny"} or None
        "tiny" takes the embedded twin of every checkpoint that has one (the method's `tiny`); otherwise they are as the
        method has them.

    Returns
    -------
    dict
        A new one where anything differs.
    """
    if weights not in (None, "published", "tiny"):
        meant = did_you_mean(weights, ("published", "tiny"))
        raise InputError(f"There are no weights {weights!r}; expected published or tiny{meant}.")
    values = merged(getattr(kind, "tiny", {}), values) if weights == "tiny" else values
    named = values.get("checkpoints")
    if not isinstance(named, dict) or not any(map(_is_folder, named.values())):
        return values
    # From whatever folder the run is gone on with.
    places = {
        role: str(Path(name).expanduser().resolve()) if _is_folder(name) else name for role, name in named.items()
    }
    return values | {"checkpoints": places}


def _is_folder(name):
    return isinstance(name, str) and is_own_folder(name)


def read_saved(folder):
    """What a method wrote into `folder` as method.json: its name and settings, and more that is its own affair."""
    path = Path(folder) / DESCRIPTION
    if not path.exists():
        raise InputError(f"{folder} holds no fitted method: method.json is missing; name the decoder folder of a run.")
    remedy = "fit again with `brainrecon fit`"
    known = read_json(path, dict, remedy)
    if absent := {"method", "settings"} - known.keys():
        raise InputError(f"{path} says nothing of {', '.join(sorted(absent))}; {remedy}.")
    return known


def _converted(hint, value, where):
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value, where)
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if float in options and int not in options and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if str in options and int not in options and isinstance(value, int) and not isinstance(value, bool):
        # A name made of digits, as it was typed: --set data.subject=1.
        return str(value)
    for option in options:
        origin = typing.get_origin(option) or option
        if origin is tuple and isinstance(value, (list, tuple)):
            item = typing.get_args(option)[0]
            return tuple(_converted(item, entry, f"{where}[{i}]") for i, entry in enumerate(value))
        if origin is dict and isinstance(value, dict) and typing.get_args(option):
            item = typing.get_args(option)[1]
            return {name: _converted(item, entry, f"{where}.{name}") for name, entry in value.items()}
        if isinstance(value, origin) and not (isinstance(value, bool) and origin is not bool):
            return value
    names = " or ".join(
        "nothing" if option is type(None) else "list" if _kind(option) is tuple else _kind(option).__name__
        for option in options
    )
    raise InputError(
        f"Setting {where!r} is {value!r} ({type(value).__name__}); expected {names}: set it with --set "
        f"{where.partition('[')[0]}=VALUE."
    )


def _kind(option):
    return typing.get_origin(option) or option
