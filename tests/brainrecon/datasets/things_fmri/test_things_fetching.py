"""Downloads of THINGS-data from a server on this machine, which lists archives as figshare does."""

import functools
import hashlib
import http.server
import json
import shutil
import threading
import zipfile

import numpy as np
import pytest
from things_fmri_files import Things

from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.datasets.dataset import dataset_of
from brainrecon.datasets.sources import figshare
from stages.ground.errors import InputError

ARTICLES = {"betas_csv": 20492835, "brainmasks": 20492757}


class Handler(http.server.SimpleHTTPRequestHandler):
    asked = []

    def do_GET(self):
        self.asked.append(self.path)
        self.path = self.path.split("?")[0]
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def things(tmp_path):
    """Two subjects."""
    first = Things(tmp_path / "there", forms=("table",), pictures=False)
    for number in (2, 3):
        Things(first.root, seed=number, number=number, forms=("table",), pictures=False)
    return first


@pytest.fixture
def served(things, tmp_path, monkeypatch):
    root = tmp_path / "served"
    root.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=root))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    for folder, article in ARTICLES.items():
        with zipfile.ZipFile(root / f"{folder}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted((things.root / folder).iterdir()):
                archive.write(file, f"{folder}/{file.name}")
                archive.writestr(f"__MACOSX/{folder}/._{file.name}", b"\0\5\x16\7")
        content = (root / f"{folder}.zip").read_bytes()
        entry = {"name": f"{folder}.zip", "download_url": f"{address}/{folder}.zip", "size": len(content)}
        (root / "articles" / str(article)).mkdir(parents=True)
        entry["computed_md5"] = hashlib.md5(content).hexdigest()
        (root / "articles" / str(article) / "files").write_text(json.dumps([entry]))
    monkeypatch.setattr(figshare, "API", address)
    Handler.asked.clear()
    yield root
    server.shutdown()
    server.server_close()


def test_one_subject_and_then_all(things, served, tmp_path):
    copy = tmp_path / "copy é"
    dataset = dataset_of("things-fmri")
    assert dataset.download(copy, "subj02") == []
    assert {file.name for file in copy.rglob("*") if file.is_file()} == {
        "betas_csv.zip",
        "brainmasks.zip",
        "sub-02_ResponseData.h5",
        "sub-02_StimulusMetadata.csv",
        "sub-02_VoxelMetadata.csv",
        "sub-02_space-T1w_brainmask.nii.gz",
    }
    there, here = (load(f"things-fmri:{root}", subject="sub-02") for root in (things.root, copy))
    assert there.fingerprint == here.fingerprint and here.grid is not None
    np.testing.assert_array_equal(there.test.betas[:], here.test.betas[:])
    archives = [path for path in Handler.asked if path.endswith(".zip")]
    assert dataset.download(copy) == []
    # The archives were there, and are removed once all that they hold is unpacked.
    assert [path for path in Handler.asked if path.endswith(".zip")] == archives and not list(copy.glob("*.zip"))
    assert dataset.subjects(copy) == ["sub-01", "sub-02", "sub-03"]
    asked = len(Handler.asked)
    dataset.download(copy)
    assert len(Handler.asked) == asked


def test_terms_come_first(served, tmp_path, capsys):
    line = ["data", "download", f"things-fmri:{tmp_path / 'copy'}", "--subject", "sub-01"]
    assert run_command(line) == 0
    told = capsys.readouterr().out
    assert "CC0" in told and "43 GB" in told and not Handler.asked and not (tmp_path / "copy").exists()
    assert run_command([*line, "--agree"]) == 0
    assert (tmp_path / "copy" / "betas_csv" / "sub-01_ResponseData.h5").is_file()


def listed(served, entries):
    for article in ARTICLES.values():
        (served / "articles" / str(article) / "files").write_text(json.dumps(entries))


@pytest.mark.parametrize(
    ("spoil", "asked", "told"),
    [
        (None, {"subject": "sub-09"}, "THINGS-data has no subject sub-09; it has sub-01, sub-02, sub-03"),
        (None, {"form": "volume"}, "The form volume is not fetched; fetch https://.* by hand and unpack"),
        (
            lambda served: listed(served, []),
            {},
            "figshare article 20492757 lists nothing where brainmasks.zip was expected",
        ),
        (lambda served: listed(served, "no"), {}, "The list of figshare article 20492757 is none"),
        (lambda served: (served / "betas_csv.zip").write_bytes(b"other"), {}, "has 5 bytes but its source says"),
        (lambda served: shutil.rmtree(served / "articles"), {}, "could not be read"),
    ],
)
def test_what_goes_wrong_is_one_sentence(served, tmp_path, spoil, asked, told):
    if spoil:
        spoil(served)
    with pytest.raises(InputError, match=told) as caught:
        dataset_of("things-fmri").download(tmp_path / "copy", **asked)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert not list((tmp_path / "copy").rglob("*.h5"))
