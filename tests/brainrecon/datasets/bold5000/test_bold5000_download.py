"""Downloads of BOLD5000 from a server on this machine that answers as OpenNeuro's bucket and figshare do."""

import hashlib
import http.server
import io
import json
import threading
import zipfile
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import numpy as np
import pytest
from bold5000_files import Bold5000

from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.datasets.dataset import dataset_of
from brainrecon.datasets.sources import bucket, figshare
from stages.ground.errors import InputError


class Server:
    """What lies where: articles of figshare, and a bucket."""

    def __init__(self):
        self.articles, self.bucket, self.asked = {6459449: {}, 14456124: {}}, {}, []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.asked.append(self.path)
                content = server.answer(self.path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, path):
        parts = urlsplit(path)
        place = unquote(parts.path).strip("/").split("/")
        if place[0] == "articles":
            rows = [
                {
                    "name": name,
                    "download_url": f"{self.address}/file/{place[1]}/{name}",
                    "computed_md5": hashlib.md5(content).hexdigest(),
                    "size": len(content),
                }
                for name, content in self.articles[int(place[1])].items()
            ]
            return json.dumps(rows).encode()
        if place[0] == "file":
            return self.articles[int(place[1])].get(place[2])
        if parts.query:
            prefix = parse_qs(parts.query)["prefix"][0]
            rows = "".join(
                f"<Contents><Key>{escape(name)}</Key><Size>{len(content)}</Size><ETag>&quot;x&quot;</ETag></Contents>"
                for name, content in self.bucket.items()
                if name.startswith(prefix)
            )
            return f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>".encode()
        return self.bucket.get("/".join(place[1:]))


def packed(files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, one in files.items():
            archive.writestr(name, one)
    return content.getvalue()


@pytest.fixture
def server(monkeypatch):
    server = Server()
    monkeypatch.setattr(bucket, "OPENNEURO", f"{server.address}/openneuro")
    monkeypatch.setattr(figshare, "API", server.address)
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def study(server, tmp_path):
    """Everything that is public, as the sources hold it."""
    parts = ("lists", "events", "imgnames", "stim_lists", "repeated", "labels", "regions", "brain", "first", "masks")
    study = Bold5000(tmp_path / "public", sessions={"CSI1": [2, 2], "CSI2": [2, 2]}, n_repeated=3, parts=parts)
    files = {
        file.relative_to(study.root).as_posix(): file.read_bytes() for file in study.root.rglob("*") if file.is_file()
    }
    for name, content in files.items():
        if name.startswith(("sub-", "derivatives/")):
            server.bucket[f"ds001499/{name}"] = content
        elif name.startswith("CSI"):
            server.articles[14456124][name] = content
    archives = {
        "BOLD5000_GLMsingle_ROI_betas.zip": (14456124, "BOLD5000_GLMsingle_ROI_betas/"),
        "BOLD5000_ROIs.zip": (6459449, "ROIs/"),
        "BOLD5000_Stimuli.zip": (6459449, "BOLD5000_Stimuli/"),
    }
    for name, (article, start) in archives.items():
        server.articles[article][name] = packed(
            {one: content for one, content in files.items() if one.startswith(start)}
        )
    return study


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ([], {"regions"}),
        (["--option", "betas=brain"], {"brain"}),
        (["--option", "betas=TR34"], {"first"}),
    ],
)
def test_what_is_fetched_loads_as_it_is_public(study, tmp_path, options, parts, capsys):
    data = f"bold5000:{tmp_path / 'mine'}"
    line = ["data", "download", data, "--subject", "CSI2", *options]
    assert run_command(line) == 0 and not (tmp_path / "mine").exists()
    assert "Its pictures are" in capsys.readouterr().out
    assert run_command([*line, "--agree"]) == 0, capsys.readouterr().err
    chosen = dict(option.split("=") for option in options[1:])
    fetched, public = load(data, subject="CSI2", **chosen), load(f"bold5000:{study.root}", subject="CSI2", **chosen)
    for name, split in public.splits.items():
        np.testing.assert_array_equal(fetched.splits[name].betas[:], split.betas[:])
        assert fetched.splits[name].trial_stimulus_ids.tolist() == split.trial_stimulus_ids.tolist()
        assert fetched.splits[name].runs.tolist() == split.runs.tolist()
    assert not [
        place for place in (tmp_path / "mine").rglob("*CSI1*") if place.is_file() and "Presentation" not in str(place)
    ]
    assert not list((tmp_path / "mine").rglob("CSI_sess*.mat"))


def test_what_is_there_is_not_fetched_again(study, server, tmp_path):
    line = ["data", "download", f"bold5000:{tmp_path / 'mine'}", "--subject", "CSI1", "--agree"]
    assert run_command(line) == 0
    server.asked.clear()
    assert run_command(line) == 0
    assert all("prefix" in asked or "articles" in asked for asked in server.asked)


def test_some_sessions_are_fetched(study, tmp_path):
    line = ["data", "download", f"bold5000:{tmp_path / 'mine'}", "--subject", "CSI1", "--option", "betas=brain"]
    assert run_command([*line, "--option", "sessions=2", "--agree"]) == 0
    assert [place.name for place in (tmp_path / "mine").glob("*.nii.gz")] == [study.session_file("CSI1", 2).name]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no archive", "is no whole archive"),
        (packed({"readme.txt": "nothing"}), "holds no responses of that subject; remove it"),
        (packed({"../py/CSI1_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_allses_LHPPA.npy": "x"}), ""),
        (None, r"lists .* and so no responses of CSI1 \(betas=regions\)"),
    ],
)
def test_an_archive_of_another_content(study, server, tmp_path, content, said):
    """Names that lead out of the folder are taken as those of the files alone."""
    server.articles[14456124].pop("BOLD5000_GLMsingle_ROI_betas.zip")
    if content is not None:
        server.articles[14456124]["BOLD5000_GLMsingle_ROI_betas.zip"] = content
    mine = tmp_path / "deep" / "mine"
    mine.mkdir(parents=True)
    if said:
        with pytest.raises(InputError, match=said) as caught:
            dataset_of("bold5000").download(mine, "CSI1")
        assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    else:
        dataset_of("bold5000").download(mine, "CSI1")
    assert [place.name for place in mine.parent.iterdir()] == ["mine"]
