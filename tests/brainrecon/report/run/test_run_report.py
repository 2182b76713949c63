"""What a report says besides its scores: notes of the data, citations, and how the pictures were made."""

import pytest

from brainrecon.cli.main import run_command


@pytest.fixture(scope="module")
def page(cohort, features, tmp_path_factory):
    """The report of a null on the simulated cohort."""
    folder = tmp_path_factory.mktemp("reported") / "run"
    line = ["run", "mean-image", f"nsd:{cohort}", "--out", str(folder), "--features", str(features)]
    assert run_command([*line, "--controls", "none", "--protocol", "miyawaki-2008"]) == 0
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_report_shows_what_a_simulated_subject_says_of_itself(page):
    assert "simulated: a forward model made the responses" in page and "3 of 3 sessions found" in page


def test_the_report_cites_the_data_and_explains_the_method(page):
    assert "Allen" in page and "the average of all training pictures" in page.lower()
