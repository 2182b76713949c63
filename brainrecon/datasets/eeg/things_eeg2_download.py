"""Fetching THINGS-EEG2: archives of its public projects, and unpacking what is read of them."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path, PurePosixPath

from brainrecon.datasets.dataset import ExpectedFile
from brainrecon.datasets.download import below, check_room, fetch_all
from brainrecon.datasets.sources.osf import FILES, osf_files
from brainrecon.datasets.subject import subject_name
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from stages.ground.reading.wall import reading
from weights.compression import MOST_BY_COMPRESSION
from weights.whole_files import make_folder, whole_file

METADATA = "image_metadata.npy"
PARTS = {
    "train": ("preprocessed_eeg_training.npy", "train", "training_images"),
    "test": ("preprocessed_eeg_test.npy", "test", "test_images"),
}
"""Split -> file of a subject, word in the metadata, folder of pictures."""
PREPROCESSED, PICTURES = "anp5v", "y63gw"
"""Parts of OSF 3jk45, as public loaders name them."""
TERMS = (
    "CC BY 4.0: credit Gifford and others (2022); the pictures are those of THINGS (Hebart and others 2019), for research, whose "
    "terms are at https://osf.io/jum2f"
)
_SUBJECT = re.compile(r"sub-\d+")
_WANTED = re.compile(r"(sub-\d+)\.zip|(?:.*/)?(sub-\d+)/preprocessed_eeg_(?:training|test)\.npy")
_ARCHIVES = [f"{folder}.zip" for _, _, folder in PARTS.values()]


def address_of(name):
    """The page from which a file is fetched."""
    return f"{FILES}/{PREPROCESSED if _SUBJECT.match(name) else PICTURES}"


def download(path, subject=None, progress=SILENT, images=None):
    """Fetch a subject's epochs, or everybody's, with the pictures and their names, and unpack them.

    Parameters
    ----------
    path : pathlib.Path
        Where they go; archives go there too, and are removed once they are unpacked.
    subject : str, optional
    progress : callable, optional
        Called as ``progress(label, bytes_done, bytes_of_file)``.
    images : path, optional
        If pictures are there already, they are not fetched.

    Returns
    -------
    absent : list
        Always empty.

    Raises
    ------
    InputError
        A list is none or lacks what is wanted, a file cannot be fetched, or an archive is damaged.
    """
    path = Path(path)
    chosen = []
    for remote in osf_files(PREPROCESSED, path):
        match = _WANTED.fullmatch(remote.path.relative_to(path).as_posix())
        name = (match[1] or match[2]) if match else None
        if name and (subject is None or subject_name(name) == subject_name(subject)) and not _is_unpacked(path, name):
            chosen.append(remote)
    if not chosen and not _unpacked_subjects(path, subject):
        raise InputError(
            f"OSF {PREPROCESSED} lists no preprocessed recording of {subject or 'anybody'}; name a subject such as sub-01, or "
            "fetch the files by hand."
        )
    for remote in osf_files(PICTURES, path):
        name = remote.path.name
        is_there = images is not None or (path / name.removesuffix(".zip")).is_dir()
        if name == METADATA or (name in _ARCHIVES and not is_there):
            chosen.append(remote)
    fetch_all(chosen, path, "one subject by --subject sub-01", progress)
    for remote in chosen:
        if remote.path.suffix == ".zip" and remote.path.exists():
            unpack(remote.path, path, progress)
            remote.path.unlink()
    return []


def _is_unpacked(path, name):
    return all((path / name / file).exists() for file, _, _ in PARTS.values())


def _unpacked_subjects(path, subject):
    names = [folder.name for folder in path.glob("sub-*") if _is_unpacked(path, folder.name)]
    return [name for name in names if subject is None or subject_name(name) == subject_name(subject)]


def unpack(archive, folder, progress=SILENT):
    """Unpack the epochs or pictures of an archive, each whole or not at all; nothing else of it, and nothing outside.

    Parameters
    ----------
    archive : pathlib.Path
    folder : pathlib.Path
    progress : callable, optional
    """
    name = archive.name.removesuffix(".zip")
    with (
        reading(archive, "a ZIP archive", "remove it and run the same command again"),
        zipfile.ZipFile(archive) as content,
    ):
        members = [member for member in content.infolist() if not member.is_dir() and _is_read(member.filename, name)]
        if not members:
            raise ValueError(f"it holds nothing of {name}")
        for member in members:
            if member.file_size > MOST_BY_COMPRESSION * max(member.compress_size, 1):
                raise ValueError(f"its {member.filename[:80]} claims {member.file_size:,} bytes")
        places = {member.filename: below(folder, _place(member.filename, name), archive.name) for member in members}
        wanted = [ExpectedFile(places[member.filename], "", largest=member.file_size) for member in members]
        check_room(folder, wanted, "one subject by --subject sub-01")
        for done, member in enumerate(members, start=1):
            target = places[member.filename]
            if not target.exists():
                make_folder(target.parent)
                with whole_file(target) as partial, content.open(member) as source, open(partial, "wb") as copy:
                    shutil.copyfileobj(source, copy, 2**20)
            progress(f"unpack {archive.name}", done, len(members))


def _is_read(member, name):
    file = PurePosixPath(member).name
    is_picture = name in [folder for _, _, folder in PARTS.values()] and file.lower().endswith((".jpg", ".jpeg"))
    # Finder puts a hidden file beside each.
    return file in [epochs for epochs, _, _ in PARTS.values()] or (is_picture and not file.startswith("."))


def _place(member, name):
    """Below the folder that the archive is named after, whether or not its members say so."""
    parts = [part for part in member.split("/") if part]
    return "/".join([name, *(parts[parts.index(name) + 1 :] if name in parts else parts)])
