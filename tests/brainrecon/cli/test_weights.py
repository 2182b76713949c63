"""``brainrecon weights`` on a manifest of the test's own."""

import functools

import pytest

from brainrecon.cli.main import run_command
from weights import manifest as manifest_module
from weights import store
from weights.manifest import Checkpoint, write_manifest


@pytest.fixture
def model(tmp_path, monkeypatch):
    """The file of the only present checkpoint; another one is absent."""
    file = tmp_path / "weights" / "manifest.toml"
    model = file.parent / "tiny" / "model.safetensors"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"0123456789")
    entries = [
        Checkpoint("small", "for the tests", "embedded", "tiny", "MIT"),
        Checkpoint("large", "elsewhere", "hub:somebody/large", "large", "MIT", files=(store.CheckpointFile("a.bin"),)),
    ]
    write_manifest({entry.name: entry for entry in entries}, file)
    store.record("small", model.parent, manifest=file)
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path / "user"))
    read = store.checkpoints
    monkeypatch.setattr(store, "checkpoints", lambda manifest=file: read(manifest))
    for function in ("verify", "path"):
        monkeypatch.setattr(store, function, functools.partial(getattr(store, function), manifest=file))
    return model


def run(capsys, *arguments):
    code = run_command(["weights", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_list_shows_what_is_present_and_what_is_not(capsys, model):
    code, out, err = run(capsys, "list")
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert rows[1][:2] == ["small", "present"] and rows[2][:2] == ["large", "absent"]
    assert "hub:somebody/large" in rows[2]


def test_verify_succeeds_and_lists_what_is_absent(capsys, model):
    code, out, err = run(capsys, "verify")
    assert (code, err) == (0, "")
    assert "small  verified" in out and "large  absent" in out
    assert out.endswith("1 verified, 1 absent\n")


def test_verify_names_the_damaged_file_in_one_sentence(capsys, model):
    model.write_bytes(b"0123456780")
    code, out, err = run(capsys, "verify")
    assert code == 2
    assert "small  damaged" in out and "large  absent" in out
    assert err.count("\n") == 1 and "model.safetensors has sha256" in err


def test_path_prints_the_folder_or_refuses(capsys, model):
    assert run(capsys, "path", "small") == (0, f"{model.parent}\n", "")
    code, out, err = run(capsys, "path", "large")
    assert (code, out) == (2, "") and "Checkpoint large is absent" in err
    code, out, err = run(capsys, "path", "huge")
    assert (code, out) == (2, "") and "known are small, large" in err


def test_the_default_manifest_is_the_packages_own():
    assert store.MANIFEST == manifest_module.MANIFEST
    assert store.MANIFEST.name == "manifest.toml" and store.MANIFEST.is_file()
