"""Short memory is told from other errors, and batches are halved once."""

import gc
import weakref

import numpy as np
import pytest
import torch

from stages.ground.errors import InputError
from stages.ground.out_of_memory import HalvedOnce, give_back, is_short_of_memory
from weights.remark import Remark


def too_much_of_torch():
    torch.empty(1 << 60, dtype=torch.uint8)


def too_much_of_numpy():
    np.empty(1 << 60, dtype=np.uint8)


@pytest.mark.parametrize("allocate", [too_much_of_torch, too_much_of_numpy])
def test_what_the_libraries_raise_is_known(allocate):
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        allocate()
    assert is_short_of_memory(raised.value)


def test_an_accelerators_error_is_known_and_others_are_not():
    assert is_short_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))
    assert is_short_of_memory(
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
    )
    assert not is_short_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_short_of_memory(InputError("Memory does not suffice"))


class Room:
    """Work that fits up to a number of rows at a time."""

    def __init__(self, most, error=MemoryError):
        self.most, self.error, self.batches = most, error, []

    def __call__(self, rows, batch_size):
        for start in range(0, len(rows), batch_size):
            batch = rows[start : start + batch_size]
            self.batches.append(batch)
            # It is found out in the middle of the second batch, as where fragments add up.
            if len(batch) > self.most and len(self.batches) > 1:
                raise self.error("short")
            yield from ((start + place, f"row {row}") for place, row in enumerate(batch))


def test_what_was_not_yielded_is_worked_on_again_with_half_a_batch():
    room = Room(2)
    with pytest.warns(Remark, match="does not suffice for 4 rows at a time; going on with 2 at a time"):
        found = list(HalvedOnce("rows", str).go_through(room, 9, 4))
    assert found == [(row, f"row {row}") for row in range(9)]
    assert room.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [4, 5], [6, 7], [8]]


def test_the_half_is_kept_for_what_comes_after_and_not_halved_again():
    halved = HalvedOnce("rows", lambda tried: f"take fewer than {tried}")
    with pytest.warns(Remark):
        list(halved.go_through(Room(2), 8, 4))
    room = Room(2)
    assert len(list(halved.go_through(room, 6, 4))) == 6 and max(map(len, room.batches)) == 2
    with pytest.raises(InputError, match=r"for 2 rows at a time, after .* halved once \(short\); take fewer than 2\.$"):
        list(halved.go_through(Room(1), 6, 4))


def test_one_at_a_time_cannot_be_halved():
    with pytest.raises(InputError, match=r"for 1 rows at a time \(short\)"):
        list(HalvedOnce("rows", str).go_through(Room(0), 3, 1))


def test_a_batch_larger_than_the_work_is_halved_from_the_work():
    room = Room(3)
    room.batches.append("not the first")
    with pytest.warns(Remark, match="5 rows at a time; going on with 2"):
        assert len(list(HalvedOnce("rows", str).go_through(room, 5, 64))) == 5


def test_other_errors_are_let_through():
    with pytest.raises(ValueError, match="short"):
        list(HalvedOnce("rows", str).go_through(Room(2, ValueError), 9, 4))


def test_what_did_not_fit_is_given_back_before_the_half_is_tried():
    class Large:
        pass

    alive = []

    def work(rows, batch_size):
        large = Large()
        alive.append(weakref.ref(large))
        if batch_size > 2:
            raise MemoryError
        assert alive[0]() is None
        yield from enumerate(rows)

    gc.disable()
    try:
        with pytest.warns(Remark):
            assert len(list(HalvedOnce("rows", str).go_through(work, 4, 4))) == 4
    finally:
        gc.enable()
    give_back()
