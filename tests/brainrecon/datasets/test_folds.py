"""Folds part the stimuli, whatever the dataset; what they hold is compared with the dataset's own split."""

from collections import Counter

import numpy as np
import pytest

from brainrecon.datasets import load
from brainrecon.datasets.arrays.reader import write
from brainrecon.datasets.folds import category_numbers, check_pictures_disjoint, deal, in_fold
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from brainrecon.simulation import simulate_miyawaki
from stages.ground.errors import InputError


def draw_subject(n_train=11, n_test=5, kinds=("face", "house", "word"), repeats=2, seed=0):
    """Test stimuli are shown several times; voxel 0 spells the stimulus. Without kinds there are no categories."""
    random, splits = np.random.default_rng(seed), {}
    numbers = random.permutation(n_train + n_test)
    for name, own, times in (("train", numbers[:n_train], 1), ("test", numbers[n_train:], repeats)):
        trials = np.tile(own, times)
        betas = random.normal(size=(len(trials), 4)).astype(np.float32)
        betas[:, 0] = trials
        splits[name] = Split(
            betas,
            [f"s{number:03d}" for number in trials],
            images=(100 + np.repeat(own[:, None, None, None], 3, axis=3)).astype(np.uint8)
            * np.ones((1, 2, 2, 1), np.uint8),
            categories=[[kinds[number % len(kinds)]] for number in own] if kinds else None,
        )
    return Subject(name="subj01", dataset="arrays", source="arrays:x", splits=splits, roi="all", fingerprint="f")


def everything(subject):
    return {str(name) for name in ("train", "test") for name in subject.splits[name].stimulus_ids}


@pytest.mark.parametrize("n", (2, 3, 5, 15, 16))
@pytest.mark.parametrize("kinds", (("face", "house", "word"), ()))
def test_parts_cover_all_stimuli_once_and_are_of_one_size(n, kinds):
    subject = draw_subject(kinds=kinds)
    parts = [in_fold(subject, (k, n)) for k in range(n)]
    tested = [str(name) for part in parts for name in part.test.stimulus_ids]
    assert len(tested) == 16 and set(tested) == everything(subject)
    sizes = [part.test.n_stimuli for part in parts]
    assert max(sizes) - min(sizes) <= 1 and min(sizes) >= 1
    for k, part in enumerate(parts):
        assert everything(part) == everything(subject) and part.train.n_stimuli == 16 - part.test.n_stimuli
        assert part.details["fold"] == [k, n] and "split" not in part.details
        # What is said of one fold is said of all.
        assert part.notes == parts[0].notes and f"all 16 stimuli are tested once, in {n} folds" in part.notes[-1]
        assert ("every category shared out evenly" in part.notes[-1]) == bool(kinds and n < 16)
        for split in part.splits.values():
            numbers = [int(name[1:]) for name in split.trial_stimulus_ids]
            np.testing.assert_array_equal(np.asarray(split.betas)[:, 0], numbers)
            shown = [int(name[1:]) for name in split.stimulus_ids]
            np.testing.assert_array_equal(np.asarray(split.images)[:, 0, 0, 0], [100 + number for number in shown])
            assert split.categories == ([[kinds[number % 3]] for number in shown] if kinds else None)
    assert sum(part.test.n_trials for part in parts) == 11 + 5 * 2
    assert len({part.fingerprint for part in parts}) == n


@pytest.mark.parametrize("n", (2, 3, 4, 7))
def test_every_category_is_shared_out_evenly(n):
    subject = draw_subject(n_train=40, n_test=17)
    counts = [Counter(own for (own,) in in_fold(subject, (k, n)).test.categories) for k in range(n)]
    for kind in ("face", "house", "word"):
        found = [count[kind] for count in counts]
        assert sum(found) == 19 and max(found) - min(found) <= 1


def test_one_stimulus_of_two_categories_ends_the_sharing_out():
    subject = draw_subject()
    subject.test.categories[0].append("tool")
    assert "shared out" not in in_fold(subject, (0, 3)).notes[-1]
    plain = draw_subject(kinds=())
    for k in range(3):
        assert set(in_fold(subject, (k, 3)).test.stimulus_ids) == set(in_fold(plain, (k, 3)).test.stimulus_ids)


