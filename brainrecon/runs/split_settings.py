"""Settings with which a split that is tested beside another is drawn: ``[splits.NAME.settings]`` of a configuration."""

from __future__ import annotations

from brainrecon.assembly.settings import differences, from_dict, merged, to_dict, with_weights
from stages.ground.errors import InputError


def split_settings(tables, settings, kind):
    """Read the tables of splits, each against the settings that it changes.

    >>> from brainrecon.assembly.registry import system_class
    >>> kind = system_class("brain-diffuser")
    >>> split_settings({"imagery": {"settings": {"generator": {"strength": 0.5}}}}, kind().settings, kind)
    {'imagery': {'generator': {'strength': 0.5}}}

    Parameters
    ----------
    tables : dict of str to dict
        By split, ``{"settings": nested dictionary}``.
    settings : object
        Those of the run.
    kind : type
        Class of the system.

    Returns
    -------
    dict of str to dict
        By split, what is set otherwise.

    Raises
    ------
    InputError
        A table has anything but settings, or sets what a decoder depends on.
    """
    found = {}
    for name, table in tables.items():
        if unknown := sorted(table.keys() - {"settings"}):
            raise InputError(
                f"splits.{name} has {unknown[0]!r}; expected settings alone: write [splits.{name}.settings] with a line for "
                "each setting."
            )
        values = table.get("settings", {})
        if not isinstance(values, dict):
            raise InputError(
                f"splits.{name}.settings is {values!r}; expected a table: write [splits.{name}.settings] with a line for each "
                "setting."
            )
        found[name] = with_weights(values, kind, None)
        of_split(settings, found[name], kind, name)
    return found


def of_split(settings, values, kind, name):
    """Settings of a split: those of the run, and in their place what `values`, a nested dictionary, sets otherwise.

    Parameters
    ----------
    settings : object
    values : dict
    kind : type
        Class of the system, whose `of_drawing` says what may be set.
    name : str
        The split, for messages.
    """
    own = from_dict(kind.settings_class, merged(to_dict(settings), values), f"splits.{name}.settings")
    for changed, before, after in differences(to_dict(settings), to_dict(own)):
        if not any(changed == one or changed.startswith(f"{one}.") for one in kind.of_drawing):
            raise InputError(
                f"splits.{name}.settings.{changed} is {after!r}, but the decoder that {name} shares depends on it and was asked "
                f"for with {before!r}; a split may set {', '.join(kind.of_drawing) or 'nothing'} otherwise, or is a run of its "
                f"own: --split {name}."
            )
    return own
