"""figshare: the files of an article, page by page."""

from brainrecon.datasets.download import listing
from brainrecon.datasets.sources.listed import distinct, json_of, listed_file, no_list
from stages.ground.errors import InputError

API = "https://api.figshare.com/v2"
FILES_OF_A_PAGE = 1000
"""The most that figshare gives at once."""
MOST_PAGES = 1000
"""Of one article; a list that goes on for ever is none."""


def figshare_files(article, folder):
    """What a figshare article holds, as files below a folder.

    >>> figshare_files(7387130, Path("god"))[0].path.name  # doctest: +SKIP
    'Subject1.h5'

    Parameters
    ----------
    article : int
        Its number, the last part of its address.
    folder : pathlib.Path

    Returns
    -------
    remotes : list of brainrecon.datasets.download.Remote

    Raises
    ------
    InputError
        figshare does not answer, or its answer is no list of files.
    """
    what, remotes = f"figshare article {article}", []
    for number in range(1, MOST_PAGES + 1):
        url = f"{API}/articles/{article}/files?page={number}&page_size={FILES_OF_A_PAGE}"
        page = json_of(listing(url, what), what)
        try:
            if not isinstance(page, list):
                raise TypeError(f"an answer of {type(page).__name__}")
            rows = [(row["download_url"], row["name"], row.get("computed_md5"), row.get("size")) for row in page]
        except (KeyError, TypeError, AttributeError) as error:
            raise no_list(what, error) from error
        remotes += [
            listed_file(url, folder, name, what, source=API, md5=md5, size=size) for url, name, md5, size in rows
        ]
        if len(rows) < FILES_OF_A_PAGE:
            return distinct(remotes, what)
    raise InputError(f"The list of {what} has more than {MOST_PAGES:,} pages; fetch the files by hand.")
