"""The leaderboard as a page, as Markdown and as a table of values."""

import json
from html.parser import HTMLParser

import pytest
from study_of_scores import HEADLINE, only, put, rows_of, scores_of

from brainrecon.report.leaderboard.collect import collect
from brainrecon.report.leaderboard.pages import COLUMNS, as_html, as_markdown
from brainrecon.report.leaderboard.write import write_leaderboard
from weights.partial_files import partial_name

HOSTILE = "<script>alert('x')</script> & | *b* `c`"


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("href", "src")]


def test_everything_from_outside_is_escaped(tmp_path):
    hostile = HOSTILE.replace("/", "")
    scores = scores_of(
        {"reconstruction": 0.9, HOSTILE: 0.5}, data={"roi": HOSTILE, "dataset": HOSTILE}, notes=(HOSTILE,)
    )
    place = put(tmp_path, hostile, HOSTILE.replace("/", ""), scores, roi="roi")
    (place / "report.html").write_text("")
    (place / "external.json").write_text(json.dumps({"name": HOSTILE, "images": 10}))
    leaderboard = collect(tmp_path)
    for html in (as_html(leaderboard), leaderboard._repr_html_()):
        page = Tags(html)
        assert "script" not in page.tags and "alert('x')" not in html
        assert "img" not in page.tags and "link" not in page.tags
        assert all(not address.startswith(("http", "javascript")) for address in page.addresses)
    text = as_markdown(leaderboard)
    assert "<script" not in text and "*b*" not in text.replace("\\*", "")
    widths = {line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("| ")}
    assert len(widths) == 1  # no name has added a column


def test_no_name_steers_a_terminal_starts_a_formula_or_ends_a_row(tmp_path):
    hostile = "=1+1\x1b[2J\u202ex\r\n| a |"
    scores = scores_of({"reconstruction": 0.9, hostile: 0.5}, data={"roi": "V1", "dataset": hostile}, notes=(hostile,))
    put(tmp_path, "=method", "@subject", scores, roi="roi")
    leaderboard = collect(tmp_path)
    text = as_markdown(leaderboard)
    assert all(one.isprintable() or one == "\n" for one in text) and "\\\\x1b" in text
    assert not any(line.startswith("| a |") for line in text.splitlines())
    rows = rows_of(leaderboard)
    assert {(row["method"], row["subject"]) for row in rows} <= {("'=method", "'@subject"), ("'=method", "all")}
    assert not any(str(value).startswith(("=", "@", "+")) for row in rows for value in row.values())
    assert all(float(row["mean"]) <= 1 for row in rows)


def test_links_lead_to_reports_beside_the_page(tmp_path):
    place = put(tmp_path, "method one", "subj01", scores_of({"reconstruction": 0.9}))
    assert Tags(as_html(collect(tmp_path))).addresses == []
    (place / "report.html").write_text("")
    assert Tags(as_html(collect(tmp_path))).addresses == ["method%20one/subj01/nsdgeneral/report.html"]
    assert Tags(collect(tmp_path)._repr_html_()).addresses == []  # a notebook lies somewhere else


def test_pictures_from_elsewhere_are_marked(tmp_path):
    put(tmp_path, "a", "subj01", scores_of({"reconstruction": 0.9}))
    place = put(tmp_path, "b", "subj01", scores_of({"reconstruction": 0.8}))
    (place / "external.json").write_text(json.dumps({"name": "their pictures", "images": 10}))
    leaderboard = collect(tmp_path)
    assert [entry.external for entry in only(leaderboard).entries] == [False, True]
    for text in (as_markdown(leaderboard), as_html(leaderboard)):
        assert "pictures from elsewhere: their pictures" in text


def test_simulated_responses_are_said_so_in_every_form(tmp_path):
    put(tmp_path, "a", "subj01", scores_of({"reconstruction": 0.9}, data={"simulated": True, "dataset": "nsd"}))
    leaderboard = collect(tmp_path)
    for text in (str(leaderboard), as_html(leaderboard), leaderboard._repr_html_()):
        assert "SIMULATED RESPONSES" in text and "simulated nsd" in text
    put(tmp_path, "a", "subj01", scores_of({"reconstruction": 0.9}))
    assert "imulated" not in as_html(collect(tmp_path)) + str(collect(tmp_path))


def test_csv_holds_every_mean_of_subjects_and_over_them(tmp_path):
    for subject, mean in (("subj01", 0.9), ("subj02", 0.7)):
        scores = scores_of({"reconstruction": mean, "stage_one": 0.5})
        put(tmp_path, 'a,"b"', subject, scores, heldout=scores_of({"reconstruction": mean - 0.1}))
    leaderboard = collect(tmp_path)
    rows = rows_of(leaderboard)
    assert tuple(rows[0]) == COLUMNS
    assert {(row["method"], row["roi"], row["metric"]) for row in rows} == {('a,"b"', "nsdgeneral", HEADLINE)}
    found = {(row["subject"], row["split"], row["condition"]): (row["n"], float(row["mean"])) for row in rows}
    assert found == {
        ("subj01", "standard", "reconstruction"): ("10", pytest.approx(0.9)),
        ("subj01", "standard", "stage_one"): ("10", pytest.approx(0.5)),
        ("subj01", "heldout", "reconstruction"): ("10", pytest.approx(0.8)),
        ("subj02", "standard", "reconstruction"): ("10", pytest.approx(0.7)),
        ("subj02", "standard", "stage_one"): ("10", pytest.approx(0.5)),
        ("subj02", "heldout", "reconstruction"): ("10", pytest.approx(0.6)),
        ("all", "standard", "reconstruction"): ("2", pytest.approx(0.8)),
        ("all", "standard", "stage_one"): ("2", pytest.approx(0.5)),
        ("all", "heldout", "reconstruction"): ("2", pytest.approx(0.7)),
    }


def test_the_same_scores_give_the_same_bytes(tmp_path):
    for subject in ("subj01", "subj02"):
        put(tmp_path, "a", subject, scores_of({"reconstruction": 0.9}))
        put(tmp_path, "b", subject, scores_of({"reconstruction": 0.8}))
    page = write_leaderboard(tmp_path)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert sorted(files) == ["leaderboard.csv", "leaderboard.html", "leaderboard.md"] and page.name in files
    # What another process writes beside it is no score yet.
    for scores in list(tmp_path.rglob("scores/*.json")):
        partial_name(scores).write_text("{")
    write_leaderboard(tmp_path)
    assert files == {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
