"""A server that imitates public places, and a kind of data whose files lie there."""

import pytest
from listed_places import LISTS
from public_places import public_places

from brainrecon.datasets import dataset
from brainrecon.datasets.dataset import DatasetOf, ExpectedFile
from brainrecon.datasets.description import Description
from brainrecon.datasets.download import fetch_all
from brainrecon.datasets.sources import figshare, osf
from stages.ground.progress import SILENT


@pytest.fixture
def places(monkeypatch):
    with public_places() as places:
        monkeypatch.setattr(osf, "API", places.osf_address)
        monkeypatch.setattr(osf, "FILES", places.address)
        monkeypatch.setattr(figshare, "API", places.figshare_address)
        yield places


@pytest.fixture
def kind(places, monkeypatch):
    """Register the kind ``places``, whose files are those that a place, `kind.place`, lists."""

    class Kind:
        place = "bucket"

    def download(path, subject=None, progress=SILENT):
        return fetch_all(LISTS[Kind.place](places, path), path, "one subject", progress)

    made = DatasetOf(
        Description("Nobody saw anything.", "on this machine", "Nobody (2026), doi 10.5555/nothing", "CC0"),
        subjects=lambda path: [],
        load=lambda path, subject=None, roi=None: None,
        files=lambda path, subject=None: [ExpectedFile(path / "a.csv", "rows")],
        download=download,
        terms="The files are under CC0.",
    )
    monkeypatch.setitem(dataset._registered, "places", made)
    return Kind
