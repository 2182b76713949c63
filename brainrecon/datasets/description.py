"""What a dataset is, for those who have yet to get it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Description:
    """A dataset in five sentences or fewer.

    >>> about = Description(
    ...     measured="One subject saw 100 drawings, 3 T.",
    ...     available="On request.",
    ...     citation="Nobody (2026).",
    ...     licence="MIT",
    ...     pictures="drawn pictures",
    ... )
    >>> about.licence
    'MIT'

    Attributes
    ----------
    measured : str
        Who saw what, and how it was recorded.
    available : str
        Where it is to be had, and on what terms.
    citation : str
        Reference with its DOI.
    licence : str
        As the source states it; "not stated" where it does not.
    pictures : str
        What was shown: "photographs", "drawn pictures", or "" if its own files may hold either.
    hours_of_session : float
        How long a session is; 0 where sessions differ or nobody says.
    """

    measured: str
    available: str
    citation: str
    licence: str
    pictures: str = ""
    hours_of_session: float = 0.0
