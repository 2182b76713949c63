"""Rows that say what they learn from: fewer sessions, other subjects first or together; what comes before is made once."""

import re
import shutil

import pytest
from painter import (
    LearnColourOfMany,
    register_painters,
)

from brainrecon.cli.main import run_command
from brainrecon.report.leaderboard.collect import collect
from brainrecon.runs.config import RunConfig
from brainrecon.studies.benchmark import cell_folder, config_of
from brainrecon.studies.plan import Plan, make_plan
from brainrecon.studies.row_data import by_sessions, with_others
from stages.ground.errors import InputError


@pytest.fixture(scope="module")
def place(three_subjects, tmp_path_factory):
    """A folder in which `nsd` is a simulated cohort of three."""
    folder = tmp_path_factory.mktemp("hours")
    (folder / "nsd").symlink_to(three_subjects, target_is_directory=True)
    return folder


@pytest.fixture(autouse=True)
def painters(place, monkeypatch):
    register_painters(monkeypatch)
    monkeypatch.chdir(place)
    monkeypatch.setenv("BRAINRECON_FEATURES", str(place / "features"))
    shutil.rmtree(place / "bench", ignore_errors=True)


def bench(line):
    return run_command(["benchmark", *line.split(), "--out", "bench"])


QUICK = "--controls shuffled_responses --protocols brainrecon-1"
LABELS = [f"many-painter, {n}, {how}" for n in ("1 session", "2 sessions") for how in ("others first", "alone")]


def test_few_hours_of_a_new_subject(place, capsys):
    line = f"nsd:nsd --preset few-hours --methods many-painter,painter --subjects subj03 {QUICK}"
    # What comes before both rows with others is told once.
    assert bench(f"{line} --plan") == 0
    told = capsys.readouterr().out
    assert told.count("once, many-painter subj03 before subj03: encoding") == 1 and told.count("before subj03") == 2
    assert not (place / "bench").exists()
    assert bench(line) == 0
    plan = Plan.read("bench")
    alone = [f"painter, {n}, alone" for n in ("1 session", "2 sessions")]
    assert list(plan.methods) == [*LABELS, *alone] and plan.cohort == ("subj01", "subj02", "subj03")
    assert plan.heldout == "" and plan.preset == "few-hours"
    # Others are learned from once, for both rows that have them before.
    assert LearnColourOfMany.fitted == [("subj01", "subj02"), *[("subj03",)] * 4]
    configs = [RunConfig.read(cell_folder("bench", name, "subj03", None) / "config.toml") for name in LABELS]
    before = place / "bench" / "pretraining" / "many-painter" / "subj03" / "default"
    assert [one.pretrained for one in configs] == [str(before), None, str(before), None]
    assert [(one.data.subjects, one.data.sessions) for one in configs[:2]] == [(("subj01", "subj02"), 1), (None, 1)]
    board = collect("bench").boards[0]
    (block,) = board.blocks
    assert {entry.method for entry in block.entries} == set(plan.methods)
    data = {entry.method: entry.cells[0].scores.data for entry in block.entries}
    assert data[LABELS[0]]["others_first"] == "subj01, subj02" and "others_first" not in data[LABELS[1]]
    # The same line again, and the folder alone, compute nothing.
    capsys.readouterr()
    for again in (line, ""):
        assert bench(again) == 0
        assert "0 of 6 cells were computed" in capsys.readouterr().out
    assert len(LearnColourOfMany.fitted) == 5
    # A folder that was moved goes on, and a method may be added.
    shutil.move("bench", "elsewhere")
    shutil.rmtree(cell_folder("elsewhere", LABELS[2], "subj03", None) / "decoder")
    try:
        assert run_command(["benchmark", "--out", "elsewhere"]) == 0
        assert len(LearnColourOfMany.fitted) == 6 and not (place / "bench").exists()
    finally:
        shutil.rmtree("elsewhere")


def test_others_come_first_unless_somebody_says_otherwise(place, capsys):
    assert bench(f"nsd:nsd --methods many-painter --subjects subj02 {QUICK} --heldout none --plan") == 0
    assert "subj01, subj02, subj03, the tested one aside" in capsys.readouterr().out
    assert bench(f"nsd:nsd --methods many-painter,painter --subjects subj02 {QUICK} --heldout none") == 0
    assert LearnColourOfMany.fitted == [("subj01", "subj03"), ("subj02",)]
    shutil.rmtree("bench")
    assert bench(f"nsd:nsd --methods many-painter --subjects subj02 --others subj03 {QUICK} --heldout none") == 0
    assert LearnColourOfMany.fitted[2:] == [("subj03",), ("subj02",)]
    shutil.rmtree("bench")
    assert bench(f"nsd:nsd --methods many-painter --subjects subj02 --others none {QUICK} --heldout none") == 0
    assert LearnColourOfMany.fitted[4:] == [("subj02",)]
    assert "others" not in Plan.read("bench").methods["many-painter"]


def test_a_held_out_split_has_others_before_it_that_do_not_know_it(place):
    rows = {"m": {"method": "many-painter", "others": "pretrained", "settings": {}}}
    plan = make_plan("nsd:nsd", rows, ["subj01"], heldout="category:digit")
    cell = plan.cells()[0]
    own, heldout = (config_of("bench", plan, cell, split).pretrained for split in (None, plan.heldout))
    assert own == str(place / "bench/pretraining/many-painter/subj01/default") and heldout == f"{own}/heldout"
    assert config_of("bench", Plan("nsd:nsd", rows, ("subj01",), folds=3, cohort=("subj02",)), cell).pretrained is None


