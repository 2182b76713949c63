"""The Open Science Framework: the files of a project, page by page, folder by folder."""

import json
from urllib.parse import quote

from brainrecon.datasets.download import Remote, below, listing
from stages.ground.errors import InputError

API = "https://api.osf.io/v2"
FILES = "https://osf.io"
MOST_PAGES = 10_000
"""Of one project; a list that goes on for ever is none."""


def osf_file(key, path, size=None):
    """One file by the five signs of its own address, ``osf.io/ymnjv``.

    >>> osf_file("ymnjv", "kay_images.npz").url
    'https://osf.io/ymnjv/download'
    """
    return Remote(f"{FILES}/{quote(key)}/download", path, size=size)


def osf_files(project, folder):
    """What a project's own storage holds, as files below a folder.

    >>> osf_files("3jk45", Path("things-eeg2"))  # doctest: +SKIP

    Parameters
    ----------
    project : str
        The five signs of its address.
    folder : pathlib.Path

    Returns
    -------
    remotes : list of brainrecon.datasets.download.Remote
        Sorted by path.

    Raises
    ------
    InputError
        OSF does not answer, or its answer is no list of files.
    """
    what, asked = f"OSF project {project}", [f"{API}/nodes/{quote(project)}/files/osfstorage/?page[size]=100"]
    found = []
    for number, url in enumerate(asked):
        if number == MOST_PAGES:
            raise InputError(f"The list of {what} has more than {MOST_PAGES:,} pages; fetch the files by hand.")
        try:
            page = json.loads(listing(url, what))
            for entry in page["data"]:
                about, links = entry["attributes"], entry.get("links", {})
                if about["kind"] == "folder":
                    asked.append(entry["relationships"]["files"]["links"]["related"]["href"])
                    continue
                path = below(folder, about["materialized_path"].lstrip("/"), what)
                md5 = ((about.get("extra") or {}).get("hashes") or {}).get("md5")
                found.append(Remote(links["download"], path, md5, about.get("size")))
            following = (page.get("links") or {}).get("next")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"The list of {what} is none ({type(error).__name__}); try again later.") from error
        if following:
            asked.append(following)
    return sorted(found, key=lambda remote: remote.path)