@pytest.mark.parametrize("classes", (None, "ab"))
def test_the_deal_depends_on_ids_alone(classes):
    random = np.random.default_rng(0)
    ids = np.array([f"stimulus {k}" for k in range(57)])
    own = None if classes is None else np.array([classes[k % 2] for k in range(57)])
    dealt = dict(zip(ids, deal(ids, 5, own)))
    state = np.random.get_state()[1].copy()
    for _ in range(5):
        order = random.permutation(57)
        assert dict(zip(ids[order], deal(ids[order], 5, None if own is None else own[order]))) == dealt
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    # Neighbours by name do not stay together.
    assert len(set(deal(ids, 5)[:8])) > 2


def test_which_split_a_stimulus_came_from_does_not_matter():
    subject = draw_subject()
    turned = Subject(
        name="subj01",
        dataset="arrays",
        source="arrays:x",
        splits={"train": subject.test, "test": subject.train},
        roi="all",
    )
    for k in range(4):
        assert set(in_fold(subject, (k, 4)).test.stimulus_ids) == set(in_fold(turned, (k, 4)).test.stimulus_ids)


@pytest.mark.parametrize(
    "fold, told",
    [
        ((0, 17), "17 folds of 16 stimuli cannot be made; choose 2 to 16 folds"),
        ((0, 1), r"fold is \(0, 1\), one of 1 parts; choose 2 parts or more"),
        ((0, 0), "one of 0 parts"),
        ((3, 3), "There is no fold 3 of 3; folds count from 0, so choose 0 to 2"),
        ((-1, 3), "There is no fold -1 of 3"),
        (3, "fold is 3; expected two whole numbers"),
        ((1, 2, 3), "expected two whole numbers"),
        ((0.0, 5), "expected two whole numbers"),
        ((True, 5), "expected two whole numbers"),
        ("05", "expected two whole numbers"),
    ],
)
def test_a_fold_that_is_none(fold, told):
    with pytest.raises(InputError, match=told) as caught:
        in_fold(draw_subject(), fold)
    assert "\n" not in str(caught.value)


# Through load


def test_a_fold_that_is_none_is_told_before_anything_is_read(tmp_path):
    with pytest.raises(InputError, match="There is no fold 5 of 5"):
        load(f"nsd:{tmp_path / 'absent'}", fold=(5, 5))


def test_nsd_in_folds(nsd):
    subject = load(f"nsd:{nsd.root}")
    parts = [load(f"nsd:{nsd.root}", fold=(k, 3)) for k in range(3)]
    assert sorted(str(name) for part in parts for name in part.test.stimulus_ids) == sorted(everything(subject))
    assert [part.test.n_stimuli for part in parts] == [3, 3, 3]
    for part in parts:
        assert part.noise_ceiling is None and part.details["betas"] == subject.details["betas"]
        assert part.train.n_trials + part.test.n_trials == subject.train.n_trials + subject.test.n_trials


def test_nsd_is_z_scored_by_what_is_trained_on(nsd):
    """The formula written out, from betas in percent: no trial of the tested part enters."""
    for k in range(3):
        scored, plain = (load(f"nsd:{nsd.root}", zscore=zscore, fold=(k, 3)) for zscore in (True, False))
        for name in ("train", "test"):
            found, before = np.asarray(scored.splits[name].betas), np.asarray(plain.splits[name].betas, dtype=float)
            for session in np.unique(plain.splits[name].sessions):
                trained = np.asarray(plain.train.betas, dtype=float)[plain.train.sessions == session]
                rows = plain.splits[name].sessions == session
                expected = (before[rows] - trained.mean(axis=0)) / trained.std(axis=0, ddof=1)
                np.testing.assert_allclose(found[rows], expected, atol=1e-4)


def test_one_stimulus_is_left_out_of_nsd(nsd):
    tested = []
    for k in range(9):
        part = load(f"nsd:{nsd.root}", zscore=True, fold=(k, 9))
        assert part.test.n_stimuli == 1 and part.test.patterns.shape == (1, part.n_voxels)
        tested += part.test.stimulus_ids.tolist()
        shown = int(tested[-1].removeprefix("nsd"))
        np.testing.assert_array_equal(np.asarray(part.test.images), nsd.images[[shown]])
    assert len(set(tested)) == 9


def test_arrays_in_folds(tmp_path):
    write(draw_subject(), tmp_path / "out")
    source = f"arrays:{tmp_path / 'out'}"
    tested = [name for k in range(4) for name in load(source, fold=(k, 4)).test.stimulus_ids.tolist()]
    assert sorted(tested) == sorted(everything(load(source)))
    # A configuration file hands over lists.
    assert load(source, fold=[1, 4]).details["fold"] == [1, 4]
    assert load(source, fold=None).fingerprint == load(source).fingerprint
    with pytest.raises(InputError, match="'folds' is no option of arrays data; it takes .*fold"):
        load(source, folds=4)


