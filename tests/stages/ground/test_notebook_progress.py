"""Bars in a notebook, nothing elsewhere: what is counted, what is closed, and what an error leaves."""

import sys
from types import SimpleNamespace

import pytest

from stages.ground.notebook_progress import IN_NOTEBOOKS, _Bars, in_notebook
from stages.ground.progress import remark


class Bar:
    made = []

    def __init__(self, desc, initial, total, leave):
        self.desc, self.n, self.total, self.leave, self.closed = desc, initial, total, leave, False
        self.made.append(self)

    def set_postfix_str(self, text, refresh):
        self.remark = text

    def update(self, more):
        self.n += more

    def close(self):
        self.closed = True


@pytest.fixture
def notebook(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object())))
    monkeypatch.setitem(sys.modules, "tqdm.auto", SimpleNamespace(tqdm=Bar))
    Bar.made = []
    return Bar


@pytest.mark.parametrize("shell", [None, SimpleNamespace()])
def test_elsewhere_nothing_is_said(shell, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert not in_notebook()
    IN_NOTEBOOKS("reading", 1, 2)
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()
    IN_NOTEBOOKS("reading", 2, 2)
    assert capfd.readouterr() == ("", "")


def test_a_bar_goes_with_its_work_and_is_gone_at_its_end(notebook):
    bars = _Bars()
    for done in range(4):
        bars("reading", done, 3)
        bars("fitting", 2 * done, 9)
    reading, fitting = notebook.made
    assert (reading.desc, reading.n, reading.total, reading.closed, reading.leave) == ("reading", 3, 3, True, False)
    assert (fitting.n, fitting.closed) == (6, False)


def test_a_remark_stands_beside_its_bar(notebook):
    bars = _Bars()
    remark(bars, "training", "loss 0.4")
    bars("training", 0, 3)
    remark(bars, "training", "loss 0.3")
    (bar,) = notebook.made
    assert bar.remark == "loss 0.3" and bar.n == 0


def test_the_same_work_once_more_has_a_bar_of_its_own(notebook):
    bars = _Bars()
    bars("reading", 5, 9)
    # An error ended it; it begins again.
    bars("reading", 1, 4)
    first, second = notebook.made
    assert first.closed and (second.n, second.total, second.closed) == (1, 4, False)


def test_a_real_bar_is_drawn_without_a_warning(monkeypatch, capfd, recwarn):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object())))
    monkeypatch.delitem(sys.modules, "tqdm.auto", raising=False)
    bars = _Bars()
    for done in range(3):
        bars("reading pictures", done, 2)
    assert "reading pictures" in capfd.readouterr().err
    assert not [one for one in recwarn if "tqdm" in str(one.category).lower()]
