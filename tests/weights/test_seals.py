"""A sealed folder tells what of it is missing or has changed."""

import pytest

from weights.seals import SEAL, broken, seal


@pytest.fixture
def sealed(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "inner" / "model.safetensors").write_bytes(bytes(range(256)))
    seal(tmp_path)
    return tmp_path


def test_what_stays_as_it_was_written_passes(sealed):
    assert broken(sealed) is None
    (sealed / "notes.txt").write_text("of the user")
    (sealed / ".lock").touch()
    assert broken(sealed) is None


def test_every_single_bit_counts(sealed):
    path = sealed / "inner" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    assert broken(sealed) == "inner/model.safetensors is not what was written"
    assert broken(sealed, ["config.json", "notes.txt"]) is None


def test_a_missing_file_is_told(sealed):
    (sealed / "config.json").unlink()
    assert broken(sealed) == "config.json is missing"


def test_zeros_as_a_power_cut_leaves_them_are_found(sealed):
    path = sealed / "inner" / "model.safetensors"
    path.write_bytes(bytes(path.stat().st_size))
    assert "model.safetensors" in broken(sealed)


@pytest.mark.parametrize("content", ["", "[]", "{", "null"])
def test_a_damaged_seal_is_told(sealed, content):
    (sealed / SEAL).write_text(content)
    assert SEAL in broken(sealed)


def test_where_nothing_is_sealed_nothing_is_compared(tmp_path):
    (tmp_path / "a").touch()
    assert broken(tmp_path) is None and broken(tmp_path / "absent") is None


def test_what_work_goes_on_from_is_not_sealed(tmp_path):
    """It is removed once all is there; a disk that fails then leaves it for the next command."""
    for name in ("features.bin", "rows.partial", "rows.partial.json"):
        (tmp_path / name).write_text(name)
    seal(tmp_path)
    (tmp_path / "rows.partial").unlink()
    assert broken(tmp_path) is None
    (tmp_path / "features.bin").write_text("other")
    assert broken(tmp_path) == "features.bin is not what was written"
