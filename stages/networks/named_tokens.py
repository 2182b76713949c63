"""Names of what a network of tokens is asked for: rough tokens, tokens for retrieval, and the latent of a blurry picture."""

from __future__ import annotations

from collections.abc import Mapping

from stages.ground.errors import InputError

PARTS = ("rough", "retrieval", "latent")


def named_tokens(gives: Mapping) -> tuple[dict, tuple, tuple | None]:
    """Sort what is asked for.

    >>> named_tokens({"clip_rough": (3, 8), "clip_retrieval": (3, 8)})
    ({'rough': 'clip_rough', 'retrieval': 'clip_retrieval'}, (3, 8), None)

    Parameters
    ----------
    gives : mapping of str to tuple of int
        A name that ends in "rough" and one that ends in "retrieval", both (n_tokens, width), or the latter alone; and, if there
        is to be a blurry picture, one that ends in "latent" (channels, side, side).

    Returns
    -------
    names : dict of str to str
        By part.
    tokens : tuple of int
    latent : tuple of int, or None

    Raises
    ------
    InputError
        Anything else is asked for.
    """
    names = {name.rpartition("_")[2]: name for name in gives}
    shapes = {part: tuple(gives[name]) for part, name in names.items()}
    tokens, latent = shapes.get("retrieval", ()), shapes.get("latent")
    fits = len(tokens) == 2 and shapes.get("rough", tokens) == tokens and (latent is None or len(latent) == 3)
    if not fits or len(names) != len(gives) or not names.keys() <= set(PARTS):
        raise InputError(
            "The network gives clip_rough and clip_retrieval of one shape (n_tokens, width), and a latent (channels, side, side) "
            f"if it is asked for, but is asked for {dict(gives)}."
        )
    return names, tokens, latent
