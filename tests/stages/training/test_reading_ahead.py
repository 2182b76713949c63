"""Reading ahead: what is read, in which order, when errors are raised, and that a training ends in the same bytes."""

import threading

import numpy as np
import pytest
from small_decoders import TwoHeads

from stages.decoders.trained import TrainedDecoder, Training
from stages.ground.lazy_rows import LazyRows, as_rows
from stages.training.reading_ahead import ReadingAhead
from stages.training.recipe import Recipe


def test_the_next_step_is_read_while_its_caller_has_the_one_before():
    following, read = threading.Event(), []

    def reading(step):
        read.append(step)
        if step == 6:
            following.set()
        return -step

    with ReadingAhead(reading, last=7) as ahead:
        assert ahead(5) == -5 and following.wait(10)
        assert ahead(6) == -6 and read == [5, 6]
        # Another than the next, as of a training that goes on elsewhere.
        assert ahead(2) == -2
        assert ahead.now(lambda one, other: (one, other), 1, 2) == (1, 2)
        assert ahead(3) == -3
    assert read[:3] == [5, 6, 2] and 7 not in read


def test_an_error_belongs_to_its_step():
    def reading(step):
        if step == 1:
            raise OSError("no such row")
        return step

    with ReadingAhead(reading, last=9) as ahead:
        assert ahead(0) == 0
        with pytest.raises(OSError, match="no such row"):
            ahead(1)
        assert ahead(2) == 2
    assert not any(thread.name.startswith("reading ahead") for thread in threading.enumerate())


class Noting(LazyRows):
    """Rows that say which thread reads them."""

    takes_any_order = True
    threads: set

    def __init__(self, values, fail_after=None):
        super().__init__(values.shape, values.dtype)
        self.values, self.threads, self.reads, self.fail_after = values, set(), 0, fail_after

    def _read(self, rows):
        self.reads += 1
        if self.fail_after is not None and self.reads > self.fail_after:
            raise OSError("the disk is gone")
        self.threads.add(threading.current_thread().name)
        return self.values[rows]


@pytest.fixture
def training():
    random = np.random.default_rng(0)
    values = {"vdvae": random.standard_normal((40, 5)).astype(np.float16)}
    rows = random.permutation(np.repeat(np.arange(40), 2))
    return Training({"subj01": random.standard_normal((80, 6)).astype(np.float32)}, {"subj01": rows}, values)


RECIPE = Recipe(steps=7, batch_size=8, validation=0.2, validate_every=3)


def lazy(training, **options):
    stored = {name: Noting(values, **options) for name, values in training.features.items()}
    responses = {name: as_rows(values) for name, values in training.responses.items()}
    return Training(responses, training.stimulus_rows, stored)


def test_what_lies_in_files_teaches_what_it_does_in_memory(training, tmp_path):
    from_files = lazy(training)
    for name, one in (("memory", training), ("files", from_files)):
        TrainedDecoder(TwoHeads, RECIPE).fit(one).save_pretrained(tmp_path / name)
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "memory" / file).read_bytes() == (tmp_path / "files" / file).read_bytes()
    noted = from_files.features["vdvae"]
    # A training's identity is found before; then a read for each step, and for the three validations.
    assert len(noted.threads - {"MainThread"}) == 1 and noted.reads == 1 + 7 + 3 * 2
    assert training.features["vdvae"].dtype == noted.dtype == np.float16


def test_a_file_that_fails_ends_the_training_in_its_step(training):
    done = []
    with pytest.raises(OSError, match="the disk is gone"):
        failing = lazy(training, fail_after=3)
        TrainedDecoder(TwoHeads, RECIPE).fit(failing, progress=lambda label, step, total: done.append(step))
    assert done[-1] == 2
