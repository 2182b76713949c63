"""What public places list, page by page, against a server on this machine that imitates them."""

import hashlib

import pytest
from listed_places import LISTS, fill

from brainrecon.datasets.download import fetch_all
from brainrecon.datasets.sources import bucket, figshare, osf
from brainrecon.datasets.sources.bucket import bucket_files, openneuro_files
from brainrecon.datasets.sources.osf import osf_file
from stages.ground.errors import InputError

FILES = {
    "README": b"about",
    "sub-01/a & b.csv": b"1,2",
    "sub-01/zwei Wörter é.npy": bytes(range(256)) * 9,
    "sub-01/func/100%+x=1,y;(z)'.json": b"{}",
    "sub-02/empty.txt": b"",
    "sub-02/日本.bin": b"\x00" * 1000,
    "sub-10/func/deep/er/file.tsv": b"onset\n1\n",
}


def sum_of(content):
    return hashlib.md5(content).hexdigest()


@pytest.mark.parametrize("page", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("place", LISTS)
def test_every_file_is_listed_and_arrives(places, tmp_path, place, page, monkeypatch):
    # figshare's articles have no folders.
    files = {name.replace("/", "_"): content for name, content in FILES.items()} if place == "figshare" else FILES
    fill(places, files)
    places.page = page
    monkeypatch.setattr(figshare, "FILES_OF_A_PAGE", page)
    folder = tmp_path / "copy é"
    listed = LISTS[place](places, folder)
    assert {one.path: (one.md5, one.size, one.exact) for one in listed} == {
        folder / name: (sum_of(content), len(content), True) for name, content in files.items()
    }
    assert len(listed) == len(files)
    assert fetch_all(listed, folder, "less") == []
    assert {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    } == files


def test_a_bucket_lists_what_is_below_the_prefix_without_marks_of_folders(places, tmp_path):
    places.bucket = {
        "ds1/": b"",
        "ds1/sub-01/": b"",
        "ds1/sub-01/a.nii": b"aa",
        "ds1/sub-01/b.json": b"b",
        "ds1/sub-010/c.nii": b"c",
        "ds10/sub-01/d.nii": b"d",
    }
    places.in_parts = {"ds1/sub-01/a.nii"}
    listed = bucket_files(places.bucket_address, "ds1/sub-01/", tmp_path, "ds1/")
    assert [(one.path, one.md5, one.size) for one in listed] == [
        (tmp_path / "sub-01/a.nii", None, 2),
        (tmp_path / "sub-01/b.json", sum_of(b"b"), 1),
    ]
    some = bucket_files(places.bucket_address, "ds1/", tmp_path, "ds1/", wanted=r"sub-\d+/.*\.nii")
    assert [one.path.name for one in some] == ["a.nii", "c.nii"]
    assert bucket_files(places.bucket_address, "elsewhere/", tmp_path) == []


def test_openneuro_is_asked_for_each_prefix(places, tmp_path, monkeypatch):
    monkeypatch.setattr(bucket, "OPENNEURO", places.bucket_address)
    places.bucket = {f"ds001/{name}": name.encode() for name in ("sub-1/a", "sub-2/b", "sub-3/c", "d")}
    listed = openneuro_files("ds001", tmp_path, ["sub-2/", "sub-1/"])
    assert [one.path for one in listed] == [tmp_path / "sub-2/b", tmp_path / "sub-1/a"]
    assert len(openneuro_files("ds001", tmp_path)) == 4


def test_a_bucket_is_asked_as_amazon_documents_it(places, tmp_path):
    places.bucket = {f"a b&é/{number}": b"" for number in range(7)}
    assert len(bucket_files(places.bucket_address, "a b&é/", tmp_path)) == 7
    first, second, third = (path for path, _ in places.asked)
    assert first == "/bucket?list-type=2&prefix=a+b%26%C3%A9%2F"
    assert second == first + "&continuation-token=mark%2F%2B%3D3" and third.endswith("mark%2F%2B%3D6")


def test_a_name_that_is_listed_twice_with_one_content_counts_once(places, tmp_path):
    listed = bucket_files(places.bucket_address, "x", tmp_path)
    assert listed == []
    row = "<Contents><Key>a</Key><Size>1</Size><ETag>&quot;{}&quot;</ETag></Contents>"
    twice = f"<ListBucketResult>{row.format(sum_of(b'a')) * 2}</ListBucketResult>"
    places.answers["/bucket"] = (200, twice.encode())
    (one,) = bucket_files(places.bucket_address, "", tmp_path)
    assert one.path == tmp_path / "a" and one.md5 == sum_of(b"a")


def test_one_file_of_osf_comes_over_two_addresses(places, tmp_path):
    places.osf = {"ymnjv": {"download": b"pictures"}}
    places.answers["/ymnjv/download"] = (302, b"", {"Location": "/content/ymnjv/download"})
    remote = osf_file("ymnjv", tmp_path / "kay_images.npz", size=8)
    assert fetch_all([remote], tmp_path, "less") == [] and remote.path.read_bytes() == b"pictures"
    assert [path for path, _ in places.asked] == ["/ymnjv/download", "/content/ymnjv/download"]


def xml(rows, more=""):
    return f"<ListBucketResult>{more}{rows}</ListBucketResult>".encode()


def key(name, size="1"):
    return f"<Contents><Key>{name}</Key><Size>{size}</Size><ETag>x</ETag></Contents>"


ENTITIES = '<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
BOMB = f"{ENTITIES}<ListBucketResult>{key('&b;')}</ListBucketResult>"

LISTS_OF_BUCKETS = {
    "forbidden": ((403, b"<Error/>"), "could not be read .*403"),
    "absent": ((404, b"<Error/>"), "could not be read .*404"),
    "broken": ((500, b""), "could not be read .*500"),
    "a page": ((200, b"<!DOCTYPE html><html><body>Sign in</body></html>"), "is none .*declares entities"),
    "a page without a type": ((200, b"<html><body>Sign in</body></html>"), "is none .*no ListBucketResult"),
    "empty": ((200, b""), "is none .*no element found"),
    "not UTF-8": ((200, b"\xff\xfe<a/>"), "is none .*UnicodeDecodeError"),
    "cut": ((200, xml(key("a"))[:40]), "is none .*ParseError"),
    "entities": ((200, BOMB.encode()), "is none .*declares entities"),
    "entities in another encoding": ((200, BOMB.encode("utf-16")), "is none .*UnicodeDecodeError"),
    "an error that is no error": ((200, b"<Error><Code>SlowDown</Code></Error>"), "is none .*no ListBucketResult"),
    "no name": ((200, xml("<Contents><Size>1</Size></Contents>")), "is none .*a file None"),
    "no size": ((200, xml("<Contents><Key>a</Key></Contents>")), "is none .*'a' of None bytes"),
    "a size of letters": ((200, xml(key("a", "big"))), "is none .*of 'big' bytes"),
    "a size below nothing": ((200, xml(key("a", "-1"))), "is none .*of '-1' bytes"),
    "more, nobody knows where": (
        (200, xml(key("a"), "<IsTruncated>true</IsTruncated>")),
        "is none .*more is to come, and it does not say where",
    ),
    "the same page for ever": (
        (200, xml(key("a"), "<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>")),
        "comes back to where it was and never ends",
    ),
    "out of the folder": ((200, xml(key("../../.bashrc"))), r"names a file '../../.bashrc', and it is made of dots"),
    "from the root": ((200, xml(key("/etc/passwd"))), "names a file '/etc/passwd', and it is empty"),
    "of Windows": ((200, xml(key("a\\..\\b"))), "and it holds a separator of folders"),
    "a mark that no name may hold": (
        (200, xml(key("a &lt;b&gt; &amp; c"))),
        "names a file 'a <b> & c', and it holds '<'",
    ),
    "a drive": ((200, xml(key("C:/a"))), "and it holds ':'"),
    "a device": ((200, xml(key("sub-01/con.json"))), "and it is the name of a device"),
    "too long": ((200, xml(key("x" * 300))), "and it is longer than 200 bytes"),
    "twice, and not the same": ((200, xml(key("a") + key("a", "2"))), "names both .*a and .*a, which some disks"),
    "twice on some disks": ((200, xml(key("A.csv") + key("a.csv"))), "names both .*A.csv and .*a.csv, which some"),
    "a file and a folder": ((200, xml(key("a") + key("a/b"))), "names .*a as a file, and .*b below it"),
}


@pytest.mark.parametrize("case", LISTS_OF_BUCKETS)
def test_lists_of_buckets_that_are_none(places, tmp_path, case):
    answer, told = LISTS_OF_BUCKETS[case]
    places.answers["/bucket"] = answer
    refused(lambda: bucket_files(places.bucket_address, "", tmp_path), told, tmp_path)


NAMED = {"attributes": {"kind": "file", "materialized_path": "/a", "size": 1}, "links": {"download": "http://x/1"}}


def osf_list(*changes):
    """JSON of one file with other values at some places: ``("attributes", "size", 2)``."""
    import copy
    import json

    row = copy.deepcopy(NAMED)
    for first, second, value in changes:
        row[first][second] = value
    return json.dumps({"data": [row], "links": {"next": None}}).encode()


LISTS_OF_OSF = {
    "forbidden": ((403, b"{}"), "could not be read .*403"),
    "absent": ((404, b"{}"), "could not be read .*404"),
    "broken": ((500, b""), "could not be read .*500"),
    "a page": ((200, b"<html></html>"), "is none .*JSONDecodeError"),
    "empty": ((200, b""), "is none .*JSONDecodeError"),
    "nested": ((200, b"[" * 200_000), "is none .*RecursionError"),
    "not UTF-8": ((200, b'{"data": ["\xff"]}'), "is none .*UnicodeDecodeError"),
    "errors": ((200, b'{"errors": []}'), "is none .*KeyError: 'data'"),
    "a list": ((200, b"[]"), "is none .*TypeError"),
    "no entries": ((200, b'{"data": [1]}'), "is none .*TypeError"),
    "no name": ((200, osf_list(("attributes", "materialized_path", None))), "is none .*AttributeError"),
    "a size of letters": ((200, osf_list(("attributes", "size", "big"))), "gives 'a' the size 'big'; expected bytes"),
    "a size below nothing": ((200, osf_list(("attributes", "size", -4))), "gives 'a' the size -4; expected bytes"),
    "out of the folder": (
        (200, osf_list(("attributes", "materialized_path", "/../b"))),
        r"names a file '../b', and it",
    ),
    "from the root": ((200, osf_list(("attributes", "materialized_path", "//etc/b"))), "names a file '/etc/b', and it"),
    "a device": ((200, osf_list(("attributes", "materialized_path", "/NUL"))), "it is the name of a device"),
    "a file of this machine": ((200, osf_list(("links", "download", "file:///etc/hosts"))), "leads to 'file:///etc"),
    "no address": ((200, osf_list(("links", "download", "somewhere"))), "leads to 'somewhere', which is no address"),
    "an address of letters beyond": ((200, osf_list(("links", "download", "http://é/"))), "leads to 'http://é/'"),
    "half an address": ((200, osf_list(("links", "download", "http://[1"))), r"leads to 'http://\[1'"),
    "a sum of numbers": ((200, osf_list(("attributes", "extra", {"hashes": {"md5": 7}}))), "the MD5 sum 7; expected"),
    "a next page elsewhere": ((200, b'{"data": [], "links": {"next": "file:///etc/hosts"}}'), "leads to 'file:///etc"),
}


@pytest.mark.parametrize("case", LISTS_OF_OSF)
def test_lists_of_osf_that_are_none(places, tmp_path, case):
    answer, told = LISTS_OF_OSF[case]
    places.answers["/osf/v2/nodes/abcde/files/osfstorage/"] = answer
    refused(lambda: osf.osf_files("abcde", tmp_path), told, tmp_path)


def test_folders_of_osf_that_lead_in_a_circle(places, tmp_path):
    folder = {"attributes": {"kind": "folder"}, "relationships": {"files": {"links": {"related": {}}}}}
    folder["relationships"]["files"]["links"]["related"]["href"] = (
        f"{places.osf_address}/nodes/abcde/files/osfstorage/f/"
    )
    import json

    again = (200, json.dumps({"data": [folder]}).encode())
    places.answers |= {f"/osf/v2/nodes/abcde/files/osfstorage/{name}": again for name in ("", "f/")}
    refused(lambda: osf.osf_files("abcde", tmp_path), "comes back to .*/f/ and so never ends", tmp_path)


LISTS_OF_FIGSHARE = {
    "forbidden": ((403, b"{}"), "could not be read .*403"),
    "absent": ((404, b"{}"), "could not be read .*404"),
    "broken": ((500, b""), "could not be read .*500"),
    "a page": ((200, b"<html></html>"), "is none .*JSONDecodeError"),
    "an object": ((200, b"{}"), "is none .*TypeError: an answer of dict"),
    "a message": ((200, b'{"message": "gone", "code": "x"}'), "is none .*TypeError: an answer of dict"),
    "no name": ((200, b'[{"download_url": "http://x/1"}]'), "is none .*KeyError: 'name'"),
    "no text": ((200, b'[{"download_url": "http://x/1", "name": 4}]'), "names a file 4, and that is no text"),
    "out of the folder": ((200, b'[{"download_url": "http://x/1", "name": "../a"}]'), "names a file '../a', and it"),
    "the folder itself": ((200, b'[{"download_url": "http://x/1", "name": "."}]'), "names a file '.', and it"),
    "no address": ((200, b'[{"download_url": null, "name": "a"}]'), "leads to None, which is no address"),
    "a size of parts": (
        (200, b'[{"download_url": "http://x/1", "name": "a", "size": 1.5}]'),
        "gives 'a' the size 1.5; expected bytes",
    ),
}


@pytest.mark.parametrize("case", LISTS_OF_FIGSHARE)
def test_lists_of_figshare_that_are_none(places, tmp_path, case):
    answer, told = LISTS_OF_FIGSHARE[case]
    places.answers["/figshare/v2/articles/7/files"] = answer
    refused(lambda: figshare.figshare_files(7, tmp_path), told, tmp_path)


@pytest.mark.parametrize("place, module", [("osf", osf), ("figshare", figshare), ("bucket", bucket)])
def test_a_list_of_more_pages_than_any_has(places, tmp_path, monkeypatch, place, module):
    fill(places, {f"{number}.csv": b"1" for number in range(12)})
    monkeypatch.setattr(module, "MOST_PAGES", 3)
    monkeypatch.setattr(figshare, "FILES_OF_A_PAGE", 3)
    refused(lambda: LISTS[place](places, tmp_path), "more than 3 pages; fetch the files by hand", tmp_path)


@pytest.mark.parametrize("place", LISTS)
def test_a_list_that_breaks_off_is_not_taken_for_a_short_one(places, tmp_path, place):
    fill(places, {"a.csv": b"1"})
    path = {
        "bucket": "/bucket",
        "osf": "/osf/v2/nodes/abcde/files/osfstorage/",
        "figshare": "/figshare/v2/articles/7/files",
    }[place]
    places.breaks[path] = [40]
    refused(lambda: LISTS[place](places, tmp_path), "could not be read .*broke off after 40 bytes", tmp_path)


@pytest.mark.parametrize("place", LISTS)
def test_a_page_that_never_ends(places, tmp_path, monkeypatch, place):
    monkeypatch.setattr("brainrecon.datasets.download.LONGEST_LIST", 100)
    fill(places, {"a" * 150: b"1"})
    refused(lambda: LISTS[place](places, tmp_path), "is longer than 100 bytes and so none", tmp_path)


@pytest.mark.parametrize("url", ["http://files.osf.io/1", "ftp://files.osf.io/1", "HTTP://files.osf.io/1"])
def test_a_secured_list_leads_to_secured_files_alone(url):
    from brainrecon.datasets.sources.listed import linked

    with pytest.raises(InputError, match="no address that begins with https; nothing of it was fetched"):
        linked(url, osf.API, "OSF project abcde")


def refused(ask, told, folder):
    with pytest.raises(InputError, match=told) as caught:
        ask()
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".") and len(message) < 900 and list(folder.iterdir()) == []
