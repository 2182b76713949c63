"""Files out of a .zip archive, each put where the toolkit says and not where the archive does."""

from __future__ import annotations

import zipfile
from pathlib import PurePosixPath

from brainrecon.datasets.download import free_bytes
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from stages.ground.reading.wall import reading
from weights.sizes import in_words
from weights.whole_files import whole_file

PIECE = 2**24


def unpack(archive, wanted, progress=SILENT):
    """Unpack some files of an archive, unless they are there.

    >>> from pathlib import Path
    >>> folder = getfixture("tmp_path")
    >>> with zipfile.ZipFile(folder / "betas.zip", "w") as content:
    ...     content.writestr("betas/sub-01.csv", "a,b")
    >>> unpack(folder / "betas.zip", {"sub-01.csv": folder / "mine.csv"})
    []
    >>> (folder / "mine.csv").read_text()
    'a,b'

    Parameters
    ----------
    archive : pathlib.Path
    wanted : dict of str to pathlib.Path
        Name of a file, whatever folder of the archive it is in, and where it goes. Nothing else is unpacked, and no path of the
        archive is followed.
    progress : callable, optional
        Called as ``progress(label, bytes_done, bytes_of_file)``.

    Returns
    -------
    left : list of str
        Names of the files in the archive that were not wanted.

    Raises
    ------
    InputError
        The archive is damaged, lacks a file or has two of one name, or there is no room.
    """
    remedy = "remove it and fetch it again"
    with reading(archive, "a .zip archive", remedy), zipfile.ZipFile(archive) as content:
        members = {}
        for member in content.infolist():
            path = PurePosixPath(member.filename)
            if member.is_dir() or _is_left_by_systems(path):
                continue
            if path.name in wanted and path.name in members:
                raise InputError(f"{archive} holds two files called {path.name}; {remedy}.")
            members[path.name] = member
        missing = {name: path for name, path in wanted.items() if not path.exists()}
        if absent := [name for name in missing if name not in members]:
            raise InputError(f"{archive} holds no {absent[0]} but {', '.join(sorted(members)) or 'nothing'}; {remedy}.")
        needed = sum(members[name].file_size for name in missing)
        for path in list(missing.values())[:1]:
            if needed > (free := free_bytes(path.parent)):
                raise InputError(
                    f"Unpacking {archive} takes {in_words(needed)} and {in_words(free)} are free at {path.parent}; free some, "
                    "and run the same command again."
                )
        for name, path in missing.items():
            _unpack_one(content, members[name], path, progress)
        return [name for name in members if name not in wanted]


def _is_left_by_systems(path):
    hidden = (part for part in path.parts if part.startswith(".") and part not in (".", ".."))
    return "__MACOSX" in path.parts or any(hidden)


def _unpack_one(content, member, path, progress):
    """One file, whole or not at all; its checksum is looked at when its end is reached."""
    done = 0
    with content.open(member) as packed, whole_file(path) as partial, open(partial, "wb") as file:
        while piece := packed.read(PIECE):
            file.write(piece)
            done += len(piece)
            progress(path.name, done, member.file_size)
