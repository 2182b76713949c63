"""A thread writes what is drawn: in order, with its errors, and whatever ends the drawing."""

import threading

import numpy as np
import pytest

from brainrecon.runs.writer import Writer


class Slow:
    """Writes as soon as it is let, notes in which thread, and fails at some of what it is given."""

    def __init__(self, failing=()):
        self.may, self.failing, self.written, self.threads = threading.Event(), set(failing), [], set()

    def __call__(self, name):
        assert self.may.wait(60)
        self.threads.add(threading.get_ident())
        if name in self.failing:
            raise OSError(28, "No space left on device", name)
        self.written.append(name)


def test_it_goes_on_while_another_thread_writes_in_order():
    slow = Slow()
    with Writer(slow) as writer:
        for name in "abcde":
            writer.write(name)
        assert not slow.written
        slow.may.set()
        writer.wait()
        assert slow.written == list("abcde") and threading.get_ident() not in slow.threads and len(slow.threads) == 1


def test_so_many_wait_and_no_more():
    slow, handed = Slow(), []
    with Writer(slow, at_most=3) as writer:

        def hand_over():
            for name in "abcdef":
                writer.write(name)
                handed.append(name)

        thread = threading.Thread(target=hand_over)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive() and handed == list("abc")
        slow.may.set()
        thread.join(60)
    assert slow.written == handed == list("abcdef")


@pytest.mark.parametrize("moment", ["write", "wait", "end"])
def test_an_error_comes_out_and_what_else_there_is_is_written(moment):
    slow = Slow("b")
    with pytest.raises(OSError, match="No space left") as raised, Writer(slow, at_most=2) as writer:
        writer.write("a")
        writer.write("b")
        slow.may.set()
        if moment == "write":
            for _ in range(3):
                writer.write("c")
            raise AssertionError("it was handed over in spite of the failure")
        writer.write("c")
        if moment == "wait":
            writer.wait()
            raise AssertionError("it waited in vain")
    assert raised.value.filename == "b" and {"a", "c"} <= set(slow.written)


def test_whatever_ends_the_drawing_what_was_drawn_is_written():
    slow = Slow()
    with pytest.raises(KeyboardInterrupt), Writer(slow) as writer:
        for name in "abc":
            writer.write(name)
        threading.Timer(0.1, slow.may.set).start()
        raise KeyboardInterrupt
    assert slow.written == list("abc")


def test_what_was_handed_over_is_written_as_it_was_then():
    found, may, picture = [], threading.Event(), np.zeros(3, dtype=np.uint8)
    with Writer(lambda value: may.wait(60) and found.append(value.tolist())) as writer:
        for level in (1, 2):
            picture[:] = level
            writer.write(picture)
        may.set()
    assert found == [[1, 1, 1], [2, 2, 2]]
