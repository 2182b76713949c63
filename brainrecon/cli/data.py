"""``brainrecon data``: what a dataset holds, which files it needs, converting it once, a template for one's own."""

from pathlib import Path
from typing import Annotated

import typer

from brainrecon.cli import options
from brainrecon.cli.console import say, table
from stages.ground.errors import InputError

app = typer.Typer(help="What a dataset holds, what is missing and where to get it; convert once.", add_completion=False)

Source = Annotated[str, typer.Argument(help="KIND:PATH, for example nsd:/data/nsd.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _loader_options(assignments):
    """Dictionary of `--option NAME=VALUE`, without what has a place of its own on the line."""
    chosen = options.loader_options(assignments)
    for name in ("data", "path", "kind", "subject", "roi"):
        if name in chosen:
            own = f"--{name}" if name in ("subject", "roi") else "KIND:PATH"
            raise InputError(f"--option {name}={chosen[name]} is no option of the data's loader; write {own} instead.")
    return chosen


@app.command()
def info(
    data: Source,
    subject: options.SubjectName = None,
    roi: options.Roi = None,
    loader: options.LoaderOptions = None,
    duplicates: Annotated[
        bool | None,
        typer.Option(
            "--duplicates/--no-duplicates",
            help="Look for test pictures that training has as good as shown; where there are few, unless told otherwise.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is there: subjects, sessions, splits, regions, noise ceiling, and what is unusual."""
    import json

    from brainrecon.cli.progress import show_progress
    from brainrecon.datasets import load
    from brainrecon.datasets.inventory import describe, summary

    loaded = load(data, subject=subject, roi=roi, **_loader_options(loader))
    with show_progress() as progress:
        facts = describe(loaded, duplicates, progress)
    if as_json:
        say(json.dumps(facts, indent=1))
        return
    for line in summary(facts):
        say(line)


@app.command()
def files(
    data: Annotated[str, typer.Argument(help="KIND or KIND:PATH, for example nsd:/data/nsd.", show_default=False)],
    subject: options.SubjectName = None,
    betas: Annotated[str | None, typer.Option(help="NSD's version: b1, b2 or b3.")] = None,
    loader: options.LoaderOptions = None,
) -> None:
    """List the exact files a dataset consists of, their sizes, which are missing, and where they are to be had."""
    from brainrecon.datasets import parse_source
    from brainrecon.datasets.inventory import files as list_files

    chosen = _loader_options(loader) | ({"betas": betas} if betas else {})
    found = list_files(*parse_source(data if ":" in data else f"{data}:."), subject=subject, **chosen)
    rows = [
        (
            "present" if row["present"] else "missing",
            "" if row["size"] is None else f"{row['size'] / 1e6:,.1f} MB",
            row["what"] + (" (optional)" if row["optional"] else ""),
            row["path"],
        )
        for row in found
    ]
    table(("state", "size", "what", "path"), rows)
    say(f"{sum(row['present'] for row in found)} of {len(found)} files are there")


@app.command()
def download(
    data: Source,
    subject: options.SubjectName = None,
    loader: options.LoaderOptions = None,
    agree: Annotated[bool, typer.Option("--agree", help="You have agreed to the terms that are printed.")] = False,
) -> None:
    """Fetch what is missing of a public dataset; an interrupted download goes on where it stopped."""
    from brainrecon.cli.progress import show_progress
    from brainrecon.datasets import parse_source
    from brainrecon.datasets.inventory import download as download_files
    from brainrecon.datasets.inventory import terms

    kind, path = parse_source(data)
    say(terms(kind))
    if not agree:
        raise InputError(f"Nothing was fetched; once you have agreed to these terms, run again with --agree ({data}).")
    with show_progress() as progress:
        absent = download_files(kind, path, subject, progress, **_loader_options(loader))
    for file in absent:
        say(f"not to be had there: {file}")
    say(f"See what is there with: brainrecon data info {data}")


@app.command()
def prepare(
    data: Source,
    out: Annotated[Path, typer.Option(help="Folder to write.", show_default=False)],
    subject: options.SubjectName = None,
    roi: options.Roi = None,
    loader: options.LoaderOptions = None,
) -> None:
    """Convert a subject once into plain arrays, trials by voxels, which arrays:FOLDER reads quickly."""
    from brainrecon.cli.progress import show_progress
    from brainrecon.datasets import load
    from brainrecon.datasets.arrays.writing import write

    with show_progress() as progress:
        write(load(data, subject=subject, roi=roi, **_loader_options(loader)), out, progress=progress)
    say(f"Use it as arrays:{out}")


@app.command()
def template(out: Annotated[Path, typer.Argument(help="Folder to write.", show_default=False)]) -> None:
    """Write a small example of the arrays layout, with a description of each file, to fill with one's own data."""
    from brainrecon.datasets.arrays.writing import write_template

    write_template(out)
    say(f"{out / 'README.md'} describes each file; when they are yours, use the folder as arrays:{out}")
