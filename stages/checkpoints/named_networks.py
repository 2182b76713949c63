"""The class of a network by the name under which it was imported, as a ``config.json`` holds it.

A file may name only what the program has imported already: a name in a file imports nothing.
"""

from __future__ import annotations

import sys

from torch import nn

from weights.manifest import CheckpointError


def name_of(network_class):
    """Name a class by its module and its name there.

    >>> name_of(nn.Linear)
    'torch.nn.modules.linear:Linear'
    """
    return f"{network_class.__module__}:{network_class.__qualname__}"


def network_named(name):
    """Find the class of a name among the modules that are imported.

    >>> network_named("torch.nn.modules.linear:Linear")
    <class 'torch.nn.modules.linear.Linear'>

    Parameters
    ----------
    name : str
        As from `name_of`.

    Returns
    -------
    network_class : type
        A `torch.nn.Module`: a file can name nothing else to be called.

    Raises
    ------
    CheckpointError
        Its module is not imported, has no such class, or it is something else.
    """
    module, _, names = name.partition(":")
    if module not in sys.modules:
        raise CheckpointError(
            f"The network {name} is not imported; write `import {module}` first, and open the folder again."
        )
    found = sys.modules[module]
    for part in names.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise CheckpointError(f"{name} is no network; expected a torch.nn.Module.")
    return found
