"""``brainrecon weights``: what checkpoints there are, whether they are whole, where they lie."""

from typing import Annotated

import typer

from brainrecon.cli.console import say, table
from weights import store

app = typer.Typer(help="List, verify and find the checkpoints.", add_completion=False)


@app.command("list")
def list_checkpoints() -> None:
    """List every known checkpoint: whether it is there, its size, what it is for, where it comes from."""
    present = {status.name: status.state for status in store.verify(check=False)}
    rows = []
    for checkpoint in store.checkpoints().values():
        state = {"unverified": "present", "damaged": "incomplete"}.get(present[checkpoint.name], "absent")
        size = "?" if checkpoint.size is None else f"{checkpoint.size / 1e6:.1f} MB"
        rows.append((checkpoint.name, state, size, checkpoint.licence, checkpoint.origin, checkpoint.role))
    table(("name", "state", "size", "licence", "origin", "role"), rows)


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Checkpoints; all of them by default.")] = None,
) -> None:
    """Compare the files of every present checkpoint with the manifest, and list what is absent.

    Succeeds when nothing present is damaged.
    """
    statuses = store.verify(names or None)
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
def path(name: Annotated[str, typer.Argument(help="A name that `brainrecon weights list` shows.")]) -> None:
    """Print the folder of a present checkpoint, after comparing its files with the manifest."""
    say(str(store.path(name)))
