"""Captions that were read from responses elsewhere: a file of them, matched to the test stimuli."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from stages.ground.errors import InputError
from stages.ground.reading.json_files import read_json

SUFFIXES = (".json", ".csv", ".tsv", ".txt")

# How files call the stimulus and what was said of it.
ID_KEYS = ("stimulus_id", "image_id", "id")
CAPTION_KEYS = ("caption", "text")


class CaptionsElsewhere(NamedTuple):
    """Captions of test stimuli.

    Attributes
    ----------
    ids : list of str, length n_captions
        In the order of the test stimuli, samples of a stimulus in a row.
    captions : list of str, length n_captions
    told : list of str
        By what order rows were taken for stimuli, what was left out, and what is missing.
    """

    ids: list[str]
    captions: list[str]
    told: list[str]


def captions_elsewhere(path, stimulus_ids, row_ids=None):
    """The captions of a file that are of test stimuli.

    >>> from pathlib import Path
    >>> _ = Path("theirs.json").write_text('[{"image_id": 1, "caption": "a dog"}, {"image_id": 0, "caption": "a bus"}]')
    >>> captions_elsewhere("theirs.json", ["nsd00042", "nsd00107"]).captions
    ['a bus', 'a dog']

    Parameters
    ----------
    path : path
        One of these, by its ending:

        - ``.json``, an object of stimulus id to a caption or a list of samples; or a list of objects with `image_id` (or
          `stimulus_id`, `id`) and `caption` (or `text`), as the evaluation server of COCO takes them; or a list of captions.
        - ``.csv`` or ``.tsv`` with a header that names such columns; a column of ids may be lacking.
        - ``.txt``, a caption a line.

        Ids that are none of the test stimuli's but the numbers from 0 to their number are rows of the test set.
    stimulus_ids : sequence of str
        The test stimuli.
    row_ids : sequence of str, optional
        The stimulus of each row of a file without ids; by default `stimulus_ids`.

    Returns
    -------
    CaptionsElsewhere
        Captions of other stimuli are left out, and `told` counts them.

    Raises
    ------
    InputError
        The file cannot be read, holds something that is no caption, or none is of a test stimulus.
    """
    path, known = Path(path), [str(name) for name in stimulus_ids]
    pairs, told = _read(path), []
    wanted = set(known)
    if any(name is None for name, _ in pairs):
        pairs, told = _by_rows(
            path, pairs, known if row_ids is None else [str(name) for name in row_ids], row_ids is None
        )
    elif row_ids is not None:
        raise InputError(f"{path} names the stimulus of each caption; leave --ids out.")
    elif not any(name in wanted for name, _ in pairs) and all(_is_row(name, known) for name, _ in pairs):
        pairs = [(known[int(name)], text) for name, text in pairs]
        told = [_order(path, known)]
    found: dict[str, list[str]] = {}
    for name, text in pairs:
        found.setdefault(name, []).append(text)
    strangers = [name for name in found if name not in wanted]
    if len(strangers) == len(found):
        raise InputError(
            f"None of the {len(found):,} ids of {path} is a test stimulus, the first is {strangers[0]}; write ids such as "
            f"{known[0]}, or rows of the test set from 0."
        )
    if strangers:
        told.append(f"captions of {len(strangers):,} stimuli in {path.name} are of no test stimulus and were left out")
    if missing := [name for name in known if name not in found]:
        told.append(
            f"{len(missing):,} of {len(known):,} test stimuli have no caption in {path.name}, the first is {missing[0]}: scores "
            f"are of the other {len(known) - len(missing):,}"
        )
    ids = [name for name in known for _ in found.get(name, ())]
    return CaptionsElsewhere(ids, [text for name in known for text in found.get(name, ())], told)


def _read(path):
    """(stimulus id or None, caption) of every caption in a file, in its order."""
    if not path.is_file() or path.suffix.lower() not in SUFFIXES:
        raise InputError(f"There is no file {path} of captions ({', '.join(SUFFIXES)}); name one after --captions.")
    if path.suffix.lower() == ".json":
        pairs = _of_json(path, read_json(path, remedy="write an object of stimulus id to caption, or a list"))
    else:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read as text ({error}); write a caption a line.") from None
        lines = text.splitlines()
        pairs = [(None, line) for line in lines] if path.suffix.lower() == ".txt" else _of_table(path, lines)
    if not pairs:
        raise InputError(f"{path} holds no caption; write one for each test stimulus.")
    for number, (name, caption) in enumerate(pairs):
        if not isinstance(caption, str):
            place = f"row {number}" if name is None else f"stimulus {name}"
            raise InputError(f"{path} has {caption!r} for {place}; expected a caption, a text.")
    return pairs


def _of_json(path, said):
    if isinstance(said, Mapping):
        return [(str(name), text) for name, own in said.items() for text in (own if isinstance(own, list) else [own])]
    if not isinstance(said, list):
        raise InputError(f"{path} holds {said!r}; expected an object of stimulus id to caption, or a list of captions.")
    pairs = []
    for number, entry in enumerate(said):
        if isinstance(entry, Mapping):
            name, text = (next((entry[key] for key in keys if key in entry), None) for keys in (ID_KEYS, CAPTION_KEYS))
            if name is None or text is None:
                raise InputError(
                    f"Entry {number} of {path} has the keys {', '.join(entry) or 'none'}; expected {ID_KEYS[1]} and "
                    f"{CAPTION_KEYS[0]}."
                )
            pairs.append((str(name), text))
        else:
            pairs.append((None, entry))
    if len({name is None for name, _ in pairs}) > 1:
        raise InputError(f"{path} names the stimulus of some captions and not of others; name all, or none.")
    return pairs


def _of_table(path, lines):
    separator = "\t" if path.suffix.lower() == ".tsv" or (lines and "\t" in lines[0]) else ","
    table = list(csv.reader(lines, delimiter=separator))
    heads = [head.strip().lower() for head in table[0]] if table else []
    captions = next((heads.index(key) for key in CAPTION_KEYS if key in heads), None)
    if captions is None:
        raise InputError(
            f"{path} begins with {', '.join(heads) or 'nothing'}; expected a header with the columns {ID_KEYS[0]} and "
            f"{CAPTION_KEYS[0]}."
        )
    ids = next((heads.index(key) for key in ID_KEYS if key in heads), None)
    pairs = []
    for number, row in enumerate(table[1:], start=2):
        if len(row) != len(heads):
            raise InputError(
                f"Line {number} of {path} has {len(row)} cells and the header {len(heads)}; quote texts with commas."
            )
        pairs.append((None if ids is None else row[ids].strip(), row[captions]))
    return pairs


def _by_rows(path, pairs, rows, in_order):
    """Pairs with the stimulus of each row, and how rows were told."""
    if len(pairs) != len(rows):
        what = "test stimuli" if in_order else "ids in --ids"
        raise InputError(
            f"{path} has {len(pairs):,} captions but there are {len(rows):,} {what}; pass the stimulus id of each, one a line, "
            "as --ids FILE."
        )
    return [(name, text) for name, (_, text) in zip(rows, pairs)], [_order(path, rows)] if in_order else []


def _is_row(name, known):
    return name.isascii() and name.isdigit() and int(name) < len(known)


def _order(path, known):
    return f"rows of {path.name} were taken in the order of the test stimuli: 0 is {known[0]}, {len(known) - 1} is {known[-1]}"
