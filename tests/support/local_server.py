"""A server on this machine that stands in for public places: fixed answers, and a bucket with its list page by page."""

import hashlib
import http.server
import threading
from contextlib import contextmanager
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape


@contextmanager
def serving(answer):
    """Serve ``answer(path, query)``, which gives status, headers and content; its address, without a slash at the end."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(asked.query, keep_blank_values=True).items()}
            status, headers, content = answer(unquote(asked.path), query)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Bucket:
    """A public bucket as Amazon's version 2 of the list describes it.

    Parameters
    ----------
    content : dict of str to bytes
        By key.
    keys_a_page : int
    """

    def __init__(self, content, keys_a_page=1000):
        self.content, self.keys_a_page = dict(content), keys_a_page
        self.lists, self.fetched = [], []

    def __call__(self, path, query):
        key = path.strip("/").partition("/")[2]
        if query.get("list-type") == "2" and not key:
            return 200, {"Content-Type": "application/xml"}, self._page(query).encode()
        self.fetched.append(key)
        if key not in self.content:
            return 404, {}, b"<Error><Code>NoSuchKey</Code></Error>"
        return 200, {"ETag": f'"{self._sum(key)}"'}, self.content[key]

    def _sum(self, key):
        return hashlib.md5(self.content[key]).hexdigest()

    def _page(self, query):
        self.lists.append(query)
        # Keys come in the order of their bytes.
        keys = sorted((key for key in self.content if key.startswith(query["prefix"])), key=str.encode)
        after = unquote(query.get("continuation-token", ""))
        left = [key for key in keys if key.encode() > after.encode()]
        shown = left[: self.keys_a_page]
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2019-05-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{self._sum(key)}&quot;</ETag><Size>{len(self.content[key])}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for key in shown
        )
        more = len(left) > len(shown)
        token = f"<NextContinuationToken>{escape(quote(shown[-1]))}</NextContinuationToken>" if more else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>openneuro.org</Name><Prefix>{escape(query['prefix'])}</Prefix><KeyCount>{len(shown)}</KeyCount>"
            f"<MaxKeys>{self.keys_a_page}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>{token}{rows}</ListBucketResult>"
        )
