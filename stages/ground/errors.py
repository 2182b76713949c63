"""The error for input that the user can mend."""


class InputError(ValueError):
    """What was given cannot be used.

    The message is one sentence: what is wrong, with both values; what was expected; what to type next.
    The command line prints it alone and exits with code 2.
    """
