"""Downloads against a server on this machine that resumes, breaks off, refuses and lies."""

import hashlib
import http.server
import shutil
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from brainrecon.datasets import download
from brainrecon.datasets.dataset import ExpectedFile
from brainrecon.datasets.download import Remote, fetch
from brainrecon.datasets.sources.figshare import figshare_files
from stages.ground.errors import InputError

CONTENT = np.random.default_rng(0).bytes(3_000_000)


class Handler(http.server.BaseHTTPRequestHandler):
    asked, content, version = [], CONTENT, ("ETag", '"one"')

    def do_GET(self):
        self.asked.append(self.headers.get("Range"))
        CONTENT = self.content
        if self.path == "/refused":
            self.send_error(403)
            return
        start, span = 0, self.headers.get("Range")
        if self.headers.get("If-Range") not in (None, self.version[1]):
            # The rest of another content is no rest.
            span = None
        if span and self.path != "/no-ranges":
            start = int(span.removeprefix("bytes=").removesuffix("-"))
            if start >= len(CONTENT):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        if self.version[1]:
            self.send_header(*self.version)
        self.end_headers()
        stop = len(CONTENT) if self.path != "/breaks" else start + 1_200_000
        self.wfile.write(CONTENT[start:stop])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    Handler.asked.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_file_arrives_whole_and_once(server, tmp_path):
    seen = []
    remote = Remote(f"{server}/file", tmp_path / "sub" / "a b é.bin", hashlib.md5(CONTENT).hexdigest())
    assert fetch(remote, lambda *step: seen.append(step))
    assert remote.path.read_bytes() == CONTENT
    assert seen[-1] == ("a b é.bin", len(CONTENT), len(CONTENT)) and len(seen) >= 3
    assert not fetch(remote) and len(Handler.asked) == 1
    assert list(remote.path.parent.iterdir()) == [remote.path]


def test_what_broke_off_is_resumed(server, tmp_path):
    remote = Remote(f"{server}/breaks", tmp_path / "file")
    with pytest.raises(InputError, match="run the same command again to go on"):
        fetch(remote)
    assert not remote.path.exists()
    partial = tmp_path / "file.partial"
    there = partial.stat().st_size
    assert 0 < there < len(CONTENT) and partial.read_bytes() == CONTENT[:there]
    assert fetch(Remote(f"{server}/file", remote.path))
    assert Handler.asked == [None, f"bytes={there}-"]
    assert remote.path.read_bytes() == CONTENT


