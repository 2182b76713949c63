"""Every verb that prints writes to a pipe of any encoding: the same words, without a traceback, whatever the encoding lacks."""

import io
import re
from pathlib import Path

import pytest

from brainrecon.cli.console import be_lenient
from brainrecon.cli.main import main, run_command
from brainrecon.cli.on_cluster import show_outcomes
from brainrecon.studies.draining import Cell, Outcome

VERBS = Path(__file__).parents[3] / "brainrecon" / "cli"

# A line of each verb that prints a table, and of those that print anything else of what was computed.
LINES = {
    "help": ["--help"],
    "help of a verb": ["run", "--help"],
    "methods": ["methods"],
    "a method": ["methods", "brain-diffuser"],
    "weights": ["weights", "list"],
    "verify": ["weights", "verify", "tiny-clip"],
    "data files": ["data", "files", "nsd", "--subject", "subj01"],
    "data info": ["data", "info", "DATA"],
    "plan of a run": ["run", "brain-diffuser", "DATA", "--weights", "tiny", "--plan", "--out", "NEW"],
    "plan of a benchmark": ["benchmark", "DATA", "--methods", "noise,mean-image", "--plan", "--out", "NEW"],
    "evaluate": ["evaluate", "RUN", "--features", "FEATURES"],
    "report": ["report", "RUN", "--features", "FEATURES"],
    "benchmark": ["benchmark", "--out", "BENCH", "--features", "FEATURES"],
    "trace": ["trace", "RUN", "STIMULUS", "--features", "FEATURES"],
    "simulate": ["simulate", "NEW", "--sessions", "2", "--trials-per-session", "42", "--shared", "6", "--voxels", "200"],
    "an error": ["data", "info", "nsd:/nowhere/caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{MINUS SIGN}1"],
}  # fmt: skip

# Of the first see test_a_table_of_cells_writes_to_any_encoding.
TABLES = {"on_cluster", "boards", "data", "methods", "plan_table", "score_tables", "weights"}


@pytest.fixture(scope="module")
def places(cohort, features, tmp_path_factory):
    """A benchmark of one run, in whose names are letters that not every encoding has."""
    folder = tmp_path_factory.mktemp("caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{GREEK SMALL LETTER ALPHA}")
    bench, data = folder / "bench", f"nsd:{cohort}"
    line = ["benchmark", data, "--methods", "ridge-to-pixels,mean-image", "--controls", "shuffled_responses"]
    line += ["--heldout", "", "--rois", "V1,nsdgeneral", "--features", features, "--out", bench]
    assert run_command([str(part) for part in line]) == 0
    run = bench / "ridge-to-pixels" / "subj01" / "V1"
    stimulus = next((run / "images").glob("stim-*.png")).name.removeprefix("stim-").split("_")[0]
    return {"DATA": data, "RUN": run, "BENCH": bench, "FEATURES": features, "STIMULUS": stimulus}


def printed(monkeypatch, line, encoding):
    """(exit code, standard output, standard error) of a line whose two pipes have this encoding."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    with monkeypatch.context() as patched:
        for name, stream in zip(("stdout", "stderr"), streams, strict=True):
            patched.setattr(f"sys.{name}", stream)
        with pytest.raises(SystemExit) as ended:
            main([str(part) for part in line])
        for stream in streams:
            stream.flush()
    return ended.value.code, *(stream.buffer.getvalue().decode(encoding) for stream in streams)


def words(text):
    """Words of a text of letters that every encoding has, without what differs from one run of a line to the next."""
    return re.findall(r"\b[A-Za-z]{3,}\b", text)


def test_every_module_that_prints_tables_is_tried():
    found = {
        path.stem for path in VERBS.glob("*.py") if re.search(r"console import .*\b(table|numbers)\b", path.read_text())
    }
    assert found == TABLES


@pytest.mark.parametrize("verb", LINES)
def test_a_verb_writes_to_any_encoding(verb, places, tmp_path, monkeypatch):
    texts = {}
    for encoding in ("cp1252", "ascii"):
        new = tmp_path / encoding / "new"
        new.parent.mkdir()
        code, *both = printed(monkeypatch, [{**places, "NEW": new}.get(part, part) for part in LINES[verb]], encoding)
        assert code == (2 if verb == "an error" else 0), both
        assert not re.search("Traceback|Unexpected|codec", both[1])
        texts[encoding] = both[verb == "an error"].replace(str(new.parent), "")
    # One has the accent of the folder's name, the other writes the letter without it; neither has the Greek one.
    assert words(texts["cp1252"].replace("caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe")) == words(texts["ascii"])
    assert len(words(texts["ascii"])) >= 3


def test_a_table_of_cells_writes_to_any_encoding(monkeypatch):
    cell = Cell("ridge/caf\N{LATIN SMALL LETTER E WITH ACUTE}/\N{GREEK SMALL LETTER ALPHA}", "platform:node", {})
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    be_lenient()
    show_outcomes([Outcome(cell, "failed", 2, 1.5, "log", "there are 3 \N{MINUS SIGN} 1")])
    stream.flush()
    text = stream.buffer.getvalue().decode("ascii")
    assert {"cell", "failed", "ridge", "cafe", "there"} <= set(words(text))


def test_scores_in_ascii_have_their_signs(places, monkeypatch):
    _, out, _ = printed(monkeypatch, ["evaluate", places["RUN"], "--features", places["FEATURES"]], "ascii")
    assert re.search(r"\d\.\d\d\d \+-0\.\d\d\d", out) and "?" not in out.split("data:")[0]
