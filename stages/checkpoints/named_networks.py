"""The class of a network by the name under which it is imported, as a ``config.json`` holds it."""

from __future__ import annotations

from importlib import import_module

from torch import nn

from weights.manifest import CheckpointError


def name_of(network_class):
    """Name a class by its module and its name there.

    >>> name_of(nn.Linear)
    'torch.nn.modules.linear:Linear'
    """
    return f"{network_class.__module__}:{network_class.__qualname__}"


def network_named(name):
    """Import the class of a name.

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
        It cannot be imported, or is something else.
    """
    module, _, names = name.partition(":")
    try:
        found = import_module(module)
        for part in names.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"{name} cannot be imported ({error}); install the package that has this network."
        ) from None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise CheckpointError(f"{name} is no network; expected a torch.nn.Module.")
    return found
