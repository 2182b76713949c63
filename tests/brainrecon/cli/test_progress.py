"""Progress as plain lines, with a clock of the test's own."""

import io

import pytest

from brainrecon.cli.progress import PlainLines, duration, rate, show_progress
from stages.ground.progress import remark


class Clock:
    """Seconds that pass only when the test says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lines(clock):
    stream = io.StringIO()
    progress = PlainLines(stream, clock)
    return progress, lambda: stream.getvalue().splitlines()


def advance(progress, clock, label, total, seconds_each, start=0):
    for done in range(start, total + 1):
        progress(label, done, total)
        clock.now += seconds_each


def test_fast_work_says_only_that_it_is_done(lines, clock):
    progress, said = lines
    advance(progress, clock, "encode", 100, 0.001)
    assert said() == ["encode: 100/100 (100 %), done in 0.1 s"]


def test_slow_work_speaks_each_tenth_with_the_time_left(lines, clock):
    progress, said = lines
    advance(progress, clock, "fit", 100, 1.0)
    assert len(said()) == 10
    assert said()[0] == "fit: 10/100 (10 %), 1/s, 1 min 30 s left"
    assert said()[-1] == "fit: 100/100 (100 %), done in 1 min 40 s"


def test_rates_have_few_digits():
    assert [rate(value) for value in (0.0031, 0.25, 1.0, 12.3, 5823.0, 1.2e6)] == [
        "0.0031/s",
        "0.25/s",
        "1/s",
        "12/s",
        "5,800/s",
        "1,200,000/s",
    ]


def test_lines_are_seconds_apart_even_when_tenths_pass_quickly(lines, clock):
    progress, said = lines
    advance(progress, clock, "fit", 10, 1.0)
    assert [line.split()[1] for line in said()] == ["3/10", "6/10", "9/10", "10/10"]


def test_resumed_work_estimates_from_what_it_did_itself(lines, clock):
    progress, said = lines
    advance(progress, clock, "fit", 100, 1.0, start=50)
    assert said()[0] == "fit: 60/100 (60 %), 1/s, 40 s left"


def test_a_finished_work_is_not_announced_twice_and_can_start_again(lines, clock):
    progress, said = lines
    for done in (0, 5, 5, 5, 0, 5):
        progress("read", done, 5)
        clock.now += 2.0
    assert said() == ["read: 5/5 (100 %), done in 2.0 s"]
    for done in (0, 1, 5):
        progress("read", done, 5)
        clock.now += 2.0
    assert said()[-1] == "read: 5/5 (100 %), done in 4.0 s"


def test_short_work_that_begins_with_every_picture_is_announced_once(lines, clock):
    progress, said = lines
    for _ in range(100):
        advance(progress, clock, "denoising", 17, 0.01)
    assert len(said()) == 1


def test_nothing_to_do_is_done(lines):
    progress, said = lines
    progress("read", 0, 0)
    assert said() == ["read: 0/0 (100 %), done in 0.0 s"]


def test_a_piped_stream_gets_plain_lines(capsys):
    with show_progress() as progress:
        progress("read", 3, 3)
    assert capsys.readouterr().err == "read: 3/3 (100 %), done in 0.0 s\n"


def test_a_terminal_gets_a_bar():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    with show_progress(stream) as progress:
        progress("read [all]", 1, 4)
        progress("read [all]", 4, 4)
        progress("read [all]", 0, 4)
        # What begins again has no second bar.
        assert len(progress._bars.tasks) == 1 and progress._bars.tasks[0].completed == 0
        progress("read [all]", 4, 4)
    assert "read [all]" in stream.getvalue() and "4/4" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (12.4, "12 s"),
        (59.7, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_duration(seconds, words):
    assert duration(seconds) == words


def test_long_work_is_heard_of_every_minute_and_work_in_one_piece_when_it_begins():
    now, stream = [0.0], io.StringIO()
    lines = PlainLines(stream, clock=lambda: now[0])
    lines("loading", 0, 1)
    assert stream.getvalue() == "loading: 0/1 (0 %), begun\n"
    lines("denoising", 0, 36_334)
    # Far from a tenth of the work; the first minute has not passed, then it has.
    for seconds, steps in ((20, 1), (61, 3), (90, 4)):
        now[0] = float(seconds)
        lines("denoising", steps, 36_334)
    assert stream.getvalue().splitlines()[1:] == ["denoising: 3/36334 (0 %), 0.049/s, 205 h 12 min left"]


def test_a_remark_stands_at_the_end_of_its_own_work_and_is_no_work_of_its_own(lines, clock):
    progress, said = lines
    remark(progress, "training", "loss 0.412")
    for done in range(5):
        progress("encode", done, 4)
        progress("training", done, 4)
        clock.now += 10
    assert said()[-2:] == ["encode: 4/4 (100 %), done in 40 s", "training: 4/4 (100 %), done in 40 s; loss 0.412"]
    assert "training: 1/4 (25 %), 0.1/s, 30 s left; loss 0.412" in said()
    # Another training of the same label begins without the words of the one before, until it has its own.
    remark(progress, "training", "")
    progress("training", 0, 1)
    progress("training", 1, 1)
    assert said()[-1] == "training: 1/1 (100 %), done in 0.0 s"


def test_a_remark_steers_no_terminal(lines):
    progress, said = lines
    remark(progress, "training", "loss \x1b[31m\n9")
    progress("training", 1, 1)
    assert len(said()) == 1 and "\x1b" not in said()[0]


def test_a_bar_shows_remarks(monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    with show_progress(stream) as progress:
        remark(progress, "training", "loss [0.412]")
        progress("training", 3, 4)
        progress("reading", 1, 4)
    assert "loss [0.412]" in stream.getvalue() and "3/4" in stream.getvalue()
