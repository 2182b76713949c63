"""Checkpoints of one's own: repositories of the hub by their id, folders, manifests in the user's stores."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from weights import store
from weights.manifest import Checkpoint, CheckpointError, CheckpointFile, write_manifest
from weights.own_checkpoints import hub_origin, is_own_folder, wanted
from weights.pull import choose, pull
from weights.records import read_record

CONFIG, TENSORS = b'{"width": 3}', save({"weight": np.ones(2000, np.float32)})
NAME = "somebody/model"


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    return tmp_path / "hub-cache"


@pytest.fixture
def repository(hub, own_store):
    hub.add("config.json", CONFIG)
    hub.add("unet/model.safetensors", TENSORS, large=True)
    hub.add("unet/model.bin", b"a pickle", large=True)
    hub.add("README.md", b"# A model")
    return hub


@pytest.mark.parametrize(
    ("name", "is_folder", "revision"),
    [
        ("tiny-clip", False, None),
        ("./clip", True, None),
        ("../clip", True, None),
        ("/models/clip", True, None),
        ("~/clip", True, None),
        ("models\\clip", True, None),
        ("a/b/c", True, None),
        ("somebody/clip", False, "main"),
        ("hub:somebody/clip@v1.0", False, "v1.0"),
        ("some.body/clip-2@refs/pr/1", False, "refs/pr/1"),
    ],
)
def test_a_name_says_what_it_is(name, is_folder, revision, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    origin = hub_origin(name)
    assert is_own_folder(name) == is_folder and (origin.revision if origin else None) == revision


def test_a_folder_that_is_there_comes_before_the_hub(tmp_path, monkeypatch):
    (tmp_path / "somebody" / "clip").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert is_own_folder("somebody/clip") and hub_origin("hub:somebody/clip") is not None


def test_what_was_not_pulled_is_refused_with_the_command_and_the_hub_is_not_asked(repository):
    for look in (store.path, store.fingerprint):
        with pytest.raises(
            CheckpointError, match="it was not fetched; fetch it with `brainrecon weights pull somebody/model`"
        ):
            look(NAME)
    assert store.verify([NAME])[0].state == "absent" and store.folder(NAME).name == "somebody--model@main"
    assert NAME not in store.checkpoints() and not repository.asked


def test_a_pull_brings_what_is_read_and_from_then_on_it_is_known(repository, own_store):
    assert choose([NAME]) == [NAME]
    folder = pull(NAME).folder
    assert folder == own_store / "somebody--model@main" == store.path(NAME) == store.path("hub:somebody/model@main")
    found = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name[0] != "."
    )
    assert found == ["config.json", "unet/model.safetensors"]
    assert read_record(folder).commit == repository.commit
    repository.asked.clear()
    assert store.verify([NAME])[0].state == "verified" and pull(NAME).action == "present"
    assert store.checkpoints()["somebody/model@main"].size == len(CONFIG) + len(TENSORS)
    assert not repository.asked
    content = (folder / "config.json").read_bytes()
    (folder / "config.json").write_bytes(content.replace(b"3", b"4"))
    with pytest.raises(CheckpointError, match="config.json has sha256"):
        store.path(NAME)
    assert pull(NAME).action == "pulled" and (folder / "config.json").read_bytes() == content


def test_what_the_hub_does_not_have_is_refused_in_its_words(repository):
    with pytest.raises(CheckpointError, match="hub:somebody/other does not exist, or not for you"):
        pull("somebody/other")
    repository.close()
    with pytest.raises(CheckpointError, match="was not reached .* give files with --from DIR"):
        pull(NAME)


def test_files_copied_by_hand_and_those_of_the_hub_s_own_cache(tmp_path, own_store, no_cache, monkeypatch):
    (tmp_path / "stick").mkdir()
    (tmp_path / "stick" / "config.json").write_bytes(CONFIG)
    with pytest.raises(CheckpointError, match="holds no weights that are read"):
        pull("somebody/copied@v1", source=tmp_path / "stick")
    (tmp_path / "stick" / "model.safetensors").write_bytes(TENSORS)
    assert pull("somebody/copied@v1", source=tmp_path / "stick").action == "copied"
    assert store.verify(["somebody/copied@v1"])[0].state == "verified"
    place = no_cache / "models--somebody--cached"
    for name, content in {
        "refs/main": b"abc",
        "snapshots/abc/config.json": CONFIG,
        "snapshots/abc/model.safetensors": TENSORS,
    }.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    assert store.path("somebody/cached") == (place / "snapshots" / "abc").resolve()
    assert store.fingerprint("somebody/cached") == store.fingerprint("somebody/copied@v1")
    with pytest.raises(CheckpointError, match="it was not fetched"):
        store.path("somebody/cached@v2")


@pytest.mark.parametrize("form", ["toml", "json"])
def test_a_manifest_in_a_store_adds_to_what_is_known(form, own_store, tmp_path):
    (own_store / "mine").mkdir(parents=True)
    (own_store / "mine" / "model.safetensors").write_bytes(TENSORS)
    entries = {
        "my-model": Checkpoint(
            "my-model",
            "mine",
            "embedded",
            "mine",
            "mine",
            files=(CheckpointFile("model.safetensors"),),
            knows="drawn pictures",
        ),
        "theirs": Checkpoint(
            "theirs", "theirs", "hub:somebody/theirs@main", "theirs", "MIT", ("evaluate",), (CheckpointFile("a.bin"),)
        ),
    }
    write_manifest(entries, own_store / "manifest.toml")
    if form == "json":
        import tomllib

        table = tomllib.loads((own_store / "manifest.toml").read_text())
        (own_store / "manifest.json").write_text(json.dumps(table))
        (own_store / "manifest.toml").unlink()
    assert {"tiny-clip", "my-model", "theirs"} <= store.checkpoints().keys() and store.checkpoints()["my-model"].knows
    assert store.path("my-model") == own_store / "mine" and len(store.fingerprint("my-model")) == 64
    assert store.verify(["theirs"])[0].state == "absent" and "theirs" in choose(method="evaluate")
    with pytest.raises(CheckpointError, match="is a folder of yours"):
        pull("my-model")
    (own_store / "mine" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="put its files into"):
        store.path("my-model")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[checkpoint", "no valid TOML .*; mend it"),
        ("checkpoint = 3", "has no tables"),
        ('[[checkpoint]]\nname = "a"', "wrong fields"),
        (
            '[[checkpoint]]\nname = "tiny-clip"\nrole = ""\norigin = "embedded"\nfolder = "a"\nlicence = ""',
            "which the toolkit has already",
        ),
        (
            '[[checkpoint]]\nname = "a/b"\nrole = ""\norigin = "embedded"\nfolder = "a"\nlicence = ""',
            "separator of folders",
        ),
        (
            '[[checkpoint]]\nname = "a"\nrole = ""\norigin = "embedded"\nfolder = "../a"\nlicence = ""',
            "a path stays inside",
        ),
    ],
)
def test_a_manifest_that_cannot_be_used_is_named(text, told, own_store):
    own_store.mkdir()
    (own_store / "manifest.toml").write_text(text)
    with pytest.raises(CheckpointError, match=told) as caught:
        store.checkpoints()
    assert str(own_store / "manifest.toml") in str(caught.value)


def test_the_package_s_own_folder_may_be_a_store(monkeypatch):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(Path(store.MANIFEST).parent))
    assert "tiny-clip" in store.checkpoints()


def test_of_several_forms_of_weights_the_safest_is_fetched():
    assert wanted(["a/x.bin", "a/x.pth", "b/x.safetensors", "b/x.bin", "x.msgpack"]) == {
        "a/x.bin",
        "a/x.pth",
        "b/x.safetensors",
    }
    assert wanted(["config.json", "README.md"]) == set()
