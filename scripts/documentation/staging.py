"""Gather the sources of the documentation in one folder: pages, notebooks, and what is generated from the registries."""

import posixpath
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Folder or file of the project -> its place in the gathered sources.
PLACES = {"docs": "", "notebooks": "notebooks", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}

LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")


def stage(folder, generated=None):
    """Write all sources into a folder; files that are the same are left alone, so that a second build does less.

    Parameters
    ----------
    folder : path
        Files there that are no sources any more go; folders that Sphinx writes (`KEPT`) stay.
    generated : mapping of str to callable, optional
        Path of a page, as it is staged -> function of its written text that gives the whole text.
    """
    folder, generated = Path(folder), dict(generated or {})
    written = set()
    for source, place in sources():
        target = folder / place
        change = generated.pop(place, None)
        if place.endswith(".md"):
            text = with_staged_links(source.read_text(encoding="utf-8"), source, place)
            _write(target, (change(text) if change else text).encode())
        else:
            _write(target, source.read_bytes())
        written.add(target)
    for place, make in generated.items():
        _write(folder / place, make("").encode())
        written.add(folder / place)
    _remove_others(folder, written)


KEPT = ("gallery", "reference/generated")
"""Folders below the gathered sources that Sphinx writes."""

# 01_ridge_decoder.rst, 01_ridge_decoder.codeobj.json: what the gallery writes of an example begins with the example's name.
_OF_AN_EXAMPLE = re.compile(r"(\d\d_\w+)\.")


def forget_gone_examples(gallery, examples=ROOT / "examples"):
    """Remove what the gallery has written of examples that are no longer there: Sphinx would go on with it.

    Parameters
    ----------
    gallery, examples : path
        The gallery has a folder for each section of the examples, by the same name.
    """
    gallery, examples = Path(gallery), Path(examples)
    for path in sorted(gallery.rglob("*")):
        found = _OF_AN_EXAMPLE.match(path.name)
        section = path.parent.relative_to(gallery)
        if found and path.is_file() and not (examples / section / f"{found[1]}.py").is_file():
            path.unlink()


def sources():
    """Pairs of a file of the project and its place in the gathered sources."""
    for name, place in PLACES.items():
        path = ROOT / name
        if path.is_file():
            yield path, place
            continue
        for file in sorted(path.rglob("*")):
            if file.is_file() and not any(part.startswith((".", "__pycache__")) for part in file.parts):
                yield file, posixpath.join(place, file.relative_to(path).as_posix())


def with_staged_links(text, source, place):
    """Text of a page whose links to files of the project lead to where these are staged.

    Raises
    ------
    SystemExit
        A link leads to a file that is not part of the documentation, or to none.
    """

    def moved(match):
        before, target, after = match.groups()
        if "://" in target or target.startswith(("mailto:", "#")):
            return match.group()
        path = (source.parent / target).resolve()
        if not path.exists():
            # What a build makes is checked by Sphinx.
            return match.group()
        staged = staged_place(path)
        if staged is None:
            raise SystemExit(
                f"{source.relative_to(ROOT)} links to {target}, which is no page; write its name as `code` instead."
            )
        return f"{before}{posixpath.relpath(staged, posixpath.dirname(place) or '.')}{after}"

    return LINK.sub(moved, text)


def staged_place(path):
    """Where a file or folder of the project is staged; None if it is not."""
    for name, place in PLACES.items():
        home = ROOT / name
        if path == home and path.is_file():
            return place
        if home in path.parents or path == home:
            return posixpath.join(place, path.relative_to(home).as_posix())
    return None


def _write(target, content):
    if target.is_file() and target.read_bytes() == content:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def _remove_others(folder, written):
    for path in sorted(folder.rglob("*"), reverse=True):
        inside = path.relative_to(folder).as_posix()
        if any(inside == kept or inside.startswith(f"{kept}/") for kept in KEPT):
            continue
        if path.is_file() and path not in written:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            shutil.rmtree(path)
