"""``brainrecon weights``: what checkpoints there are, fetching them, whether they are whole, where they lie."""

from pathlib import Path
from typing import Annotated

import typer

from brainrecon.cli.console import note, say, table
from weights import store
from weights.manifest import CheckpointError
from weights.sizes import in_words
from weights.suggestions import did_you_mean

app = typer.Typer(help="List, fetch, verify and find the checkpoints.", add_completion=False)


def _needed_by(default):
    """The option ``--for``, and what happens without it."""
    told = "Those that a method or verb needs, for example brain-diffuser or evaluate."
    return Annotated[str | None, typer.Option("--for", metavar="METHOD", help=told, show_default=default)]


Subject = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="With --for: the decoders, too, that the method's authors released for this subject, for example subj01.",
        show_default="no released decoder",
    ),
]


@app.command("list")
def list_checkpoints(
    method: _needed_by("all") = None, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """List every known checkpoint: whether it is there, its size, who needs it, licence, where it comes from, its role.

    A decoder that was released for one subject is there with that subject.
    """
    chosen = [entry for entry in store.checkpoints().values() if method is None or method in entry.needed_by]
    if not chosen:
        needed = dict.fromkeys(each for entry in store.checkpoints().values() for each in entry.needed_by)
        raise CheckpointError(
            f"No checkpoint is needed by {method!r}; known are {', '.join(needed) or 'none'}{did_you_mean(method, needed)}."
        )
    rows = [
        _facts(entry, status) for entry, status in zip(chosen, store.verify([entry.name for entry in chosen], False))
    ]
    if as_json:
        import json

        say(json.dumps(rows, indent=1))
        return
    heads = ("name", "state", "size", "needed_by", "subject", "licence", "origin", "role")
    shown = [
        row
        | {
            "size": in_words(row["size"], row["reckoned_size"]),
            "needed_by": ", ".join(row["needed_by"]) or "-",
            "subject": row["subject"] or "-",
        }
        for row in rows
    ]
    table([head.replace("_", " ") for head in heads], [[row[head] for head in heads] for row in shown])


def _facts(entry, status):
    state = {"unverified": "present", "damaged": "incomplete"}.get(status.state, "absent")
    folder = store.folder(entry.name)
    size = entry.size
    if size is None and state == "present":
        size = sum(found.stat().st_size for found in folder.rglob("*") if found.is_file())
    return {
        "name": entry.name,
        "role": entry.role,
        "state": state,
        "size": size,
        "reckoned_size": entry.reckoned_size,
        "origin": entry.origin,
        "licence": entry.licence,
        "needed_by": list(entry.needed_by),
        "subject": entry.subject,
        "folder": str(folder),
        "files": [file.path for file in entry.files],
        "note": entry.note,
    }


@app.command()
def pull(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAMES",
            help="Checkpoints that `brainrecon weights list` shows, or OWNER/REPOSITORY@REVISION of the hub.",
            show_default="those of --for",
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FOLDER",
            help="Take files copied by hand; the network is not asked.",
            show_default="they are downloaded",
        ),
    ] = None,
    method: _needed_by("those that are named") = None,
    subject: Subject = None,
    remove_original: Annotated[
        bool,
        typer.Option(
            "--remove-original",
            help="Remove pickles once they are converted to safetensors, which are what is used.",
        ),
    ] = False,
) -> None:
    """Fetch checkpoints, prove them, and convert pickles to safetensors once.

    An interrupted pull goes on where it stopped. A checkpoint's folder appears whole or not at all, in the first
    folder of BRAINRECON_WEIGHTS that can be written to.
    """
    from brainrecon.cli.progress import show_progress
    from weights.pull import choose
    from weights.pull import pull as pull_checkpoint

    chosen = choose(names or (), method, manifest=store.MANIFEST, subject=subject)
    if subject is None and (released := _released_for(method)):
        say(f"Released decoders of {method} are listed for {', '.join(released)}; add those of one with --subject.")
    if source is None:
        for line in describe_pull(chosen, remove_original):
            say(line)
    for name in chosen:
        with show_progress() as progress:
            pulled = pull_checkpoint(name, source, remove_original, progress, note, manifest=store.MANIFEST)
        say(f"{name}: {pulled.action}, {in_words(pulled.size)} in {pulled.folder}")


def _released_for(method):
    """Subjects for whom decoders of a method are listed."""
    entries = store.checkpoints().values() if method else ()
    return list(dict.fromkeys(entry.subject for entry in entries if entry.subject and method in entry.needed_by))


def describe_pull(names, remove_original=False):
    """What a pull will bring, before it begins, a line for each checkpoint that is not there and one for all."""
    absent = [store.entry(status.name) for status in store.verify(names, False) if status.state != "unverified"]
    lines = []
    for entry in absent:
        size = in_words(entry.size, entry.reckoned_size)
        line = f"{entry.name}: {size} to fetch" if size != "?" else f"{entry.name}: of unknown size"
        if entry.converted_size and not remove_original:
            both = in_words((entry.size or entry.reckoned_size) + entry.converted_size)
            line += f", up to {both} on disk with the pickles beside what is made of them (--remove-original leaves them out)"
        lines.append(line)
    if len(absent) > 1:
        known_sizes = [entry.size or entry.reckoned_size for entry in absent]
        together = in_words(None, sum(size or 0 for size in known_sizes))
        unknown = known_sizes.count(None)
        lines.append(f"Together {together}" + (f", and {unknown} of unknown size." if unknown else "."))
    return lines


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAMES", help="Checkpoints.", show_default="all")] = None,
) -> None:
    """Compare the files of every present checkpoint with the manifest and with their pull, and list what is absent.

    Succeeds when nothing present is damaged.
    """
    statuses = store.verify(names or None, anew=True)
    table(("name", "state", "detail"), [(status.name, status.state, status.detail) for status in statuses])
    damaged = [status for status in statuses if status.state == "damaged"]
    if damaged:
        # The first one's own refusal says what is wrong and how to mend it.
        store.path(damaged[0].name)
    counts = {
        state: sum(status.state == state for status in statuses) for state in ("verified", "unverified", "absent")
    }
    say(", ".join(f"{count} {state}" for state, count in counts.items() if count))


@app.command()
def path(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A name that `brainrecon weights list` shows, or one of your own.")
    ],
) -> None:
    """Print the folder of a present checkpoint, after comparing its files with the manifest."""
    say(str(store.path(name)))
