"""Files of public places through the command line: resumed, refused, checked, and nothing without --agree."""

import io
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from interruption import interrupted
from listed_places import LISTS, fill

from brainrecon.cli.main import run_command
from brainrecon.datasets.download import fetch_all
from stages.ground.errors import InputError

BIG = np.random.default_rng(1).bytes(400_000)
FILES = {"a.csv": b"1,2\n", "big é.bin": BIG, "z.csv": b"9\n"}
BIG_FILES = {
    "bucket": "/bucket/ds1/big%20%C3%A9.bin",
    "osf": "/content/abcde/big%20%C3%A9.bin",
    "figshare": "/article/7/big%20%C3%A9.bin",
}


def there(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def downloaded(folder, *more):
    return run_command(["data", "download", f"places:{folder}", *more])


@pytest.fixture(params=LISTS)
def place(request, places, kind):
    fill(places, FILES)
    kind.place = request.param
    return request.param


def test_nothing_is_fetched_before_the_terms_are_agreed_to(places, place, tmp_path, capsys):
    assert downloaded(tmp_path / "new") == 0
    out = capsys.readouterr().out
    assert "The files are under CC0." in out and "Nothing was fetched" in out
    assert places.asked == [] and list(tmp_path.iterdir()) == []
    assert downloaded(tmp_path / "new", "--agree") == 0
    assert there(tmp_path / "new") == FILES and "The files are under CC0." in capsys.readouterr().out


def test_what_broke_off_goes_on_and_what_is_whole_is_not_fetched_again(places, place, tmp_path, capsys):
    places.breaks[BIG_FILES[place]] = [150_000, 100_000]
    for wanted in (150_000, 250_000):
        assert downloaded(tmp_path, "--agree") == 2
        err = capsys.readouterr().err
        assert f"it broke off after {wanted:,} of 400,000 bytes" in err and "run the same command again" in err
        assert (tmp_path / "big é.bin.partial").read_bytes() == BIG[:wanted]
        assert not (tmp_path / "big é.bin").exists()
    assert downloaded(tmp_path, "--agree") == 0
    assert there(tmp_path) == FILES
    assert places.ranges(BIG_FILES[place]) == [None, "bytes=150000-", "bytes=250000-"]
    assert (
        places.ranges("a.csv")[-1:] == [None]
        and len(places.ranges(BIG_FILES[place].replace("big%20%C3%A9.bin", "a.csv"))) == 1
    )
    before = len(places.asked)
    assert downloaded(tmp_path, "--agree") == 0
    assert not any(path.startswith(("/bucket/", "/content/", "/article/")) for path, _ in places.asked[before:])


GOD_FROM_HERE = (
    "import sys\n"
    "from brainrecon.cli.main import run_command\n"
    "from brainrecon.datasets.sources import figshare\n"
    "figshare.API = sys.argv[1]\n"
    "sys.exit(run_command(sys.argv[2:]))\n"
)


def test_a_download_that_was_killed_goes_on_where_it_was(places, tmp_path):
    """Through a kind of the toolkit's own: the responses of god, an article of figshare."""
    places.figshare = {7387130: {"Subject1.h5": BIG, "Subject2.h5": b"two", "images.zip": b"not asked for"}}
    places.holds["/article/7387130/Subject1.h5"] = 150_000
    partial, line = tmp_path / "Subject1.h5.partial", ["data", "download", f"god:{tmp_path}", "--agree"]
    interrupted(
        GOD_FROM_HERE,
        places.figshare_address,
        *line,
        when=lambda: partial.is_file() and partial.stat().st_size == 150_000,
    )
    assert partial.read_bytes() == BIG[:150_000] and not (tmp_path / "Subject1.h5").exists()
    assert run_command(line) == 0
    assert there(tmp_path) == {"Subject1.h5": BIG, "Subject2.h5": b"two"}
    assert places.ranges("/Subject1.h5") == [None, "bytes=150000-"]


def test_a_file_in_parts_is_resumed_by_its_name_and_begun_anew_without(places, kind, tmp_path, capsys):
    fill(places, FILES)
    places.in_parts = {"ds1/big é.bin"}
    for names in (True, False):
        places.names_contents, folder = names, tmp_path / str(names)
        places.asked.clear()
        places.breaks[BIG_FILES["bucket"]] = [150_000]
        assert downloaded(folder, "--agree") == 2
        assert downloaded(folder, "--agree") == 0
        assert there(folder) == FILES
        assert places.ranges(BIG_FILES["bucket"]) == [None, "bytes=150000-" if names else None]


def test_a_file_that_changed_between_is_not_joined(places, kind, tmp_path, capsys):
    fill(places, FILES)
    places.in_parts, other = {"ds1/big é.bin"}, BIG[::-1]
    places.breaks[BIG_FILES["bucket"]] = [150_000]
    assert downloaded(tmp_path, "--agree") == 2
    places.bucket["ds1/big é.bin"] = other
    assert downloaded(tmp_path, "--agree") == 0
    assert (tmp_path / "big é.bin").read_bytes() == other


@pytest.mark.parametrize("status, told", [(403, "Forbidden"), (404, "Not Found"), (500, "Internal Server Error")])
def test_a_file_that_is_refused(places, place, tmp_path, capsys, status, told):
    places.answers[BIG_FILES[place]] = (status, b"<Error/>")
    assert downloaded(tmp_path, "--agree") == 2
    err = " ".join(capsys.readouterr().err.split())
    assert "could not be fetched" in err and told in err and ("go on where it stopped" in err) == (status == 500)
    assert "big é.bin" not in there(tmp_path)


@pytest.mark.parametrize("in_parts", [False, True])
def test_a_page_in_place_of_a_file_is_found(places, place, tmp_path, capsys, in_parts):
    if in_parts:
        places.in_parts = {"ds1/big é.bin"}
    places.answers[BIG_FILES[place]] = (200, b"<html>Sign in</html>", {"Content-Type": "text/html"})
    assert downloaded(tmp_path, "--agree") == 2
    err = " ".join(capsys.readouterr().err.split())
    assert "20 bytes but its source says 400,000" in err and "the copy was removed" in err
    assert not [name for name in there(tmp_path) if name.startswith("big")]
    del places.answers[BIG_FILES[place]]
    assert downloaded(tmp_path, "--agree") == 0 and there(tmp_path) == FILES


def test_another_content_of_the_same_length_is_found_by_its_sum(places, place, tmp_path, capsys):
    places.answers[BIG_FILES[place]] = (200, BIG[::-1])
    assert downloaded(tmp_path, "--agree") == 2
    assert "has the MD5 sum" in " ".join(capsys.readouterr().err.split())
    assert not [name for name in there(tmp_path) if name.startswith("big")]


def test_a_disk_without_room(places, place, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=400_005))
    assert downloaded(tmp_path, "--agree") == 2
    err = " ".join(capsys.readouterr().err.split())
    assert "are to come and" in err and "fetch less, for example one subject" in err
    assert list(tmp_path.iterdir()) == []
    # What is there already need not come again.
    (tmp_path / "a.csv").write_bytes(FILES["a.csv"])
    (tmp_path / "big é.bin.partial").write_bytes(BIG[:1000])
    assert downloaded(tmp_path, "--agree") == 0 and there(tmp_path) == FILES


