"""The warning for what a user has to know of while the work goes on."""


class Remark(UserWarning):
    """Something is likely not as it was meant, and was not refused.

    The message is a sentence or two: what is so, and what to type or do if it was not meant. The command line prints it alone,
    as it prints its notes; elsewhere it is a warning like any other.

    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.warn("This disk knows no locks; run one process at a time.", Remark)
    >>> str(told[0].message)
    'This disk knows no locks; run one process at a time.'
    """
