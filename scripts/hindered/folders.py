"""A folder laid out anew for each case, and all that is in it compared with that of the undisturbed work."""

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path


def emptied(folder):
    """The folder with nothing in it."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    return folder


def laid(template, folder):
    """The content of a template in a folder, with its times."""
    shutil.copytree(template, emptied(folder), symlinks=True, dirs_exist_ok=True)


def every(folder):
    """The folder and all in it, what is above first; no links."""
    return [folder, *(path for path in sorted(folder.rglob("*")) if not path.is_symlink())]


def bytes_taken(folder):
    """What the files of a folder take on a disk of memory, which counts their pages and nothing else."""
    return sum(-(-path.lstat().st_size // 4096) * 4096 for path in every(folder) if path.is_file())


def content(folder):
    """Everything in a folder to the byte, but for two things that tell how one came there.

    Locks stay where somebody asked for one. Lines of the manifest have their times, and come in the order of drawing; which
    files have a line, and with what hash, is compared.
    """
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.endswith(".lock") or path.name == ".drawing":
            continue
        found[name] = None if path.is_dir() else path.read_bytes()
        if path.name == "manifest.jsonl":
            found[name] = set()
            for line in path.read_bytes().splitlines():
                with suppress(ValueError):
                    found[name].add((json.loads(line)["file"], json.loads(line)["sha256"]))
    return found


def differences(found, expected):
    """What is other, left over or missing, as words."""
    names = sorted(found.keys() | expected.keys())
    return [
        f"{name} {'is other' if name in found and name in expected else 'is left' if name in found else 'is missing'}"
        for name in names
        if name not in found or name not in expected or found[name] != expected[name]
    ]


def belongs_to(user, *folders):
    """Give folders and all in them to a user, who alone may write."""
    for folder in folders:
        for path in every(folder):
            os.chown(path, user, user)
            path.chmod(0o755 if path.is_dir() else 0o644)
