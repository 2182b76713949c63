"""What a report says besides its scores: notes of the data, citations, and how the pictures were made."""

import pytest

from brainrecon.cli.main import run_command
from brainrecon.runs.run import Run
from brainrecon.runs.score import scores_file


@pytest.fixture(scope="module")
def reported(cohort, features, tmp_path_factory):
    """Folder of a run of a null on the simulated cohort, with its report."""
    folder = tmp_path_factory.mktemp("reported") / "run"
    line = ["run", "mean-image", f"nsd:{cohort}", "--out", str(folder), "--features", str(features)]
    assert run_command([*line, "--controls", "none", "--protocol", "miyawaki-2008"]) == 0
    return folder


@pytest.fixture(scope="module")
def page(reported):
    return (reported / "report.html").read_text(encoding="utf-8")


def test_the_report_shows_what_a_simulated_subject_says_of_itself(page):
    assert "simulated: a forward model made the responses" in page and "3 of 3 sessions found" in page


def test_the_report_cites_the_data_and_explains_the_method(page):
    assert "Allen" in page and "the average of all training pictures" in page.lower()


def test_all_pictures_are_written_when_asked_and_kept_up_to_date(reported, page, features):
    assert f"brainrecon report {reported} --all-pictures" in page and not (reported / "all-pictures").exists()
    assert run_command(["report", str(reported), "--features", str(features), "--all-pictures"]) == 0
    (only,) = (reported / "all-pictures").iterdir()
    assert only.read_text(encoding="utf-8").count('<section class="stimulus">') == 12
    assert 'href="all-pictures/1.html"' in (reported / "report.html").read_text(encoding="utf-8")
    # Of a larger test set, or damaged.
    only.write_text("old")
    (reported / "all-pictures" / "2.html").write_text("old")
    assert run_command(["report", str(reported), "--features", str(features)]) == 0
    assert [path.name for path in (reported / "all-pictures").iterdir()] == ["1.html"] and "old" != only.read_text()


def test_of_other_protocols_the_latest_is_shown_and_hidden_files_are_not(page, reported):
    assert (reported / "scores" / ".sealed.json").exists() and "sealed" not in page
    run = Run(reported)
    assert run.protocol != "miyawaki-2008" and scores_file(run) == reported / "scores" / "miyawaki-2008.json"
    assert run.scores.protocol.name == "miyawaki-2008"
