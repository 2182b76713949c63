"""Averages of categories: of pictures, of folders, without a picture's own, and the names that they give."""

import numpy as np
import pytest

from stages.ground.errors import InputError
from stages.priors.category_means import CategoryMeans, category_means, open_category_means, without_own
from stages.priors.label_memory import write_label_memory

LABELS = ["boat", "n01443537 goldfish", "boat", "cat", "n01443537", "boat"] * 60


@pytest.fixture(scope="module")
def features():
    return np.random.default_rng(0).normal(size=(len(LABELS), 7)).astype(np.float32)


def rows_of(label):
    return [row for row, one in enumerate(LABELS) if one.split()[0] == label]


def test_averages_vs_numpy(features):
    """More rows than are read at once; a synset is one category, with words or without."""
    found = category_means(features, LABELS)
    assert found.labels == ("boat", "n01443537 goldfish", "cat") and found.counts.tolist() == [180, 120, 60]
    for place, name in enumerate(("boat", "n01443537", "cat")):
        np.testing.assert_allclose(found.means[place], features[rows_of(name)].astype(float).mean(axis=0), atol=1e-12)


def test_without_own_is_the_average_of_the_others(features):
    found = category_means(features, LABELS)
    rows = [0, 1, 3, 5]
    beside = without_own(found, features[rows], found.places([LABELS[row] for row in rows]))
    for row, own in zip(rows, beside):
        others = [one for one in rows_of(LABELS[row].split()[0]) if one != row]
        np.testing.assert_allclose(own, features[others].astype(float).mean(axis=0), atol=1e-12)


def test_names_vs_numpys_correlations(features):
    found = category_means(features, LABELS)
    queries = np.random.default_rng(1).normal(size=(5, 7)).astype(np.float32)
    expected = np.corrcoef(queries, found.means)[:5, 5:]
    assert found.names(queries, n=3) == [[found.labels[place] for place in np.argsort(-row)] for row in expected]
    assert found.names(queries, n=9) == found.names(queries, n=3)
    assert [found.names(one[None])[0] for one in queries] == found.names(queries)


def test_averages_that_nothing_correlates_with_name_nothing():
    means = CategoryMeans(("gone", "flat", "boat"), np.float32([[np.nan, 1, 2], [3, 3, 3], [1, 2, 3]]))
    assert means.names(np.float32([[9, 1, 4]])) == [["boat"]]


def test_a_folder_of_labelled_pictures_is_averaged(tmp_path):
    from PIL import Image

    class Brightness:
        def encode(self, pictures):
            return np.stack([pictures.mean(axis=(1, 2, 3)), pictures.std(axis=(1, 2, 3))], axis=1)

    greys = {"boat": (10, 30), "n02951358": (200,)}
    for name, own in greys.items():
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for grey in own:
            Image.new("RGB", (8, 8), (grey,) * 3).save(tmp_path / "pictures" / name / f"{grey}.png")
    write_label_memory(tmp_path / "pictures", Brightness(), tmp_path / "candidates")
    found = open_category_means(tmp_path / "candidates")
    assert found.labels == ("boat", "n02951358 canoe") and found.means.tolist() == [[20, 0], [200, 0]]


def test_what_does_not_fit_is_refused(features):
    with pytest.raises(InputError, match="There are 3 labels for 360 pictures"):
        category_means(features, LABELS[:3])
    with pytest.raises(InputError, match="There are 2 category averages but 1 labels"):
        CategoryMeans(("a",), np.zeros((2, 3)))
    with pytest.raises(InputError, match=r"shape \(2, 4\) but the category averages 7 values"):
        category_means(features, LABELS).names(np.zeros((2, 4)))
