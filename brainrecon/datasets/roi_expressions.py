"""Regions joined by "+" and "-", in the names of whichever dataset."""

import re

from stages.ground.errors import InputError


def join(expression, names, mask_of, absent):
    """The voxels that an expression selects.

    Parameters
    ----------
    expression : str
        One name, or several joined by "+" (union) and "-" (difference), taken from left to right: "nsdgeneral - V1".
    names : iterable of str
        They may hold such signs themselves, "FFA-1" and "ecc4+": the longest that fits is taken.
    mask_of : callable
        ``mask_of(name) -> bool array``, the voxels of one region.
    absent : callable
        ``absent(name) -> InputError`` for what is no name.

    Returns
    -------
    mask : bool array, like those of `mask_of`

    Raises
    ------
    InputError
        A name that is not there, or a difference that leaves no voxel.
    """
    mask = None
    for sign, name in _terms(expression, names, absent):
        voxels = mask_of(name)
        if mask is None:
            mask = voxels
        else:
            mask = mask | voxels if sign == "+" else mask & ~voxels
    if not mask.any():
        raise InputError(f"The roi '{expression}' leaves no voxel; take less away.")
    return mask


def _terms(expression, names, absent):
    """Signs and names of an expression: [("+", "nsdgeneral"), ("-", "lh.V1")]."""
    # The longest first, and each followed by a sign or the end: "FFA-1" is one name, "V1-V2" two.
    longest_first = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)) or "(?!)"
    term = re.compile(rf"\s*({longest_first})\s*(?=[+-]|$)")
    terms, sign, position = [], "+", 0
    while True:
        found = term.match(expression, position)
        if not found:
            raise absent(re.split(r"\s*\+|\s+-", expression[position:].strip())[0] or expression)
        terms.append((sign, found[1]))
        if found.end() == len(expression):
            return terms
        sign, position = expression[found.end()], found.end() + 1
