"""Cells are done by whatever executor there is; lost ones again, mistaken ones once, and nobody reads what a worker pickles."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from cluster_cells import IdleExecutor, LosingExecutor

from brainrecon.studies import draining
from brainrecon.studies.draining import DONE, FAILED, LOST, Cell, drain
from weights.remark import Remark


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(draining, "SECONDS_BETWEEN_LOOKS", 0.01)


def cells_of(folder, *fails):
    given = [{"path": str(folder / f"{k}.txt"), "words": f"word {k}", "fails": how} for k, how in enumerate(fails)]
    return [Cell(f"a/{k}", "cluster_cells:write", one) for k, one in enumerate(given)]


def test_every_cell_is_done_in_whatever_order_and_told_in_theirs(tmp_path):
    cells, told = cells_of(tmp_path, *[""] * 5), []
    with ThreadPoolExecutor(3) as executor:
        outcomes = drain(executor, cells, tmp_path / "state", progress=lambda *counts: told.append(counts))
    assert [one.cell for one in outcomes] == cells and {one.state for one in outcomes} == {DONE}
    assert [(tmp_path / f"{k}.txt").read_text() for k in range(5)] == [f"word {k}" for k in range(5)]
    assert told == [("cells", k, 5) for k in range(6)]
    assert all("writing word" in Path(one.log).read_text() for one in outcomes)
    assert not list((tmp_path / "state" / "at_work").rglob("*.json"))


def test_what_a_lost_worker_had_is_done_again_so_often_and_not_more(tmp_path):
    # Both, then the first alone, and again.
    executor = LosingExecutor(lost={0, 2, 3})
    first, second = drain(executor, cells_of(tmp_path, "", ""), tmp_path / "state", retries=3)
    assert (first.state, second.state) == (DONE, DONE) and executor.submitted == ["a/0", "a/1", "a/0", "a/0", "a/0"]
    executor = LosingExecutor(lost=range(99))
    (lost,) = drain(executor, cells_of(tmp_path, ""), tmp_path / "other", retries=2)
    assert lost.state == LOST and len(executor.submitted) == 3 and lost.message == "the worker is gone"
    assert lost.attempts == 0 and lost.seconds is None


def test_a_mistake_fails_alone_and_once_and_what_nobody_foresaw_is_tried_again(tmp_path):
    executor = LosingExecutor()
    fails = ("mistake", "", "once", "always")
    mistaken, fine, away, never = drain(executor, cells_of(tmp_path, *fails), tmp_path / "state", retries=2)
    assert [one.state for one in (mistaken, fine, away, never)] == [FAILED, DONE, DONE, FAILED]
    assert [one.attempts for one in (mistaken, fine, away, never)] == [1, 1, 2, 3]
    assert mistaken.message == "'word 0' is no word; write another."
    assert never.message == "ZeroDivisionError: it cannot be" and "Traceback" in Path(never.log).read_text()


def test_so_many_at_once_and_not_more(tmp_path):
    class Counting(ThreadPoolExecutor):
        most, now = 0, 0

        def submit(self, *arguments):
            self.now += 1
            self.most = max(self.most, self.now)
            future = super().submit(*arguments)
            future.add_done_callback(lambda _: setattr(self, "now", self.now - 1))
            return future

    with Counting(8) as executor:
        outcomes = drain(executor, cells_of(tmp_path, *[""] * 9), tmp_path / "state", at_once=2)
    assert executor.most <= 2 and all(one.state == DONE for one in outcomes)


def test_a_worker_computes_on_the_threads_that_are_stated_and_leaves_the_process_as_it_was(tmp_path):
    before = torch.get_num_threads()
    (one,) = drain(LosingExecutor(), cells_of(tmp_path, ""), tmp_path / "state", threads=before + 1)
    assert one.value["threads"] == before + 1 and torch.get_num_threads() == before


def test_interrupted_what_has_not_begun_is_cancelled_and_what_has_is_left(tmp_path):
    executor = IdleExecutor(begins={"a/1"})
    with (
        pytest.raises(KeyboardInterrupt),
        pytest.warns(Remark, match="0 of 4 cells are done; 3 that had not begun are cancelled, 1 that had are left"),
    ):
        drain(executor, cells_of(tmp_path, *[""] * 4), tmp_path / "state", at_once=3)
    assert {name: future.cancelled() for name, future in executor.futures.items()} == {
        "a/0": True,
        "a/1": False,
        "a/2": True,
    }


def test_of_two_workers_at_one_cell_the_second_waits_for_the_first(tmp_path, monkeypatch):
    from brainrecon.studies import presence

    monkeypatch.setattr(presence, "SECONDS_BETWEEN_LOOKS", 0.01)
    (cell,) = cells_of(tmp_path, "")
    note = tmp_path / "state" / "at_work" / "a" / "0.json"
    with ThreadPoolExecutor() as executor:
        with presence.present(note):
            running = threading.Thread(target=drain, args=(executor, [cell], tmp_path / "state"))
            running.start()
            log = tmp_path / "state" / "logs" / "a" / "0.log"
            while not (log.exists() and "waiting for process" in log.read_text()):
                running.join(0.01)
            assert running.is_alive() and not (tmp_path / "0.txt").exists()
        running.join(60)
    assert (tmp_path / "0.txt").read_text() == "word 0"
