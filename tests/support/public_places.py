"""A server on this machine that imitates the public places that datasets are kept at.

    with public_places() as places:
        places.bucket["ds1/a b.csv"] = b"1,2"          # Amazon's list-type=2 below places.bucket_address
        places.osf["abcde"] = {"sub/a.csv": b"1,2"}      # OSF's API below places.osf_address
        places.figshare[7387130] = {"a.h5": b"..."}    # figshare's API below places.figshare_address

It answers in pages, resumes files by ``Range`` and ``If-Range``, sends downloads of OSF on to another address, and notes what
was asked. Faults are set by path: `answers` puts an answer of one's own in the place of the true one, `breaks` breaks one off.
Written from what the places document, without the toolkit.
"""

import contextlib
import hashlib
import http.server
import json
import threading
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET, OSF, FIGSHARE = "/bucket", "/osf/v2", "/figshare/v2"


class Places:
    """What the server holds and what it was asked.

    Attributes
    ----------
    bucket : dict of str to bytes
        By key. A key that ends in a slash marks a folder, as consoles of buckets write them.
    in_parts : set of str
        Keys that were put there in parts, whose ETag is no MD5 sum.
    osf : dict of str to (dict of str to bytes)
        By project, by path.
    figshare : dict of int to (dict of str to bytes)
        By article, by name.
    page : int
        Entries of a page.
    answers : dict of str to (int, bytes) or (int, bytes, dict)
        By path, or path and question: status, content and headers of another answer.
    breaks : dict of str to list of int
        By path: the connection is cut after so many bytes of its next answers, one each.
    holds : dict of str to int
        By path: after so many bytes of its next answer nothing more comes, and the connection stays open.
    names_contents : bool
        Whether files have an ETag.
    asked : list of (str, str or None)
        Path with its question, and the range.
    """

    def __init__(self):
        self.bucket, self.osf, self.figshare, self.in_parts = {}, {}, {}, set()
        self.page, self.answers, self.breaks, self.names_contents = 3, {}, {}, True
        self.asked, self.address, self.holds, self.ended = [], "", {}, threading.Event()

    @property
    def bucket_address(self):
        return self.address + BUCKET

    @property
    def osf_address(self):
        return self.address + OSF

    @property
    def figshare_address(self):
        return self.address + FIGSHARE

    def ranges(self, ending):
        """Ranges that were asked for of paths that end so."""
        return [span for path, span in self.asked if path.endswith(ending)]

    def etag(self, key):
        digest = hashlib.md5(self.bucket[key]).hexdigest()
        return f"{digest}-3" if key in self.in_parts else digest

    def bucket_page(self, question):
        prefix, mark = question.get("prefix", [""])[0], question.get("continuation-token", [""])[0]
        # Buckets list keys in the order of their bytes.
        keys = sorted((key for key in self.bucket if key.startswith(prefix)), key=str.encode)
        start = int(mark.removeprefix("mark/+=")) if mark else 0
        shown, more = keys[start : start + self.page], start + self.page < len(keys)
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{self.etag(key)}&quot;</ETag><Size>{len(self.bucket[key])}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for key in shown
        )
        token = f"<NextContinuationToken>mark/+={start + self.page}</NextContinuationToken>" if more else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>b</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(shown)}</KeyCount><MaxKeys>{self.page}</MaxKeys>"
            f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{token}{rows}</ListBucketResult>"
        ).encode()

    def osf_page(self, project, folder, question):
        """Entries of one folder, itself "" or with a slash at the end, as OSF's API gives them."""
        files, entries = self.osf[project], {}
        for path, content in files.items():
            if not path.startswith(folder):
                continue
            name, is_folder, _ = path.removeprefix(folder).partition("/")
            entries.setdefault(f"{folder}{name}" + ("/" if is_folder else ""), None if is_folder else content)
        number = int(question.get("page", ["1"])[0])
        shown = list(entries.items())[(number - 1) * self.page : number * self.page]
        here = f"{self.osf_address}/nodes/{project}/files/osfstorage/{quote(folder)}"
        more = number * self.page < len(entries)
        rows = []
        for path, content in shown:
            row = {"attributes": {"kind": "folder" if content is None else "file", "materialized_path": f"/{path}"}}
            if content is None:
                place = f"{self.osf_address}/nodes/{project}/files/osfstorage/{quote(path)}"
                row |= {"relationships": {"files": {"links": {"related": {"href": place}}}}, "links": {}}
                row["attributes"]["size"] = None
            else:
                row["attributes"]["size"] = len(content)
                row["attributes"]["extra"] = {"hashes": {"md5": hashlib.md5(content).hexdigest(), "sha256": "0"}}
                row["links"] = {"download": f"{self.address}/download/{project}/{quote(path)}"}
            rows.append(row)
        return {"data": rows, "links": {"next": f"{here}?page={number + 1}" if more else None}}

    def figshare_page(self, article, question):
        size, number = int(question.get("page_size", ["10"])[0]), int(question.get("page", ["1"])[0])
        files = list(self.figshare[article].items())[(number - 1) * size : number * size]
        return [
            {
                "id": number,
                "name": name,
                "size": len(content),
                "is_link_only": False,
                "download_url": f"{self.address}/article/{article}/{quote(name)}",
                "supplied_md5": "",
                "computed_md5": hashlib.md5(content).hexdigest(),
            }
            for number, (name, content) in enumerate(files)
        ]

    def content(self, path):
        """Bytes and name of content of a file, or None."""
        first, _, rest = unquote(path).removeprefix("/").partition("/")
        if first == "bucket":
            content = self.bucket.get(rest)
            name = None if content is None else self.etag(rest)
        else:
            owner, _, rest = rest.partition("/")
            table = {"content": self.osf, "article": self.figshare}.get(first, {})
            content = table.get(int(owner) if first == "article" else owner, {}).get(rest)
            name = None if content is None else hashlib.md5(content).hexdigest()
        return None if content is None else (content, name)


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        places, parts = self.server.places, urlsplit(self.path)
        places.asked.append((self.path, self.headers.get("Range")))
        question = parse_qs(parts.query)
        other = places.answers.get(self.path, places.answers.get(parts.path))
        if other is not None:
            status, content, *headers = other
            self.whole(status, content, parts.path, *headers)
        elif parts.path == BUCKET and question.get("list-type") == ["2"]:
            self.whole(200, places.bucket_page(question), parts.path)
        elif parts.path.startswith(f"{OSF}/nodes/"):
            project, _, folder = parts.path.removeprefix(f"{OSF}/nodes/").partition("/files/osfstorage/")
            self.json(project in places.osf and places.osf_page(project, unquote(folder), question), parts.path)
        elif parts.path.startswith(f"{FIGSHARE}/articles/"):
            article = int(parts.path.removeprefix(f"{FIGSHARE}/articles/").removesuffix("/files"))
            self.json(places.figshare_page(article, question) if article in places.figshare else False, parts.path)
        elif parts.path.startswith("/download/"):
            self.whole(302, b"", parts.path, {"Location": parts.path.replace("/download/", "/content/", 1)})
        else:
            self.file(parts.path)

    def json(self, found, path):
        content = {"errors": [{"detail": "Not found."}]} if found is False else found
        self.whole(404 if found is False else 200, json.dumps(content).encode(), path)

    def whole(self, status, content, path, headers=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.body(content, path)

    def file(self, path):
        places = self.server.places
        found = places.content(path)
        if found is None:
            self.whole(404, b"<Error><Code>NoSuchKey</Code></Error>", path)
            return
        content, name = found[0], f'"{found[1]}"'
        start, span = 0, self.headers.get("Range")
        if span and self.headers.get("If-Range") in (None, name):
            start = int(span.removeprefix("bytes=").removesuffix("-"))
        if start and start >= len(content):
            self.whole(416, b"", path, {"Content-Range": f"bytes */{len(content)}"})
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        if places.names_contents:
            self.send_header("ETag", name)
        self.end_headers()
        self.body(content[start:], path)

    def body(self, content, path):
        places = self.server.places
        left, hold = places.breaks.get(path), places.holds.pop(path, None)
        with contextlib.suppress(ConnectionError):
            self.wfile.write(content[: left.pop(0)] if left else content[:hold])
            if hold is not None:
                self.wfile.flush()
                places.ended.wait(60)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def public_places():
    """Serve a `Places` while the block runs."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads, server.places = True, Places()
    server.places.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.places
    finally:
        server.places.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
