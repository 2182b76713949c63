"""What ``--plan`` prints: a row per work, totals, and what is free here."""

from __future__ import annotations

import shutil
from pathlib import Path


def show_plan(works, device, folder):
    """Print a table of works; sentences below it name what does not fit.

    Parameters
    ----------
    works : list of brainrecon.runs.plan.Work
    device : str
    folder : path
        Where the run would lie.
    """
    from brainrecon.cli.console import say, table
    from brainrecon.runs.estimate import in_words
    from stages.generators.diffusion.acceleration import free_memory
    from weights import sizes

    def row(what, amount, seconds, memory, disk):
        known = [None if one is None else sizes.in_words(one) for one in (memory, disk)]
        return (
            what,
            amount,
            "-" if seconds is None else in_words(seconds),
            *("-" if one is None else one for one in known),
        )

    rows = [row(work.what, work.amount, work.seconds, work.memory, work.disk) for work in works]
    seconds = sum(work.seconds or 0 for work in works)
    memory = max((work.memory or 0 for work in works), default=0)
    disk = sum(work.disk or 0 for work in works)
    rows.append(row("together, at least", "", seconds or None, memory or None, disk or None))
    table(("work", "how much", "time", "memory", "disk"), rows)
    for sentence in (sentence for work in works for sentence in work.told):
        say(sentence)
    place = next(path for path in (Path(folder).absolute(), *Path(folder).absolute().parents) if path.exists())
    free, room = free_memory(device), shutil.disk_usage(place).free
    say(
        f"On {device}, with {sizes.in_words(free)} of memory free, and {sizes.in_words(room)} of disk at {place}; time is right "
        "to a factor of two or so, and scoring not in it. Nothing was computed."
    )
    drawing = max((work.memory or 0 for work in works if not work.told), default=0)
    if drawing > free:
        say(
            f"The memory does not suffice: {sizes.in_words(drawing)} are needed. Draw fewer at a time with --batch-size 1, or on "
            "another --device."
        )
    if disk > room:
        say(f"The disk does not suffice: {sizes.in_words(disk)} are needed. Free some space, or name another folder.")
