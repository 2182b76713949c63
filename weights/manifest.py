"""The manifest of checkpoints: what each one is, where it comes from, which files it holds.

The manifest is a TOML file with one ``[[checkpoint]]`` table per checkpoint::

    [[checkpoint]]
    name = "tiny-clip"
    role = "..."                       # one line: what it is for
    origin = "embedded"                # or "hub:owner/repository", "openclip:model/tag", "https://..."
    revision = "..."                   # commit or tag at the origin, absent where it has none or is not known
    folder = "tiny/clip"               # under the manifest's own folder; for others under the user's store
    licence = "MIT"
    needed_by = ["brain-diffuser"]
    files = [{path = "...", size = 123, sha256 = "..."}]

``size`` and ``sha256`` are absent for published files whose hash is not known; nothing is guessed.
"""

import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import tomli_w

MANIFEST = Path(__file__).with_name("manifest.toml")
HEADER = "# Written by weights.manifest.write_manifest; the fields are described in weights/manifest.py.\n\n"
EMBEDDED = "embedded"


class CheckpointError(ValueError):
    """A checkpoint is unknown, absent or not what the manifest says.

    The message is one sentence that the command line prints alone.
    """


@dataclass(frozen=True)
class CheckpointFile:
    """One file of a checkpoint.

    Attributes
    ----------
    path : str
        Relative to the checkpoint's folder, with forward slashes.
    size : int or None
        Bytes; None when the origin's size is not known.
    sha256 : str or None
        64 lower-case hex digits; None when the origin's hash is not known.
    """

    path: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """One entry of the manifest; see the module's description for the fields."""

    name: str
    role: str
    origin: str
    folder: str
    licence: str
    needed_by: tuple[str, ...] = ()
    files: tuple[CheckpointFile, ...] = ()
    revision: str | None = None

    @property
    def embedded(self) -> bool:
        """Whether the files travel with the package."""
        return self.origin == EMBEDDED

    @property
    def size(self) -> int | None:
        """Bytes of all files together, None when a size is not known or no file is listed."""
        sizes = [file.size for file in self.files]
        return None if not sizes or None in sizes else sum(sizes)


def read_manifest(manifest: Path = MANIFEST) -> dict[str, Checkpoint]:
    """Read the manifest.

    Parameters
    ----------
    manifest : Path
        The TOML file.

    Returns
    -------
    checkpoints : dict of str to Checkpoint
        In the order of the file.

    Raises
    ------
    CheckpointError
        When the file is missing or is no TOML, an entry lacks a field or has an unknown one, a name appears
        twice, or a path leaves its folder.
    """
    manifest = Path(manifest)
    try:
        with manifest.open("rb") as stream:
            tables = tomllib.load(stream).get("checkpoint", [])
    except FileNotFoundError:
        raise CheckpointError(f"The manifest {manifest} is missing; reinstall brainrecon.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"The manifest {manifest} is no valid TOML ({error}); reinstall brainrecon.") from None
    checkpoints: dict[str, Checkpoint] = {}
    for position, table in enumerate(tables):
        checkpoint = _checkpoint_from_table(table, position, manifest)
        if checkpoint.name in checkpoints:
            raise CheckpointError(
                f"The manifest {manifest} lists {checkpoint.name!r} twice; remove one of the two entries."
            )
        checkpoints[checkpoint.name] = checkpoint
    return checkpoints


def write_manifest(checkpoints: dict[str, Checkpoint], manifest: Path = MANIFEST) -> None:
    """Write the manifest whole, or leave the old one as it was.

    Parameters
    ----------
    checkpoints : dict of str to Checkpoint
        All entries, in the order to write.
    manifest : Path
        The TOML file to replace.
    """
    manifest = Path(manifest)
    tables = [_table_from_checkpoint(entry) for entry in checkpoints.values()]
    temporary = manifest.with_name(f".{manifest.name}.{os.getpid()}")
    try:
        temporary.write_text(HEADER + tomli_w.dumps({"checkpoint": tables}), encoding="utf-8", newline="\n")
        os.replace(temporary, manifest)
    finally:
        temporary.unlink(missing_ok=True)


def _checkpoint_from_table(table: dict, position: int, manifest: Path) -> Checkpoint:
    where = f"Entry {table.get('name', position + 1)!r} of the manifest {manifest}"
    try:
        files = tuple(CheckpointFile(**file) for file in table.get("files", []))
        fields = {**table, "needed_by": tuple(table.get("needed_by", [])), "files": files}
        checkpoint = Checkpoint(**fields)
    except TypeError as error:
        reason = str(error).split("__init__() ")[-1]
        raise CheckpointError(
            f"{where} has the wrong fields ({reason}); see the description in weights/manifest.py."
        ) from None
    for path in (checkpoint.folder, *(file.path for file in files)):
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts:
            raise CheckpointError(f"{where} names the path {path!r}; a path stays inside its folder.")
    for file in files:
        if file.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", file.sha256):
            raise CheckpointError(
                f"{where} gives {file.path} the sha256 {file.sha256!r}; expected 64 lower-case hex digits."
            )
    return checkpoint


def _table_from_checkpoint(checkpoint: Checkpoint) -> dict:
    table = {"name": checkpoint.name, "role": checkpoint.role, "origin": checkpoint.origin}
    if checkpoint.revision is not None:
        table["revision"] = checkpoint.revision
    table |= {"folder": checkpoint.folder, "licence": checkpoint.licence}
    table["needed_by"] = list(checkpoint.needed_by)
    table["files"] = [
        {key: value for key, value in vars(file).items() if value is not None} for file in checkpoint.files
    ]
    return table
