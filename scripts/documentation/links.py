"""Dead links and empty pages of built documentation."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

SHORTEST = 200
"""Characters of text in the article of a page, below which it is empty."""


class Page(HTMLParser):
    """Links, anchors and the text of one page."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.links, self.anchors, self.text = [], set(), []
        self._inside = self._skipped = 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        for name in ("href", "src"):
            if attributes.get(name) and tag != "link":
                self.links.append(attributes[name])
        self.anchors |= {attributes[name] for name in ("id", "name") if attributes.get(name)}
        self._inside += tag == "article"
        self._skipped += tag in ("script", "style")

    def handle_endtag(self, tag):
        self._inside -= tag == "article"
        self._skipped -= tag in ("script", "style")

    def handle_data(self, data):
        if self._inside and not self._skipped:
            self.text.append(data)


def read_pages(folder):
    """Every page of a folder: path -> `Page`. Templates that a theme leaves in `_static` are none."""
    found = sorted(path for path in Path(folder).rglob("*.html") if "_static" not in path.relative_to(folder).parts)
    return {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in found}


def dead_links(folder):
    """A sentence for each link inside the documentation that leads nowhere, also to an anchor that is not there."""
    folder = Path(folder).resolve()
    pages = read_pages(folder)
    wrong = []
    for path, page in pages.items():
        for link in dict.fromkeys(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            here = path.relative_to(folder)
            if not target.exists():
                wrong.append(f"{here} links to {link}, which is not there.")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                wrong.append(f"{here} links to {link}, which has no such anchor.")
    return wrong


def empty_pages(folder):
    """A sentence for each page with hardly any text of its own."""
    # Written by Sphinx for its own use.
    own = ("search.html", "genindex.html", "py-modindex.html")
    return [
        f"{path.relative_to(Path(folder).resolve())} is empty."
        for path, page in read_pages(folder).items()
        if path.name not in own and "_modules" not in path.parts and len("".join(page.text).strip()) < SHORTEST
    ]
