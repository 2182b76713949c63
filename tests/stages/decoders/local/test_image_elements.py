"""Image elements against loops over cells, and the matrices of nilearn's example."""

import numpy as np
import pytest

from stages.decoders.local.image_elements import ImageElements, element_sizes
from stages.ground.errors import InputError


def pictures(n=4, grid=(10, 10), seed=0):
    return np.random.default_rng(seed).random((n, *grid))


def contrasts_by_hand(values, sizes):
    found = []
    for height, width in sizes:
        for row in range(values.shape[1] - height + 1):
            for column in range(values.shape[2] - width + 1):
                found.append([picture[row : row + height, column : column + width].mean() for picture in values])
    return np.array(found).T


def pairs_to_cells(n):
    """As nilearn's example writes it: n - 1 neighbouring pairs to n cells, halves within and the pair itself at the ends."""
    matrix = 0.5 * (np.eye(n) + np.eye(n, k=-1))[:, : n - 1]
    matrix[0, 0] = matrix[-1, -1] = 1
    return matrix


def test_ten_by_ten_cells_at_scale_two_have_361_elements():
    elements = ImageElements(2, (10, 10))
    assert elements.sizes == ((1, 1), (1, 2), (2, 1), (2, 2))
    np.testing.assert_array_equal(np.bincount(elements.size_index), [100, 90, 90, 81])
    assert len(elements) == 361
    assert len(ImageElements(1, (10, 10))) == 100


@pytest.mark.parametrize("grid", [(10, 10), (4, 7), (5, 3)])
@pytest.mark.parametrize("sizes", [1, 2, 3, [(2, 3)], [(3, 1), (1, 1)]])
def test_contrasts_vs_loops(grid, sizes):
    elements, values = ImageElements(sizes, grid), pictures(grid=grid)
    found = elements.contrasts(values)
    np.testing.assert_allclose(found, contrasts_by_hand(values, elements.sizes), rtol=1e-14)
    np.testing.assert_array_equal(elements.contrasts(values.reshape(4, -1)), found)
    by_place = [values[:, r : r + h, c : c + w].mean(axis=(1, 2)) for h, w, r, c in elements.places]
    np.testing.assert_allclose(found, np.transpose(by_place), rtol=1e-14)
    summed = (values.reshape(4, -1) @ elements.indicators.T.toarray()) / elements.places[:, :2].prod(axis=1)
    np.testing.assert_allclose(found, summed, rtol=1e-13)


def test_pixels_vs_the_matrices_of_nilearns_example():
    elements = ImageElements(2, (10, 10))
    contrasts = np.random.default_rng(1).normal(size=(3, 361))
    single, across, down, square = (contrasts[:, elements.size_index == size] for size in range(4))
    matrix = pairs_to_cells(10)
    assert matrix[4].tolist() == [0, 0, 0, 0.5, 0.5, 0, 0, 0, 0]
    expected = [
        single.reshape(3, 10, 10),
        across.reshape(3, 10, 9) @ matrix.T,
        matrix @ down.reshape(3, 9, 10),
        matrix @ square.reshape(3, 9, 9) @ matrix.T,
    ]
    found = elements.to_pixels(contrasts)
    np.testing.assert_allclose(found, np.stack(expected, axis=1).reshape(3, 4, 100), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("sizes", [2, 3, [(4, 2), (1, 5)]])
def test_pixels_are_means_of_what_covers_them(sizes):
    elements = ImageElements(sizes, (5, 6))
    contrasts = np.random.default_rng(2).normal(size=(2, len(elements)))
    found = elements.to_pixels(contrasts).reshape(2, -1, 5, 6)
    for size in range(len(elements.sizes)):
        for row in range(5):
            for column in range(6):
                covering = [
                    element
                    for element, (h, w, r, c) in enumerate(elements.places)
                    if elements.size_index[element] == size and r <= row < r + h and c <= column < c + w
                ]
                expected = contrasts[:, covering].mean(axis=1)
                np.testing.assert_allclose(found[:, size, row, column], expected, rtol=1e-12, atol=1e-15)


def test_uniform_pictures_survive():
    elements = ImageElements(3, (6, 8))
    np.testing.assert_allclose(elements.to_pixels(elements.contrasts(np.full((2, 6, 8), 0.7))), 0.7, rtol=1e-14)


def test_added_elements_vs_painting():
    elements = ImageElements(2, (4, 5))
    contrasts = np.random.default_rng(3).normal(size=(2, len(elements)))
    painted = np.zeros((2, 4, 5))
    for element, (h, w, r, c) in enumerate(elements.places):
        painted[:, r : r + h, c : c + w] += contrasts[:, element, None, None]
    np.testing.assert_allclose(elements.added(contrasts).reshape(2, 4, 5), painted, rtol=1e-12, atol=1e-14)


def test_equal_cells_have_equal_contrasts_wherever_they_are():
    binary = (pictures(50) > 0.5).astype(float)
    elements = ImageElements(3, (10, 10))
    for size, (height, width) in enumerate(elements.sizes):
        levels = np.unique(elements.contrasts(binary)[:, elements.size_index == size])
        assert len(levels) <= height * width + 1


def test_one_row_takes_what_fits():
    assert element_sizes(2, (1, 5)) == ((1, 1), (1, 2))
    assert element_sizes(2, (1, 1)) == ((1, 1),)


def refuse(message, function, *arguments):
    with pytest.raises(InputError, match=message) as caught:
        function(*arguments)
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text


def test_hostile_sizes():
    refuse("1 x 11 cells do not fit into a picture of 10 x 10", ImageElements, 11, (10, 10))
    refuse("2 x 2 cells do not fit into a picture of 1 x 9", ImageElements, [(2, 2)], (1, 9))
    for sizes in (0, -1, True, 1.5, "2", [], None):
        refuse("sizes is", ImageElements, sizes, (10, 10))
    for sizes in ([2], [(1, 2, 3)], [(0, 1)], [(1.0, 1)], ["12"]):
        refuse("sizes holds", ImageElements, sizes, (10, 10))
    refuse("comes twice", ImageElements, [(1, 2), (1, 2)], (10, 10))
    for grid in (10, (10,), (0, 3), (2.0, 2), "ab"):
        refuse("grid is", ImageElements, 1, grid)


def test_hostile_arrays():
    elements = ImageElements(2, (4, 5))
    refuse("shape \\(3, 5, 4\\) but these elements lie in pictures of 4 x 5", elements.contrasts, np.zeros((3, 5, 4)))
    refuse("shape \\(20,\\)", elements.contrasts, np.zeros(20))
    refuse("there are 63 elements", elements.to_pixels, np.zeros((2, 64)))
    refuse("shape \\(63,\\)", elements.added, np.zeros(63))
