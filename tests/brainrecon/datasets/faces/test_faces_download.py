"""Faces of ds001761, fetched from a server on this machine that lists and gives what a bucket of OpenNeuro does."""

import numpy as np
import pytest
from faces_files import Faces
from local_server import Bucket, serving

from brainrecon.cli.main import run_command
from brainrecon.datasets import load
from brainrecon.datasets.inventory import download, files, terms
from brainrecon.datasets.sources import bucket
from stages.ground.errors import InputError

OTHERS = (
    "ds001761/sub-01/ses-01/func/sub-01_ses-01_task-faces_run-01_bold.nii.gz",
    "ds001761/sub-01/ses-01/func/sub-01_ses-01_task-loc_run-01_events.tsv",
    "ds001761/sub-02/ses-01/func/sub-02_ses-01_task-faces_run-01_events.tsv",
    "ds001761/stimuli/sub02/run01/F0000.jpg",
    "ds001761/stimuli/sub01/run01/",
    "ds001761/stimuli/placeholders/fixation.png",
    "ds001761/derivatives/sub-01/W_VAEGAN.mat",
    "ds001761/derivatives/sub-01/README.txt",
    "ds001761/dataset_description.json",
    "ds0017610/sub-01/ses-01/func/sub-01_ses-01_task-faces_run-01_events.tsv",
)


@pytest.fixture
def study(tmp_path):
    return Faces(tmp_path / "there", betas=False)


@pytest.fixture
def place(study, monkeypatch):
    """The bucket: pages of seven keys."""
    content = {f"ds001761/{file.relative_to(study.root).as_posix()}": file.read_bytes() for file in all_of(study.root)}
    there = Bucket(content | dict.fromkeys(OTHERS, b"of no use here"), keys_a_page=7)
    with serving(there) as address:
        monkeypatch.setattr(bucket, "OPENNEURO", f"{address}/openneuro.org")
        yield there


def all_of(folder):
    return sorted(file for file in folder.rglob("*") if file.is_file())


def test_what_is_read_comes_and_loads_as_it_was(study, place, tmp_path, capsys):
    folder = tmp_path / "copy \u00e9"
    line = ["data", "download", f"faces:{folder}", "--subject", "subj01"]
    assert run_command(line) == 0
    told = capsys.readouterr().out
    assert "Nothing was fetched" in told and "CC0" in told and "research that earns nothing" in told
    assert not place.lists and not place.fetched and not folder.exists()
    assert run_command([*line, "--agree"]) == 0
    names = {file.relative_to(folder) for file in all_of(folder)}
    assert names == {file.relative_to(study.root) for file in all_of(study.root)}
    assert len(place.lists) > 7 and all(query["list-type"] == "2" for query in place.lists)
    assert any("continuation-token" in query for query in place.lists)
    assert not set(place.fetched) & set(OTHERS)
    there, copy = load(f"faces:{study.root}"), load(f"faces:{folder}")
    assert there.fingerprint == copy.fingerprint
    np.testing.assert_array_equal(there.test.betas[:], copy.test.betas[:])
    # Asked for again, all is there.
    count = len(place.fetched)
    assert download("faces", folder, "sub-01") == [] and len(place.fetched) == count


def test_a_file_that_is_lost_is_fetched_again_alone(study, place, tmp_path):
    download("faces", tmp_path / "copy")
    lost = tmp_path / "copy" / "derivatives" / "sub-01" / "test_patterns.mat"
    lost.unlink()
    place.fetched.clear()
    download("faces", tmp_path / "copy")
    assert place.fetched == ["ds001761/derivatives/sub-01/test_patterns.mat"] and lost.is_file()


def test_results_that_are_not_there_are_named(place, tmp_path):
    del place.content["ds001761/derivatives/sub-01/img_pattern.mat"]
    absent = download("faces", tmp_path / "copy")
    assert absent == [tmp_path / "copy" / "derivatives" / "sub-01" / "img_pattern.mat"]
    assert "imagery" not in load(f"faces:{tmp_path / 'copy'}").splits


@pytest.mark.parametrize(
    ("lost", "told"),
    [
        ("/sub-01/", "lists no events of faces of sub-01 below ds001761/sub-01/"),
        ("ImageNames", "lists no names of pictures of sub-01"),
        ("stimuli/sub01", "lists no pictures of sub-01"),
        ("/ROI_|/test_|/img_", "lists no results of sub-01 below ds001761/derivatives/sub-01/"),
    ],
)
def test_a_bucket_without_a_part_is_one_sentence_and_nothing_comes(place, tmp_path, lost, told):
    place.content = {
        key: own
        for key, own in place.content.items()
        if not any(part in key for part in lost.split("|")) or key in OTHERS[4:5]
    }
    with pytest.raises(InputError, match=told) as caught:
        download("faces", tmp_path / "copy")
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert not place.fetched and not (tmp_path / "copy").exists()


def test_a_subject_that_is_not_there(place, tmp_path, capsys):
    assert run_command(["data", "download", f"faces:{tmp_path / 'copy'}", "--subject", "sub-07", "--agree"]) == 2
    assert "lists no events of faces of sub-07" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(InputError, match="'nobody' is no subject of ds001761; write sub-01"):
        download("faces", tmp_path / "copy", "nobody")


def test_a_name_that_leads_outside_is_refused(place, tmp_path):
    place.content["ds001761/sub-01/../../../sub-01_task-faces_run-01_events.tsv"] = b"bad"
    with pytest.raises(InputError, match=r"names a file 'sub-01/\.\./.*nothing of it was fetched"):
        download("faces", tmp_path / "copy")
    assert not place.fetched and not list(tmp_path.glob("*_events.tsv"))


def test_content_that_changed_on_its_way_is_refused(place, tmp_path, monkeypatch):
    monkeypatch.setattr(Bucket, "_sum", lambda self, key: "0" * 32)
    with pytest.raises(InputError, match="has the MD5 sum"):
        download("faces", tmp_path / "copy")


def test_files_say_where_each_is_fetched_from(study, place):
    rows = files("faces", study.root, "sub-01")
    assert all(
        row["address"] == f"{bucket.OPENNEURO}/ds001761/{row['path'].removeprefix(f'{study.root}/')}" for row in rows
    )
    # Of a further subject, which is still to come.
    others = files("faces", study.root, "2")
    assert any(row["path"].endswith("derivatives/sub-02/test_patterns.mat") for row in others)


def test_betas_of_one_s_own_are_fetched_from_nowhere(tmp_path):
    study = Faces(tmp_path / "own")
    rows = files("faces", study.root, "sub-01")
    own = [row for row in rows if "/betas/" in row["path"]]
    assert own and not any(row["address"] for row in own)


def test_terms_are_told():
    assert "CC0" in terms("faces") and terms("faces").endswith(".")
