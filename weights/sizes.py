"""Bytes in words, for people who are about to fetch them."""


def in_words(size: int | None, reckoned: int | None = None) -> str:
    """Bytes in words.

    >>> in_words(2_500_000), in_words(None, 12_318_559_148), in_words(None)
    ('2.5 MB', 'about 12.3 GB', '?')

    Parameters
    ----------
    size : int or None
    reckoned : int or None
        Taken if the size is not known, and called "about".
    """
    about = "about " if size is None else ""
    size = size if size is not None else reckoned
    if size is None:
        return "?"
    return f"{about}{size / 1e9:,.1f} GB" if size >= 1e9 else f"{about}{size / 1e6:.1f} MB"
