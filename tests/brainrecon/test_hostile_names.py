"""Names and notes from data: what they do to a terminal, a table, a page and a spreadsheet, in every place they are shown."""

import csv
import io
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest

import brainrecon
from brainrecon.cli.console import one_line
from brainrecon.cli.main import run_command
from brainrecon.datasets.arrays.writing import write_template
from brainrecon.runs.array_files import write_arrays
from stages.ground.visible_text import visible

STEERING = "\x1b[2J\x1b]0;title\x07\u202egnp.exe\u2066\x9b31m\r\x08\u200b\u2028"
FORMULA = "=1+cmd(A0)"


def steers(text):
    """Whether a terminal would do anything but show a text."""
    return any(not one.isprintable() and one not in "\n\t" for one in text)


def test_every_character_that_is_no_letter_or_sign_is_shown_as_its_code():
    assert not steers(visible(STEERING)) and "\\x1b" in visible(STEERING) and "\\u202e" in visible(STEERING)
    for number in range(0x110000):
        character = chr(number)
        if not visible(character).isprintable() and character not in "\n\t\u200c\u200d":
            # Unassigned and private ones, blanks, and halves of pairs, which no stream takes, steer nothing.
            assert unicodedata.category(character) in ("Cn", "Co", "Cs", "Zs")
    assert visible("Zürich, 日本, naïve – ok 🧠") == "Zürich, 日本, naïve – ok 🧠"
    assert one_line("a\nnote: forged") == "a\\nnote: forged"


@pytest.fixture
def hostile(tmp_path):
    """Arrays whose notes, regions, stimuli and captions want to be more than text."""
    write_template(tmp_path / "mine")
    facts = json.loads((tmp_path / "mine/subject.json").read_text())
    notes = [f"{STEERING} first\nnote: forged", "<script>alert(1)</script>"]
    (tmp_path / "mine/subject.json").write_text(json.dumps(facts | {"notes": notes, "dataset": f"arr{STEERING}"}))
    for name in ("trials.csv", "captions.json"):
        path = tmp_path / "mine/test" / name
        path.write_text(path.read_text().replace("test000", FORMULA))
    return tmp_path / "mine"


def test_data_info_steers_no_terminal_and_forges_no_line(hostile, capsys):
    assert run_command(["data", "info", f"arrays:{hostile}"]) == 0
    shown = capsys.readouterr()
    assert not steers(shown.out + shown.err) and "\\x1b[2J" in shown.out
    assert not any(line.startswith("note: forged") for line in shown.out.splitlines())


def test_an_error_with_a_name_from_data_steers_no_terminal(hostile, capsys):
    assert run_command(["data", "info", f"arrays:{hostile}", "--roi", f"V1{STEERING}"]) == 2
    told = capsys.readouterr().err
    assert not steers(told) and len(told.splitlines()) == 1


@pytest.mark.parametrize("kind", ["Remark", "RuntimeWarning"])
def test_warnings_of_the_command_steer_no_terminal(kind):
    code = (
        "import warnings, sys\nfrom brainrecon.cli.console import plain_remarks\nfrom weights.remark import Remark\n"
        f"with plain_remarks(): warnings.warn(sys.argv[1], {kind}, stacklevel=1)"
    )
    ended = subprocess.run([sys.executable, "-c", code, f"a{STEERING}\nb"], capture_output=True, text=True, check=False)
    assert "a\\x1b" in ended.stderr and not steers(ended.stderr)
    assert kind != "Remark" or len(ended.stderr.splitlines()) == 1


def test_a_stimulus_that_looks_like_a_formula_is_text_in_every_table_and_comes_back(hostile, tmp_path):
    assert FORMULA in brainrecon.load(f"arrays:{hostile}").test.stimulus_ids
    assert run_command(["data", "prepare", f"arrays:{hostile}", "--out", str(tmp_path / "out")]) == 0
    rows = list(csv.reader(io.StringIO((tmp_path / "out/test/trials.csv").read_text())))
    assert f"'{FORMULA}" in [row[0] for row in rows] and not any(cell.startswith("=") for row in rows for cell in row)
    prepared = brainrecon.load(f"arrays:{tmp_path / 'out'}")
    assert prepared.test.stimulus_ids.tolist() == brainrecon.load(f"arrays:{hostile}").test.stimulus_ids.tolist()
    write_arrays(tmp_path / "new.csv", {"=a": np.array([[-0.5, 1], [2, 3]])}, [FORMULA, "-1"])
    rows = list(csv.reader(io.StringIO((tmp_path / "new.csv").read_text())))
    assert rows[0][1:] == ["'=a.0", "'=a.1"] and [row[0] for row in rows[1:]] == [f"'{FORMULA}", "-1"]
    assert rows[1][1] == "-0.5"


def _files_with(folder, word):
    return sorted(
        str(path.relative_to(folder))
        for path in Path(folder).rglob("*")
        if path.is_file() and word.encode() in path.read_bytes()
    )


@pytest.mark.parametrize("typed", [pytest.param("relative", marks=pytest.mark.slow), "absolute"])
def test_what_a_run_leaves_holds_no_home_and_no_name_of_a_user(tmp_path, typed):
    """The configuration alone says where the data are, so that the run can be gone on with."""
    home = tmp_path / "zaphod-beeblebrox"
    (home / "study").mkdir(parents=True)
    write_template(home / "study/mine")
    place = "" if typed == "relative" else f"{home}/study/"
    environment = os.environ | {
        **dict.fromkeys(("USER", "LOGNAME", "USERNAME"), "zaphod"),
        "HOME": str(home),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "XDG_CACHE_HOME": str(home / ".cache"),
    }
    line = ["run", "mean-image", f"arrays:{place}mine", "--out", f"{place}runs/one", "--controls", "none"]
    command = [sys.executable, "-m", "brainrecon", *line]
    ended = subprocess.run(command, cwd=home / "study", env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    report = home / "study/runs/one/report.html"
    # The folder of the run as it was typed is part of a line to type.
    report.write_text(report.read_text().replace(f"{place}runs/one", "RUN"))
    assert _files_with(home / "study/runs/one", "zaphod") == ["config.toml"]
