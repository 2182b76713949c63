"""The folders of checkpoints that do not travel with the package.

``BRAINRECON_WEIGHTS`` names one folder or several, separated as in ``PATH``: a cache that a group shares and that
nobody else may write to, and one's own. They are searched in order; what is pulled goes to the first that can be
written to. Reading writes nowhere.
"""

import os
import sys
from pathlib import Path


def user_stores() -> list[Path]:
    """The folders in the order in which they are searched; none need exist."""
    chosen = [part for part in os.environ.get("BRAINRECON_WEIGHTS", "").split(os.pathsep) if part.strip()]
    if chosen:
        return [Path(part).expanduser() for part in chosen]
    return [cache_folder() / "weights"]


def cache_folder() -> Path:
    """The user's own folder for what can be had again: `brainrecon` in the platform's cache folder."""
    if sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "brainrecon"


def can_be_seen(folder: Path) -> bool:
    """Whether there is a folder that this user may look into; of one that he may not, nothing is his."""
    try:
        os.scandir(folder).close()
    except OSError:
        return False
    return True


def user_store() -> Path:
    """The folder that new checkpoints go to: the first that can be written to, or else the first."""
    stores = user_stores()
    return next((store for store in stores if writable(store)), stores[0])


def writable(folder: Path) -> bool:
    """Whether a folder, or the nearest one above it that exists, can be written to."""
    existing = Path(folder).absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
