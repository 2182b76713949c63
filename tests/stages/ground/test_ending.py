"""Signals wait for the part of work that is under way, and no longer."""

import os
import signal
import threading
import time

import pytest

from stages.ground.ending import finished_first
from weights.remark import Remark


@pytest.fixture(autouse=True)
def handlers():
    """As in a program that was started from a terminal; they are as before afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_part_is_finished_and_no_other_begins():
    done = []
    with pytest.warns(Remark, match="Ending when this row is done"), pytest.raises(KeyboardInterrupt):
        for row in range(5):
            with finished_first("row") as part:
                assert not part.is_last
                if row == 2:
                    signal.raise_signal(signal.SIGINT)
                    assert part.is_last
                done.append(row)
    assert done == [0, 1, 2]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_one_acts_at_once():
    done = []
    with pytest.warns(Remark), pytest.raises(KeyboardInterrupt), finished_first():
        signal.raise_signal(signal.SIGINT)
        done.append("first")
        signal.raise_signal(signal.SIGINT)
        done.append("second")
    assert done == ["first"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_between_two_parts_and_outside_it_acts_at_once():
    with pytest.raises(KeyboardInterrupt):
        with finished_first():
            pass
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not at once")


def test_what_handles_a_signal_is_called_with_it_when_the_part_is_done():
    came = []
    signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    with pytest.warns(Remark), finished_first():
        signal.raise_signal(signal.SIGTERM)
        assert not came
    assert came == [signal.SIGTERM]


def test_what_nobody_handles_acts_as_the_system_has_it():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with finished_first():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with finished_first():
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_of_blocks_inside_each_other_the_outermost_counts():
    done = []
    with pytest.warns(Remark), pytest.raises(KeyboardInterrupt), finished_first("batch"):
        with finished_first("row"):
            signal.raise_signal(signal.SIGINT)
        done.append("rest of the batch")
    assert done
    with finished_first() as part:
        assert not part.is_last


def test_it_is_not_forgotten_if_the_part_fails_and_somebody_goes_on():
    def cell():
        with pytest.warns(Remark), finished_first():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("a cell that fails")

    with pytest.raises(KeyboardInterrupt):
        try:
            cell()
        except ValueError:
            pass
    with pytest.raises(ValueError, match="alone"), finished_first():
        raise ValueError("alone")


def test_a_thread_and_processes_that_were_started_together_keep_nothing(monkeypatch):
    found = []

    def work():
        with finished_first() as part:
            found.append((signal.getsignal(signal.SIGINT), part.is_last))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    monkeypatch.setenv("WORLD_SIZE", "2")
    work()
    assert found == [(signal.default_int_handler, False)] * 2


def test_a_process_that_is_made_within_ends_at_once():
    with finished_first():
        child = os.fork()
        if not child:
            code = 7
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(60)
            except KeyboardInterrupt:
                code = 3
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
