"""No name leads out of its folder, whatever it is made of; and two identifiers never have one file."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from weights.names import LONGEST, file_name, identifier_of, trouble_with_part, trouble_with_path

PIECES = [
    "..",
    ".",
    "/",
    "\\",
    "a",
    "é",
    "C:",
    "\\\\host\\share",
    "\0",
    "\u2215",
    "\uff0f",
    "\u2024",
    "con",
    "NUL.txt",
    " ",
]
PIECES += ["\n", "x" * 300, "\u202e", "%2F", "%", "~", "-rf", "*", "?", "\ud800", "ﬀ", "\u3000"]
PIECES += ["\u2044", "\u29f8", "\u2216", "/etc", "~/", "aux.", "COM1", "a" * 120, "\u2025", "\t", "\x1b[2J", "..\\"]


def drawn_names(n=10_000):
    draw = np.random.default_rng(0)
    for _ in range(n):
        yield "".join(PIECES[one] for one in draw.integers(len(PIECES), size=draw.integers(1, 6)))


def test_a_name_that_passes_is_one_part_below_its_folder(tmp_path):
    passed = 0
    for name in drawn_names():
        try:
            if trouble_with_part(name) is not None:
                continue
        except UnicodeEncodeError:
            pytest.fail(f"{name!r} is not told")
        passed += 1
        for form in (name, *(unicodedata.normalize(kind, name) for kind in ("NFC", "NFD", "NFKC", "NFKD"))):
            joined = Path(os.path.normpath(tmp_path / form))
            assert joined.parent == tmp_path and joined.name == form
            assert "\\" not in form and ":" not in form
    assert 100 < passed < 9_000


@pytest.mark.parametrize(
    "name",
    [
        *(
            "..",
            ".",
            "...",
            "/a",
            "//host/a",
            "\\\\host\\share",
            "C:",
            "C:\\a",
            "c:a",
            "a\0",
            "a/../b",
            "..\u2215a",
            "\uff0e\uff0e",
        ),
        *(
            "..\uff0fa",
            "\u2025",
            "con",
            "CON.txt",
            "nul",
            "Aux.tar.gz",
            "COM9",
            "lpt1.png",
            "con ",
            "x" * 201,
            "é" * 101,
        ),
        *("a.", "a ", " a", "a\n", "a\x1b[2J", "\u202egnp.a", "\u200ba", "\ud800", "a*", "a|b", "", " ", "\u3000"),
    ],
)
def test_names_that_are_refused(name):
    assert trouble_with_part(name) and trouble_with_path(f"a/{name}") and "\n" not in trouble_with_part(name)


def test_a_path_that_passes_stays_below_its_folder(tmp_path):
    for name in drawn_names():
        if trouble_with_path(name) is None:
            assert Path(os.path.normpath(tmp_path / name)).is_relative_to(tmp_path)


@pytest.mark.parametrize("path", ["", "/a", "a/../b", "..", "a//b", "./a", "a/", "C:/a", "a\\..\\b", "a/con", "a/b\0"])
def test_paths_that_are_refused(path):
    assert trouble_with_path(path)


@pytest.mark.parametrize(
    "path", ["a", "a/b.json", ".pulled.json", "text_unet/model-00001-of-2.safetensors", "a b/é.txt"]
)
def test_paths_that_pass(path):
    assert trouble_with_path(path) is None


def test_every_identifier_has_a_file_of_its_own(tmp_path):
    seen = {}
    for name in drawn_names():
        try:
            written = file_name(name)
        except (ValueError, UnicodeEncodeError):
            continue
        assert seen.setdefault(written, name) == name and identifier_of(written) == name
        assert os.path.normpath(tmp_path / f"stim-{written}.png") == str(tmp_path / f"stim-{written}.png")
        assert len(written.encode()) <= LONGEST and not set(written) & set('/\\:"|?*<>\0\n')


def test_ordinary_identifiers_are_written_as_they_are():
    for name in ("nsd00042", "n01518878_10042", "a b", "bild-é.png", "1_2", "stim+1"):
        assert file_name(name) == name
