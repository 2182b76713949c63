"""The scores of a benchmark, read from its folder."""

from dataclasses import replace
from itertools import product
from pathlib import Path

from brainrecon.evaluation.protocols.protocol import load_protocol
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.report.leaderboard.boards import Cell, boards_of
from brainrecon.report.leaderboard.leaderboard import Leaderboard
from brainrecon.report.leaderboard.regions import planned_region
from brainrecon.studies.preset import load_preset
from stages.ground.errors import InputError
from stages.ground.reading.json_files import read_json, read_toml

PLAN, HELD_OUT = "benchmark.toml", "heldout"
_LINKS = ("report.html", "config.toml")


def collect(folder):
    """Read the scores of a benchmark and compare what compares.

    Parameters
    ----------
    folder : path-like
        Holds ``<method>/<subject>/<roi>/scores/<protocol>.json``; of other subjects that were learned from together in one
        cell, ``<method>/<subject>/<roi>/subjects/<other>/scores/<protocol>.json``.

    Returns
    -------
    leaderboard : Leaderboard

    Raises
    ------
    InputError
        If there are no scores, or a file of them cannot be read.
    """
    folder = Path(folder)
    plan = _read_plan(folder / PLAN)
    paths = [*sorted(folder.glob("*/*/*/scores/*.json")), *sorted(folder.glob("*/*/*/subjects/*/scores/*.json"))]
    cells = [cell for path in paths if (cell := _read_cell(folder, path))]
    if not cells:
        raise InputError(
            f"{folder} holds no scores; expected <method>/<subject>/<roi>/scores/<protocol>.json. Run the benchmark first."
        )
    cells = _beside_runs(cells)
    # Regions in the order of the plan, others after them; the sort keeps everything else as it is.
    regions = [str(roi) for roi in plan.get("rois", ())]
    cells.sort(key=lambda cell: (_place(cell, regions), cell.roi))
    rule = str(plan.get("heldout", plan.get("split", "")))
    held_out = "held-out clusters" if rule.startswith("clusters") else "the held-out split"
    preset = load_preset(plan["preset"]) if plan.get("preset") else None
    return Leaderboard(boards_of(cells, held_out, regions), plan, _missing(plan, cells), preset)


def _read_plan(path):
    return read_toml(path, "mend or remove it: it is the plan of the benchmark") if path.exists() else {}


def _protocol_name(text):
    """What a protocol of a plan is called, which for a file need not be the file's name; None if it can no longer be read."""
    if not text.endswith(".toml"):
        return text
    try:
        return load_protocol(text).name
    except InputError:
        return None


def _read_cell(folder, path):
    method, subject, roi, *further = path.relative_to(folder).parts[:-2]
    if any(part.startswith(".") for part in (method, subject, roi, path.name)):
        return None
    place, heldout = path.parents[1], folder / method / subject / roi / HELD_OUT
    # Of another subject of the same training: subjects/<name>, of both splits.
    subject = further[-1] if further else subject
    scores, beside = Scores.from_json(path), Path(heldout, *further) / "scores" / path.name
    return Cell(
        method,
        subject,
        roi,
        scores,
        Scores.from_json(beside) if beside.exists() else None,
        _read_json(place / "external.json", dict, "score these pictures again"),
        {name: (place / name).relative_to(folder).as_posix() for name in _LINKS if (place / name).exists()},
        _read_json(place / "decoder" / "summary.json", list, "delete the decoder folder and fit again") or (),
    )


def _beside_runs(cells):
    """Cells of pictures from elsewhere in the region of the runs on the same voxels, whatever their folder is called."""
    regions = {cell.scores.data.get("roi"): cell.roi for cell in cells if cell.external is None}
    return [
        cell if cell.external is None else replace(cell, roi=regions.get(cell.scores.data.get("roi"), cell.roi))
        for cell in cells
    ]


def _read_json(path, kind, remedy):
    """What a JSON file holds; None if there is none."""
    return read_json(path, kind, remedy) if path.exists() else None


def _place(cell, regions):
    roi = planned_region(cell, regions)
    return len(regions) if roi is None else regions.index(roi)


def _missing(plan, cells):
    """Cells that the plan names and nobody has scored, as texts."""
    methods, subjects = (
        [name for name in plan.get(key, ()) if isinstance(name, str)] for key in ("methods", "subjects")
    )
    protocols = [name for one in plan.get("protocols", ()) if (name := _protocol_name(str(one)))]
    n_rois, absent = max(1, len(plan.get("rois", ()))), []
    for method, subject in product(methods, subjects):
        scored = {
            (cell.roi, cell.scores.protocol.name) for cell in cells if (cell.method, cell.subject) == (method, subject)
        }
        rois = sorted({roi for roi, _ in scored})
        # A region's folder may be named otherwise than the region, so their number is compared.
        if len(rois) < n_rois:
            absent.append(f"{method}/{subject}{f' ({n_rois - len(rois)} of {n_rois} regions)' if rois else ''}")
        absent += [
            f"{method}/{subject}/{roi} ({name})" for roi, name in product(rois, protocols) if (roi, name) not in scored
        ]
    return absent
