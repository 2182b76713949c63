"""Checkpoints of one's own, named wherever a checkpoint's name is taken: folders, repositories of the hub, own manifests.

``./my-clip``, ``/models/my-clip``
    A folder that holds the files of a checkpoint.
``OWNER/REPOSITORY@REVISION``
    A model repository of the Hugging Face hub, also with ``hub:`` before it; the revision is ``main`` if it is left out. It is
    fetched by `weights.pull` alone. Until then it is looked for in the user's stores, and in the hub's own cache.
``my-clip``
    An entry of a ``manifest.toml`` or ``manifest.json`` in one of the user's stores (`weights.locations`), which has the form of
    the package's manifest (`weights.manifest`). With the origin ``embedded`` its folder lies beside that file.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from weights.locations import can_be_seen, user_stores
from weights.manifest import MANIFEST, Checkpoint, CheckpointError, CheckpointFile, read_manifest
from weights.names import trouble_with_part
from weights.origins import Origin, parse_origin
from weights.records import RECORD, read_record

# The card is prose about the checkpoint: a better sentence in it must not make feature stores stale.
CARD = "card.md"
OWN_FOLDER = "a folder of one's own"
MANIFEST_NAMES = ("manifest.toml", "manifest.json")
BRANCH = "main"
_HUB_ID = re.compile(r"(?:hub:)?(?P<repository>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>[\w./-]+))?")
_FROM_THE_HUB = ("given by its id on the hub", "as its page on the hub says")


def is_own_folder(name: str) -> bool:
    """Whether a checkpoint's name is the path of a folder, for it has a slash and is no id of the hub.

    >>> is_own_folder("./my-clip"), is_own_folder("tiny-clip"), is_own_folder("openai/clip-vit-large-patch14")
    (True, False, False)
    """
    return ("/" in name or "\\" in name) and hub_origin(name) is None


def hub_origin(name: str) -> Origin | None:
    """The repository and revision that a name stands for if it is an id of the hub; a folder of that path comes first.

    >>> hub_origin("openai/clip-vit-large-patch14@refs/pr/1").revision
    'refs/pr/1'
    """
    found = _HUB_ID.fullmatch(name)
    if found is None or (not name.startswith("hub:") and Path(name).is_dir()):
        return None
    return parse_origin(f"hub:{found['repository']}@{found['revision'] or BRANCH}")


def own_folder(name: str) -> Checkpoint:
    """An entry for a folder that no manifest knows: its files as they are."""
    place = Path(name).expanduser().resolve()
    files = files_below(place)
    if not files:
        what = "holds no file" if place.is_dir() else "is not there"
        raise CheckpointError(
            f"The folder {place}, named as a checkpoint, {what}; name one with the files of a checkpoint."
        )
    listed = tuple(CheckpointFile(each, (place / each).stat().st_size) for each in files)
    return Checkpoint(name, "given by its folder", OWN_FOLDER, str(place), "as you know it", files=listed)


def from_hub(name: str, origin: Origin) -> Checkpoint:
    """An entry for a repository of the hub, as it was pulled or as the hub's own cache has it; without files if it is absent."""
    entry = _hub_entry(name, origin)
    for store in user_stores():
        if can_be_seen(store) and (store / entry.folder / RECORD).is_file():
            return _as_pulled(entry, store / entry.folder)
    cached = _in_cache(origin)
    return entry if cached is None else replace(own_folder(str(cached)), name=name, role=entry.role)


def to_pull(name: str, origin: Origin, source: Path | None = None) -> Checkpoint:
    """An entry for a repository of the hub with the files to fetch: those that were, those of a folder, or as the hub says."""
    from weights.hub import repository_files

    entry = _hub_entry(name, origin)
    for store in user_stores():
        if can_be_seen(store) and (store / entry.folder / RECORD).is_file():
            return _as_pulled(entry, store / entry.folder)
    if source is not None:
        listed = [CheckpointFile(path, (Path(source) / path).stat().st_size) for path in files_below(Path(source))]
    else:
        listed = repository_files(origin)
    kept = wanted([file.path for file in listed])
    if not kept:
        where = source or entry.origin
        raise CheckpointError(f"{where} holds no weights that are read; name another repository or revision.")
    return replace(entry, files=tuple(file for file in listed if file.path in kept))


