import numpy as np
import pytest

from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from brainrecon.runs.splitting import split_subject
from stages.ground.errors import InputError

KINDS = ("dog", "cat", "car", "tree")


@pytest.fixture
def subject():
    """40 training and 12 test stimuli, each of one kind in turn and some also wet."""
    random, splits, start = np.random.default_rng(0), {}, 0
    for name, n in (("train", 40), ("test", 12)):
        splits[name] = Split(
            betas=random.random((n, 5), dtype=np.float32),
            trial_stimulus_ids=[f"s{number:03d}" for number in range(start, start + n)],
            images=random.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8),
            categories=[[KINDS[k % 4], *(["wet"] if k % 5 == 0 else [])] for k in range(n)],
        )
        start += n
    return Subject("subj01", "arrays", "arrays:/x", splits, "all")


def kind_of(subject):
    return {
        name: own[0] for split in subject.splits.values() for name, own in zip(split.stimulus_ids, split.categories)
    }


def no_encoding(split_name):
    raise AssertionError("nothing had to be encoded")


@pytest.mark.parametrize("wanted", ["dog", "dog,car", "wet", "cat, wet"])
def test_a_category_is_wholly_held_out(subject, wanted):
    anew = split_subject(subject, f"category:{wanted}", no_encoding)
    names = {name.strip() for name in wanted.split(",")}
    assert all(names & set(own) for own in anew.test.categories)
    assert not any(names & set(own) for own in anew.train.categories)
    assert anew.train.n_stimuli + anew.test.n_stimuli == 52


def test_clusters_are_found_once_and_remembered(subject, tmp_path):
    random = np.random.default_rng(0)
    values = {name: random.normal(size=(split.n_stimuli, 9)) for name, split in subject.splits.items()}
    path = tmp_path / "splits" / "one.json"
    first = split_subject(subject, "clusters:4", values.__getitem__, path)
    again = split_subject(subject, "clusters:4", no_encoding, path)
    assert list(first.test.stimulus_ids) == list(again.test.stimulus_ids) and first.notes == again.notes


def test_clusters_are_wholly_held_out(subject):
    """Embeddings fall into eight clear groups; no group is on both sides, and scale does not matter."""
    random, centres = np.random.default_rng(1), np.random.default_rng(2).normal(size=(8, 30))
    group = {name: int(random.integers(8)) for split in subject.splits.values() for name in split.stimulus_ids}

    def encode(split_name):
        ids = subject.splits[split_name].stimulus_ids
        values = np.stack([centres[group[name]] + 0.01 * random.normal(size=30) for name in ids])
        return values * random.uniform(0.1, 10, (len(ids), 1))

    anew = split_subject(subject, "clusters:8", encode)
    tested, trained = ({group[name] for name in split.stimulus_ids} for split in (anew.test, anew.train))
    assert tested and not tested & trained
    assert "of 8 clusters of CLIP image embeddings" in anew.details["split"]


@pytest.mark.parametrize(
    "split, told",
    [
        ("category:whale", "No stimulus has the category 'whale'; there are car, cat, dog, tree, wet"),
        ("category:", "no split 'category:'; write category:NAME or clusters:N"),
        ("clusters:1", "no split 'clusters:1'"),
        ("clusters:many", "no split"),
        ("clusters:500", "52 stimuli cannot make 500 clusters"),
        ("random", "no split 'random'"),
        ("category:dog,cat,car,tree", "holds out 52 of 52 stimuli"),
    ],
)
def test_rules_that_cannot_be_followed(subject, split, told):
    with pytest.raises(InputError, match=told):
        split_subject(subject, split, no_encoding)


def test_categories_are_needed(subject):
    for split in subject.splits.values():
        split._categories = None
    with pytest.raises(InputError, match="has no categories to split by; split by clusters:20"):
        split_subject(subject, "category:dog", no_encoding)


def test_pictures_are_needed(subject):
    subject.test.images = None
    with pytest.raises(InputError, match="has no pictures to make clusters of"):
        split_subject(subject, "clusters:8", no_encoding)


def test_stimuli_of_a_file_are_tested(subject, tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("\ufeffs007\n\n s041 \ns003\n", encoding="utf-8")
    anew = split_subject(subject, f"ids:{path}", no_encoding)
    assert sorted(anew.test.stimulus_ids) == ["s003", "s007", "s041"] and anew.train.n_stimuli == 49
    assert anew.details["split"] == "stimuli of mine.txt" and anew.fingerprint != subject.fingerprint


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "names no stimulus"),
        ("s003\nS7\n", r"first is S7 \('s007' is there"),
        ("x", "the first is x"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_names_no_stimuli(subject, text, told, tmp_path):
    if text is not None:
        (tmp_path / "mine.txt").write_text(text)
    with pytest.raises(InputError, match=told):
        split_subject(subject, f"ids:{tmp_path / 'mine.txt'}", no_encoding)


def test_another_split_of_the_data_is_tested_in_place_of_test(subject):
    imagery = Split(np.ones((3, 5), np.float32), ["s041", "i1", "i2"])
    subject = Subject("subj01", "arrays", "arrays:/x", subject.splits | {"imagery": imagery}, "all", {}, np.ones(5))
    anew = split_subject(subject, "imagery", no_encoding)
    assert anew.test is imagery and anew.train is subject.train and list(anew.splits) == ["train", "test"]
    assert anew.noise_ceiling is None and anew.details["split"] == "imagery" and anew.fingerprint != subject.fingerprint
    assert split_subject(subject, "test", no_encoding) is subject
    with pytest.raises(InputError, match="no split 'train'"):
        split_subject(subject, "train", no_encoding)
