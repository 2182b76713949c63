"""A print ends no work: what an encoding lacks is written otherwise, and a stream that is gone is let go."""

import io
import subprocess
import sys

import pytest

from brainrecon.cli import console

PRINTS = "from brainrecon.cli.console import be_lenient, say, note; be_lenient(); "


def printed(text, encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="plainer")
    console.write_line(text, stream)
    return stream.buffer.getvalue().decode(encoding).rstrip("\n")


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        (
            "utf-8",
            "\N{MINUS SIGN}0.3 ±0.1 \N{EN DASH} caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{BLACK UP-POINTING TRIANGLE}",
        ),
        ("cp1252", "-0.3 ±0.1 \N{EN DASH} caf\N{LATIN SMALL LETTER E WITH ACUTE} ?"),
        ("ascii", "-0.3 +-0.1 - cafe ?"),
    ],
)
def test_what_an_encoding_lacks_is_written_otherwise(encoding, expected):
    text = "\N{MINUS SIGN}0.3 ±0.1 \N{EN DASH} caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{BLACK UP-POINTING TRIANGLE}"
    assert printed(text, encoding) == expected


def test_a_file_name_that_is_no_text_is_printed():
    assert printed("folder\udcff", "utf-8") == "folder?"


def test_the_command_line_writes_to_any_encoding(monkeypatch):
    program = PRINTS + "say('\\N{MINUS SIGN}1'); note('\\N{MINUS SIGN}2')"
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True)
    assert (done.returncode, done.stdout.strip(), done.stderr.strip()) == (0, b"-1", b"-2")


def test_work_goes_on_when_nobody_reads_any_more(tmp_path):
    program = PRINTS + f"[say('x' * 9999) for _ in range(99)]; open({str(tmp_path / 'done')!r}, 'w').close()"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (0, b"")
    assert (tmp_path / "done").exists()


def test_others_than_the_first_are_heard_in_need_alone(monkeypatch, capsys):
    monkeypatch.setattr(console, "_SECONDS_FOR_THE_FIRST", 0.0)
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "3")
    with console.one_voice():
        console.say("a result")
        console.note("a remark")
        monkeypatch.setattr(sys, "__stderr__", io.StringIO())
        console.say_in_need("there is no room.")
        told = sys.__stderr__.getvalue()
    assert capsys.readouterr() == ("", "") and told == "Process 3: there is no room.\n"
    monkeypatch.setenv("RANK", "0")
    with console.one_voice():
        console.say("a result")
    assert capsys.readouterr().out == "a result\n"