def wanted(paths: list[str]) -> set[str]:
    """Of the files of a repository those that are read: JSON, text of tokenisers, and in each folder the best form of weights.

    >>> sorted(wanted(["README.md", "config.json", "model.safetensors", "pytorch_model.bin", "unet/model.bin", "x.onnx"]))
    ['config.json', 'model.safetensors', 'unet/model.bin']
    """
    chosen = {path for path in paths if path.endswith((".json", ".txt", ".model"))}
    weights: dict[str, dict[str, list[str]]] = {}
    for path in paths:
        if (file := CheckpointFile(path)).holds_tensors:
            kind = "safetensors" if path.endswith(".safetensors") else "pickles" if file.converted else "others"
            weights.setdefault(path.rpartition("/")[0], {}).setdefault(kind, []).append(path)
    for kinds in weights.values():
        chosen |= set(kinds.get("safetensors") or kinds.get("pickles") or kinds["others"])
    return chosen if weights else set()


def own_entries() -> dict[str, Checkpoint]:
    """Entries of the manifests in the user's stores, and the repositories that were pulled into them, by name.

    Raises
    ------
    CheckpointError
        A manifest cannot be read, or gives a name that is taken or cannot be typed.
    """
    found: dict[str, Checkpoint] = {}
    for store in filter(can_be_seen, user_stores()):
        for file in (store / name for name in MANIFEST_NAMES):
            if file.is_file() and file.resolve() != MANIFEST:
                found |= _of_manifest(file, found)
        for record in sorted(store.glob(f"*--*/{RECORD}")):
            try:
                origin = parse_origin(read_record(record.parent).origin)
            except ValueError:
                # Damaged: whoever names it is told so.
                continue
            name = f"{origin.repository}@{origin.revision}"
            if origin.kind == "hub" and not origin.of_dataset and _folder_of(origin) == record.parent.name:
                found.setdefault(name, _as_pulled(_hub_entry(name, origin), record.parent))
    return found


def files_below(place: Path) -> list[str]:
    """What a folder holds, by relative paths: every file but the card and what is hidden."""
    return sorted(
        found.relative_to(place).as_posix()
        for found in place.rglob("*")
        if found.is_file()
        and found.name != CARD
        and not any(part.startswith(".") for part in found.relative_to(place).parts)
    )


def _of_manifest(file: Path, before: dict[str, Checkpoint]) -> dict[str, Checkpoint]:
    entries = {}
    taken = read_manifest(MANIFEST)
    for name, entry in read_manifest(file).items():
        if name in taken:
            raise CheckpointError(
                f"The manifest {file} lists {name}, which the toolkit has already; call it otherwise."
            )
        if name not in before:
            if trouble := trouble_with_part(name):
                raise CheckpointError(f"The manifest {file} lists {name!r}, but {trouble}; call it otherwise.")
            place = str(file.parent / entry.folder)
            entries[name] = replace(entry, origin=OWN_FOLDER, folder=place) if entry.embedded else entry
    return entries


def _hub_entry(name: str, origin: Origin) -> Checkpoint:
    role, licence = _FROM_THE_HUB
    return Checkpoint(name, role, f"hub:{origin.repository}@{origin.revision}", _folder_of(origin), licence)


def _folder_of(origin: Origin) -> str:
    return f"{origin.repository}@{origin.revision}".replace("/", "--")


def _as_pulled(entry: Checkpoint, folder: Path) -> Checkpoint:
    """An entry with the files that the record of its pull lists."""
    record = read_record(folder)
    files = record.files.items() if record is not None else ()
    return replace(entry, files=tuple(CheckpointFile(path, one.size, one.sha256) for path, one in sorted(files)))


def _in_cache(origin: Origin) -> Path | None:
    """Folder of a repository in the hub's own cache, which other programs filled; the network is not asked."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        place = snapshot_download(origin.repository, revision=origin.revision, local_files_only=True)
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError):
        return None
    return Path(place) if files_below(Path(place)) else None
