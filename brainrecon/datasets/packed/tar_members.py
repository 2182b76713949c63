"""Members of .tar files, read one by one where they lie: nothing is unpacked, and nothing is unpickled."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from brainrecon.datasets.stimulus_images import PictureFiles
from stages.ground.errors import InputError
from stages.ground.reading.numpy_files import npy_of_bytes
from stages.ground.reading.picture_files import picture_of_bytes
from stages.ground.reading.wall import reading

AGAIN = "copy the file again"
_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True)
class Member:
    """A file within a .tar, and where its bytes are."""

    tar: Path
    name: str
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.name} in {self.tar}"

    def bytes(self) -> bytes:
        """Its content; an InputError if the .tar ends before it."""
        with reading(self.tar, "a .tar archive", AGAIN), open(self.tar, "rb") as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise InputError(f"{self} ends after {len(content):,} of {self.size:,} bytes; {AGAIN}.")
        return content

    def array(self) -> np.ndarray:
        """Its content as a .npy file."""
        return npy_of_bytes(self.bytes(), str(self), AGAIN)


def samples_of(tar: Path) -> dict[str, dict[str, Member]]:
    """What a .tar of samples holds, in its order: the files of a sample have one name up to the first dot.

    Parameters
    ----------
    tar : pathlib.Path
        Not compressed.

    Returns
    -------
    samples : dict of str to dict of str to Member
        ``sample000000001`` to ``jpg``, ``nsdgeneral.npy``, ... Only headers are read.

    Raises
    ------
    InputError
        The file is no .tar or ends early, or a member is a link, a device, there twice, or named to lead out of the archive.
    """
    samples: dict[str, dict[str, Member]] = {}
    end = 0
    with reading(tar, "a .tar archive", AGAIN), tarfile.open(tar, "r:") as archive:
        for entry in archive:
            end = max(
                end, entry.offset_data + -(-entry.size // _BLOCK) * _BLOCK if entry.isreg() else entry.offset_data
            )
            if entry.isdir():
                continue
            parts = PurePosixPath(entry.name).parts
            plain = entry.isreg() and not entry.issparse()
            if not plain or ".." in parts or PurePosixPath(entry.name).is_absolute():
                what = "leads out of the archive" if plain else "is no file but a link or a device"
                raise InputError(
                    f"{tar} has a member {entry.name[:100]!r}, which {what}; {AGAIN} from where it was published."
                )
            key, dot, kind = PurePosixPath(entry.name).name.partition(".")
            if not dot:
                continue
            own = samples.setdefault(key, {})
            if kind in own:
                raise InputError(f"{tar} has {entry.name[:100]!r} twice; {AGAIN} from where it was published.")
            own[kind] = Member(tar, entry.name, entry.offset_data, entry.size)
    if tar.stat().st_size < end + _BLOCK:
        raise InputError(
            f"{tar} ends after {tar.stat().st_size:,} bytes, before the mark that ends an archive; {AGAIN}."
        )
    return samples


def small_arrays(members: list[Member]) -> list[np.ndarray]:
    """The arrays of many small members, each archive opened once.

    Raises
    ------
    InputError
        An array is damaged.
    """
    found = []
    for tar, own in groupby(members, key=lambda member: member.tar):
        with reading(tar, "a .tar archive", AGAIN), open(tar, "rb") as file:
            for member in own:
                file.seek(member.offset)
                found.append(npy_of_bytes(file.read(member.size), str(member), AGAIN))
    return found


class TarPictures(PictureFiles):
    """Pictures within archives, as `brainrecon.datasets.stimulus_images.PictureFiles` those of folders.

    Parameters
    ----------
    members : sequence of Member
    """

    def __init__(self, members: Sequence[Member]) -> None:
        super().__init__(members, mend=AGAIN)

    def _opened(self, path: Member) -> AbstractContextManager[Image.Image]:
        return picture_of_bytes(path.bytes(), str(path), AGAIN)
