"""Pulling over HTTP: what comes is whole and proved, or the checkpoint's folder is not there."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from interruption import interrupted
from warm_processes import ROOT

from weights import download, store
from weights.manifest import CheckpointError, CheckpointFile
from weights.pull import choose, pull

CONTENT = np.random.default_rng(0).bytes(3_000_000)
OTHER = np.random.default_rng(1).bytes(5_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def served(server, own_store, manifest):
    """A manifest of two files in a folder of the server, without hashes."""
    server.files = {"/m/a.safetensors": CONTENT, "/m/sub/b%20c.json": OTHER}
    return manifest(f"{server.url}/m/", [CheckpointFile("a.safetensors"), CheckpointFile("sub/b c.json")])


def tree(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def nothing_published(own_store):
    return not (own_store / "model").exists()


def state(served):
    return store.verify(["model"], manifest=served)[0]


def test_a_checkpoint_arrives_whole_once_and_verifies(served, server, own_store):
    seen = []
    pulled = pull("model", progress=lambda *step: seen.append(step), manifest=served)
    assert (pulled.action, pulled.folder) == ("pulled", own_store / "model")
    assert (pulled.folder / "a.safetensors").read_bytes() == CONTENT
    assert (pulled.folder / "sub" / "b c.json").read_bytes() == OTHER
    assert ("model/a.safetensors", len(CONTENT), len(CONTENT)) in seen
    assert state(served).state == "verified"
    assert tree(own_store) - {".model.lock"} == {"model/a.safetensors", "model/sub/b c.json", "model/.pulled.json"}
    asked = len(server.asked)
    assert pull("model", manifest=served).action == "present" and len(server.asked) == asked


def test_one_flipped_bit_is_found_where_only_the_pull_knows_the_hash(served, own_store):
    file = pull("model", manifest=served).folder / "a.safetensors"
    content = bytearray(CONTENT)
    content[70_000] ^= 1
    file.write_bytes(content)
    found = state(served)
    assert found.state == "damaged" and "a.safetensors has sha256" in found.detail and SHA256 in found.detail
    with pytest.raises(CheckpointError, match="weights pull model"):
        store.path("model", manifest=served)


def test_only_what_is_damaged_is_fetched_again(served, server, own_store):
    folder = pull("model", manifest=served).folder
    (folder / "sub" / "b c.json").write_bytes(b"something else")
    (folder / "notes.txt").write_text("the user's own")
    server.asked.clear()
    assert pull("model", manifest=served).action == "pulled"
    assert [each.path for each in server.asked] == ["/m/sub/b%20c.json"]
    assert state(served).state == "verified" and (folder / "notes.txt").read_text() == "the user's own"
    assert {path.name for path in own_store.iterdir()} == {"model", ".model.lock"}


def test_what_breaks_off_is_gone_on_with(served, server):
    server.behaviours["/m/a.safetensors"] = [("break", 1_000_000), ("break", 900_000)]
    assert (pull("model", manifest=served).folder / "a.safetensors").read_bytes() == CONTENT
    assert server.ranges("/m/a.safetensors") == [None, "bytes=1000000-", "bytes=1900000-"]


def test_a_stall_counts_as_a_lost_connection(served, server):
    server.behaviours["/m/a.safetensors"] = [("stall", 1_000_000)]
    assert (pull("model", manifest=served).folder / "a.safetensors").read_bytes() == CONTENT
    assert server.ranges("/m/a.safetensors") == [None, "bytes=1000000-"]


@pytest.mark.parametrize("behaviours", [[("break", 9), ("no-ranges", None)], [("status", 500), ("status", 503)]])
def test_servers_that_ignore_ranges_or_are_out_of_order_for_a_moment(served, server, behaviours):
    server.behaviours["/m/a.safetensors"] = behaviours
    assert (pull("model", manifest=served).folder / "a.safetensors").read_bytes() == CONTENT


def test_attempts_are_limited_and_the_next_pull_goes_on(served, server, own_store):
    server.behaviours["/m/a.safetensors"] = [("break", 1_000_000)] + [("status", 500)] * download.ATTEMPTS
    with pytest.raises(CheckpointError, match="could not be fetched .*what came so far is kept") as caught:
        pull("model", manifest=served)
    assert "\n" not in str(caught.value) and nothing_published(own_store)
    assert len(server.asked) == 1 + download.ATTEMPTS
    assert (own_store / ".model.partial" / "a.safetensors.part").read_bytes() == CONTENT[:1_000_000]
    pull("model", manifest=served)
    assert server.ranges("/m/a.safetensors")[-1] == "bytes=1000000-" and state(served).state == "verified"


def test_a_server_that_ignores_ranges_and_always_breaks_off_does_not_hold_the_pull_for_ever(served, server):
    server.behaviours["/m/a.safetensors"] = [("no-ranges", 1000), ("no-ranges", 500)] * 25
    with pytest.raises(CheckpointError, match="could not be fetched"):
        pull("model", manifest=served)
    assert len(server.asked) <= download.ATTEMPTS + 1


def test_parts_of_two_contents_are_never_joined(served, server, own_store):
    server.behaviours["/m/a.safetensors"] = [("break", 1_000_000)] + [("status", 500)] * download.ATTEMPTS
    with pytest.raises(CheckpointError):
        pull("model", manifest=served)
    server.files["/m/a.safetensors"] = CONTENT[::-1]
    assert (pull("model", manifest=served).folder / "a.safetensors").read_bytes() == CONTENT[::-1]


def test_without_a_name_for_the_content_a_part_is_not_trusted(served, server):
    server.behaviours["/m/a.safetensors"] = [("nameless", 1_000_000)]
    assert (pull("model", manifest=served).folder / "a.safetensors").read_bytes() == CONTENT
    assert server.ranges("/m/a.safetensors") == [None, None]


@pytest.mark.parametrize(
    "known, words",
    [
        ({"sha256": "0" * 64}, f"has sha256 {SHA256} where the manifest says {'0' * 64}"),
        ({"sha256_begins": "00000000"}, f"has sha256 {SHA256} where the manifest says 00000000"),
        ({"size": 7}, "has 3,000,000 bytes where the manifest says 7"),
    ],
)
def test_a_wrong_file_is_refused_with_both_hashes_and_removed(server, own_store, manifest, known, words):
    server.files = {"/a.safetensors": CONTENT}
    file = manifest(f"{server.url}/a.safetensors", [CheckpointFile("a.safetensors", **known)])
    with pytest.raises(CheckpointError, match=words) as caught:
        pull("model", manifest=file)
    assert "\n" not in str(caught.value) and nothing_published(own_store)
    assert not [path for path in (own_store / ".model.partial").rglob("*") if path.name.startswith("a.")]


def test_a_file_with_its_known_hash_is_named_by_the_address_alone(server, own_store, manifest):
    server.files = {"/deep/a.safetensors?x=1": CONTENT}
    known = CheckpointFile("renamed.safetensors", len(CONTENT), SHA256, SHA256[:8])
    file = manifest(f"{server.url}/deep/a.safetensors?x=1", [known])
    assert (pull("model", manifest=file).folder / "renamed.safetensors").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "status, words",
    [(404, "does not exist .404.*--from"), (403, "not given to you .403.*licence.*--from"), (410, "--from")],
)
def test_refusals_are_one_sentence_and_not_repeated(served, server, own_store, status, words):
    server.behaviours["/m/a.safetensors"] = [("status", status)] * 5
    with pytest.raises(CheckpointError, match=words) as caught:
        pull("model", manifest=served)
    assert "\n" not in str(caught.value) and nothing_published(own_store) and len(server.asked) == 1


def test_without_a_network_the_origin_and_the_way_round_are_named(own_store, manifest):
    file = manifest("http://127.0.0.1:9/a.safetensors", [CheckpointFile("a.safetensors")])
    with pytest.raises(CheckpointError, match="http://127.0.0.1:9/a.safetensors could not be fetched .*--from DIR"):
        pull("model", manifest=file)
    assert nothing_published(own_store)


def test_a_full_disk_leaves_nothing_half_written_and_keeps_what_came(served, server, own_store, monkeypatch):
    write = download._write

    def fill(answer, partial, *rest):
        if partial.name.startswith("b c"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(answer, partial, *rest)

    monkeypatch.setattr(download, "_write", fill)
    with pytest.raises(CheckpointError, match="no room for .*b c.json.part .No space left.*free some space") as caught:
        pull("model", manifest=served)
    assert "\n" not in str(caught.value) and nothing_published(own_store)
    monkeypatch.setattr(download, "_write", write)
    pull("model", manifest=served)
    assert server.ranges("/m/a.safetensors") == [None]


def test_a_file_larger_than_the_disk_is_not_begun(served, own_store, monkeypatch):
    usage = shutil.disk_usage(own_store.parent)._replace(free=1_000_000)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CheckpointError, match="no room for .*3,000,000 bytes are to come and 1,000,000 are free"):
        pull("model", manifest=served)
    assert not (own_store / ".model.partial" / "a.safetensors.part").exists()


def test_unknown_and_embedded_checkpoints_are_not_pulled(served):
    with pytest.raises(CheckpointError, match="no checkpoint 'madel'; known are model"):
        pull("madel", manifest=served)
    with pytest.raises(CheckpointError, match="travels with the package"):
        pull("tiny-clip")


def test_what_a_method_needs_is_chosen_without_the_embedded():
    chosen = choose(["swav-resnet50-800ep"], "brain-diffuser")
    assert chosen == ["swav-resnet50-800ep", "vdvae-imagenet64", "clip-vit-l-14-quickgelu", "versatile-diffusion"]
    with pytest.raises(CheckpointError, match="needed by 'magic'; known are brain-diffuser, .*icgan2022, .*evaluate"):
        choose(method="magic")
    with pytest.raises(CheckpointError, match="Name the checkpoints"):
        choose()


def test_two_pulls_at_once_fetch_once(served, server):
    server.behaviours["/m/a.safetensors"] = [("stall", 1_000_000)]
    results, notes = [], []
    threads = [
        threading.Thread(target=lambda: results.append(pull("model", note=notes.append, manifest=served).action))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(results) == ["present", "pulled"]
    assert len(notes) == 1 and "Another process is pulling model" in notes[0]
    assert server.ranges("/m/sub/b%20c.json") == [None]
    assert state(served).state == "verified"


@pytest.mark.slow
def test_two_processes_pull_once(served, server):
    server.behaviours["/m/a.safetensors"] = [("stall", 1_000_000)]
    code = f"from pathlib import Path; from weights.pull import pull; pull('model', manifest=Path({str(served)!r}))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    processes = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(2)]
    assert [process.wait(300) for process in processes] == [0, 0]
    assert server.ranges("/m/sub/b%20c.json") == [None] and state(served).state == "verified"


def test_a_pull_that_was_killed_is_gone_on_with(served, server, own_store):
    server.behaviours["/m/a.safetensors"] = [("stall", 2_000_000)]
    code = f"from pathlib import Path; from weights.pull import pull; pull('model', manifest=Path({str(served)!r}))"
    part = own_store / ".model.partial" / "a.safetensors.part"
    interrupted(code, when=lambda: part.exists() and part.stat().st_size >= 1_000_000)
    there = part.stat().st_size
    assert 0 < there <= 2_000_000 and nothing_published(own_store)
    folder = pull("model", manifest=served).folder
    assert server.ranges("/m/a.safetensors")[-1] == f"bytes={there}-"
    assert (folder / "a.safetensors").read_bytes() == CONTENT and state(served).state == "verified"


def test_the_first_folder_that_can_be_written_to_is_pulled_into_and_all_are_read(served, tmp_path, monkeypatch):
    from weights import locations

    shared, own = tmp_path / "shared", tmp_path / "own"
    shared.mkdir()
    # Whoever runs the tests may be allowed to write anywhere.
    monkeypatch.setattr(locations, "writable", lambda folder: folder != shared)
    monkeypatch.setenv("BRAINRECON_WEIGHTS", os.pathsep.join([str(shared), str(own), ""]))
    folder = pull("model", manifest=served).folder
    assert folder == own / "model" and not any(shared.iterdir())
    shutil.copytree(folder, shared / "model")
    (folder / "a.safetensors").unlink()
    before = {path: path.stat().st_mtime_ns for path in shared.rglob("*")}
    assert store.path("model", manifest=served) == shared / "model"
    assert pull("model", manifest=served).folder == shared / "model"
    assert {path: path.stat().st_mtime_ns for path in shared.rglob("*")} == before


def test_a_store_that_nobody_may_write_to_is_named(served, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path / "file" / "below"))
    with pytest.raises(CheckpointError, match="below cannot be written to; set BRAINRECON_WEIGHTS"):
        pull("model", manifest=served)


def test_files_copied_by_hand_in_their_layout_or_flat(server, served, tmp_path, own_store):
    for name, path in (("layout", "sub/b c.json"), ("flat", "b c.json")):
        hand = tmp_path / name
        (hand / path).parent.mkdir(parents=True)
        (hand / path).write_bytes(OTHER)
        with pytest.raises(CheckpointError, match="does not hold a.safetensors of model"):
            pull("model", source=hand, manifest=served)
        assert nothing_published(own_store)
        (hand / "a.safetensors").write_bytes(CONTENT)
        assert pull("model", source=hand, manifest=served).action == "copied"
        assert (own_store / "model" / "sub" / "b c.json").read_bytes() == OTHER and state(served).state == "verified"
        assert tree(hand) == {"a.safetensors", path}
        shutil.rmtree(own_store)
    with pytest.raises(CheckpointError, match="There is no folder .*nowhere"):
        pull("model", source=tmp_path / "nowhere", manifest=served)
    assert server.asked == []


def test_wrong_files_copied_by_hand_are_refused_and_left_alone(own_store, manifest, tmp_path):
    file = manifest("https://example.org/a.safetensors", [CheckpointFile("a.safetensors", sha256="0" * 64)])
    hand = tmp_path / "hand"
    hand.mkdir()
    (hand / "a.safetensors").write_bytes(CONTENT)
    with pytest.raises(
        CheckpointError, match=f"a.safetensors from {hand} has sha256 {SHA256} where the manifest says 0000"
    ):
        pull("model", source=hand, manifest=file)
    assert (hand / "a.safetensors").read_bytes() == CONTENT and nothing_published(own_store)


def test_a_pulled_folder_of_another_machine_is_compared_with_its_record(served, own_store, tmp_path):
    other = tmp_path / "stick" / "model"
    shutil.copytree(pull("model", manifest=served).folder, other)
    shutil.rmtree(own_store)
    (other / "sub" / "b c.json").write_bytes(OTHER[:-1] + b"!")
    with pytest.raises(CheckpointError, match="b c.json from .* where it had .* when it was pulled"):
        pull("model", source=other, manifest=served)
    (other / "sub" / "b c.json").write_bytes(OTHER)
    assert pull("model", source=other, manifest=served).action == "copied"


def test_files_that_were_there_before_are_written_down_without_being_fetched(served, server, own_store):
    for path, content in (("a.safetensors", CONTENT), ("sub/b c.json", OTHER)):
        (own_store / "model" / path).parent.mkdir(parents=True, exist_ok=True)
        (own_store / "model" / path).write_bytes(content)
    assert state(served).state == "unverified"
    assert pull("model", manifest=served).action == "converted"
    assert state(served).state == "verified" and server.asked == []


@pytest.mark.parametrize(
    "content", [b"", bytes(5000), b"version https://git-lfs.github.com/spec/v1", b"<!DOCTYPE html>"]
)
def test_what_lies_in_place_of_a_file_is_no_file_though_no_hash_is_known(
    server, own_store, manifest, tmp_path, content
):
    server.files = {"/m/a.safetensors": content}
    file = manifest(f"{server.url}/m/", [CheckpointFile("a.safetensors")])
    with pytest.raises(CheckpointError, match="a.safetensors from .* is (empty|filled|a pointer|a web page).*removed"):
        pull("model", manifest=file)
    assert nothing_published(own_store)
    (copied := tmp_path / "stick").mkdir()
    (copied / "a.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="is (empty|filled|a pointer|a web page)"):
        pull("model", source=copied, manifest=file)
    (own_store / "model").mkdir(exist_ok=True)
    (own_store / "model" / "a.safetensors").write_bytes(content)
    assert state(file).state == "damaged"


def test_a_broken_record_is_damage_and_a_pull_mends_it(served, own_store):
    record = pull("model", manifest=served).folder / ".pulled.json"
    facts = json.loads(record.read_text())
    assert facts["origin"].endswith("/m/") and facts["files"]["a.safetensors"]["sha256"] == SHA256
    record.write_text("{")
    assert state(served).state == "damaged" and "no record of a pull" in state(served).detail
    pull("model", manifest=served)
    assert state(served).state == "verified"
