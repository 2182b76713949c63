"""What is written down beside a pulled checkpoint, so that a later look finds every changed byte.

Most publishers give no hash. When a checkpoint is pulled its files are hashed, and ``.pulled.json`` in its folder keeps
the hashes, the commit of the hub, and what was converted from what.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from weights.manifest import CheckpointError
from weights.names import trouble_with_path
from weights.whole_files import write_text

RECORD = ".pulled.json"


@dataclass(frozen=True)
class Content:
    """What a file held when it came or was made.

    Attributes
    ----------
    size : int
        Bytes.
    sha256 : str
    etag : str or None
        The server's name for the content, for files that came over the network.
    source : str or None
        For made files: the file they were converted from, None if they come from the manifest.
    """

    size: int
    sha256: str
    etag: str | None = None
    source: str | None = None


@dataclass
class Record:
    """The content of ``.pulled.json``.

    Attributes
    ----------
    origin : str
        As the manifest had it.
    commit : str or None
        Of the hub, whatever branch or tag the origin names.
    files : dict of str to Content
        What came, also what was removed after its conversion.
    made : dict of str to Content
        What was made here.
    """

    origin: str
    commit: str | None = None
    files: dict[str, Content] = field(default_factory=dict)
    made: dict[str, Content] = field(default_factory=dict)

    def replacements(self, path: str) -> list[str]:
        """The files that were converted from one."""
        return [made for made, content in self.made.items() if content.source == path]


def read_record(folder: Path) -> Record | None:
    """Read a folder's record.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    record : Record or None
        None if the folder has none.

    Raises
    ------
    CheckpointError
        The record cannot be understood.
    """
    path = Path(folder) / RECORD
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        for kind in ("files", "made"):
            table[kind] = {name: Content(**content) for name, content in table[kind].items()}
        record = Record(**table)
        for name in (*record.files, *record.made, *(made.source for made in record.made.values() if made.source)):
            if trouble := trouble_with_path(name):
                raise ValueError(f"it names {name!r}, and {trouble}")
        return record
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is no record of a pull ({error}); remove it, and what lies beside it counts as unverified."
        ) from None


def write_record(record: Record, folder: Path) -> None:
    """Write a folder's record, whole or not at all."""
    path = Path(folder) / RECORD
    table = asdict(record)
    for kind in ("files", "made"):
        table[kind] = {
            name: {key: value for key, value in content.items() if value is not None}
            for name, content in sorted(table[kind].items())
        }
    write_text(path, json.dumps(table, indent=1) + "\n")
