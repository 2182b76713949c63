"""Parts of a network that are trained, by the names of their parameters."""

from __future__ import annotations

import re
from contextlib import contextmanager

from stages.ground.errors import InputError


@contextmanager
def only_trained(learner, patterns):
    r"""Give the parameters that are to be trained; the others need no gradient meanwhile.

    >>> import torch
    >>> network = torch.nn.ModuleDict({"trunk": torch.nn.Linear(2, 3), "head": torch.nn.Linear(3, 1)})
    >>> with only_trained(network, [r"head\..*"]) as trained:
    ...     {name: tuple(one.shape) for name, one in trained.items()}, network["trunk"].weight.requires_grad
    ({'head.weight': (1, 3), 'head.bias': (1,)}, False)
    >>> network["trunk"].weight.requires_grad
    True

    Parameters
    ----------
    learner : torch.nn.Module
    patterns : sequence of str
        Regular expressions for whole names. A parameter that needs no gradient anyway is not trained.

    Yields
    ------
    trained : dict of str to torch.nn.Parameter

    Raises
    ------
    InputError
        A pattern fits no parameter.
    """
    named = dict(learner.named_parameters())
    for pattern in patterns:
        if not any(re.fullmatch(pattern, name) for name in named):
            raise InputError(
                f"recipe.trains has {pattern!r}, which fits no parameter; expected patterns of whole names such as "
                f"{', '.join(list(named)[:3])}."
            )
    left_alone = [
        parameter
        for name, parameter in named.items()
        if parameter.requires_grad and not any(re.fullmatch(pattern, name) for pattern in patterns)
    ]
    try:
        for parameter in left_alone:
            parameter.requires_grad_(False)
        yield {name: parameter for name, parameter in named.items() if parameter.requires_grad}
    finally:
        for parameter in left_alone:
            parameter.requires_grad_(True)