def test_a_folder_in_place_of_a_file(places, place, tmp_path, capsys):
    (tmp_path / "a.csv").mkdir()
    assert downloaded(tmp_path, "--agree") == 2
    assert "a.csv is a folder where the file of" in " ".join(capsys.readouterr().err.split())


def test_a_file_in_place_of_a_folder(places, kind, tmp_path, capsys):
    places.bucket = {"ds1/sub/a.csv": b"1"}
    (tmp_path / "sub").write_text("a file")
    assert downloaded(tmp_path, "--agree") == 2
    assert "sub" in capsys.readouterr().err and (tmp_path / "sub").read_text() == "a file"


def test_lists_that_lead_out_of_the_folder_fetch_nothing(places, kind, tmp_path, capsys):
    places.bucket = {"ds1/a.csv": b"1", "ds1/../../out.csv": b"2"}
    assert downloaded(tmp_path / "copy", "--agree") == 2
    assert "names a file '../../out.csv'" in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == [] and all(path.startswith("/bucket?") for path, _ in places.asked)


def test_a_file_in_place_of_the_folder_of_data(places, place, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert downloaded(tmp_path / "file", "--agree") == 2
    assert "is a file; name the folder" in " ".join(capsys.readouterr().err.split()) and places.asked == []


def test_a_server_that_is_not_there(places, place, tmp_path, capsys, monkeypatch):
    for module in ("osf", "figshare"):
        monkeypatch.setattr(f"brainrecon.datasets.sources.{module}.API", "http://127.0.0.1:9")
    places.address = "http://127.0.0.1:9"
    assert downloaded(tmp_path, "--agree") == 2
    assert "could not be read" in capsys.readouterr().err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("location", ["http://[1", "file:///etc/hosts", "/bucket/loop"])
def test_addresses_that_lead_nowhere(places, tmp_path, location):
    from brainrecon.datasets.download import Remote

    places.answers["/bucket/loop"] = (302, b"", {"Location": location})
    with pytest.raises(InputError, match="could not be fetched") as caught:
        fetch_all([Remote(f"{places.bucket_address}/loop", tmp_path / "a")], tmp_path, "less")
    assert caught.value.args[0].count("\n") == 0 and list(tmp_path.iterdir()) == []


def test_optional_files_that_are_not_to_be_had_are_told(places, tmp_path):
    from brainrecon.datasets.download import AbsentError, Remote

    places.bucket = {"here": b"1"}
    remotes = [
        Remote(f"{places.bucket_address}/gone", tmp_path / "gone", optional=True),
        Remote(f"{places.bucket_address}/here", tmp_path / "here"),
    ]
    assert fetch_all(remotes, tmp_path, "less") == [tmp_path / "gone"]
    assert there(tmp_path) == {"here": b"1"}
    with pytest.raises(AbsentError, match="the source does not have it, or does not give it to all"):
        fetch_all([Remote(f"{places.bucket_address}/gone", tmp_path / "gone")], tmp_path, "less")


@pytest.mark.parametrize("asked", ["list", "file"])
def test_nothing_leads_from_a_secured_address_to_an_open_one(places, tmp_path, monkeypatch, asked):
    """The secured server is made up: it sends on to the one on this machine, which would have answered."""
    from email.message import Message
    from urllib.request import HTTPSHandler
    from urllib.response import addinfourl

    from brainrecon.datasets.download import Remote
    from brainrecon.datasets.sources.bucket import bucket_files

    places.bucket = {"a.csv": b"1"}

    def sent_on(self, request):
        head = Message()
        head["Location"] = (
            f"{places.bucket_address}?list-type=2" if asked == "list" else f"{places.bucket_address}/a.csv"
        )
        answer = addinfourl(io.BytesIO(b""), head, request.full_url, 302)
        answer.msg = "Found"
        return answer

    monkeypatch.setattr(HTTPSHandler, "https_open", sent_on)
    with pytest.raises(InputError, match="it sends on to http://127.0.0.1:.*, which is not secured"):
        if asked == "list":
            bucket_files("https://bucket.example.org", "", tmp_path)
        else:
            fetch_all([Remote("https://bucket.example.org/a.csv", tmp_path / "a.csv")], tmp_path, "less")
    assert places.asked == [] and list(tmp_path.iterdir()) == []
