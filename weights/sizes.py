"""Bytes in words, for people who are about to fetch them."""

from collections.abc import Sequence

from weights.manifest import Checkpoint


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


def with_sizes(entries: Sequence[Checkpoint]) -> str:
    """Names of checkpoints with their sizes, and what they are together: 'a (3.9 MB), b (about 1.2 GB), about 1.2 GB together'.

    Parameters
    ----------
    entries : sequence of Checkpoint
    """
    told = [f"{entry.name} ({in_words(entry.size, entry.reckoned_size)})" for entry in entries]
    sizes = [size for entry in entries if (size := entry.size or entry.reckoned_size) is not None]
    together = [f"{in_words(None, sum(sizes))} together"] if 1 < len(entries) == len(sizes) else []
    return ", ".join(told + together)
