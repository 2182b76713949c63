"""``brainrecon data``: what a dataset holds, which files it needs, converting it once, a template for one's own."""

from pathlib import Path
from typing import Annotated

import typer

from brainrecon.cli import options
from brainrecon.cli.console import say, table

app = typer.Typer(help="What a dataset holds, what is missing and where to get it; convert once.", add_completion=False)

Source = Annotated[str, typer.Argument(help="KIND:PATH, for example nsd:/data/nsd.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def info(data: Source, subject: options.SubjectName = None, roi: options.Roi = None, as_json: AsJson = False) -> None:
    """Say what is there: splits, trials, stimuli, voxels, regions, noise ceiling."""
    import json

    from brainrecon.datasets import load
    from brainrecon.datasets.inventory import describe

    facts = describe(load(data, subject=subject, roi=roi))
    if as_json:
        say(json.dumps(facts, indent=1))
        return
    say(
        f"{facts['dataset']} {facts['subject']}{' (simulated)' if facts['simulated'] else ''}, roi {facts['roi']}: "
        f"{facts['n_voxels']:,} voxels"
    )
    rows = [
        (
            name,
            f"{split['n_trials']:,}",
            f"{split['n_stimuli']:,}",
            ", ".join(f"{stimuli:,} x {count}" for count, stimuli in split["repeats"].items()),
            split["sessions"] or "-",
            "x".join(map(str, split["picture_size"])) if split["picture_size"] else "none",
            "yes" if split["captions"] else "no",
        )
        for name, split in facts["splits"].items()
    ]
    table(("split", "trials", "stimuli", "repeats", "sessions", "pictures", "captions"), rows)
    if facts["rois"]:
        table(("roi", "voxels"), [(name, f"{count:,}") for name, count in facts["rois"].items()])
    if facts["noise_ceiling_median"] is not None:
        say(f"median noise ceiling of the test patterns: {facts['noise_ceiling_median']:.1f} % of variance")
    for note in facts["notes"]:
        say(f"note: {note}")


@app.command()
def files(data: Source, subject: options.SubjectName = None) -> None:
    """List the exact files a dataset consists of, their sizes, and which are missing."""
    from brainrecon.datasets import parse_source
    from brainrecon.datasets.inventory import files as list_files

    found = list_files(*parse_source(data), subject=subject)
    rows = [
        (
            "present" if row["present"] else "missing",
            "" if row["size"] is None else f"{row['size'] / 1e6:,.1f} MB",
            row["what"],
            row["path"],
        )
        for row in found
    ]
    table(("state", "size", "what", "path"), rows)
    say(f"{sum(row['present'] for row in found)} of {len(found)} files are there")


@app.command()
def prepare(
    data: Source,
    out: Annotated[Path, typer.Option(help="Folder to write.", show_default=False)],
    subject: options.SubjectName = None,
    roi: options.Roi = None,
) -> None:
    """Convert a subject once into plain arrays, trials by voxels, which arrays:FOLDER reads quickly."""
    from brainrecon.cli.progress import show_progress
    from brainrecon.datasets import load
    from brainrecon.datasets.arrays import write

    with show_progress() as progress:
        write(load(data, subject=subject, roi=roi), out, progress=progress)
    say(f"Use it as arrays:{out}")


@app.command()
def template(out: Annotated[Path, typer.Argument(help="Folder to write.", show_default=False)]) -> None:
    """Write a small example of the arrays layout, with a description of each file, to fill with one's own data."""
    from brainrecon.datasets.arrays import write_template

    write_template(out)
    say(f"{out / 'README.md'} describes each file; when they are yours, use the folder as arrays:{out}")