def test_learned_from_together_all_are_tested_in_one_cell(place, capsys):
    (place / "joint.toml").write_text('method = "many-painter"\nothers = "together"\n')
    assert bench(f"nsd:nsd --methods joint.toml,painter {QUICK} --heldout none") == 0
    assert LearnColourOfMany.fitted == [("subj01", "subj02", "subj03")]
    assert "4 of 4 cells were computed" in capsys.readouterr().out
    (block,) = collect("bench").boards[0].blocks
    found = {entry.method: sorted(entry.subjects) for entry in block.entries}
    assert found == dict.fromkeys(("joint", "painter"), ["subj01", "subj02", "subj03"])
    assert not collect("bench").missing
    page = (cell_folder("bench", "joint", "subj01", None) / "report.html").read_text()
    (section,) = re.findall(r'<section id="splits">.*?</section>', page, re.DOTALL)
    assert "Subjects side by side" in section and "All were tested on the same 8 stimuli" in section
    assert "Split" not in section.replace("splits", "")
    shared = section[section.index("The same pictures from every subject") : section.index('<h3 id="split-1')]
    assert re.findall(r'<th scope="col" class="[a-z]*" title="">([^<]+)</th>', shared) == ["subj01", "subj02", "subj03"]
    assert shared.count('<td class="shown">') == 8
    assert bench("") == 0 and "0 of 4 cells were computed" in capsys.readouterr().out


def test_rows_of_other_settings_have_runs_of_their_own_before(place):
    own = {"method": "many-painter", "others": "pretrained"}
    rows = {
        "a": own | {"settings": {}},
        "b": own | {"settings": {"penalty": 3.0}},
        "c": own | {"sessions": 1, "settings": {}},
    }
    plan = make_plan("nsd:nsd", rows, ["subj01"], heldout="")
    assert [plan.pretraining_of(name) for name in rows] == ["many-painter", "many-painter 2", "many-painter"]
    # A plan of which no row had others takes some in.
    alone = make_plan("nsd:nsd", {"x": {"method": "painter", "settings": {}}}, ["subj01"], heldout="")
    assert alone.cohort == ()
    assert alone.extended(methods=rows).cohort == ("subj01", "subj02", "subj03")


def test_subjects_on_the_screen(place, capsys):
    assert run_command(["data", "info", "nsd:nsd"]) == 0
    assert "this is subj01; 8 stimuli were seen by all 3" in capsys.readouterr().out
    line = f"run many-painter nsd:nsd --subjects 1,2 {QUICK.replace('protocols', 'protocol')} --out bench"
    assert run_command(line.split()) == 0
    out = capsys.readouterr().out
    assert re.search(r"^score of subj01 +Reconstruction", out, re.MULTILINE)
    assert re.search(r"^score of the method +subj01 +subj02", out, re.MULTILINE)


def test_what_was_released_stands_in_place_of_others():
    rows = with_others({"m": {"method": "many-painter", "pretrained": "released", "settings": {}}}, "pretrained")
    assert "others" not in rows["m"]
    made = by_sessions(rows, [1])
    assert {name: values.get("pretrained") for name, values in made.items()} == {
        "m, 1 session, others first": "released",
        "m, 1 session, alone": None,
    }


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"method": "painter", "others": "pretrained"}, "others = 'pretrained' but painter learns from one"),
        ({"method": "reference-painter", "others": "together"}, "has one of them before a new one"),
        ({"method": "many-painter", "others": "first"}, "expected 'pretrained' or 'together'"),
        ({"method": "many-painter", "others": "together", "pretrained": "x"}, "leave one out"),
        ({"method": "many-painter", "sessions": 0}, "sessions = 0; expected how many"),
        ({"method": "many-painter", "sessions": 4}, "4 sessions but subj01 has training trials in 3"),
    ],
)
def test_rows_that_cannot_be(row, message, place):
    with pytest.raises(InputError, match=message):
        make_plan("nsd:nsd", {"row": row | {"settings": {}}}, ["subj01"], heldout="")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--methods painter --hours 1", "pass --preset few-hours"),
        ("--methods painter --preset few-hours --hours 1,2 --sessions 1", "Both --sessions 1 and --hours 1,2"),
        ("--methods painter --preset few-hours --hours 0.5", "0.5 sessions of 1 hours"),
        ("--methods painter --preset few-hours --sessions few", "--sessions got 'few'"),
        ("--methods painter --preset few-hours --sessions 1,40", "40 sessions but subj01 has training trials in 3"),
        ("--preset few-hours", "needs methods"),
        ("--preset gan-ablation --sessions 1", "has no rows by sessions"),
        ("--methods reference-painter,painter --split shared:0.5", "Row painter learns from one subject alone"),
        ("--methods many-painter --others subj09", "no subject 'subj09'"),
        ("--methods many-painter --subjects subj01 --others subj01", "beside subj01 but there are none"),
    ],
)
def test_lines_that_are_refused(line, message, place, capsys):
    assert bench(f"nsd:nsd {line}") == 2
    assert message in capsys.readouterr().err
    assert not (place / "bench").exists()
