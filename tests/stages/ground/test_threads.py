"""Work that is shared among threads comes out in its order, and nothing more is begun than what was asked for."""

from threading import Barrier, current_thread

import numpy as np
import pytest
import torch

from stages.ground import threads
from stages.ground.threads import in_order, n_threads


@pytest.fixture
def two(monkeypatch):
    """Two threads, whatever the processors are."""
    before = torch.get_num_threads()
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_as_many_as_torch_and_no_more_than_the_processors_given(two, monkeypatch):
    assert n_threads() == 2
    torch.set_num_threads(1)
    assert n_threads() == 1
    torch.set_num_threads(2)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert n_threads() == 1


def test_results_come_in_order_from_two_threads_at_once(two):
    together, names = Barrier(2, timeout=30), set()

    def work(number):
        names.add(current_thread().name)
        together.wait()  # nobody gets on alone
        return number

    assert list(in_order(work, range(6))) == list(range(6)) and len(names) == 2


def test_work_within_work_starts_no_threads(two):
    assert list(in_order(lambda _: n_threads(), range(3))) == [1, 1, 1] and n_threads() == 2
    inside = list(in_order(lambda _: [current_thread().name for _ in in_order(lambda one: one, range(2))], range(3)))
    assert all(len(set(names)) == 1 for names in inside)


def test_no_more_is_begun_than_may_wait(two):
    begun = []
    found = in_order(begun.append, iter(range(100)), ahead=4)
    next(found)
    assert len(begun) <= 4
    found.close()
    assert len(begun) <= 5


@pytest.mark.parametrize("n", [1, 2])
def test_an_error_comes_after_what_was_before_it(two, n):
    torch.set_num_threads(n)

    def work(number):
        if number == 3:
            raise ValueError("three")
        return number

    found = []
    with pytest.raises(ValueError, match="three"):
        for one in in_order(work, range(10)):
            found.append(one)
    assert found == [0, 1, 2] and n_threads() == n


@pytest.mark.parametrize("n", [1, 2])
def test_numbers_that_are_not_finite_are_no_warning(two, n, recwarn):
    torch.set_num_threads(n)
    (found,) = in_order(lambda zero: 1 / zero, [np.zeros(1)])
    assert np.isinf(found).all() and not recwarn
