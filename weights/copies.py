"""Files of a checkpoint that somebody copied by hand: found in a folder, and linked or copied from there."""

import os
import shutil
from collections import Counter
from pathlib import Path, PurePosixPath

from weights.manifest import Checkpoint, CheckpointError
from weights.records import Record
from weights.whole_files import make_folder, put_in_place


def find_copies(checkpoint: Checkpoint, folder: Path, record: Record | None) -> dict[str, Path]:
    """Find a checkpoint's files in a folder.

    Parameters
    ----------
    checkpoint : Checkpoint
    folder : Path
        Holds them in the checkpoint's layout, in that layout below a folder with the checkpoint's name, or all in one
        folder, where their names differ.
    record : Record or None
        Of an earlier pull, where the folder is a checkpoint's folder of another store: then the converted files are
        looked for too, and originals that were removed there may be absent.

    Returns
    -------
    copies : dict of str to Path
        By the path that the checkpoint has for them.

    Raises
    ------
    CheckpointError
        Files are absent; the message names them.
    """
    names = Counter(PurePosixPath(file.path).name for file in checkpoint.files)
    wanted = [file.path for file in checkpoint.files]
    optional = set()
    if record is not None:
        wanted += [path for path in record.made if path not in wanted]
        optional = {path for path in record.files if record.replacements(path)}
        # What comes from the manifest is written anew.
        optional |= {path for path, content in record.made.items() if content.source is None}
    copies, absent = {}, []
    for path in wanted:
        places = [folder / path, folder / checkpoint.folder / path]
        name = PurePosixPath(path).name
        if names[name] == 1:
            places.append(folder / name)
        found = next((place for place in places if place.is_file()), None)
        if found is not None:
            copies[path] = found
        elif path not in optional:
            absent.append(path)
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise CheckpointError(
            f"{folder} does not hold {absent[0]}{more} of {checkpoint.name}; put the files there as they are called at "
            f"{checkpoint.origin}, in folders where they have some."
        )
    return copies


def copy_file(source: Path, destination: Path, root: Path) -> None:
    """Link a file, or copy it where the two places cannot share it; it appears whole or not at all.

    Parameters
    ----------
    source : Path
        A link is followed.
    destination : Path
        Replaced where it exists; its folders are made.
    root : Path
        A folder on the destination's disk, for the unfinished copy.
    """
    source = source.resolve()
    make_folder(destination.parent)
    unfinished = root / f".copy.{os.getpid()}"
    unfinished.unlink(missing_ok=True)
    try:
        try:
            os.link(source, unfinished)
        except OSError:
            shutil.copyfile(source, unfinished)
        put_in_place(unfinished, destination)
    finally:
        unfinished.unlink(missing_ok=True)
