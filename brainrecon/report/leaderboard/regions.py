"""Regions beside one another: a table of region x method in the metric that orders methods, with voxels and noise ceilings."""

from brainrecon.report.leaderboard.comparison import metric_phrase, range_text
from brainrecon.report.leaderboard.text import TOLD_APART, Table, TableCell, TableRow, about_intervals, unit_of
from brainrecon.report.names import NOTHING, chance_level, interval_text, score_text
from brainrecon.studies.plan import region_folder

NOT_SCORED = "not scored"


def planned_region(cell, planned):
    """Which of the planned regions a cell is of, None if it is of none.

    >>> from types import SimpleNamespace
    >>> cell = SimpleNamespace(roi="V1_+_V2", scores=SimpleNamespace(data={}))
    >>> planned_region(cell, ["nsdgeneral", "V1 + V2"])
    'V1 + V2'

    Parameters
    ----------
    cell : brainrecon.report.leaderboard.boards.Cell
        Known by the region that its scores name, or by its folder.
    planned : sequence of str

    Returns
    -------
    roi : str or None
    """
    roi = cell.scores.data.get("roi")
    # Behind the region stands in brackets what a mask is called.
    names = (roi, str(roi).partition(" [")[0], cell.roi)
    return next((roi for roi in planned if roi in names or region_folder(roi) == cell.roi), None)


def rows_of_regions(board):
    """Every region of a board, (name, block), in the order of the plan; the block is None if nothing was scored there.

    Parameters
    ----------
    board : brainrecon.report.leaderboard.boards.Board

    Returns
    -------
    rows : list of (str, brainrecon.report.leaderboard.boards.Block or None)
        Empty if there is one region only.
    """
    region_of = {block.roi: planned_region(block.entries[0].cells[0], board.planned) for block in board.blocks}
    rows = [(block.roi, block) for block in board.blocks if region_of[block.roi] is None]
    for roi in reversed(board.planned):
        rows[:0] = [(block.roi, block) for block in board.blocks if region_of[block.roi] == roi] or [(roi, None)]
    # Of methods that draw nothing there is nothing to order.
    return rows if len(rows) > 1 and board.metrics else []


def methods_of(rows):
    """Every method of some regions, in the order of the first region that has scores: best first there."""
    return list(dict.fromkeys(entry.method for _, block in rows if block for entry in block.entries))


def region_table(board):
    """The table of region x method, or None if a board has one region.

    Parameters
    ----------
    board : brainrecon.report.leaderboard.boards.Board

    Returns
    -------
    table : Table or None
    """
    rows = rows_of_regions(board)
    if not rows:
        return None
    spec, methods = board.metrics[board.headline], methods_of(rows)
    entries = [entry for _, block in rows if block for entry in block.entries]
    most = max(len(entry.cells) for entry in entries)
    unit = unit_of(spec, "%")
    lines = []
    for roi, block in rows:
        there = {entry.method: entry for entry in block.entries} if block else {}
        cells = [_score(there.get(method), block, board, most) for method in methods]
        cells += [TableCell(voxels_of(block) or NOTHING), TableCell(_ceiling_of(block) or NOTHING)]
        lines.append(TableRow(roi, tuple(cells)))
    phrase, chance = metric_phrase(spec), chance_of_board(board)
    return Table(
        "Region by region",
        f"{phrase[:1].upper()}{phrase[1:]}{'' if spec.metric.higher_is_better else ', lower is better'}. "
        f"{about_intervals(entries, board.confidence)}"
        f"{'' if chance is None else f' Chance is {score_text(chance, spec.metric)}.'} "
        f"Bold: best of its region, and told apart from the runner-up: {TOLD_APART}. Noise ceiling: how much of the variance "
        "of a voxel's test pattern a perfect model could explain, median over the voxels of the region. Where subjects differ "
        "in voxels or ceiling, from the lowest to the highest.",
        (
            ("Region", "", ""),
            *((method, unit, "") for method in methods),
            ("Voxels", "", ""),
            ("Noise ceiling", "% of variance", ""),
        ),
        tuple(lines),
        kind="regions",
    )


def _score(entry, block, board, most):
    """The score of a method in a region."""
    mean = None if entry is None else entry.means[entry.reference].get(board.headline)
    if mean is None:
        return TableCell(NOTHING, NOT_SCORED)
    metric = board.metrics[board.headline].metric
    fewer = "" if mean.n_subjects == most else f"; {mean.n_subjects} of {most} subjects"
    kind = "best" if block.outstanding.get(board.headline) == entry.method else ""
    return TableCell(score_text(mean.mean, metric, unit=False), interval_text(mean, metric) + fewer, kind)


def chance_of_board(board):
    """What predictions without information score in the metric that orders methods; None if that is not known.

    If every stimulus was tested in a fold it is another in each region, and stands with the region's own scores.
    """
    in_folds = any(cell.scores.data.get("folds") for block in board.blocks for e in block.entries for cell in e.cells)
    return None if in_folds else chance_level(board.metrics[board.headline])


def voxels_of(block):
    """How many voxels a region has, fewest and most: "312" or "300 to 350"; empty if no scores say so."""
    counts = _told(block, "voxels")
    return range_text(counts) if counts else ""


def _ceiling_of(block):
    ceilings = sorted({f"{value:.1f}" for value in _told(block, "noise_ceiling_percent")}, key=float)
    return " to ".join(dict.fromkeys((ceilings[0], ceilings[-1]))) if ceilings else ""


def _told(block, name):
    """What the scores of a region say of their data under a name."""
    cells = [cell for entry in block.entries for cell in entry.cells] if block else []
    return [value for cell in cells if isinstance(value := cell.scores.data.get(name), int | float)]
