"""Tables with a row per trial, as spreadsheets and other programs write them: CSV with commas, or with tabs."""

import csv

from stages.ground.errors import InputError


def read_table(path, delimiter=","):
    """Rows of a table as dictionaries; blanks around heads and values do not count, nor does a byte order mark.

    Parameters
    ----------
    path : pathlib.Path
    delimiter : str

    Returns
    -------
    rows : list of dict of str to str
        An empty text where a row ends early.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    InputError
        It is no text in UTF-8 or no such table, two columns have one name, or a row is longer than the head.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            lines = [row for row in csv.reader(file, delimiter=delimiter) if row]
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} cannot be read as CSV, as it is no text in UTF-8 ({error}); save it again in UTF-8."
        ) from None
    except csv.Error as error:
        raise InputError(f"{path} cannot be read as CSV ({error}); save it again as CSV in UTF-8.") from None
    if not lines:
        return []
    head = [name.strip() for name in lines[0]]
    twice = next((name for name in head if name and head.count(name) > 1), None)
    if twice:
        raise InputError(f"{path} has two columns {twice}; keep one of them.")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        values = [value.strip() for value in line]
        if any(values[len(head) :]):
            raise InputError(
                f"Row {number} of {path} has {len(values)} values for {len(head)} columns; write one value for each, texts "
                "with a separator in quotes."
            )
        rows.append(dict(zip(head, values + [""] * (len(head) - len(values)))))
    return rows


def unread_columns(paths, known):
    """A note that names the columns of some tables that nobody reads, or no note.

    Parameters
    ----------
    paths : sequence of pathlib.Path
        Tables that `read_table` can read.
    known : collection of str

    Returns
    -------
    notes : list of str
    """
    heads = {path: (read_table(path) or [{}])[0] for path in paths}
    others = dict.fromkeys(name for head in heads.values() for name in head if name and name not in known)
    names = ", ".join(dict.fromkeys(path.name for path in paths))
    return [f"{names}: columns that are not read: {', '.join(others)}"] if others else []
