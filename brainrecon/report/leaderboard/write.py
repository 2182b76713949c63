"""The files of a benchmark's table."""

from pathlib import Path

from brainrecon.report.leaderboard.collect import collect
from brainrecon.report.leaderboard.pages import as_csv, as_html, as_markdown, session_figures
from weights.whole_files import write_text

NAME = "leaderboard"


def write_leaderboard(folder):
    """Collect a benchmark's scores and write `leaderboard.md`, `.csv` and `.html` into its folder.

    If rows of a method differ in the sessions that they learned from, `sessions-<protocol>-<roi>.svg` as well.

    Parameters
    ----------
    folder : path-like
        See `brainrecon.report.leaderboard.collect.collect`.

    Returns
    -------
    path : pathlib.Path
        The HTML page. Every file appears whole or not at all; nothing in them depends on when they were written.

    Raises
    ------
    InputError
        If there are no scores, or a file of them cannot be read.
    """
    return write_pages(collect(folder), folder)


def write_pages(leaderboard, folder):
    """Write the three files of a `brainrecon.report.leaderboard.leaderboard.Leaderboard`; the path of the HTML page."""
    folder = Path(folder)
    pages = {"md": as_markdown(leaderboard), "csv": as_csv(leaderboard), "html": as_html(leaderboard)}
    for suffix, text in pages.items():
        write_text(folder / f"{NAME}.{suffix}", text)
    for name, text in session_figures(leaderboard).items():
        write_text(folder / name, text)
    return folder / f"{NAME}.html"
