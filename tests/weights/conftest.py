"""Servers on this machine: one that misbehaves on demand, a hub with one repository, and manifests that name them."""

import hashlib
import http.server
import json
import threading
from types import SimpleNamespace

import pytest

from weights import download
from weights.manifest import Checkpoint, write_manifest


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.files` with ETags and ranges; each request takes the next behaviour of its path, if one is left."""

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        asked = SimpleNamespace(
            method=self.command,
            path=self.path,
            range=self.headers.get("Range"),
            token=self.headers.get("Authorization"),
        )
        self.server.asked.append(asked)
        if self.server.route(self, body):
            return
        waiting = self.server.behaviours.get(self.path, []) if body else []
        behaviour, amount = waiting.pop(0) if waiting else ("serve", None)
        if self.path not in self.server.files:
            behaviour, amount = "status", 404
        if behaviour == "status":
            self.send_response(amount)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = self.server.files[self.path]
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        same = self.headers.get("If-Range") in (None, etag)
        start = int(asked.range.removeprefix("bytes=").removesuffix("-")) if asked.range and same else 0
        start = 0 if behaviour == "no-ranges" else start
        if start > 0 and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if behaviour != "nameless":
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if not body:
            return
        stop = len(content) if amount is None else start + amount
        self.wfile.write(content[start:stop])
        self.wfile.flush()
        if behaviour == "stall":
            self.server.released.wait(20)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    """A server on this machine, in a thread.

    `files` are contents by path, `behaviours` lists of (behaviour, amount) by path, `asked` what was asked for.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.behaviours, self.asked = {}, {}, []
        self.released = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def route(self, handler, body):
        return False

    def handle_error(self, *_):
        """A client that went away is no news."""

    def close(self):
        self.released.set()
        self.shutdown()
        self.server_close()

    def ranges(self, path):
        return [each.range for each in self.asked if each.path == path and each.method == "GET"]


class Hub(Server):
    """What huggingface_hub asks of a hub: names and sizes of contents, a commit, and refusals in the hub's words.

    `small` files come from the hub itself under their git hash, `large` ones from the other host, under their sha256.
    """

    commit = "0123456789abcdef0123456789abcdef01234567"

    def __init__(self, elsewhere):
        super().__init__()
        self.elsewhere, self.small, self.large = elsewhere, {}, {}
        self.refusal = None
        self.repository = "somebody/model"

    def add(self, path, content, large=False):
        (self.large if large else self.small)[path] = content
        if large:
            self.elsewhere.files[f"/{hashlib.sha256(content).hexdigest()}"] = content
        for revision in ("main", self.commit):
            self.files[f"/{self.repository}/resolve/{revision}/{path}"] = content

    def refuse(self, handler, status, code):
        handler.send_response(status)
        handler.send_header("X-Error-Code", code)
        handler.send_header("X-Error-Message", "no")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return True

    def describe(self, handler):
        """What the repository holds, as the hub's own page of facts has it."""
        if not handler.path.startswith("/api/models/somebody/model/revision/main"):
            return self.refuse(handler, 401, "RepoNotFound")
        files = []
        for path, content in (self.small | self.large).items():
            facts = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "pointerSize": 1}
            files.append({"rfilename": path, "size": len(content)} | ({"lfs": facts} if path in self.large else {}))
        content = json.dumps({"id": "somebody/model", "sha": self.commit, "siblings": files}).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)
        return True

    def route(self, handler, body):
        if self.refusal:
            return self.refuse(handler, *self.refusal)
        if handler.path.startswith("/api/models/"):
            return self.describe(handler)
        repository, _, rest = handler.path.partition("/resolve/")
        revision, _, path = rest.partition("/")
        if repository != f"/{self.repository}":
            return self.refuse(handler, 401, "RepoNotFound")
        if revision not in ("main", self.commit):
            return self.refuse(handler, 404, "RevisionNotFound")
        if path not in self.small | self.large:
            return self.refuse(handler, 404, "EntryNotFound")
        if body:
            return False
        content = (self.small | self.large)[path]
        if path in self.large:
            name = hashlib.sha256(content).hexdigest()
            handler.send_response(302)
            handler.send_header("Location", f"{self.elsewhere.url}/{name}")
            handler.send_header("X-Linked-Etag", f'"{name}"')
            handler.send_header("X-Linked-Size", str(len(content)))
            handler.send_header("Content-Length", "0")
        else:
            handler.send_response(200)
            git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            handler.send_header("ETag", f'"{git}"')
            handler.send_header("Content-Length", str(len(content)))
        handler.send_header("X-Repo-Commit", self.commit)
        handler.end_headers()
        return True


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def hub(server, monkeypatch):
    import huggingface_hub.constants

    hub = Hub(server)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    yield hub
    hub.close()


@pytest.fixture
def own_store(tmp_path, monkeypatch):
    """The user's store, empty; failures are tried again at once, and a stall is noticed soon."""
    store = tmp_path / "store é"
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(store))
    monkeypatch.setattr(download, "DELAY", 0.01)
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    return store


@pytest.fixture
def manifest(tmp_path):
    """Writer of a manifest with one checkpoint of the name "model"."""

    def write(origin, files, **fields):
        file = tmp_path / "manifest.toml"
        entry = Checkpoint("model", "for the tests", origin, "model", "MIT", files=tuple(files), **fields)
        write_manifest({"model": entry}, file)
        return file

    return write
