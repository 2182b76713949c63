"""The table of a benchmark: boards of scores that compare, and what is missing."""

from dataclasses import dataclass

from brainrecon.report.leaderboard.pages import as_html, as_markdown
from brainrecon.studies.preset import Preset


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """What `brainrecon.report.leaderboard.collect.collect` found.

    Attributes
    ----------
    boards : list of Board
    plan : dict
        What the benchmark's plan says; empty if there is none.
    missing : list of str
        Cells of the plan that have no scores yet.
    preset : brainrecon.studies.preset.Preset or None
        The published comparison that the plan runs again.
    """

    boards: list
    plan: dict
    missing: list
    preset: Preset | None = None

    def __str__(self):
        return as_markdown(self)

    def _repr_html_(self):
        return as_html(self, alone=True)
