"""Regions of a label atlas: a whole number for each voxel, and a table of what each number is called."""

import numpy as np

from brainrecon.datasets.trial_tables import read_table
from stages.ground.errors import InputError

MOST_LABELS = 10_000
NAMES_OF_COLUMNS = (("index", "name"), ("value", "name"), ("label", "name"))
"""Heads of a table's columns: those of a BIDS ``dseg.tsv`` first."""


def atlas_masks(rois, atlas, labels, names, where):
    """Regions with those of an atlas beside them.

    >>> labels = np.array([0, 1, 2, 2])
    >>> found = atlas_masks({}, "visual", labels, {1: "V1"}, "visual.npy")
    >>> {name: mask.tolist() for name, mask in found.items()}
    {'visual': [False, True, True, True], 'V1': [False, True, False, False], 'visual:2': [False, False, True, True]}

    Parameters
    ----------
    rois : dict of str to bool array
        Those that are there; a name that is taken is added as ``atlas:name``.
    atlas : str
        The name of all its labelled voxels.
    labels : array of numbers, of the shape of the masks
        Whole numbers; those up to 0 are no region.
    names : dict of int to str
        What has none is called ``atlas:number``.
    where : path
        The atlas' file, for messages.

    Returns
    -------
    rois : dict of str to bool array

    Raises
    ------
    InputError
        A label is no whole number, there are more than `MOST_LABELS`, or none is above 0.
    """
    values = np.asarray(labels)
    if values.dtype.kind not in "biuf" or not np.isfinite(values).all() or (values != np.rint(values)).any():
        raise InputError(
            f"{where} holds {values.dtype} that are no labels; expected a whole number for each voxel, 0 where it has none."
        )
    found = np.unique(values[values > 0]).astype(np.int64).tolist()
    if not found or len(found) > MOST_LABELS:
        raise InputError(
            f"{where} holds {len(found):,} labels above 0; expected 1 to {MOST_LABELS:,}, so save an atlas of labels there."
        )
    joined = dict(rois)
    own = {atlas: values > 0}
    for value in found:
        label, mask = names.get(value, f"{atlas}:{value}"), values == value
        own[label] = own[label] | mask if label in own and label != atlas else mask
    for label, mask in own.items():
        joined[f"{atlas}:{label}" if label in rois else label] = mask
    return joined


def read_label_names(path):
    """Names of labels from the table beside an atlas; none without one.

    A ``.tsv`` or ``.csv`` has the columns index and name; a ``.ctab`` is FreeSurfer's, a number and a name in a line.

    Parameters
    ----------
    path : pathlib.Path
        The atlas' file: the table lies beside it under the same name.

    Returns
    -------
    names : dict of int to str

    Raises
    ------
    InputError
        A table is no such table, or names a label twice.
    """
    stem = path.name.removesuffix(".gz").rpartition(".")[0]
    for ending in (".tsv", ".csv", ".ctab"):
        table = path.with_name(stem + ending)
        if table.is_file():
            return _of_lines(table) if ending == ".ctab" else _of_columns(table, "\t" if ending == ".tsv" else ",")
    return {}


def _of_columns(table, delimiter):
    rows = read_table(table, delimiter)
    heads = next((heads for heads in NAMES_OF_COLUMNS if rows and set(heads) <= set(rows[0])), None)
    if heads is None:
        found = ", ".join(rows[0]) if rows else "no row"
        raise InputError(f"{table} has {found}; expected the columns index and name, a row for each label.")
    return _named(table, [(row[heads[0]], row[heads[1]]) for row in rows])


def _of_lines(table):
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{table} is no text ({error}); copy the file again or remove it.") from None
    fields = [line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return _named(table, [(row[0], row[1] if len(row) > 1 else "") for row in fields])


def _named(table, pairs):
    names = {}
    for number, name in pairs:
        try:
            value = int(number)
        except ValueError:
            raise InputError(f"{table} has {number[:40]!r} as a label; expected a whole number.") from None
        if value in names:
            raise InputError(f"{table} names label {value} twice, {names[value]!r} and {name!r}; keep one of the rows.")
        names[value] = name
    return {value: name for value, name in names.items() if value > 0 and name}
