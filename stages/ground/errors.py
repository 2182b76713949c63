"""The error for input that the user can mend."""


class InputError(ValueError):
    """Something was given that cannot be used.

    >>> raise InputError("samples is 0; expected 1 or more: pass --samples 1.")
    Traceback (most recent call last):
        ...
    stages.ground.errors.InputError: samples is 0; expected 1 or more: pass --samples 1.

    The message is one sentence: what is wrong, with both values; what was expected; what to type next.
    The command line prints it alone and exits with code 2.
    """
