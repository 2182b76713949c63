"""Labels of classes: ImageNet's, their words, and files of labels."""

import pytest
import torchvision

from stages.ground.class_labels import imagenet_labels, labelled, labels_of_classes, read_labels, synset_of, words_of
from stages.ground.errors import InputError


def test_imagenets_classes_are_in_torchvisions_order():
    """Torchvision has a shorter name for each, which is one of the words, or a few of them joined."""
    short = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
    labels = imagenet_labels()
    assert len(labels) == len(short) == len({synset_of(label) for label in labels}) == 1000
    agreeing = [name.split(",")[0].lower() in words_of(label).lower() for name, label in zip(short, labels)]
    # A few are called otherwise there, such as "missile" for "projectile, missile".
    assert sum(agreeing) > 985


@pytest.mark.parametrize(
    ("label", "words", "synset"),
    [
        ("n02123045 tabby, tabby cat", "tabby, tabby cat", "n02123045"),
        ("n02123045", "n02123045", "n02123045"),
        ("a boat", "a boat", None),
        ("n021230451 odd", "n021230451 odd", None),
        ("n02123045_17", "_17", "n02123045"),
    ],
)
def test_words_and_synset(label, words, synset):
    assert (words_of(label), synset_of(label)) == (words, synset)


def test_a_synset_gets_its_words_if_imagenet_has_it():
    assert labelled(" n01440764 ") == "n01440764 tench, Tinca tinca"
    assert labelled("n00000001") == "n00000001" and labelled("n01440764 fish") == "n01440764 fish"


def test_files_of_labels(tmp_path):
    (tmp_path / "synset_words.txt").write_text("one\n two \n", encoding="utf-8")
    assert labels_of_classes(tmp_path, 2) == ("one", "two")
    (tmp_path / "other.txt").write_text("one\n\nthree\n")
    with pytest.raises(InputError, match="has 2 labels in 3 lines for 3 rows"):
        read_labels(tmp_path / "other.txt", 3, "rows")
    (tmp_path / "other.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read as a table of labels"):
        read_labels(tmp_path / "other.txt", 3, "rows")
