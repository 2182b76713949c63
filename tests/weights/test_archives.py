"""Weights that were published in a tar archive: one member is converted, nothing else is looked at."""

import tarfile

import pytest
import torch
from safetensors.torch import load_file

from weights.conversion import convert
from weights.manifest import Checkpoint, CheckpointError, CheckpointFile, write_manifest
from weights.pull import pull

STATE = {"linear.weight": torch.arange(6.0).reshape(2, 3), "blocks.0.0.bn1.stored_mean": torch.ones(4)}
MEMBER = "network/G_ema_best0.pth"


@pytest.fixture(params=["gz", "xz", ""])
def archive(tmp_path, request):
    torch.save(STATE, tmp_path / "weights.pth")
    (tmp_path / "other.pth").write_bytes(b"no pickle at all")
    path = tmp_path / "network.tar.gz"
    with tarfile.open(path, f"w:{request.param}") as made:
        made.add(tmp_path / "other.pth", "network/state_dict_best0.pth")
        made.add(tmp_path / "weights.pth", MEMBER)
        made.add(tmp_path / "other.pth", "../outside.pth")
    return path


def same(path):
    found = load_file(path)
    return found.keys() == STATE.keys() and all(torch.equal(found[name], value) for name, value in STATE.items())


def test_one_member_is_converted_and_nothing_else_is_left(archive, tmp_path):
    (tmp_path / "made").mkdir()
    convert(archive, tmp_path / "made" / "model.safetensors", MEMBER)
    assert same(tmp_path / "made" / "model.safetensors")
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["model.safetensors"]
    assert not (tmp_path.parent / "outside.pth").exists()


@pytest.mark.parametrize("member", ["network/G.pth", "network"])
def test_an_absent_member_is_named(archive, tmp_path, member):
    with pytest.raises(CheckpointError, match=member):
        convert(archive, tmp_path / "model.safetensors", member)
    assert not (tmp_path / "model.safetensors").exists()


def test_a_cut_archive_and_a_broken_pickle_are_refused(archive, tmp_path):
    with pytest.raises(CheckpointError, match="state_dict_best0|partial"):
        convert(archive, tmp_path / "model.safetensors", "network/state_dict_best0.pth")
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(CheckpointError, match="fetch it again"):
        convert(archive, tmp_path / "model.safetensors", MEMBER)
    assert not list(tmp_path.glob("*.safetensors")) and not list(tmp_path.glob(".*partial*"))


def test_a_pulled_archive_is_read_as_its_member(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path / "store"))
    file = CheckpointFile("network.tar.gz", becomes="model.safetensors", member=MEMBER)
    writes = {"config.json": {"image_size": 64}}
    entry = Checkpoint("a", "role", "https://example.org/", "a", "MIT", files=(file,), writes=writes)
    write_manifest({"a": entry}, tmp_path / "manifest.toml")
    assert "member" in (tmp_path / "manifest.toml").read_text()
    pulled = pull("a", source=archive.parent, manifest=tmp_path / "manifest.toml")
    assert pulled.action == "copied" and same(tmp_path / "store" / "a" / "model.safetensors")
    assert pull("a", manifest=tmp_path / "manifest.toml").action == "present"


def test_a_member_is_converted_to_its_own_name_unless_told():
    assert CheckpointFile("a.tar.gz", member="deep/G_ema_best0.pth").converted == "G_ema_best0.safetensors"
    assert CheckpointFile("a.tar.gz").converted is None


def test_what_is_no_pickle_is_taken_out_as_it_is(tmp_path, monkeypatch):
    text = b"  1 a licence\n00001740 03 n 01 entity 0 000 | all\n"
    (tmp_path / "origin").mkdir()
    (tmp_path / "data.noun").write_bytes(text)
    with tarfile.open(tmp_path / "origin" / "words.tar.gz", "w:gz") as made:
        made.add(tmp_path / "data.noun", "dict/data.noun")
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path / "store"))
    file = CheckpointFile("words.tar.gz", member="dict/data.noun")
    assert file.converted == "data.noun"
    write_manifest(
        {"a": Checkpoint("a", "role", "https://example.org/words.tar.gz", "a", "MIT", files=(file,))},
        tmp_path / "manifest.toml",
    )
    pulled = pull("a", source=tmp_path / "origin", manifest=tmp_path / "manifest.toml", remove_original=True)
    assert (pulled.folder / "data.noun").read_bytes() == text and not (pulled.folder / "words.tar.gz").exists()
    assert pull("a", manifest=tmp_path / "manifest.toml").action == "present"
    with pytest.raises(CheckpointError, match="dict/index.noun"):
        convert(tmp_path / "origin" / "words.tar.gz", tmp_path / "index.noun", "dict/index.noun")
    assert not (tmp_path / "index.noun").exists()
