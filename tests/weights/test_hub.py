"""Pulling from a hub: commits, hashes and refusals as huggingface_hub tells them, bytes from wherever it points."""

import numpy as np
import pytest

from weights import store
from weights.download import ATTEMPTS
from weights.manifest import CheckpointError, CheckpointFile
from weights.pull import pull
from weights.records import read_record

CONFIG, TENSORS = b'{"width": 3}', np.random.default_rng(0).bytes(2_000_000)


@pytest.fixture
def published(hub, own_store, manifest):
    """A manifest of a small file and a large one of a repository."""
    hub.add("config.json", CONFIG)
    hub.add("unet/model.safetensors", TENSORS, large=True)
    files = [CheckpointFile("config.json"), CheckpointFile("unet/model.safetensors")]
    return manifest("hub:somebody/model@main", files)


def large(hub):
    (path,) = hub.elsewhere.files
    return path


def test_a_repository_arrives_and_its_commit_is_written_down(published, hub, own_store):
    folder = pull("model", manifest=published).folder
    assert (folder / "config.json").read_bytes() == CONFIG
    assert (folder / "unet" / "model.safetensors").read_bytes() == TENSORS
    record = read_record(folder)
    assert record.commit == hub.commit and record.files["unet/model.safetensors"].etag == large(hub)[1:]
    assert store.verify(manifest=published)[0].state == "verified"
    # The branch was asked for once; all else is of the commit that it stood at.
    assert [each.path.split("/")[4] for each in hub.asked] == ["main"] + [hub.commit] * 3


def test_a_repository_of_a_dataset_is_asked_for_as_one(hub, own_store, manifest):
    hub.repository = "datasets/somebody/data"
    hub.add("models/last.safetensors", TENSORS, large=True)
    file = manifest(f"hub:{hub.repository}@main", [CheckpointFile("models/last.safetensors")])
    folder = pull("model", manifest=file).folder
    assert (folder / "models" / "last.safetensors").read_bytes() == TENSORS
    assert hub.asked and all(each.path.startswith("/datasets/somebody/data/resolve/") for each in hub.asked)
    assert store.checkpoints(file).keys() - store.checkpoints().keys() == {"model"}
    (folder / "models" / "last.safetensors").unlink()
    hub.refusal = (404, "EntryNotFound")
    with pytest.raises(
        CheckpointError, match="hub:datasets/somebody/data@.* look at https://huggingface.co/datasets/somebody"
    ):
        pull("model", manifest=file)


def test_the_token_goes_to_the_hub_and_to_no_other_host(published, hub):
    pull("model", manifest=published)
    assert {each.token for each in hub.asked} == {"Bearer hf_secret"}
    assert {each.token for each in hub.elsewhere.asked} == {None}


def test_a_large_file_that_breaks_off_is_gone_on_with(published, hub):
    hub.elsewhere.behaviours[large(hub)] = [("break", 500_000), ("stall", 500_000)]
    folder = pull("model", manifest=published).folder
    assert (folder / "unet" / "model.safetensors").read_bytes() == TENSORS
    assert hub.elsewhere.ranges(large(hub)) == [None, "bytes=500000-", "bytes=1000000-"]


def test_the_next_pull_stays_at_the_commit_where_the_first_began(published, hub, own_store):
    hub.elsewhere.behaviours[large(hub)] = [("break", 500_000)] + [("status", 500)] * ATTEMPTS
    with pytest.raises(CheckpointError, match="what came so far is kept"):
        pull("model", manifest=published)
    assert not (own_store / "model").exists()
    hub.asked.clear()
    pull("model", manifest=published)
    assert hub.asked and all(f"/{hub.commit}/unet/" in each.path for each in hub.asked)
    assert hub.elsewhere.ranges(large(hub))[-1] == "bytes=500000-"


def test_content_that_is_not_what_the_hub_says_is_refused(published, hub, own_store):
    hub.elsewhere.files[large(hub)] = TENSORS[:-1] + b"!"
    with pytest.raises(CheckpointError, match=f"unet/model.safetensors .* where the hub says {large(hub)[1:]}"):
        pull("model", manifest=published)
    hub.elsewhere.files[large(hub)] = TENSORS
    hub.files[f"/somebody/model/resolve/{hub.commit}/config.json"] = b'{"width": 4}'
    hub.files["/somebody/model/resolve/main/config.json"] = b'{"width": 4}'
    (own_store / ".model.partial" / "config.json").unlink()
    with pytest.raises(CheckpointError, match="config.json .* has the git hash .* where the hub says"):
        pull("model", manifest=published)
    assert not (own_store / "model").exists()


@pytest.mark.parametrize(
    "refusal, words",
    [
        (
            (403, "GatedRepo"),
            "accept its licence; do so at https://huggingface.co/somebody/model, then log in .*HF_TOKEN",
        ),
        ((401, "GatedRepo"), "accept its licence"),
        ((401, "RepoNotFound"), "does not exist, or not for you .401.*HF_TOKEN"),
        ((404, "EntryNotFound"), "hub:somebody/model@main has no file config.json; .*--from DIR"),
        ((404, "RevisionNotFound"), "has no revision main"),
        ((503, ""), "config.json could not be fetched .*--from DIR"),
    ],
)
def test_refusals_say_what_to_do(published, hub, own_store, refusal, words):
    hub.refusal = refusal
    with pytest.raises(CheckpointError, match=words) as caught:
        pull("model", manifest=published)
    assert "\n" not in str(caught.value) and not (own_store / "model").exists()


def test_an_unreachable_hub_and_one_that_may_not_be_asked(published, own_store, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        CheckpointError, match="model/config.json could not be fetched .the hub could not be asked.*--from"
    ):
        pull("model", manifest=published)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE is set; unset it, or .*--from DIR"):
        pull("model", manifest=published)


def test_a_snapshot_of_huggingface_hubs_own_cache_can_be_given(published, hub, own_store, tmp_path):
    snapshot, blobs = tmp_path / "snapshots" / hub.commit, tmp_path / "blobs"
    for path, content in (("config.json", CONFIG), ("unet/model.safetensors", TENSORS)):
        blob, link = blobs / path.replace("/", "-"), snapshot / path
        for folder in (blob.parent, link.parent):
            folder.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link.symlink_to(blob)
    folder = pull("model", source=snapshot, manifest=published).folder
    assert (folder / "unet" / "model.safetensors").read_bytes() == TENSORS
    assert not any(path.is_symlink() for path in folder.rglob("*")) and hub.asked == []
