"""The folder that a simulation goes into: it appears whole or not at all, and is left alone once it is there."""

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from brainrecon.simulation.files.nsd_files import MARKER, write_marker
from brainrecon.simulation.files.report import SimulationReport, SubjectReport
from stages.ground.errors import InputError
from weights.whole_files import whole_folder

VERSION = 5
"""Changes whenever the same options give other data."""

COHORT = "nsd"
"""The study that is simulated where options name none."""


def simulate_once(
    directory: str | os.PathLike,
    options: dict,
    write: Callable[[Path], tuple[SubjectReport, ...]],
    report_class: type[SimulationReport] = SimulationReport,
) -> SimulationReport:
    """Simulate into a folder, unless it holds the same simulation already.

    Parameters
    ----------
    directory : path
        Where the simulation goes.
    options : dict
        What makes two simulations the same, with ``seed`` and, for another study than NSD, ``study``; plain data.
    write : callable
        Writes everything but the marker into the folder that it is given, and returns a report per subject.
    report_class : type
        Of what is returned.

    Returns
    -------
    report_class

    Raises
    ------
    InputError
        The folder cannot be made, or holds something else or a simulation with other options.
    """
    target = Path(directory).absolute()
    earlier = _find_earlier(target, options)
    if earlier is not None:
        return report_class(target, options, earlier, created=False)
    with ExitStack() as stack:
        try:
            partial = stack.enter_context(whole_folder(target))
        except OSError as error:
            raise InputError(
                f"No folder can be made in {target.parent} ({error.strerror}); give one that you can write to."
            ) from error
        reports = write(partial)
        subjects = [asdict(one) for one in reports]
        content = {"version": VERSION, "seed": options["seed"], "options": options, "subjects": subjects}
        write_marker(partial, content)
    return report_class(target, options, reports, created=True)


def _find_earlier(target: Path, options: dict) -> tuple[SubjectReport, ...] | None:
    """What an earlier simulation with the same options reached; None if the target is absent or empty."""
    marker = target / MARKER
    if not marker.is_file():
        if target.exists() and not (target.is_dir() and not any(target.iterdir())):
            raise InputError(f"{target} exists and is no simulated cohort; give a folder that is new or empty.")
        return None
    try:
        content = json.loads(marker.read_text(encoding="utf-8"))
        earlier, version = dict(content["options"]), content["version"]
        reports = tuple(SubjectReport(**one) for one in content["subjects"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{marker} is damaged ({error}); remove {target} or give another folder.") from error
    # Options of different studies have nothing to do with each other, whatever their names.
    there, asked = (each.get("study", COHORT) for each in (earlier, options))
    if there != asked:
        raise InputError(f"{target} holds a simulation of study {there}, not {asked}; give another folder.")
    for name in options | earlier:
        if earlier.get(name) != options.get(name):
            raise InputError(
                f"{target} holds a simulation with {name} {earlier.get(name)}, not {options.get(name)}; "
                "give another folder or the earlier options."
            )
    if version != VERSION:
        raise InputError(
            f"{target} holds a simulation of version {version}, not {VERSION} as this brainrecon makes; "
            "remove it or give another folder."
        )
    return reports
