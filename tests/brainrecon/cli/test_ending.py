"""A command that a scheduler ends, or Ctrl-C does, says how to go on, and goes on."""

import os
import shlex
import signal
import threading
import time

import pytest
from interruption import COMMAND_LINE
from warm_processes import started

from brainrecon.cli.ending import terminated_like_interrupted
from brainrecon.cli.main import run_command


@pytest.mark.parametrize("sent, code, word", [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "Interrupted")])
def test_what_is_finished_is_kept_and_the_line_that_goes_on_is_printed(cohort, tmp_path, sent, code, word):
    out = tmp_path / "my run"
    line = ["run", "ridge-to-pixels", f"nsd:{cohort}", "--out", str(out), "--features", str(tmp_path / "features")]
    (file := tmp_path / "told").touch()
    process = started(COMMAND_LINE, *line, told=file)
    deadline = time.monotonic() + 300
    while not list(out.glob("images/stim*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(sent)
    ended, told = process.wait(300), file.read_text()
    assert ended == code, told
    *_, before, last = told.splitlines()
    assert word in before and before.endswith("what is finished is kept. Go on with:")
    assert shlex.split(last) == ["brainrecon", *line]
    kept = {path: path.stat().st_mtime_ns for path in out.glob("images/*.png")}
    assert kept and not list(out.rglob(".partial-*"))
    assert run_command(line) == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert (out / "report.html").exists()


def test_a_process_that_is_made_within_ends_at_once():
    with terminated_like_interrupted() as received:
        child = os.fork()
        if not child:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(60)
            finally:
                os._exit(7)
        _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM and not received
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_who_handles_the_signal_already_goes_on_handling_it(monkeypatch):
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with terminated_like_interrupted():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_thread_sets_no_signal():
    found = []

    def work():
        with terminated_like_interrupted():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert found == [signal.getsignal(signal.SIGTERM)]
