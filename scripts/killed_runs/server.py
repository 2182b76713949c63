"""A server of this machine that has one checkpoint, and sends it slowly, so that a pull can be killed."""

import http.server
import os
import time
from urllib.parse import unquote

import numpy as np

from weights.manifest import Checkpoint, CheckpointFile, write_manifest

FILES = {"a.safetensors": 1_200_000, "more/b c.json": 300_000}
NAME = "served"
_PORTION, _SECONDS_A_PORTION = 20_000, 0.01


def content(path):
    """What the server has under a path."""
    return np.random.default_rng(len(path)).bytes(FILES[path])


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self._answer(False)

    def do_GET(self):
        self._answer(True)

    def _answer(self, has_body):
        path = unquote(self.path.removeprefix("/m/"))
        if path not in FILES:
            self.send_error(404)
            return
        whole, tag = content(path), f'"{path}"'
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(whole) - start))
        self.end_headers()
        if has_body:
            for at in range(start, len(whole), _PORTION):
                self.wfile.write(whole[at : at + _PORTION])
                self.wfile.flush()
                time.sleep(_SECONDS_A_PORTION)

    def log_message(self, *_):
        pass


class _Server(http.server.HTTPServer):
    request_queue_size = 20

    def handle_error(self, *_):
        """A client that was killed is no news."""

    def service_actions(self):
        if os.getppid() != self.parent:
            os._exit(0)


def serve(manifest):
    """Serve from a process of its own, that ends with this one, and write a manifest of the checkpoint."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.parent = os.getpid()
    if not os.fork():
        server.serve_forever(0.2)
    server.socket.close()
    origin = f"http://127.0.0.1:{server.server_port}/m/"
    entry = Checkpoint(NAME, "for torture", origin, NAME, "MIT", files=tuple(map(CheckpointFile, FILES)))
    write_manifest({NAME: entry}, manifest)
