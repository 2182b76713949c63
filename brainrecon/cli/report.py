"""``brainrecon report``: one HTML file with pictures, scores and settings of a run."""

from pathlib import Path
from typing import Annotated

import typer

from brainrecon.cli import options


def report(
    run: options.RunFolder,
    protocol: Annotated[
        str | None,
        typer.Option(
            metavar="PROTOCOL",
            help="Whose scores to show: a named way to score, or a TOML file of one.",
            show_default="the run's own, or the latest if there are only others",
        ),
    ] = None,
    all_pictures: Annotated[
        bool,
        typer.Option("--all-pictures", help="Also all test pictures, a hundred to a page, led to from the report."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The file to write, such as page.html.", show_default="RUN/report.html"),
    ] = None,
    features: options.Features = None,
) -> None:
    """Write the one-file HTML report of a run that has been evaluated."""
    from brainrecon.cli.console import say
    from brainrecon.report.run.run_report import write_report
    from brainrecon.runs.run import Run

    say(f"Report: {write_report(Run(run, features), protocol, all_pictures, out)}")
