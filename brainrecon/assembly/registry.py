"""The systems by name: those of `brainrecon.methods`, those of other packages, and those that a program registers.

A module of `brainrecon.methods` is named after its system, so that nothing is imported to list them. Other packages name
theirs in the entry point group ``brainrecon.systems``, and a class with the decorator `system` is there from then on.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules

from brainrecon.assembly.system import System
from stages.ground.errors import InputError
from weights.suggestions import did_you_mean

GROUP = "brainrecon.systems"
_HOME = "brainrecon.methods"

_REGISTERED: dict[str, type[System]] = {}


def system(kind: type[System]) -> type[System]:
    """Register a class of `System` under its name; a class decorator.

    >>> @system
    ... class Mine(System):
    ...     name, explanation = "mine", "nothing yet"
    ...     def steps(self, machine):
    ...         return []
    >>> system_class("mine").explanation
    'nothing yet'

    Raises
    ------
    InputError
        Another class has that name.
    """
    own, there = f"{kind.__module__}.{kind.__qualname__}", _REGISTERED.get(kind.name)
    # A system of the toolkit has its name before it is imported.
    other = _own_modules().get(kind.name) if there is None else f"{there.__module__}.{there.__qualname__}"
    if other not in (None, own, kind.__module__):
        raise InputError(f"{own} and {other} are both called {kind.name!r}; give one of them another name.")
    _REGISTERED[kind.name] = kind
    return kind


def system_names() -> list[str]:
    """Names of all systems.

    >>> system_names()[:3]
    ['assembled', 'brain-diffuser', 'brain-diffuser-kandinsky']

    Returns
    -------
    names : list of str
        Those of the toolkit first, then those of other installed packages, then those that this program has registered.
    """
    names = [*_own_modules(), *sorted(point.name for point in entry_points(group=GROUP)), *_REGISTERED]
    return list(dict.fromkeys(names))


def system_class(name: str) -> type[System]:
    """Class of a system, by its name.

    >>> system_class("mean-image").explanation
    'the average of all training pictures, whatever the response'

    Parameters
    ----------
    name : str
        One of `system_names`.

    Returns
    -------
    kind : subclass of System
        Called with settings it is the system.

    Raises
    ------
    InputError
        There is none, with those that there are; or the package that brings it cannot be loaded.
    """
    if not isinstance(name, str):
        raise InputError(f"The method is {name!r}; expected a name, such as 'brain-diffuser'.")
    if name not in _REGISTERED:
        _load(name)
    return _REGISTERED[name]


def _own_modules() -> dict[str, str]:
    """Name of each system of the toolkit -> its module."""
    home = import_module(_HOME)
    return {module.name.replace("_", "-"): f"{_HOME}.{module.name}" for module in iter_modules(home.__path__)}


def _load(name: str) -> None:
    if name in (own := _own_modules()):
        import_module(own[name])
        return
    for point in entry_points(group=GROUP, name=name):
        bringer = point.dist.name if point.dist else point.value
        try:
            kind = point.load()
        except Exception as error:
            raise InputError(
                f"System {name!r} of {bringer} cannot be loaded ({type(error).__name__}: {error}); mend or uninstall that "
                "package."
            ) from error
        if not (isinstance(kind, type) and issubclass(kind, System) and kind.name == name):
            raise InputError(
                f"System {name!r} of {bringer} is {kind!r}; expected a class of System of that name: mend or uninstall that "
                "package."
            )
        system(kind)
    if name not in _REGISTERED:
        known = system_names()
        raise InputError(f"There is no method {name!r}; expected one of {', '.join(known)}{did_you_mean(name, known)}.")
