"""What is known of a system's likeness to its authors' code, and on which data it was run the whole way."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Evidence:
    """How far a system can be trusted to do what its authors did, for tables and pages.

    >>> Evidence("a formula written out", ("simulated NSD",)).fidelity
    'a formula written out'

    Attributes
    ----------
    fidelity : str
        What of it was shown to equal the authors' code, a library or a formula, in a phrase; a system that nobody published
        says so.
    tested_on : tuple of str
        Data on which it was run from responses to scores; simulated data say that they are.
    published : tuple of str
        How the names of its rows in the table of published scores begin, see `brainrecon.evaluation.scores.published`.
    """

    fidelity: str
    tested_on: tuple[str, ...]
    published: tuple[str, ...] = ()


UNPUBLISHED = "no published system"
"""Begins the fidelity of a system that has no authors to be faithful to."""
