"""Some of NSD's sessions, and the list of all that there are before anything is on disk."""

import pytest

from brainrecon.cli.main import run_command
from brainrecon.datasets import download as downloads
from brainrecon.datasets import inventory, load
from brainrecon.datasets.nsd.sessions import PUBLISHED, in_words, read_sessions
from brainrecon.runs.run import Run
from stages.ground.errors import InputError


@pytest.mark.parametrize(
    ("wanted", "sessions"),
    [("1-37", list(range(1, 38))), (" 2 , 5 - 6,1", [1, 2, 5, 6]), (40, [40]), ([3, 1, 3], [1, 3]), (None, None)],
)
def test_sessions_are_read(wanted, sessions):
    assert read_sessions(wanted) == sessions and (sessions is None or read_sessions(in_words(sessions)) == sessions)


@pytest.mark.parametrize(
    "wanted", ["0", "0-3", "5-4", "", "a", "1-", "-1", "1;2", [], [0], True, 1.5, "9999", {"a": 1}]
)
def test_what_names_no_sessions_is_refused(wanted):
    with pytest.raises(InputError, match="sessions is .* write sessions=1-37"):
        read_sessions(wanted)


@pytest.mark.parametrize("subject", PUBLISHED)
def test_all_sessions_are_listed_from_nothing_with_sizes_and_addresses(subject, tmp_path):
    rows = inventory.files("nsd", tmp_path, subject, betas="b3")
    betas = [row for row in rows if row["what"].startswith("betas of session")]
    # NSD data manual: sessions by subject; the released volumes are int16, 750 a session.
    assert len(betas) == dict(zip(PUBLISHED, [40, 40, 32, 30, 40, 32, 40, 30]))[subject]
    if subject == "subj01":
        assert {row["largest"] for row in betas} == {81 * 104 * 83 * 750 * 2}
    bucket = "https://natural-scenes-dataset.s3.amazonaws.com/"
    for row in rows:
        assert (
            row["address"] == bucket + row["path"].removeprefix(f"{tmp_path}/") or "cocodataset.org" in row["address"]
        )
    (pictures,) = (row for row in rows if row["path"].endswith("nsd_stimuli.hdf5"))
    assert pictures["largest"] == 73_000 * 425 * 425 * 3


def test_a_choice_of_sessions_without_the_pictures(tmp_path):
    rows = inventory.files("nsd", tmp_path, "subj01", sessions="1-3,40", pictures=False)
    betas = [row["what"] for row in rows if row["what"].startswith("betas")]
    assert betas == [f"betas of session {session}" for session in (1, 2, 3, 40)]
    assert not [row for row in rows if "nsd_stimuli" in row["path"]]


def test_a_download_without_consent_is_a_plan(tmp_path, capsys):
    line = ["data", "download", f"nsd:{tmp_path / 'new'}", "--subject", "subj01", "--betas", "b3"]
    assert run_command(line) == 0
    text = capsys.readouterr().out
    assert text.count("betas_session") == 40 and "up to 1.0 GB" in text and "to come: up to 81.5 GB in 66 files" in text
    assert "Terms and Conditions" in text and "Nothing was fetched" in text and "free at" in text
    assert not (tmp_path / "new").exists()
    assert run_command([*line, "--option", "sessions=1-2", "--option", "pictures=false"]) == 0
    assert capsys.readouterr().out.count("betas_session") == 2


def test_the_disk_is_looked_at_before_anything_is_fetched(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(downloads, "free_bytes", lambda folder: 50 * 10**9)
    monkeypatch.setattr("brainrecon.datasets.nsd.listing._fetch", lambda layout, file, progress: None)
    line = ["data", "download", f"nsd:{tmp_path / 'new'}", "--subject", "subj01", "--agree"]
    assert run_command(line) == 2
    told = capsys.readouterr().err
    assert "Up to 81.5 GB are to come and 50.0 GB are free" in told and "--option sessions=1-10" in told
    monkeypatch.setattr("brainrecon.datasets.coco.fetch_annotations", lambda paths, progress: None)
    assert run_command([*line, "--option", "sessions=1-5"]) == 0


def test_a_choice_of_sessions_is_loaded_and_recorded(nsd):
    whole, one = load(f"nsd:{nsd.root}"), load(f"nsd:{nsd.root}", sessions="1,3")
    assert one.details["sessions"] == [1, 3] and set(one.train.sessions) <= {1, 3}
    rows = [row for row, session in enumerate(whole.train.sessions) if session in (1, 3)]
    assert one.train.trial_stimulus_ids.tolist() == whole.train.trial_stimulus_ids[rows].tolist()
    assert (one.train.betas[:] == whole.train.betas[rows]).all()
    assert "sessions 1, 3 are used, as was asked" in one.notes
    with pytest.raises(InputError, match="lacks session 4-9 of those asked for"):
        load(f"nsd:{nsd.root}", sessions="3-9")
    assert load(f"nsd:{nsd.root}", pictures=False).train.images is None


@pytest.mark.parametrize(("text", "sessions"), [("1-2", [1, 2]), ("2", [2]), ("1,3", [1, 3]), ("[1, 3]", [1, 3])])
def test_a_run_takes_them_however_they_are_typed(nsd, text, sessions, tmp_path):
    line = ["fit", "mean-image", f"nsd:{nsd.root}", "--option", f"sessions={text}", "--out", str(tmp_path / "run")]
    assert run_command(line) == 0 and run_command(line) == 0
    assert Run(tmp_path / "run").subject.details["sessions"] == sessions
