"""The manifest of checkpoints: what each one is, where it comes from, which files it holds.

The manifest is a TOML file with one ``[[checkpoint]]`` table per checkpoint::

    [[checkpoint]]
    name = "vdvae-imagenet64"
    role = "..."                       # one line: what it is for
    origin = "https://..."             # the grammar is in weights/origins.py; the hub's carry a revision
    folder = "vdvae-imagenet64"        # under the user's store; for embedded ones under the manifest's own folder
    licence = "MIT"
    needed_by = ["brain-diffuser"]     # methods, verbs, or families of generators
    note = "..."                       # what is not established about the entry; absent where nothing is
    knows = "drawn pictures"           # all that its networks have seen, where they know no photographs
    subject = "subj01"                 # whose responses it decodes; absent for what serves every subject, or comes before one
    n_voxels = 15724                   # of these responses
    standardized = "session"           # how these are z-scored, in the words of `brainrecon.datasets.responses`
    parts = ["tokens"]                 # fitted steps of the methods in needed_by that it holds, by their part
    files = [{path = "...", size = 123, sha256 = "...", sha256_begins = "...", becomes = "...", member = "..."}]

    [checkpoint.writes."config.json"]  # JSON files that are written beside converted weights
    preset = "imagenet64"

``size`` and ``sha256`` are absent for published files whose hash is not known; nothing is guessed. ``reckoned`` are then the
bytes that follow from the number of a network's parameters and the type they are published in: to say beforehand what a pull
brings, right to a hundredth, and never compared with a file. ``sha256_begins`` holds the first digits where the publisher made
them part of the file's name, as torch.hub does. ``becomes`` names what a pickle is converted to where the rule of
`CheckpointFile.converted` does not fit. ``member`` is the path within a tar archive of the pickle, or of another file, which is
taken out as it is; nothing else of the archive is read. ``keeps`` is a regular expression: of a pickle's tensors those whose
names it finds are converted, where nothing reads the others. ``entry`` names what of a pickled dictionary holds the tensors,
where the state of a training lies beside them.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath

import tomli_w

from weights.names import trouble_with_path
from weights.origins import EMBEDDED, parse_origin
from weights.whole_files import write_text

MANIFEST = Path(__file__).with_name("manifest.toml")
HEADER = "# Written by weights.manifest.write_manifest; the fields are described in weights/manifest.py.\n\n"

# Formats that are pickles, or hold one: what they are, loading by itself may run. The longest ending first.
PICKLES = (".pth.tar", ".pth", ".th", ".pt", ".bin", ".ckpt")


class CheckpointError(ValueError):
    """A checkpoint is unknown, absent or not what the manifest says.

    >>> from weights import store
    >>> try:
    ...     store.path("tiny-clap")
    ... except CheckpointError as error:
    ...     print(error)
    There is no checkpoint 'tiny-clap'; known are tiny-vdvae, tiny-clip, ...

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
    sha256_begins : str or None
        Its first digits, where only these are known.
    becomes : str or None
        What the file is converted to, relative to the checkpoint's folder, where the rule of `converted` does not fit.
    member : str or None
        For a tar archive: the pickle within it that is converted, or another file that is taken out as it is.
    reckoned : int or None
        Bytes by the number of parameters, where the size is not known.
    keeps : str or None
        Regular expression for the names of the tensors that are converted; None for all.
    entry : str or None
        Of a pickled dictionary, what holds the tensors; None if it is them.
    """

    path: str
    size: int | None = None
    sha256: str | None = None
    sha256_begins: str | None = None
    becomes: str | None = None
    member: str | None = None
    reckoned: int | None = None
    keeps: str | None = None
    entry: str | None = None

    @property
    def holds_tensors(self) -> bool:
        """Whether it is of a format that weights are published in, so that its size matters."""
        return self.path.endswith((".safetensors", ".caffemodel", ".tar.gz", *PICKLES))

    @property
    def converted(self) -> str | None:
        """The safetensors file that a pickle is converted to; None for what is no pickle and no archive.

        The same name with another ending, except that ``pytorch_model.bin`` becomes ``model.safetensors`` (also after
        a prefix), which is where transformers and open_clip look. What is no pickle is taken out of an archive as it is.
        """
        path = self.path if self.member is None else PurePosixPath(self.member).name
        for ending in PICKLES:
            if path.endswith(ending):
                stem = path.removesuffix(ending)
                if stem.endswith("pytorch_model") and not stem.endswith("diffusion_pytorch_model"):
                    stem = stem.removesuffix("pytorch_model") + "model"
                return self.becomes or stem + ".safetensors"
        return None if self.member is None else self.becomes or path


@dataclass(frozen=True)
class Checkpoint:
    """One entry of the manifest; see the module's description for the fields.

    >>> from weights import store
    >>> clip: Checkpoint = store.entry("clip-vit-l-14-quickgelu")
    >>> clip.embedded, clip.licence
    (False, 'MIT')
    """

    name: str
    role: str
    origin: str
    folder: str
    licence: str
    needed_by: tuple[str, ...] = ()
    files: tuple[CheckpointFile, ...] = ()
    note: str | None = None
    knows: str | None = None
    subject: str | None = None
    n_voxels: int | None = None
    standardized: str | None = None
    parts: tuple[str, ...] = ()
    writes: Mapping[str, Mapping] = field(default_factory=dict, hash=False)

    @property
    def embedded(self) -> bool:
        """Whether the files travel with the package."""
        return self.origin == EMBEDDED

    @property
    def size(self) -> int | None:
        """Bytes of all files together, None when a size is not known or no file is listed."""
        sizes = [file.size for file in self.files]
        return None if not sizes or None in sizes else sum(sizes)

    @property
    def reckoned_size(self) -> int | None:
        """Bytes of all files that hold tensors, reckoned where they are not known; None if one can be neither."""
        sizes = [file.size or file.reckoned for file in self.files if file.holds_tensors]
        return None if not sizes or None in sizes else sum(sizes)

    @property
    def converted_size(self) -> int:
        """Bytes of those files that are converted, which stay beside what is made of them unless they are removed."""
        return sum(file.size or file.reckoned or 0 for file in self.files if file.converted is not None)


def read_manifest(manifest: Path = MANIFEST) -> dict[str, Checkpoint]:
    """Read the manifest.

    Parameters
    ----------
    manifest : Path
        A TOML file, or a JSON file with the same content.

    Returns
    -------
    checkpoints : dict of str to Checkpoint
        In the order of the file.

    Raises
    ------
    CheckpointError
        When the file is missing or is no TOML, an entry lacks a field or has an unknown one, a name appears
        twice, an origin is of no known kind, or a path leaves its folder.
    """
    manifest = Path(manifest)
    if manifest != MANIFEST or not manifest.is_file():
        return _read(manifest)
    found = manifest.stat()
    return dict(_own(manifest, (found.st_ino, found.st_mtime_ns, found.st_size)))


@lru_cache(maxsize=1)
def _own(manifest: Path, stamp: tuple[int, ...]) -> dict[str, Checkpoint]:
    """The package's own, which is asked for whenever a checkpoint is named, and read again only if it was replaced."""
    return _read(manifest)


