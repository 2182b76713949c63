"""The files of BOLD5000 that are read, there or not."""

from __future__ import annotations

from pathlib import Path

from brainrecon.datasets.bold5000 import layout
from brainrecon.datasets.bold5000.choices import checked, named_subject
from brainrecon.datasets.bold5000.presentations import list_files, second_list
from brainrecon.datasets.bold5000.stimuli import stimulus_rows
from brainrecon.datasets.bold5000.tested import LISTED, list_of_repeated, other_lists
from brainrecon.datasets.dataset import ExpectedFile


def files(path, subject=None, betas=None, model="D", sessions=None):
    """The files of one subject, or of all that are there; as `load` takes the options."""
    path, rows = Path(path), []
    for name in [named_subject(subject)] if subject else layout.subjects_on_disk(path) or ["CSI1"]:
        kind, letter = checked(path, name, betas, model, None, True, None)
        rows += _response_rows(path, name, kind, letter, sessions)
        lists = list_files(path, name) or [
            path / f"sub-{name}" / "ses-01" / "func" / f"sub-{name}_ses-01_task-5000scenes_run-01_events.tsv"
        ]
        rows += [ExpectedFile(file, "what was shown") for file in lists]
        if (other := second_list(path, name)) and other not in lists:
            rows.append(ExpectedFile(other, "what was shown, to compare", True))
        rows += [ExpectedFile(file, "which pictures were shown again", True) for file in other_lists(path, name)]
        masks = layout.mask_files(path, name).values()
        missing = path / "derivatives" / "spm" / f"sub-{name}" / f"sub-{name}_mask-LHEarlyVis.nii.gz"
        rows += [ExpectedFile(file, "where a region is", True) for file in masks or [missing]]
    listed = list_of_repeated(path) or path / layout.STIMULI[0] / LISTED[0]
    rows += [ExpectedFile(listed, "which pictures were repeated", True), *stimulus_rows(path)]
    return list({row.path: row for row in reversed(rows)}.values())[::-1]


def _response_rows(path, name, kind, letter, sessions):
    if kind == "regions":
        found = layout.region_files(path, name, letter)
        first = path / layout.REGIONS[0] / f"{name}_GLMbetas-{layout.MODELS[letter]}_allses_LHEarlyVis.npy"
        rows = [ExpectedFile(file, f"betas in {region}") for region, file in found.items()]
        rows = rows or [ExpectedFile(first, "betas in a region, of figshare 14456124")]
        # Its first volume settles the order of the columns.
        whole = layout.session_files(path, name, letter).get(1)
        return [*rows, *([ExpectedFile(whole, "betas of the whole brain, to compare", True)] if whole else [])]
    if kind == "brain":
        found = layout.session_files(path, name, letter)
        wanted = layout.wanted_of(found, sessions)
        first = path / f"{name}_GLMbetas-{layout.MODELS[letter]}_ses-01.nii.gz"
        rows = [ExpectedFile(file, f"betas of session {session}") for session, file in wanted.items()]
        return rows or [ExpectedFile(first, "betas of a session, of figshare 14456124")]
    return [ExpectedFile(layout.first_release_file(path, name, kind), f"volumes {kind}, of figshare 6459449")]
