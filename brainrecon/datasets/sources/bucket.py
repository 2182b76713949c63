"""Public buckets in Amazon's format, OpenNeuro's among them: what lies below a prefix, page by page."""

import re
import xml.etree.ElementTree as ElementTree
from urllib.parse import quote, urlencode

from brainrecon.datasets.download import listing
from brainrecon.datasets.sources.listed import distinct, listed_file, no_list
from stages.ground.errors import InputError

OPENNEURO = "https://s3.amazonaws.com/openneuro.org"
MOST_PAGES = 10_000
"""Of one prefix; a list that goes on for ever is none."""


def openneuro_files(accession, folder, prefixes=("",), wanted=None):
    """Files of an OpenNeuro dataset, below a folder as they lie in it.

    >>> openneuro_files("ds001499", Path("bold5000"), ["derivatives/spm/sub-CSI1/"])  # doctest: +SKIP

    Parameters
    ----------
    accession : str
        Such as "ds001499"; the bucket holds its newest version.
    folder : pathlib.Path
    prefixes : sequence of str
        Folders in it, with a slash at the end, or beginnings of files; by default all.
    wanted : re.Pattern or str, optional
        Only files whose whole path in the dataset it matches.

    Returns
    -------
    remotes : list of brainrecon.datasets.download.Remote
        In the order of the prefixes, then of the bucket. MD5 sums are those of files that were not put there in parts.

    Raises
    ------
    InputError
        The bucket does not answer, or not with a list.
    """
    return [
        remote
        for prefix in prefixes
        for remote in bucket_files(OPENNEURO, f"{accession}/{prefix}", folder, f"{accession}/", wanted)
    ]


def bucket_files(bucket, prefix, folder, root="", wanted=None):
    """Files of a public bucket whose names begin with a prefix, below a folder.

    Parameters
    ----------
    bucket : str
        Its address without a slash at the end.
    prefix : str
    folder : pathlib.Path
    root : str
        What is taken off the front of names before they go below `folder`.
    wanted : re.Pattern or str, optional
        Only files whose whole remaining name it matches.

    Returns
    -------
    remotes : list of brainrecon.datasets.download.Remote

    Raises
    ------
    InputError
        As for `openneuro_files`.
    """
    what, mark, remotes = f"{bucket}/{prefix}", None, []
    for _ in range(MOST_PAGES):
        question = {"list-type": "2", "prefix": prefix} | ({"continuation-token": mark} if mark else {})
        rows, following = _page(listing(f"{bucket}?{urlencode(question)}", what), what)
        for name, size, etag in rows:
            if name.endswith("/") or not name.startswith(root):
                continue
            short = name.removeprefix(root)
            if wanted is None or re.fullmatch(wanted, short):
                md5 = etag if re.fullmatch("[0-9a-f]{32}", etag) else None
                url = f"{bucket}/{quote(name)}"
                remotes.append(listed_file(url, folder, short, what, source=bucket, md5=md5, size=size))
        if following is None:
            return distinct(remotes, what)
        if following == mark:
            raise InputError(f"The list of {what} comes back to where it was and never ends; fetch the files by hand.")
        mark = following
    raise InputError(f"The list of {what} has more than {MOST_PAGES:,} pages; fetch the files by hand.")


def _page(content, what):
    """Name, size and name of content of each file of an answer, and the mark of the next answer or None."""
    try:
        # As text of one encoding, so that no other one hides a declaration: entities could blow a list up.
        text = content.decode("utf-8")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise ValueError("it declares entities")
        tree = ElementTree.fromstring(text)
        space = re.match(r"\{.*\}|", tree.tag)[0]
        if tree.tag != f"{space}ListBucketResult":
            raise ValueError("no ListBucketResult")
        rows = [_row(row, space) for row in tree.iter(f"{space}Contents")]
        if tree.findtext(f"{space}IsTruncated", "false").strip() != "true":
            return rows, None
        following = tree.findtext(f"{space}NextContinuationToken")
        if not following:
            raise ValueError("more is to come, and it does not say where")
        return rows, following
    except (ElementTree.ParseError, ValueError, TypeError) as error:
        raise no_list(what, error) from error


def _row(row, space):
    name, size = row.findtext(f"{space}Key"), row.findtext(f"{space}Size")
    if not name or not re.fullmatch("[0-9]+", size or ""):
        raise ValueError(f"a file {name!r:.200} of {size!r:.60} bytes")
    return name, int(size), row.findtext(f"{space}ETag", "").strip('"')
