"""Fetching a subject of MOSAIC from its public bucket."""

from __future__ import annotations

import re
from pathlib import Path

from brainrecon.datasets.download import fetch_all
from brainrecon.datasets.sources.bucket import bucket_files
from stages.ground.errors import InputError
from stages.ground.progress import SILENT

BUCKET = "https://mosaicfmri.s3.amazonaws.com"
FOLDER = "fMRIPrepv23_2_0/task_fMRI/betas/GLMsinglev1_2"
STUDIES = {"NSD": 8, "BMD": 10, "BOLD5000": 4, "THINGS": 3, "GOD": 5, "deeprecon": 3, "HAD": 30, "NOD": 30}
"""Short name -> how many people it measured."""
TERMS = (
    "The bucket is open; each study's own terms hold for its responses, those of NSD for NSD's, and its stimuli are to be had "
    "from its authors"
)


def download(path, subject=None, progress=SILENT, dataset=None):
    """Fetch the file of one subject, unless it is there.

    Parameters
    ----------
    path : pathlib.Path
    subject : str
        ``sub-01_NSD``, or ``sub-01`` if `dataset` says of which study.
    progress : callable, optional
        Called as ``progress(label, bytes_done, bytes_of_file)``.
    dataset : str, optional
        One of `STUDIES`.

    Returns
    -------
    absent : list
        Empty.

    Raises
    ------
    InputError
        There is no such subject, the bucket does not have it, or the connection broke.
    """
    name = asked_for(subject, dataset)
    wanted = re.compile(rf"(.*/)?{name}(_crc32-[0-9a-f]{{8}})?\.hdf5")
    remotes = bucket_files(BUCKET, f"{FOLDER}/", Path(path), f"{FOLDER}/", wanted)
    if not remotes:
        raise InputError(
            f"{BUCKET}/{FOLDER} lists no {name}.hdf5; look for it on mosaic.csail.mit.edu and put it into {path}."
        )
    return fetch_all(remotes[:1], path, "another subject", progress)


def asked_for(subject, dataset):
    """The name of a subject, ``sub-01_NSD``; an InputError if there is no such subject.

    >>> asked_for("sub-01_NSD", None), asked_for("3", "GOD")
    ('sub-01_NSD', 'sub-03_GOD')
    """
    person, _, of_name = str(subject or "").partition("_")
    study = of_name or dataset
    named = {name.lower(): name for name in STUDIES}
    known = named.get(str(study).lower())
    number = re.fullmatch(r"(?:sub-|subj|sub)?0*(\d+)", person)
    if subject is None or known is None or number is None:
        raise InputError(
            f"'{subject or 'nobody'}' of {study or 'no study'} is no subject of MOSAIC; name one, such as --subject sub-01_NSD, "
            f"of {', '.join(STUDIES)}."
        )
    if dataset is not None and dataset.lower() != known.lower():
        raise InputError(f"{subject} is of {known} but dataset={dataset} was asked for; leave one of them out.")
    if not 1 <= int(number[1]) <= STUDIES[known]:
        raise InputError(
            f"{known} has subjects sub-01 to sub-{STUDIES[known]:02d}, and no {subject}; name one of them."
        )
    return f"sub-{int(number[1]):02d}_{known}"
