"""The same files at each public place, and the toolkit's list of each."""

from brainrecon.datasets.sources import figshare, osf
from brainrecon.datasets.sources.bucket import bucket_files

LISTS = {
    "bucket": lambda places, folder: bucket_files(places.bucket_address, "ds1/", folder, "ds1/"),
    "osf": lambda places, folder: osf.osf_files("abcde", folder),
    "figshare": lambda places, folder: figshare.figshare_files(7, folder),
}


def fill(places, files):
    """Put the same files into a bucket below ``ds1/``, a project of OSF and an article of figshare."""
    places.bucket = {f"ds1/{name}": content for name, content in files.items()}
    places.osf, places.figshare = {"abcde": dict(files)}, {7: dict(files)}
