"""Pictures that were reconstructed elsewhere: files of a folder, or one array, matched to the test stimuli."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from brainrecon.datasets.stimulus_images import PictureFiles
from brainrecon.runs.picture_names import PictureNames
from brainrecon.runs.picture_stack import STACKS, read_stack
from stages.ground.errors import InputError
from stages.ground.listing import visible

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


class Elsewhere(NamedTuple):
    """Pictures of test stimuli.

    Attributes
    ----------
    ids : list of str, length n_pictures
        In the order of the test stimuli, samples of a stimulus in a row.
    pictures : lazy array of shape (n_pictures, height, width, 3), uint8
    told : list of str
        By what order rows were taken for stimuli, what was left out, and what is missing.
    """

    ids: list[str]
    pictures: Any
    told: list[str]


def pictures_elsewhere(path, stimulus_ids, pattern=None, row_ids=None):
    """The pictures of a folder, or of an array, that show test stimuli.

    Parameters
    ----------
    path : path
        A folder of pictures, or an array that `brainrecon.runs.picture_stack.read_stack` reads, a row per stimulus.
    stimulus_ids : sequence of str
        The test stimuli.
    pattern : str, optional
        How the files are called, as of `brainrecon.runs.picture_names.PictureNames`.
    row_ids : sequence of str, optional
        The stimulus of each row, of an array or of a pattern with rows; by default `stimulus_ids`.

    Returns
    -------
    Elsewhere
        Pictures of other stimuli are left out, and `told` counts them.

    Raises
    ------
    InputError
        Nothing is there, no picture is of a test stimulus, two are of the same sample, or rows cannot be told.
    """
    path, known = Path(path), [str(name) for name in stimulus_ids]
    rows = known if row_ids is None else [str(name) for name in row_ids]
    if path.is_dir():
        names = PictureNames(pattern, known, row_ids)
        if row_ids is not None and not names.has_rows:
            raise InputError(
                "--ids names the stimuli of rows, and these names tell none; add --pattern '{row}.png', for example."
            )
        found, pictures, order, strangers = _in_folder(path, names, known)
    elif path.suffix.lower() in STACKS and path.is_file():
        if pattern is not None:
            raise InputError(f"{path} is an array, whose rows have no names; leave --pattern out.")
        found, pictures, order, strangers = _in_array(path, rows, known)
    else:
        raise InputError(
            f"There is no folder {path}, nor an array ({', '.join(STACKS)}) of that name; name what holds the pictures after "
            "--images."
        )
    place = {name: row for row, name in enumerate(known)}
    keys = sorted(found, key=lambda key: (place[key[0]], key[1]))
    told = order if row_ids is None else []
    if strangers:
        told.append(
            f"{len(strangers):,} pictures of {path.name} are of no test stimulus and were left out, the first is {strangers[0]}"
        )
    drawn = {name for name, _ in keys}
    if missing := [name for name in known if name not in drawn]:
        told.append(
            f"{len(missing):,} of {len(known):,} test stimuli have no picture in {path.name}, the first is {missing[0]}: scores "
            f"are of the other {len(drawn):,}, and identification is among these"
        )
    return Elsewhere([name for name, _ in keys], pictures([found[key] for key in keys]), told)


def _in_folder(folder, names, known):
    """(stimulus, sample) -> file of test stimuli, what reads them, how rows were told, and the files of no test stimulus."""
    files = [path for path in visible(folder, "**/*" if names.has_folders else "*") if path.suffix.lower() in SUFFIXES]
    if not files:
        raise InputError(
            f"{folder} holds no picture ({', '.join(SUFFIXES)}); name each after its stimulus, for example {known[0]}.png."
        )
    found, strangers, by_row, wanted = {}, [], {}, set(known)
    for path in files:
        name = path.relative_to(folder).as_posix()
        shown = names.read(name)
        if shown is None or shown.stimulus_id not in wanted:
            strangers.append(name)
            continue
        key = (shown.stimulus_id, shown.sample)
        if key in found:
            raise InputError(
                f"{name} and {found[key].name} in {folder} are both sample {key[1]} of stimulus {key[0]}; keep one."
            )
        found[key] = path
        if shown.row is not None:
            by_row.setdefault(shown.row, (name, shown.stimulus_id))
    if not found:
        raise InputError(
            f"None of {len(files):,} pictures in {folder} is named after a test stimulus, the first is {strangers[0]}; name each "
            f"after its stimulus, for example {known[0]}.png, or say how they are called with --pattern '{{id}}_recon.png', or "
            "'{row}.png' for rows of the test set from 0."
        )
    told = [_order(folder.name, *by_row[min(by_row)], *by_row[max(by_row)])] if by_row else []
    return found, PictureFiles, told, strangers


def _in_array(path, rows, known):
    """As `_in_folder`, of a file with an array; its pictures are known by their places in the stack."""
    stack = read_stack(path)
    if stack.n_stimuli != len(rows):
        what = "test stimuli" if rows is known else "ids in --ids"
        raise InputError(
            f"{path} has pictures of {stack.n_stimuli:,} stimuli but there are {len(rows):,} {what}; pass the stimulus id "
            "of each of its rows, one a line, as --ids FILE."
        )
    if len(set(rows)) < len(rows):
        raise InputError(
            f"The ids of {path} name {max(rows, key=rows.count)} twice; give each row a stimulus of its own."
        )
    wanted = set(known)
    strangers = [name for name in rows if name not in wanted]
    if len(strangers) == len(rows):
        raise InputError(
            f"None of the {len(rows):,} ids of {path} is a test stimulus, the first is {rows[0]}; write ids such as {known[0]}."
        )
    found = {
        (name, sample): row * stack.n_samples + sample
        for row, name in enumerate(rows)
        if name in wanted
        for sample in range(stack.n_samples)
    }
    told = [_order(path.name, "row 0", rows[0], f"row {len(rows) - 1}", rows[-1])]
    return found, stack.take, told, strangers


def _order(name, first, one, last, other):
    return f"rows of {name} were taken in the order of the test stimuli: {first} is {one}, {last} is {other}"


def read_row_ids(path):
    """The stimulus ids of a text file, one a line; an InputError if it is absent or holds none."""
    try:
        ids = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text ({error}); write a stimulus id a line.") from None
    if not ids:
        raise InputError(f"{path} holds no stimulus id; write one a line.")
    return ids
