"""The store: what is whole, absent or damaged, and how a folder is recorded."""

import hashlib
import shutil

import pytest

from weights import store
from weights.manifest import read_manifest

MANIFEST = """
[[checkpoint]]
name = "small"
role = "for the tests"
origin = "embedded"
folder = "tiny/small"
licence = "MIT"
needed_by = ["nothing"]
files = []

[[checkpoint]]
name = "published"
role = "elsewhere"
origin = "hub:somebody/something@v1"
folder = "published"
licence = "MIT"
needed_by = []
files = [{path = "model.bin"}]
"""


@pytest.fixture
def manifest(tmp_path, monkeypatch):
    """A manifest with one recorded embedded checkpoint and one absent published one."""
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path / "user"))
    file = tmp_path / "weights" / "manifest.toml"
    folder = file.parent / "tiny" / "small"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    (folder / "config.json").write_text("{}")
    (folder / "card.md").write_text("A card.")
    (folder / ".leftover").write_text("")
    file.write_text(MANIFEST)
    store.record("small", folder, manifest=file)
    return file


def model(manifest):
    return manifest.parent / "tiny" / "small" / "unet" / "model.safetensors"


def states(manifest):
    return {status.name: status.state for status in store.verify(manifest=manifest)}


def test_record_lists_size_and_hash_of_every_file_but_the_card_and_hidden_ones(manifest):
    files = {file.path: file for file in store.checkpoints(manifest)["small"].files}
    assert set(files) == {"config.json", "unet/model.safetensors"}
    content = model(manifest).read_bytes()
    assert files["unet/model.safetensors"].size == len(content)
    assert files["unet/model.safetensors"].sha256 == hashlib.sha256(content).hexdigest()


def test_record_keeps_the_other_entries_and_their_order(manifest):
    before = store.checkpoints(manifest)
    model(manifest).write_bytes(b"retrained")
    store.record("small", manifest.parent / "tiny" / "small", manifest=manifest)
    after = store.checkpoints(manifest)
    assert list(after) == list(before)
    assert after["published"] == before["published"]
    assert after["small"] != before["small"]
    assert store.checkpoints(manifest)["small"].role == "for the tests"
    assert [entry.name for entry in manifest.parent.glob(".*")] == []


def test_recording_twice_writes_the_same_bytes(manifest):
    first = manifest.read_bytes()
    store.record("small", manifest.parent / "tiny" / "small", manifest=manifest)
    assert manifest.read_bytes() == first


def test_record_refuses_an_empty_folder_a_foreign_one_and_an_unknown_name(manifest, tmp_path):
    empty = manifest.parent / "empty"
    empty.mkdir()
    before = manifest.read_bytes()
    with pytest.raises(store.CheckpointError, match="holds no file"):
        store.record("small", empty, manifest=manifest)
    with pytest.raises(store.CheckpointError, match="must lie below"):
        store.record("small", tmp_path, manifest=manifest)
    with pytest.raises(store.CheckpointError, match="no checkpoint 'big'; known are small, published"):
        store.record("big", empty, manifest=manifest)
    assert manifest.read_bytes() == before


def test_a_whole_checkpoint_verifies_and_an_absent_one_is_named(manifest):
    assert states(manifest) == {"small": "verified", "published": "absent"}
    assert store.path("small", manifest=manifest) == manifest.parent / "tiny" / "small"


def test_one_flipped_bit_is_found_and_the_file_named(manifest):
    content = bytearray(model(manifest).read_bytes())
    content[1000] ^= 1
    model(manifest).write_bytes(content)
    assert states(manifest)["small"] == "damaged"
    with pytest.raises(store.CheckpointError) as caught:
        store.path("small", manifest=manifest)
    message = str(caught.value)
    assert "small is damaged" in message and "unet/model.safetensors" in message
    assert hashlib.sha256(content).hexdigest() in message
    assert "\n" not in message
    assert store.path("small", check=False, manifest=manifest).is_dir()


def test_a_truncated_file_is_reported_with_both_sizes(manifest):
    model(manifest).write_bytes(model(manifest).read_bytes()[:10])
    with pytest.raises(store.CheckpointError, match="has 10 bytes where the manifest says 10,240"):
        store.path("small", manifest=manifest)


def test_a_missing_file_is_damage_and_a_missing_folder_is_absence(manifest):
    model(manifest).unlink()
    with pytest.raises(store.CheckpointError, match="damaged: .* does not hold unet/model.safetensors"):
        store.path("small", check=False, manifest=manifest)
    shutil.rmtree(manifest.parent / "tiny")
    assert states(manifest)["small"] == "absent"
    with pytest.raises(store.CheckpointError, match="absent: there is no folder"):
        store.path("small", manifest=manifest)


def test_a_published_checkpoint_lies_in_the_users_store_and_is_unverified_without_a_hash(manifest, tmp_path):
    with pytest.raises(store.CheckpointError, match="weights pull published` .from hub:somebody/something@v1"):
        store.path("published", manifest=manifest)
    file = tmp_path / "user" / "published" / "model.bin"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    assert states(manifest)["published"] == "unverified"
    assert store.path("published", manifest=manifest) == file.parent