@pytest.mark.parametrize("version", [("ETag", '"one"'), ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")])
@pytest.mark.parametrize("there", [1000, len(CONTENT)])
@pytest.mark.parametrize("path", ["file", "no-ranges"])
def test_partial_files_of_any_length(server, tmp_path, monkeypatch, there, path, version):
    monkeypatch.setattr(Handler, "version", version)
    (tmp_path / "file.partial").write_bytes(CONTENT[:there])
    (tmp_path / "file.partial.etag").write_text(version[1])
    assert fetch(Remote(f"{server}/{path}", tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert Handler.asked == [f"bytes={there}-"] and [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("after", [("ETag", '"two"'), ("ETag", 'W/"one"'), ("ETag", "")])
def test_halves_of_two_versions_are_never_joined(server, tmp_path, monkeypatch, after):
    remote, other = Remote(f"{server}/breaks", tmp_path / "file"), CONTENT[::-1][:2_000_000]
    with pytest.raises(InputError, match="broke off"):
        fetch(remote)
    monkeypatch.setattr(Handler, "content", other)
    monkeypatch.setattr(Handler, "version", after)
    assert fetch(Remote(f"{server}/file", remote.path))
    assert remote.path.read_bytes() == other


def test_a_source_that_names_no_content_is_not_resumed_unless_its_sum_is_known(server, tmp_path, monkeypatch):
    monkeypatch.setattr(Handler, "version", ("ETag", ""))
    sums = {None: None, hashlib.md5(CONTENT).hexdigest(): "bytes=1000-"}
    for number, (md5, asked) in enumerate(sums.items()):
        path = tmp_path / str(number)
        (tmp_path / f"{number}.partial").write_bytes(CONTENT[:1000])
        assert fetch(Remote(f"{server}/file", path, md5)) and path.read_bytes() == CONTENT
        assert Handler.asked.pop() == asked


def test_another_content_is_removed(server, tmp_path):
    with pytest.raises(InputError, match="MD5 sum .* but its source says 0123"):
        fetch(Remote(f"{server}/file", tmp_path / "file", "0123"))
    assert list(tmp_path.iterdir()) == []


def test_a_partial_file_longer_than_the_source(server, tmp_path):
    (tmp_path / "file.partial").write_bytes(CONTENT + b"more")
    (tmp_path / "file.partial.etag").write_text('"one"')
    with pytest.raises(InputError, match="no bytes behind 3,000,004"):
        fetch(Remote(f"{server}/file", tmp_path / "file"))
    assert fetch(Remote(f"{server}/file", tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_full_disk_is_said_and_what_came_stays(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match="no room for .*3,000,000 bytes are to come and 1,000 are free.*; free some"):
        fetch(Remote(f"{server}/file", tmp_path / "file"))


def test_refusals_are_one_sentence(server, tmp_path):
    with pytest.raises(InputError, match="/refused could not be fetched .*Forbidden") as caught:
        fetch(Remote(f"{server}/refused", tmp_path / "file"))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="could not be fetched"):
        fetch(Remote("http://127.0.0.1:9/file", tmp_path / "file"))
    assert list(tmp_path.iterdir()) == []


def test_figshare_lists(monkeypatch, tmp_path):
    import io

    listing = b'[{"name": "Subject1.h5", "download_url": "https://x/1", "computed_md5": "ab", "size": 3}]'
    monkeypatch.setattr(download, "opened", lambda url, timeout: io.BytesIO(listing))
    assert figshare_files(7387130, tmp_path) == [Remote("https://x/1", tmp_path / "Subject1.h5", "ab", 3)]
    for content in (b"<html>", listing.replace(b"Subject1.h5", b"../Subject1.h5")):
        monkeypatch.setattr(download, "opened", lambda url, timeout, content=content: io.BytesIO(content))
        with pytest.raises(InputError, match="The list of figshare article 7387130"):
            figshare_files(7387130, tmp_path)


def test_a_whole_subject_of_nsd(nsd, server, tmp_path, monkeypatch):
    """Two servers' worth of files: NSD's as they were written elsewhere, and COCO's in their archive."""
    import functools
    import zipfile

    from brainrecon.datasets import coco, load
    from brainrecon.datasets.nsd import listing as nsd_listing

    names = [f"{content}_{split}.json" for content in ("captions", "instances") for split in ("train2017", "val2017")]
    with zipfile.ZipFile(nsd.root / "coco.zip", "w") as archive:
        for name in names:
            archive.write(nsd.annotations / name, f"annotations/{name}")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=nsd.root)
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=files.serve_forever, daemon=True).start()
    monkeypatch.setattr(nsd_listing, "BUCKET", f"http://127.0.0.1:{files.server_port}/")
    monkeypatch.setattr(coco, "ANNOTATIONS", f"http://127.0.0.1:{files.server_port}/coco.zip")
    with pytest.raises(InputError, match=r"coco\.zip has the MD5 sum \w+ but its source says f4bbac"):
        coco.fetch_annotations([tmp_path / names[0]])
    monkeypatch.setattr(coco, "_MD5", hashlib.md5((nsd.root / "coco.zip").read_bytes()).hexdigest())  # noqa: S324
    # The listing has the sizes of NSD's own files, which the disk of this machine need not have room for.
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**12))
    absent = nsd_listing.download(tmp_path / "copy é", "subj02")
    files.shutdown()
    files.server_close()
    assert nsd.roi_file("streams", "subj02").name in {path.name for path in absent}
    there, copy = (load(f"nsd:{root}", subject="subj02") for root in (nsd.root, tmp_path / "copy é"))
    assert there.fingerprint == copy.fingerprint and there.train.captions == copy.train.captions
    np.testing.assert_array_equal(there.test.betas, copy.test.betas)
    assert not list((tmp_path / "copy é").rglob("*.partial")) and not list((tmp_path / "copy é").rglob("*.zip"))


def test_a_broken_connection_is_not_taken_for_an_absent_file(server, tmp_path, monkeypatch):
    from brainrecon.datasets.nsd import listing as nsd_listing

    def files(path, *_):
        return [ExpectedFile(path / "breaks", "noise ceiling", True, address=f"{server}/breaks")]

    def refused(path, *_):
        return [ExpectedFile(path / "refused", "noise ceiling", True, address=f"{server}/refused")]

    monkeypatch.setattr(nsd_listing, "BUCKET", f"{server}/")
    monkeypatch.setattr(nsd_listing, "files", files)
    with pytest.raises(InputError, match="broke off"):
        nsd_listing.download(tmp_path, "subj01")
    monkeypatch.setattr(nsd_listing, "files", refused)
    assert nsd_listing.download(tmp_path, "subj01") == [tmp_path / "refused"]
