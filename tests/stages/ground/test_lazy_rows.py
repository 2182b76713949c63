"""Lazy arrays index as NumPy's arrays do, whatever they are made of, and read no more than was asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.ground.lazy_rows import ConcatenatedRows, LazyRows, MappedRows, Rows, as_rows, positions


class FileLike(LazyRows):
    """Takes each row once, in increasing order, and remembers what it was asked for."""

    def __init__(self, values):
        super().__init__(values.shape, values.dtype)
        self.values, self.asked = values, []

    def _read(self, rows):
        assert len(rows) and (np.diff(rows) > 0).all() and 0 <= rows[0] and rows[-1] < len(self)
        self.asked.append(rows.tolist())
        return self.values[rows]


WHOLE = np.random.default_rng(0).integers(-99, 99, (7, 5, 2)).astype(np.float32)
ORDER = np.array([6, 0, 3, 3, 1])
MAKERS = {
    "file": lambda: (FileLike(WHOLE), WHOLE),
    "array": lambda: (as_rows(WHOLE), WHOLE),
    "rows": lambda: (FileLike(WHOLE).take(ORDER), WHOLE[ORDER]),
    "rows of rows": lambda: (FileLike(WHOLE).take(ORDER).take([-1, 0, 0]), WHOLE[ORDER][[-1, 0, 0]]),
    "columns": lambda: (FileLike(WHOLE).columns([4, 0, 0]), WHOLE[:, [4, 0, 0]]),
    "rows, columns": lambda: (FileLike(WHOLE).take(ORDER).columns(slice(1, 4)), WHOLE[ORDER][:, 1:4]),
    "columns of columns": lambda: (FileLike(WHOLE).columns([4, 0, 2]).columns([2, 0]), WHOLE[:, [2, 4]]),
    "concatenated": lambda: (
        ConcatenatedRows([FileLike(WHOLE), as_rows(WHOLE[:0]), FileLike(WHOLE).take([2, 1])]),
        np.concatenate([WHOLE, WHOLE[[2, 1]]]),
    ),
    "concatenated, columns": lambda: (
        ConcatenatedRows([FileLike(WHOLE), as_rows(WHOLE)]).columns([3, 1]),
        np.concatenate([WHOLE, WHOLE])[:, [3, 1]],
    ),
    "mapped": lambda: (
        MappedRows(FileLike(WHOLE), lambda values: values.sum(axis=2, dtype=int), (5,), int, block_bytes=100),
        WHOLE.sum(axis=2, dtype=int),
    ),
}


def same(found, expected):
    assert found.dtype == expected.dtype and found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


@pytest.fixture(params=MAKERS)
def pair(request):
    return MAKERS[request.param]()


def test_what_it_says_of_itself_is_so(pair):
    lazy, whole = pair
    assert isinstance(lazy, Rows) and (lazy.shape, lazy.dtype, lazy.ndim) == (whole.shape, whole.dtype, whole.ndim)
    assert len(lazy) == len(whole)
    same(np.asarray(lazy), whole)
    same(np.asarray(lazy, dtype=np.float64), whole.astype(np.float64))
    same(np.stack(list(lazy)), whole)


@pytest.mark.parametrize("name", MAKERS)
@given(data=st.data())
def test_indexes_as_numpy_does(name, data):
    lazy, whole = MAKERS[name]()
    places = st.integers(-len(whole), len(whole) - 1)
    bound = st.none() | st.integers(-9, 9)
    index = data.draw(
        places
        | places.map(np.int64)
        | st.builds(slice, bound, bound, st.none() | st.sampled_from([-2, -1, 1, 3]))
        | st.lists(places)
        | st.lists(places).map(lambda chosen: np.array(chosen, dtype=np.int32))
        | st.lists(st.booleans(), min_size=len(whole), max_size=len(whole)).map(np.array)
    )
    expected = whole[:0] if isinstance(index, list) and not index else whole[index]
    same(lazy[index], expected)
    if np.ndim(index) or isinstance(index, slice):
        same(lazy.take(index)[:], expected)


@pytest.mark.parametrize("index", [7, -8, [0, 7], np.array([-8]), "a", 1.5, [0.0, 1.0], np.ones(6, bool), None])
def test_what_is_no_index_is_refused(index):
    for lazy in (FileLike(WHOLE), as_rows(WHOLE)):
        with pytest.raises(IndexError):
            lazy[index]
        with pytest.raises(IndexError):
            lazy.take(index)
    with pytest.raises(IndexError, match="There is no column 5; there are 5"):
        lazy.columns([0, 5])


def test_rows_and_columns_are_chosen_independently():
    lazy = FileLike(WHOLE)
    same(lazy[[5, 0], [1, 1, 4]], WHOLE[[5, 0]][:, [1, 1, 4]])
    same(lazy[4, 1:3], WHOLE[4, 1:3])
    same(lazy[1:4, 2], WHOLE[1:4, 2])
    same(lazy[1:4, []], WHOLE[1:4, :0])
    with pytest.raises(IndexError, match="rows, or rows and columns"):
        lazy[0, 0, 0]
    with pytest.raises(IndexError, match="no columns"):
        as_rows(np.arange(3)).columns([0])


def test_an_index_array_of_two_axes_gives_two():
    same(FileLike(WHOLE)[[[0, 3], [3, 6]]], WHOLE[[[0, 3], [3, 6]]])


def test_no_row_is_read_that_was_not_asked_for():
    lazy = FileLike(WHOLE)
    lazy.take(ORDER).columns([1]).take([0, 2])[::-1]
    lazy[[]], lazy[3:3], lazy.take([])[:]
    ConcatenatedRows([lazy, lazy])[[7, 1]]
    assert lazy.asked == [[3, 6], [1], [0]]


def test_a_function_gets_some_rows_at_a_time():
    sizes = []

    def doubled(values):
        sizes.append(len(values))
        return values * 2

    same(MappedRows(FileLike(WHOLE), doubled, block_bytes=3 * 40)[:], WHOLE * 2)
    assert sizes == [3, 3, 1]


def test_an_array_in_memory_is_not_copied():
    assert np.shares_memory(as_rows(WHOLE)[2:5], WHOLE)
    lazy = as_rows(WHOLE)
    assert as_rows(lazy) is lazy


def test_parts_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        ConcatenatedRows([as_rows(WHOLE), as_rows(WHOLE[:, :2])])
    with pytest.raises(ValueError, match="one shape"):
        ConcatenatedRows([])


def test_places_of_a_mask_are_those_where_it_is_true():
    assert positions([False, True, True], 3).tolist() == [1, 2]
    assert positions(-1, 3) == 2 and positions(..., 2).tolist() == [0, 1]
