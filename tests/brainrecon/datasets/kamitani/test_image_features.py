"""ImageFeatures.h5 against what was written: features by the names of stimuli, averages of categories, and damage."""

import numpy as np
import pytest
from kamitani_files import write_bdata, write_image_features

from brainrecon.datasets.kamitani.image_features import ImageFeatures, PublishedLevel
from stages.ground.errors import InputError

PICTURES = [(1, 1518878.010042), (1, 2051845.145239), (1, 1518878.000007), (2, 1443537.022563), (2, 1943899.024131)]
AVERAGES = [(3, 1443537), (3, 1943899), (4, 1518878), (4, 13111881)]
NAMES = ["n01518878_10042", "n02051845_145239", "n01518878_7", "n01443537_22563", "n01943899_24131"]


@pytest.fixture(scope="module")
def levels():
    random = np.random.default_rng(0)
    n_rows = len(PICTURES) + len(AVERAGES)
    return {"cnn1": random.normal(size=(n_rows, 6)), "gist": random.normal(size=(n_rows, 4))}


@pytest.fixture(scope="module")
def features(levels, tmp_path_factory):
    path = tmp_path_factory.mktemp("god") / "ImageFeatures.h5"
    return ImageFeatures(write_image_features(path, PICTURES, AVERAGES, levels))


def test_features_of_pictures_by_their_names(features, levels):
    assert features.levels == ("cnn1", "gist")
    order = [3, 0, 2, 0]
    for level, values in levels.items():
        found = features.of(level, [NAMES[row] for row in order])
        np.testing.assert_array_equal(found, values[order].astype(np.float32))
        np.testing.assert_array_equal(features.of(level, ["1518878.010042"])[0], values[0].astype(np.float32))


def test_imagined_categories_are_their_averages(features, levels):
    found = features.of("cnn1", ["n01943899", "n01443537", "n13111881"])
    np.testing.assert_array_equal(found, levels["cnn1"][[6, 5, 8]].astype(np.float32))


def test_averages_of_all_categories(features, levels):
    found = features.category_means("gist")
    assert [label.split()[0] for label in found.labels] == ["n01443537", "n01943899", "n01518878", "n13111881"]
    assert found.labels[0] == "n01443537 goldfish, Carassius auratus"
    np.testing.assert_array_equal(found.means, levels["gist"][5:].astype(np.float32))
    assert found.places(["n01518878", "n02051845"]).tolist() == [2, -1]


def test_a_level_as_a_target(features, levels):
    target = PublishedLevel(features, "cnn1", units=4)
    assert (target.takes, target.shape, target.n_targets) == ("stimulus_ids", (4,), 4)
    np.testing.assert_array_equal(target.encode(NAMES[:2]), levels["cnn1"][:2, :4].astype(np.float32))
    assert PublishedLevel(features, "gist", units=1000).shape == (4,) == PublishedLevel(features, "gist").shape
    assert target.preprocessing != PublishedLevel(features, "cnn1", units=3).preprocessing


def test_what_is_not_there_is_said(features, levels, tmp_path):
    with pytest.raises(InputError, match="no features of 1 of 2 stimuli, the first is n01518878_8"):
        features.of("cnn1", [NAMES[0], "n01518878_8"])
    with pytest.raises(InputError, match="has no level 'cnn9'; it has cnn1, gist"):
        features.of("cnn9", NAMES)
    only = ImageFeatures(
        write_image_features(tmp_path / "only.h5", PICTURES, [], {"cnn1": levels["cnn1"][: len(PICTURES)]})
    )
    with pytest.raises(InputError, match="no averages of categories"):
        only.category_means("cnn1")
    other = write_bdata(tmp_path / "other.h5", np.zeros((2, 3)), {}, {"Run": [1, 2]})
    with pytest.raises(InputError, match="no FeatureType"):
        ImageFeatures(other)
    with pytest.raises(InputError, match="There is no file"):
        ImageFeatures(tmp_path / "absent.h5")
    coarse = write_image_features(tmp_path / "coarse.h5", PICTURES, AVERAGES, levels, dtype="<f4")
    with pytest.raises(InputError, match="too coarse"):
        ImageFeatures(coarse).of("cnn1", NAMES)
