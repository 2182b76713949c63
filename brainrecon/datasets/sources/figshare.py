"""figshare: the files of an article."""

import json

from brainrecon.datasets.download import Remote, below, listing
from stages.ground.errors import InputError

API = "https://api.figshare.com/v2"


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
    what = f"figshare article {article}"
    content = listing(f"{API}/articles/{article}/files?page_size=1000", what)
    try:
        rows = [(row["download_url"], row["name"], row["computed_md5"], row.get("size")) for row in json.loads(content)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"The list of {what} is none ({type(error).__name__}); try again later.") from error
    return [Remote(url, below(folder, name, what), md5, size) for url, name, md5, size in rows]
