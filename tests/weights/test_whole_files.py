"""A file is the old one or the new one, never half of either."""

import pytest

from weights.whole_files import whole_file, write_text


def test_new_content_replaces_the_old(tmp_path):
    write_text(tmp_path / "folder" / "a.txt", "one\n")
    write_text(tmp_path / "folder" / "a.txt", "two\n")
    assert (tmp_path / "folder" / "a.txt").read_bytes() == b"two\n"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["a.txt"]


def test_the_users_rights_hold(tmp_path):
    write_text(tmp_path / "plain.txt", "")
    with whole_file(tmp_path / "private.txt") as partial:
        partial.unlink()
        partial.touch(mode=0o600)
    assert (tmp_path / "private.txt").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


def test_an_interrupted_writing_leaves_the_old(tmp_path):
    write_text(tmp_path / "a.npy", "old")
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "a.npy") as partial:
        assert partial.suffix == ".npy"
        partial.write_text("half of the new")
        raise KeyboardInterrupt
    assert (tmp_path / "a.npy").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