def test_the_fingerprint_follows_content_and_nothing_else(manifest, tmp_path):
    folder = manifest.parent / "tiny" / "small"
    first = store.fingerprint("small", manifest=manifest)
    (folder / "card.md").write_text("A better card.")
    shutil.move(folder, manifest.parent / "moved")
    store.record("small", manifest.parent / "moved", manifest=manifest)
    assert store.fingerprint("small", manifest=manifest) == first
    (manifest.parent / "moved" / "config.json").write_text('{"width": 3}')
    store.record("small", manifest.parent / "moved", manifest=manifest)
    assert store.fingerprint("small", manifest=manifest) != first


def test_the_fingerprint_of_a_file_without_known_hash_is_taken_from_the_file(manifest, tmp_path):
    with pytest.raises(store.CheckpointError, match="published is absent"):
        store.fingerprint("published", manifest=manifest)
    file = tmp_path / "user" / "published" / "model.bin"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    first = store.fingerprint("published", manifest=manifest)
    file.write_bytes(b"other weights")
    assert store.fingerprint("published", manifest=manifest) != first


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[checkpoint]\n", "no valid TOML"),
        (MANIFEST.replace('licence = "MIT"', "", 1), "wrong fields .*licence"),
        (MANIFEST.replace("licence", "license", 1), "wrong fields .*license"),
        (MANIFEST + MANIFEST, "lists 'small' twice"),
        (MANIFEST.replace("tiny/small", "../small"), "stays inside its folder"),
        (MANIFEST.replace("model.bin", "/etc/model.bin"), "stays inside its folder"),
        (MANIFEST.replace('"model.bin"', '"model.bin", sha256 = "abc"'), "expected 64 lower-case hex digits"),
        (MANIFEST.replace('"model.bin"', '"model.bin", sha256_begins = "abc"'), "expected 8 or more"),
        (MANIFEST.replace('"model.bin"', '"model.bin", becomes = "../x"'), "stays inside its folder"),
        (MANIFEST + '[checkpoint.writes."../x"]\n', "stays inside its folder"),
        (MANIFEST.replace('"embedded"', "{}"), "wrong origin"),
        (MANIFEST.replace("something@v1", "something"), "wrong origin: .* is no origin; expected embedded, hub:"),
    ],
)
def test_a_broken_manifest_is_refused_in_one_sentence(tmp_path, text, complaint):
    file = tmp_path / "manifest.toml"
    file.write_text(text)
    with pytest.raises(store.CheckpointError, match=complaint) as caught:
        read_manifest(file)
    assert "\n" not in str(caught.value)


def test_a_missing_manifest_is_refused(tmp_path):
    with pytest.raises(store.CheckpointError, match="is missing; reinstall"):
        read_manifest(tmp_path / "manifest.toml")


def test_the_project_knows_its_embedded_and_the_published_checkpoints():
    known = store.checkpoints()
    embedded = {name: entry.folder for name, entry in known.items() if entry.embedded}
    assert embedded == {
        "tiny-vdvae": "tiny/vdvae",
        "tiny-clip": "tiny/clip",
        "tiny-generator": "tiny/generator",
        "tiny-icgan": "tiny/icgan",
        "tiny-captioner": "tiny/captioner",
        "tiny-stable-diffusion": "tiny/stable-diffusion",
        "tiny-faces": "tiny/faces",
        "tiny-vgg19": "tiny/vgg19",
        "tiny-deepsim": "tiny/deepsim",
        "tiny-gpt2": "tiny/gpt2",
        "tiny-caption-bridge": "tiny/caption-bridge",
        "tiny-evaluation": "tiny/evaluation",
        "tiny-optimus": "tiny/optimus",
        "tiny-text-flow": "tiny/text-flow",
        "tiny-unclip-xl": "tiny/unclip-xl",
        "tiny-sdxl": "tiny/sdxl",
        "tiny-label2img": "tiny/label2img",
        "tiny-maskgit": "tiny/maskgit",
        "tiny-control": "tiny/control",
        "tiny-colour-adapter": "tiny/colour-adapter",
        "tiny-ip-adapter-plus": "tiny/ip-adapter-plus",
    }
    assert {"vdvae-imagenet64", "clip-vit-l-14-quickgelu", "versatile-diffusion"} <= set(known)


def test_configurations_alone_are_no_versatile_diffusion(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path))
    for file in store.checkpoints()["versatile-diffusion"].files:
        if not file.path.endswith(".bin"):
            path = store.folder("versatile-diffusion") / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
    with pytest.raises(store.CheckpointError, match="does not hold .*.bin and 4 more"):
        store.path("versatile-diffusion")


@pytest.mark.parametrize("name", [name for name, entry in store.checkpoints().items() if entry.embedded])
def test_every_embedded_checkpoint_is_whole_and_carries_a_card(name):
    if not store.checkpoints()[name].files:
        pytest.skip(f"{name} is not trained yet")
    folder = store.path(name)
    assert (folder / "card.md").is_file()


def test_the_embedded_checkpoints_stay_small():
    sizes = [entry.size or 0 for entry in store.checkpoints().values() if entry.embedded]
    assert sum(sizes) <= 74.5e6
