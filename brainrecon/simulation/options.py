"""Options of a simulation that are numbers, each within its range."""

import numpy as np

from stages.ground.errors import InputError


def checked_number(name: str, value, least: int, most: int, *, whole: bool = True) -> int | float:
    """Return an option as a plain number, once it is in range.

    Parameters
    ----------
    name : str
        The option's, for the error.
    value : int or numpy integer, or any real number where it need not be whole
    least, most : int
        The range, both ends included.
    whole : bool
        Whether only whole numbers will do; an int is returned then, otherwise a float.

    Raises
    ------
    InputError
        It is no such number or out of range; NaN, booleans, and floats in place of whole numbers included.
    """
    kinds = int | np.integer if whole else int | np.integer | float | np.floating
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        raise InputError(
            f"{name} is {value!r} but must be a {'whole ' if whole else ''}number from {least:,} to {most:,}; "
            f"set --{name.replace('_', '-')} in that range."
        )
    return int(value) if whole else float(value)
