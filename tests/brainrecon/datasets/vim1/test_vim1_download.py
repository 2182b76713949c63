"""The open copy of vim-1, fetched from a server on this machine that stands in for OSF."""

import numpy as np
import pytest
from local_server import serving
from vim1_files import Kay

from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.datasets.inventory import download, terms
from brainrecon.datasets.sources import osf
from stages.ground.errors import InputError

KEYS = {"ymnjv": "kay_images.npz", "r638s": "kay_labels.npy", "yqb3e": "kay_labels_val.npy"}


@pytest.fixture
def kay(tmp_path):
    return Kay(tmp_path / "there").write_osf()


@pytest.fixture
def asked(kay, monkeypatch):
    """What was asked for, of a server with the files of the copy; files that are removed are not to be had."""
    seen = []

    def answer(path, query):
        seen.append(path)
        _, key, last = path.split("/")
        place = kay.root / KEYS.get(key, "-")
        if last != "download" or not place.is_file():
            return 404, {}, b"no such file"
        return 200, {"ETag": f'"{key}"'}, place.read_bytes()

    with serving(answer) as address:
        monkeypatch.setattr(osf, "FILES", address)
        yield seen


def test_the_three_files_come_and_load(kay, asked, tmp_path, capsys):
    folder = tmp_path / "open"
    assert run_command(["data", "download", f"vim1:{folder}"]) == 0
    told = capsys.readouterr().out
    assert "Nothing was fetched" in told and "cite the paper" in told and not asked and not folder.exists()
    assert run_command(["data", "download", f"vim1:{folder}", "--agree", "--subject", "S1"]) == 0
    assert sorted(file.name for file in folder.iterdir()) == sorted(KEYS.values())
    assert sorted(asked) == sorted(f"/{key}/download" for key in KEYS)
    there, copy = (load(f"vim1:{path}") for path in (kay.root, folder))
    assert there.fingerprint == copy.fingerprint and there.train.categories == copy.train.categories
    np.testing.assert_array_equal(there.test.betas[:], copy.test.betas[:])
    assert download("vim1", folder) == [] and len(asked) == 3


def test_labels_that_are_not_to_be_had_are_named(kay, asked, tmp_path):
    (kay.root / "kay_labels_val.npy").unlink()
    assert download("vim1", tmp_path / "open") == [tmp_path / "open" / "kay_labels_val.npy"]
    assert load(f"vim1:{tmp_path / 'open'}").test.categories is None


def test_without_the_data_nothing_is_said_to_be_there(kay, asked, tmp_path):
    (kay.root / "kay_images.npz").unlink()
    with pytest.raises(InputError, match="ymnjv/download could not be fetched"):
        download("vim1", tmp_path / "open")


@pytest.mark.parametrize(
    ("asking", "told"),
    [
        ({"subject": "S2"}, "has subj01 alone, not S2; responses of others are to be had by a free account"),
        ({"copy": "crcns"}, "cannot be fetched from here; they are to be had by a free account at crcns.org"),
        ({"copy": "both"}, "copy is 'both'; expected crcns or osf"),
    ],
)
def test_what_is_not_at_osf_is_not_asked_for(asked, tmp_path, asking, told):
    with pytest.raises(InputError, match=told):
        download("vim1", tmp_path / "open", **asking)
    assert not asked and not (tmp_path / "open").exists()


def test_terms_are_told():
    assert "states no licence" in terms("vim1") and terms("vim1").endswith(".")
