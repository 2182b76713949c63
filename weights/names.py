"""The one gate for names that become paths: nothing that is read from data, a run or a manifest leads out of its folder."""

import unicodedata
from pathlib import PurePosixPath
from urllib.parse import quote, unquote

# Of Windows; with any ending too.
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in "123456789")}
# Behind the two, others that look like them, and that a code page of Windows makes one of them.
_SEPARATORS = "/\\" + "\u2044\u2215\u2216\u2571\u29f5\u29f8\u29f9"
_FORBIDDEN = set('<>:"|?*')
LONGEST = 200
"""Bytes of a name in UTF-8: room for what is written around it within the 255 that file systems take."""


def trouble_with_part(name: str) -> str | None:
    """Say why a name cannot be one part of a path on every system, in a few words; None if it can.

    >>> trouble_with_part("subj01")
    >>> trouble_with_part("../subj01")
    'it holds a separator of folders'
    """
    if not isinstance(name, str) or not name.strip():
        return "it is empty"
    # As file systems that bring letters into one form will have it: look-alikes of a slash become one.
    plain = unicodedata.normalize("NFKC", name)
    if any(mark in text for text in (name, plain) for mark in _SEPARATORS):
        return "it holds a separator of folders"
    if any(not character.isprintable() for character in name):
        return "it holds a character that is not printable"
    if _FORBIDDEN & set(plain):
        return f"it holds {sorted(_FORBIDDEN & set(plain))[0]!r}"
    if not plain.strip(". ") or name != name.strip() or name.endswith("."):
        return "it is made of dots or blanks, or begins or ends with one"
    if plain.split(".")[0].strip().lower() in _RESERVED:
        return "it is the name of a device"
    if len(name.encode()) > LONGEST:
        return f"it is longer than {LONGEST} bytes"
    return None


def trouble_with_path(path: str) -> str | None:
    """Say why a relative path in POSIX notation may lead out of its folder, in a few words; None if it cannot.

    >>> trouble_with_path("unet/diffusion_pytorch_model.safetensors")
    >>> trouble_with_path("../../../../.bashrc")
    "its part '..' cannot be used: it is made of dots or blanks, or begins or ends with one"
    """
    if not isinstance(path, str) or not path:
        return "it is empty"
    pure = PurePosixPath(path)
    if pure.is_absolute():
        return "it begins at the root"
    # Not those of `pure`, which forgets "." and empty parts.
    for part in path.split("/"):
        if trouble := trouble_with_part(part):
            return f"its part {part!r} cannot be used: {trouble}"
    return None


def file_name(identifier: str) -> str:
    """Write an identifier of data as one part of a file's name: what no file system takes stands as in an address of the web.

    >>> file_name("nsd00042"), file_name("cats/001.png"), file_name("100%")
    ('nsd00042', 'cats%2F001.png', '100%25')

    Two identifiers never have one name. `identifier_of` is the way back.

    Raises
    ------
    ValueError
        It is empty, or too long for a file's name.
    """
    kept = "".join(
        character if character.isprintable() and character not in '%/\\<>:"|?*' else quote(character, safe="")
        for character in identifier
    )
    if trouble_with := ("is empty" if not kept.strip() else "is too long" if len(kept.encode()) > LONGEST else None):
        raise ValueError(f"{identifier[:60]!r} {trouble_with} for the name of a file ({LONGEST} bytes at most)")
    return kept


def identifier_of(name: str) -> str:
    """Read an identifier that `file_name` wrote.

    >>> identifier_of("cats%2F001.png")
    'cats/001.png'
    """
    return unquote(name)
