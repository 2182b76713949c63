"""Several processes that draw into one folder: each item once, in portions, and what the dead had taken is free again."""

import math
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from brainrecon.runs import claims
from brainrecon.runs.claims import FOLDER, Claims
from weights.partial_files import partial_name
from weights.whole_files import locked


def _path(folder, item):
    return Path(folder) / f"{item}.png"


def _draw(folder, n_items, seconds, log, taken=None):
    """Draw items and write down who drew which; a process that `taken` is given to dies after its first portion is taken."""
    with Claims(folder) as own:
        for portion in own.portions(range(n_items), lambda item: _path(folder, item), batch_size=2, batches=4):
            if taken is not None:
                taken.set()
                time.sleep(60)
            for item in portion:
                time.sleep(seconds)
                with open(log, "a") as file:
                    file.write(f"{os.getpid()} {item}\n")
                _path(folder, item).touch()


def _processes(n, *arguments):
    # Without what this process has loaded.
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_draw, args=arguments) for _ in range(n)]
    for process in processes:
        process.start()
    return processes


def test_each_item_is_drawn_once_and_the_work_is_shared(tmp_path):
    processes = _processes(3, tmp_path, 60, 0.02, tmp_path / "log")
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert sorted(int(item) for _, item in lines) == list(range(60))
    assert len({pid for pid, _ in lines}) > 1
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == [".lock"]


def test_what_a_killed_process_had_taken_is_drawn_by_another(tmp_path):
    context = multiprocessing.get_context("spawn")
    taken = context.Event()
    dying = context.Process(target=_draw, args=(tmp_path, 6, 0, tmp_path / "log", taken))
    dying.start()
    assert taken.wait(60)
    (waiting,) = _processes(1, tmp_path, 6, 0, tmp_path / "log")
    log, deadline = tmp_path / "log", time.monotonic() + 60
    # The first has left some for those that begin after it.
    while time.monotonic() < deadline and not (log.exists() and len(log.read_text().splitlines()) == 4):
        time.sleep(0.05)
    time.sleep(0.5)
    assert waiting.is_alive() and len(log.read_text().splitlines()) == 4
    os.kill(dying.pid, signal.SIGKILL)
    dying.join()
    waiting.join(30)
    assert waiting.exitcode == 0
    assert len((tmp_path / "log").read_text().splitlines()) == 6
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == [".lock"]


@pytest.mark.parametrize("n_processes", [2, 3, 4])
@pytest.mark.parametrize(("n_items", "batch_size"), [(100, 8), (37, 4), (982, 16)])
def test_those_who_draw_end_together_also_if_the_first_began_alone(n_processes, n_items, batch_size):
    """Each item takes a second, and the others begin half a second after the first."""
    due, holding, free = [0.0, *[0.5] * (n_processes - 1)], [0] * n_processes, n_items
    while free:
        at = min(range(n_processes), key=due.__getitem__)
        now, holding[at] = due[at], 0
        left = sum(math.ceil(due[one] - now) for one in range(n_processes) if holding[one])
        n_drawing = 1 if now == 0 else n_processes
        holding[at] = claims._size(free, left, n_drawing, batch_size, batches=16)
        holding[at] = min(holding[at], free)
        free, due[at] = free - holding[at], now + holding[at]
    assert max(due) <= n_items / n_processes + 3


def test_from_whatever_folder_they_were_started_they_know_each_others_pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Claims("run") as one, Claims(tmp_path / "run") as other:
        first = next(one.portions(range(4), lambda item: _path("run", item), batch_size=2))
        second = next(other.portions(range(4), lambda item: _path(tmp_path / "run", item), batch_size=2))
    assert not set(first) & set(second)


def test_batches_are_full_as_long_as_nobody_else_draws(tmp_path):
    sizes = []
    with Claims(tmp_path) as own:
        for portion in own.portions(range(21), lambda item: _path(tmp_path, item), batch_size=4, batches=2):
            sizes.append(len(portion))
            for item in portion:
                _path(tmp_path, item).touch()
    assert sizes == [4, 4, 4, 4, 4, 1]


def test_where_everything_is_there_nothing_is_written(tmp_path):
    _path(tmp_path, 0).touch()
    with Claims(tmp_path) as own:
        assert not list(own.portions([0], lambda item: _path(tmp_path, item), batch_size=1))
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]


def test_what_was_taken_is_free_after_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), Claims(tmp_path) as own:
        for _ in own.portions([0], lambda item: _path(tmp_path, item), batch_size=1):
            raise KeyboardInterrupt
    with Claims(tmp_path) as own:
        assert next(own.portions([0], lambda item: _path(tmp_path, item), batch_size=1)) == [0]


def test_what_another_process_is_just_writing_is_left_to_it(tmp_path):
    (tmp_path / FOLDER).mkdir()
    half = partial_name(tmp_path / FOLDER / "0123456789ab.json")
    half.write_text('["0')
    with Claims(tmp_path) as own:
        assert next(own.portions([0], lambda item: _path(tmp_path, item), batch_size=1)) == [0]
    assert half.read_text() == '["0'


def test_a_process_that_ends_while_it_is_looked_at_is_no_error(tmp_path, monkeypatch):
    (tmp_path / FOLDER).mkdir()
    ending = tmp_path / FOLDER / "0123456789ab.json"
    ending.write_text("[]")
    with locked(tmp_path / FOLDER, name=".0123456789ab.lock"):
        read = Path.read_text

        def too_late(path, *rest, **options):
            if path == ending:
                path.unlink()
            return read(path, *rest, **options)

        monkeypatch.setattr(Path, "read_text", too_late)
        with Claims(tmp_path) as own:
            assert next(own.portions([0], lambda item: _path(tmp_path, item), batch_size=1)) == [0]
    assert not ending.exists()
