"""``brainrecon data``: what a dataset holds, which files it needs, converting it once, a template for one's own."""

from pathlib import Path
from typing import Annotated

import typer

from brainrecon.cli import option_values, options
from brainrecon.cli.console import one_line, say, table
from stages.ground.errors import InputError

app = typer.Typer(help="What a dataset holds, what is missing and where to get it; convert once.", add_completion=False)

Source = Annotated[str, typer.Argument(metavar="DATA", help="KIND:PATH, for example nsd:/data/nsd.")]
Betas = Annotated[
    str | None,
    typer.Option(metavar="VERSION", help="NSD's version: b1, b2 or b3.", show_default="the best on disk, else b3"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _loader_options(assignments, mask=None):
    """Dictionary of `--option NAME=VALUE`, without what has a place of its own on the line."""
    chosen = option_values.loader_options(assignments, mask)
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
    mask: options.Mask = None,
    duplicates: Annotated[
        bool | None,
        typer.Option(
            "--duplicates/--no-duplicates",
            help="Look for test pictures that training has as good as shown.",
            show_default="looked for in up to 256 MB of pictures",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what is there: subjects, sessions, splits, regions, noise ceiling, and what is unusual."""
    import json

    from brainrecon.cli.progress import show_progress
    from brainrecon.datasets import load
    from brainrecon.datasets.inventory import describe, summary

    loaded = load(data, subject=subject, roi=roi, **_loader_options(loader, mask))
    with show_progress() as progress:
        facts = describe(loaded, duplicates, progress)
    if as_json:
        say(json.dumps(facts, indent=1))
        return
    for line in summary(facts):
        say(one_line(line))


@app.command()
def files(
    data: Annotated[str, typer.Argument(metavar="DATA", help="KIND or KIND:PATH, for example nsd:/data/nsd.")],
    subject: options.SubjectName = None,
    betas: Betas = None,
    loader: options.LoaderOptions = None,
) -> None:
    """List the exact files a dataset consists of, their sizes, which are missing, and where they are to be had."""
    from brainrecon.datasets import dataset_of, parse_source
    from brainrecon.datasets.inventory import files as list_files

    chosen = _loader_options(loader) | ({"betas": betas} if betas else {})
    kind, path = parse_source(data if ":" in data else f"{data}:.")
    _print_files(list_files(kind, path, subject=subject, **chosen))
    about = dataset_of(kind).description
    say(f"to be had: {about.available}")
    say(f"licence: {about.licence}")


def _print_files(found):
    """A line for each file, and what is still to come in all."""
    from weights.sizes import in_words

    def size(row):
        if row["size"] is not None:
            return in_words(row["size"])
        return f"up to {in_words(row['largest'])}" if row["largest"] is not None else "?"

    rows = [
        (
            "present" if row["present"] else "missing",
            size(row),
            row["what"] + (" (optional)" if row["optional"] else ""),
            row["path"] if row["present"] or not row["address"] else row["address"],
        )
        for row in found
    ]
    missing = [row for row in found if not row["present"]]
    last = "path, or address of what is missing" if any(row["address"] for row in missing) else "path"
    table(("state", "size", "what", last), rows)
    say(f"{len(found) - len(missing)} of {len(found)} files are there")
    known = [row["largest"] for row in missing if row["largest"] is not None]
    if known:
        others = len(missing) - len(known)
        rest = f", and {others} small ones whose size nobody gives" if others else ""
        say(
            f"to come: up to {in_words(sum(known))} in {len(known)} files, reckoned from their shapes before compression{rest}"
        )


@app.command()
def download(
    data: Source,
    subject: options.SubjectName = None,
    betas: Betas = None,
    loader: options.LoaderOptions = None,
    agree: Annotated[bool, typer.Option("--agree", help="You have agreed to the terms that are printed.")] = False,
) -> None:
    """Fetch what is missing of a public dataset, once --agree is given; an interrupted download goes on where it stopped."""
    from brainrecon.cli.progress import show_progress
    from brainrecon.datasets import parse_source
    from brainrecon.datasets.download import free_bytes
    from brainrecon.datasets.inventory import download as download_files
    from brainrecon.datasets.inventory import files as list_files
    from brainrecon.datasets.inventory import terms
    from weights.sizes import in_words

    kind, path = parse_source(data)
    conditions, chosen = terms(kind), _loader_options(loader) | ({"betas": betas} if betas else {})
    if not agree:
        _print_files(list_files(kind, path, subject, **chosen))
        say(f"free at {path}: {in_words(free_bytes(path))}")
        say(conditions)
        say("Nothing was fetched; once you have agreed to these terms, run the same command with --agree.")
        return
    say(conditions)
    with show_progress() as progress:
        absent = download_files(kind, path, subject, progress, **chosen)
    for file in absent:
        say(f"not to be had there: {file}")
    say(f"See what is there with: brainrecon data info {data}")


@app.command()
def prepare(
    data: Source,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to write.")],
    subject: options.SubjectName = None,
    roi: options.Roi = None,
    loader: options.LoaderOptions = None,
    mask: options.Mask = None,
) -> None:
    """Convert a subject once into plain arrays, trials by voxels, which arrays:FOLDER reads quickly."""
    from brainrecon.cli.progress import show_progress
    from brainrecon.datasets import load
    from brainrecon.datasets.arrays.writing import write

    with show_progress() as progress:
        write(load(data, subject=subject, roi=roi, **_loader_options(loader, mask)), out, progress=progress)
    say(f"Use it as arrays:{out}")


@app.command()
def pictures(
    data: Source,
    out: Annotated[
        Path,
        typer.Option(metavar="PATH", help="A new folder of 0000.png, 0001.png, ...; or a file, .npy or .npz."),
    ],
    split: options.Split = None,
    subject: options.SubjectName = None,
    loader: options.LoaderOptions = None,
    features: options.Features = None,
) -> None:
    """Write the pictures that were shown in test, in the order of the test set, with the stimulus id of each row."""
    from brainrecon.cli.progress import show_progress
    from brainrecon.datasets import load
    from brainrecon.datasets.shown_pictures import write_shown_pictures
    from brainrecon.features.store import FeatureStore
    from brainrecon.runs.record import in_split

    loaded = load(data, subject=subject, **_loader_options(loader))
    if split == "train":
        chosen = loaded.train
    else:
        chosen = (
            in_split(loaded, option_values.parse_split(split), store=FeatureStore(features)) if split else loaded
        ).test
    with show_progress() as progress:
        write_shown_pictures(chosen, out, data, progress)
    size = "x".join(map(str, chosen.images.shape[1:3]))
    say(f"{chosen.n_stimuli:,} pictures of {size} pixels in {out}, a row for each stimulus of {split or 'test'}")


@app.command()
def template(out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to write.")]) -> None:
    """Write a small example of the arrays layout, with a description of each file, to fill with one's own data."""
    from brainrecon.datasets.arrays.writing import write_template

    write_template(out)
    say(f"{out / 'README.md'} describes each file; when they are yours, use the folder as arrays:{out}")
