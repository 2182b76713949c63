"""Hashes of large files are remembered over processes, and only as long as the file stays as it is."""

import hashlib
import json
import os

import pytest

from weights import hashes
from weights.hashes import hash_file


@pytest.fixture
def reads(monkeypatch, tmp_path):
    """Files that were read, in order; what is remembered lies in a folder of the test's own."""
    seen, read = [], hashes._read

    def count(file):
        seen.append(file)
        return read(file)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(hashes, "LARGE", 100)
    monkeypatch.setattr(hashes, "_read", count)
    return seen


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def notes(tmp_path):
    return sorted((tmp_path / "cache").rglob("*.json"))


@pytest.mark.parametrize("size, n_reads", [(99, 2), (100, 1)])
def test_only_large_files_are_remembered(tmp_path, reads, size, n_reads):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"a" * size)
    assert hash_file(file) == hash_file(file) == sha256(b"a" * size)
    assert len(reads) == n_reads and len(notes(tmp_path)) == 2 - n_reads


def test_a_file_that_changes_is_read_again(tmp_path, reads):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"a" * 100)
    facts = file.stat()
    assert hash_file(file) == sha256(b"a" * 100)
    file.write_bytes(b"b" * 100)
    # Even with its old time: the file system has another one of its own.
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert hash_file(file) == sha256(b"b" * 100) and len(reads) == 2


def test_what_a_disk_has_lost_is_found_when_it_is_read_anew(tmp_path, reads):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"a" * 100)
    hash_file(file)
    (note,) = notes(tmp_path)
    remembered = json.loads(note.read_text())
    note.write_text(json.dumps(remembered | {"sha256": "0" * 64}))
    assert hash_file(file) == "0" * 64
    assert hash_file(file, anew=True) == hash_file(file) == sha256(b"a" * 100)


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"sha256": 3}', "\ufeff{"])
def test_a_damaged_note_counts_for_nothing(tmp_path, reads, content):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"a" * 100)
    hash_file(file)
    (note,) = notes(tmp_path)
    note.write_text(content)
    assert hash_file(file) == sha256(b"a" * 100) and len(reads) == 2


def test_without_a_place_for_notes_files_are_read_each_time(tmp_path, reads):
    (tmp_path / "cache").write_text("a file in the way")
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"a" * 100)
    assert hash_file(file) == hash_file(file) == sha256(b"a" * 100) and len(reads) == 2
