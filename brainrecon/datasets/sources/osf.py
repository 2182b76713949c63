"""The Open Science Framework: the files of a project, page by page, folder by folder."""

from urllib.parse import quote

from brainrecon.datasets.download import Remote, listing
from brainrecon.datasets.sources.listed import distinct, json_of, linked, listed_file, no_list
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
        page = json_of(listing(url, what), what)
        try:
            rows = [_row(entry) for entry in page["data"]]
            following = (page.get("links") or {}).get("next")
        except (KeyError, TypeError, AttributeError) as error:
            raise no_list(what, error) from error
        for further, name, link, md5, size in rows:
            if further is not None:
                asked.append(linked(further, API, what))
            else:
                found.append(listed_file(link, folder, name, what, source=API, md5=md5, size=size))
        if following:
            asked.append(linked(following, API, what))
        if len(set(asked)) < len(asked):
            raise InputError(
                f"The list of {what} comes back to {asked[-1]} and so never ends; fetch the files by hand."
            )
    return sorted(distinct(found, what), key=lambda remote: remote.path)


def _row(entry):
    """Where a folder's files are listed, or a file's path, address, MD5 sum and size."""
    about = entry["attributes"]
    if about["kind"] == "folder":
        return entry["relationships"]["files"]["links"]["related"]["href"], None, None, None, None
    # OSF begins it with one slash; a second one would be a name of its own.
    name = about["materialized_path"].removeprefix("/")
    md5 = ((about.get("extra") or {}).get("hashes") or {}).get("md5")
    return None, name, entry["links"]["download"], md5, about.get("size")
