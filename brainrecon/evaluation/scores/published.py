"""Scores that others published: what they are, which protocol they belong to, and how far they can be trusted.

The rows are data, `published.toml`. A row stands beside own scores only under the protocol that computed it and on the
test set it was computed on.
"""

import math
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from brainrecon.evaluation.protocols.protocol import load_protocol
from stages.ground.errors import InputError

_FILE = Path(__file__).with_name("published.toml")

# How a value was verified, in words for the reader.
READ = {
    "repository": "read in the method's own repository",
    "paper": "read in the method's paper",
    "secondary": "read in somebody else's table",
    "memory": "from memory",
}
# Whether a row printed under a protocol was computed by that protocol's preparation.
COMPUTED = {
    "protocol": "",
    "other code": "computed with other preparation than this protocol's",
    "not established": "whose code computed it is not established",
}

_REQUIRED = ("protocol", "method", "values", "subjects", "n_stimuli", "computed", "read", "source")
_OPTIONAL = ("from_memory", "note", "dataset")


@dataclass(frozen=True)
class PublishedRow:
    """One published result.

    Attributes
    ----------
    method : str
    protocol : str
        Name of the protocol under which the values were published.
    values : dict of str to float
        By metric of the protocol; percentages as fractions. Of captions, scores of the corpus.
    subjects : tuple of str
        Of the dataset; of several, the values are means over them.
    n_stimuli : int
        Size of the test set.
    source : str
        Who published it.
    verified : dict of str to str
        By metric, a key of `READ`: where the value was read.
    computed : str
        A key of `COMPUTED`: whether the protocol's own preparation computed it.
    note : str
    dataset : str
        Kind of the data, as `Subject.dataset` says it.
    """

    method: str
    protocol: str
    values: dict
    subjects: tuple
    n_stimuli: int
    source: str
    verified: dict
    computed: str = "protocol"
    note: str = ""
    dataset: str = "nsd"

    @property
    def from_memory(self):
        """The metrics whose values nobody has read again, list of str."""
        return [metric for metric, how in self.verified.items() if how == "memory"]


def published_values(protocol):
    """Published results of a protocol.

    >>> [row.method for row in published_values("takagi-2023")]
    ['Takagi and Nishimoto']

    Parameters
    ----------
    protocol : str
        Its name; one that nobody has published under gives no rows.

    Returns
    -------
    rows : list of PublishedRow
        In the order of the file; of a row of several protocols, the values of those metrics that this one has.
    """
    rows = [row for row in _packaged() if row.protocol == protocol]
    return [_within(row, load_protocol(protocol)) for row in rows]


def _within(row, protocol):
    """A row without the metrics that a protocol lacks."""
    known = protocol.columns | protocol.embeddings | protocol.retrieval
    values, verified = ({name: own[name] for name in own if name in known} for own in (row.values, row.verified))
    return replace(row, values=values, verified=verified)


def read_published(path):
    """Read a file of published results.

    Parameters
    ----------
    path : path-like
        A TOML file like `published.toml`.

    Returns
    -------
    rows : list of PublishedRow

    Raises
    ------
    InputError
        If the file is no such file; if a row lacks or misnames a key, holds a value that is no finite number or looks
        like a percentage, or is there twice.
    """
    path = Path(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))["row"]
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise TypeError("row is no list of tables")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} cannot be read ({error}); expected a TOML file of [[row]] tables. Mend it."
        ) from error
    rows, seen = [], set()
    for number, table in enumerate(tables, start=1):
        protocols = table.get("protocol")
        # A row may stand under several protocols that compute the same thing.
        for protocol in protocols if isinstance(protocols, list) else [protocols]:
            known = {} if protocol is None else {"protocol": protocol}
            row = _row(
                {key: value for key, value in table.items() if key != "protocol"} | known,
                f"Row {number} of {path.name}",
            )
            if (row.protocol, row.method) in seen:
                raise InputError(
                    f"{path.name} holds {row.method!r} twice under protocol {row.protocol}; expected once. Remove one."
                )
            seen.add((row.protocol, row.method))
            rows.append(row)
    return rows


@cache
def _packaged():
    return tuple(read_published(_FILE))


def _row(table, where):
    missing = [key for key in _REQUIRED if key not in table]
    unknown = [key for key in table if key not in (*_REQUIRED, *_OPTIONAL)]
    if missing or unknown:
        raise InputError(
            f"{where} lacks {missing or 'nothing'} and has the unknown keys {unknown or 'none'}; expected "
            f"{', '.join(_REQUIRED)} and perhaps {', '.join(_OPTIONAL)}. Change it there."
        )
    for key in ("protocol", "method", "source", "dataset"):
        value = table.get(key, "nsd")
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"{where} has {key} = {value!r}; expected a text. Change it there.")
    for key, allowed in (("read", READ), ("computed", COMPUTED)):
        if table[key] not in allowed:
            raise InputError(f"{where} has {key} = {table[key]!r}; expected one of {list(allowed)}. Change it there.")
    n_stimuli, subjects, values = table["n_stimuli"], table["subjects"], table["values"]
    if type(n_stimuli) is not int or n_stimuli < 1:
        raise InputError(f"{where} has n_stimuli = {n_stimuli!r}; expected a whole number above 0. Change it there.")
    if not isinstance(subjects, list) or not subjects or not all(isinstance(one, str) for one in subjects):
        raise InputError(f"{where} has subjects = {subjects!r}; expected a list of names. Change it there.")
    if not isinstance(values, dict) or not values:
        raise InputError(f"{where} has no values; expected a number for each metric. Add them, or remove the row.")
    for metric, value in values.items():
        # Every metric that people publish lies in -1..2; above are percentages that were not divided.
        if type(value) not in (int, float) or not math.isfinite(value) or not -1 <= value <= 2:
            raise InputError(
                f"{where} has {metric} = {value!r}; expected a number in -1..2, percentages divided by 100."
            )
    strangers = set(table.get("from_memory", ())) - set(values)
    if strangers:
        raise InputError(
            f"{where} says that {sorted(strangers)} are from memory but has no such values. Remove them there."
        )
    verified = {metric: "memory" if metric in table.get("from_memory", ()) else table["read"] for metric in values}
    return PublishedRow(
        method=table["method"],
        protocol=table["protocol"],
        values={metric: float(value) for metric, value in values.items()},
        subjects=tuple(subjects),
        n_stimuli=n_stimuli,
        source=table["source"],
        verified=verified,
        computed=table["computed"],
        note=table.get("note", ""),
        dataset=table.get("dataset", "nsd"),
    )
