"""The list of what a run has drawn: a line for each file, whatever a killed process left of it."""

import hashlib
import json

import pytest

from brainrecon.runs import manifest
from brainrecon.runs.layout import Layout


@pytest.fixture
def drawn(tmp_path):
    (tmp_path / "images").mkdir()
    paths = [tmp_path / "images" / f"{name}.png" for name in "abc"]
    for path in paths:
        path.write_text(path.name)
    return Layout(tmp_path), paths


def lines(layout):
    return layout.manifest.read_text().splitlines()


def test_a_line_names_file_and_content(drawn):
    layout, (path, *_) = drawn
    manifest.note(layout, path)
    (line,) = map(json.loads, lines(layout))
    assert line["file"] == "images/a.png" and line["sha256"] == hashlib.sha256(b"a.png").hexdigest()


def test_half_a_line_swallows_no_other(drawn):
    layout, (first, second, _) = drawn
    manifest.note(layout, first)
    layout.manifest.write_bytes(layout.manifest.read_bytes()[:-9])
    manifest.note(layout, second)
    assert list(manifest.noted(layout)) == ["images/b.png"]
    assert len(lines(layout)) == 2


def test_a_file_without_a_line_is_given_one(drawn):
    layout, paths = drawn
    manifest.note(layout, paths[1])
    manifest.complete(layout, [*paths, layout.folder / "images" / "absent.png"])
    manifest.complete(layout, paths)
    assert [json.loads(line)["file"] for line in lines(layout)] == ["images/b.png", "images/a.png", "images/c.png"]
