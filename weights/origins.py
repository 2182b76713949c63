"""Where a checkpoint comes from: the grammar of the manifest's ``origin``.

``embedded``
    The files travel with the package.
``hub:OWNER/REPOSITORY@REVISION``
    A model repository of the Hugging Face hub; the revision is a commit, a tag or a branch. With a branch (``main``)
    the commit that it stood at is written down when the checkpoint is pulled.
``hub:datasets/OWNER/REPOSITORY@REVISION``
    A dataset repository of the hub, where some authors keep the weights that go with their data.
``https://HOST/PATH/FILE``
    One file.
``https://HOST/PATH/FOLDER/``
    A folder: each file's path is appended to the address. Plain ``http://`` is for this machine's own servers only.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

EMBEDDED = "embedded"
GRAMMAR = "embedded, hub:OWNER/REPOSITORY@REVISION, hub:datasets/OWNER/REPOSITORY@REVISION or https://..."

_HUB = re.compile(r"hub:(?P<dataset>datasets/)?(?P<repository>[\w.-]+/[\w.-]+)@(?P<revision>[\w./-]+)")
_OWN_MACHINE = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Origin:
    """A parsed origin.

    Attributes
    ----------
    kind : {"embedded", "hub", "web"}
    repository : str
        ``OWNER/REPOSITORY`` on the hub, else empty.
    revision : str
        Commit, tag or branch on the hub, else empty.
    address : str
        Of a file, or of a folder where it ends with a slash; empty for the other kinds.
    of_dataset : bool
        Whether the repository on the hub is one of a dataset.
    """

    kind: str
    repository: str = ""
    revision: str = ""
    address: str = ""
    of_dataset: bool = False

    @property
    def page(self) -> str:
        """Address of the repository's page on the hub.

        >>> parse_origin("hub:datasets/somebody/weights@main").page
        'https://huggingface.co/datasets/somebody/weights'
        """
        return f"https://huggingface.co/{self.place}"

    @property
    def place(self) -> str:
        """The repository as an origin names it."""
        return f"{'datasets/' if self.of_dataset else ''}{self.repository}"

    def url(self, path: str) -> str:
        """Address of one file of a web origin."""
        return self.address + quote(path) if self.address.endswith("/") else self.address


def parse_origin(text: str) -> Origin:
    """Parse the manifest's ``origin``.

    Parameters
    ----------
    text : str

    Returns
    -------
    origin : Origin

    Raises
    ------
    ValueError
        When the text is not of the grammar above.
    """
    if text == EMBEDDED:
        return Origin("embedded")
    if hub := _HUB.fullmatch(text):
        return Origin("hub", hub["repository"], hub["revision"], of_dataset=hub["dataset"] is not None)
    parts = urlsplit(text)
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _OWN_MACHINE)):
        return Origin("web", address=text)
    raise ValueError(f"{text!r} is no origin; expected {GRAMMAR}")