def _read(manifest: Path) -> dict[str, Checkpoint]:
    remedy = "reinstall brainrecon" if manifest == MANIFEST else "mend it"
    form, load = ("JSON", json.load) if manifest.suffix == ".json" else ("TOML", tomllib.load)
    try:
        with manifest.open("rb") as stream:
            content = load(stream)
    except FileNotFoundError:
        raise CheckpointError(f"The manifest {manifest} is missing; reinstall brainrecon.") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"The manifest {manifest} is no valid {form} ({error}); {remedy}.") from None
    tables = content.get("checkpoint", []) if isinstance(content, dict) else None
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise CheckpointError(f"The manifest {manifest} has no tables [[checkpoint]]; {remedy}.")
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
    tables = [_table_from_checkpoint(entry) for entry in checkpoints.values()]
    write_text(manifest, HEADER + tomli_w.dumps({"checkpoint": tables}))


def _checkpoint_from_table(table: dict, position: int, manifest: Path) -> Checkpoint:
    where = f"Entry {table.get('name', position + 1)!r} of the manifest {manifest}"
    try:
        files = tuple(CheckpointFile(**file) for file in table.get("files", []))
        lists = {name: tuple(table.get(name, [])) for name in ("needed_by", "parts")}
        fields = {**table, **lists, "files": files}
        checkpoint = Checkpoint(**fields)
    except TypeError as error:
        reason = str(error).split("__init__() ")[-1]
        raise CheckpointError(
            f"{where} has the wrong fields ({reason}); see the description in weights/manifest.py."
        ) from None
    try:
        parse_origin(checkpoint.origin)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{where} has a wrong origin: {error}.") from None
    inside = (checkpoint.folder, *(file.path for file in files), *checkpoint.writes)
    for path in (*inside, *(file.becomes for file in files if file.becomes is not None)):
        if trouble := trouble_with_path(path):
            raise CheckpointError(f"{where} names the path {path!r}, and {trouble}; a path stays inside its folder.")
    if checkpoint.parts and not checkpoint.needed_by:
        raise CheckpointError(
            f"{where} holds {', '.join(checkpoint.parts)} but says not of which method; give it needed_by."
        )
    if checkpoint.n_voxels and not checkpoint.subject:
        raise CheckpointError(
            f"{where} reads {checkpoint.n_voxels:,} voxels but says not of whom; give it subject, or leave n_voxels out for a "
            "network of several."
        )
    for file in files:
        try:
            re.compile(file.keeps or "")
        except re.error as error:
            raise CheckpointError(
                f"{where} keeps {file.keeps!r} of {file.path}, which is no pattern ({error})."
            ) from None
        if file.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", file.sha256):
            raise CheckpointError(
                f"{where} gives {file.path} the sha256 {file.sha256!r}; expected 64 lower-case hex digits."
            )
        if file.sha256_begins is not None and not re.fullmatch("[0-9a-f]{8,64}", file.sha256_begins):
            raise CheckpointError(
                f"{where} gives {file.path} the first digits {file.sha256_begins!r} of a sha256; expected 8 or more "
                "lower-case hex digits."
            )
    return checkpoint


def _table_from_checkpoint(checkpoint: Checkpoint) -> dict:
    table = {"name": checkpoint.name, "role": checkpoint.role, "origin": checkpoint.origin}
    table |= {"folder": checkpoint.folder, "licence": checkpoint.licence}
    table["needed_by"] = list(checkpoint.needed_by)
    if checkpoint.note is not None:
        table["note"] = checkpoint.note
    for name in ("knows", "subject", "n_voxels", "standardized"):
        if (value := getattr(checkpoint, name)) is not None:
            table[name] = value
    if checkpoint.parts:
        table["parts"] = list(checkpoint.parts)
    table["files"] = [
        {key: value for key, value in vars(file).items() if value is not None} for file in checkpoint.files
    ]
    if checkpoint.writes:
        table["writes"] = dict(checkpoint.writes)
    return table