def test_checker_patterns_in_folds_share_out_their_kinds(tmp_path):
    simulate_miyawaki(tmp_path / "s1", voxels=60, random_patterns=24, figures=12)
    parts = [load(f"miyawaki:{tmp_path / 's1'}", roi="V1", fold=(k, 3)) for k in range(3)]
    counts = [Counter(kind for (kind,) in part.test.categories) for part in parts]
    assert all(count["random"] == 8 and count["geometric"] == 2 and count.total() == 12 for count in counts)
    for kind in ("thin alphabet", "long alphabet", "alphabet"):
        assert sorted(count[kind] for count in counts) == [0, 1, 1]
    assert all(part.simulated and part.test.n_trials == 8 + 4 * 3 for part in parts)


# The same picture under another id


def with_pictures(**splits):
    """Splits name -> a grey level for each stimulus; ids are all different but for imagery, which shows test's."""
    built = {}
    for name, levels in splits.items():
        ids = [f"{'test' if name == 'imagery' else name}{k}" for k in range(len(levels))]
        images = np.ones((1, 3, 3, 3), np.uint8) * np.array(levels, np.uint8)[:, None, None, None]
        built[name] = Split(np.zeros((len(ids), 2), np.float32), ids, images=images)
    return Subject(name="subj01", dataset="arrays", source="arrays:x", splits=built, roi="all")


def test_pictures_that_differ_pass():
    check_pictures_disjoint(with_pictures(train=[1, 2, 2], test=[3, 4, 4], imagery=[3, 4, 4]))


def test_a_picture_that_is_trained_on_under_another_id_is_named():
    told = (
        r"2 of 3 pictures of test are trained on under another id \(the first is test1, the same picture as train2\); "
        "remove them from one of the two"
    )
    with pytest.raises(InputError, match=told) as caught:
        check_pictures_disjoint(with_pictures(train=[1, 2, 9], test=[3, 9, 2]))
    assert "\n" not in str(caught.value)
    with pytest.raises(
        InputError, match="1 of 2 pictures of imagery are trained on .*test1, the same picture as train0"
    ):
        check_pictures_disjoint(with_pictures(train=[1, 2], test=[3, 4], imagery=[3, 1]))


def test_one_pixel_makes_another_picture_and_blocks_change_nothing(monkeypatch):
    subject = with_pictures(train=[1, 2, 9], test=[3, 9, 2])
    subject.train.images[1:, 2, 2, 2] += 1
    check_pictures_disjoint(subject)
    subject.train.images[1, 2, 2, 2] -= 1
    monkeypatch.setattr("brainrecon.datasets.folds.BLOCK_BYTES", 1)
    with pytest.raises(InputError, match="1 of 3 pictures of test .*test2, the same picture as train1"):
        check_pictures_disjoint(subject)


def test_pictures_are_read_from_disk_and_absent_ones_passed_over(nsd):
    subject = load(f"nsd:{nsd.root}")
    check_pictures_disjoint(subject)
    subject.test.images = None
    check_pictures_disjoint(subject)


def test_stimuli_of_one_category_have_one_number():
    subject = draw_subject()
    numbers, names = category_numbers(subject), [own[0] for own in subject.train.categories]
    assert sorted(set(numbers)) == list(range(len(set(names))))
    assert len({*zip(numbers, names)}) == len(set(names))


def test_several_names_are_a_category_of_their_own_in_whatever_order():
    own = [["dog"], ["cat", "dog"], ["dog", "cat"], ["cat"]]
    train = Split(np.ones((4, 2), np.float32), list("abcd"), categories=own)
    test = Split(np.ones((1, 2), np.float32), ["e"])
    subject = Subject("subj01", "arrays", "arrays:x", {"train": train, "test": test}, "all")
    assert category_numbers(subject).tolist() == [2, 1, 1, 0]
    own[3] = []
    with pytest.raises(InputError, match="arrays:x tells no category of 1 stimuli of training"):
        category_numbers(subject)


def test_without_categories_there_are_no_numbers():
    with pytest.raises(
        InputError, match="arrays:x tells no categories of training, .* choose a dataset that names them"
    ):
        category_numbers(draw_subject(kinds=()))
