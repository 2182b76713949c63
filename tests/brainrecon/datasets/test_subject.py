import numpy as np
import pandas as pd
import pytest

from brainrecon.datasets.split import Split, average_repeats, first_presentation_order
from brainrecon.datasets.subject import Subject, stimulus_fingerprint
from stages.ground.errors import InputError


def make_subject(**changes):
    rng = np.random.default_rng(0)
    arguments = dict(
        name="subj01",
        dataset="test",
        source="test:here",
        splits={
            "train": Split(rng.normal(size=(4, 3)).astype(np.float32), ["a", "b", "a", "c"]),
            "test": Split(rng.normal(size=(2, 3)).astype(np.float32), ["d", "e"]),
        },
        roi="all",
    )
    return Subject(**(arguments | changes))


def test_average_repeats_vs_pandas():
    rng = np.random.default_rng(1)
    ids = rng.choice([f"stimulus{number}" for number in range(200)], size=700)
    betas = rng.normal(size=(700, 13)).astype(np.float32)
    expected = pd.DataFrame(betas.astype(np.float64)).groupby(ids, sort=False).mean()
    patterns = average_repeats(betas, ids)
    assert patterns.dtype == np.float32
    np.testing.assert_allclose(patterns, expected.to_numpy(), rtol=1e-5, atol=1e-6)
    assert first_presentation_order(ids)[0].tolist() == expected.index.tolist()


def test_average_repeats_reads_a_lazy_array_by_blocks():
    class Lazy:
        shape = (600, 2)
        longest = 0

        def __getitem__(self, rows):
            values = np.arange(1200, dtype=np.float32).reshape(600, 2)[rows]
            self.longest = max(self.longest, len(values))
            return values

    lazy, seen = Lazy(), []
    patterns = average_repeats(lazy, ["x"] * 600, progress=lambda label, done, total: seen.append((done, total)))
    np.testing.assert_allclose(patterns, [[599, 600]])
    assert lazy.longest < 600
    assert seen[-1] == (600, 600) and len(seen) > 1


def test_split_keeps_the_order_of_first_presentation():
    split = Split(np.eye(5, dtype=np.float32), ["z", "a", "z", "m", "a"], captions=[["1"], ["2"], ["3"]])
    assert split.stimulus_ids.tolist() == ["z", "a", "m"]
    assert split.repeats.tolist() == [2, 2, 1]
    np.testing.assert_allclose(split.patterns[0], [0.5, 0, 0.5, 0, 0])
    assert split.patterns is split.patterns


def test_captions_are_read_once_and_only_when_asked_for():
    calls = []

    def read():
        calls.append(1)
        return [["a cat"]]

    split = Split(np.zeros((1, 1), np.float32), ["x"], captions=read)
    assert split.has_captions and not split.has_categories and not calls
    assert split.captions == split.captions == [["a cat"]]
    assert len(calls) == 1
    assert split.categories is None


@pytest.mark.parametrize(
    "arguments, told",
    [
        (dict(trial_stimulus_ids=["a"]), "3 trials but 1 stimulus ids"),
        (dict(sessions=[1, 2]), "3 trials but 2 sessions"),
        (dict(runs=[1, 2]), "3 trials but 2 runs"),
        (dict(images=np.zeros((3, 2, 2, 3), np.uint8)), "2 stimuli but 3 images"),
        (dict(captions=[["a"]]), "2 stimuli but 1 captions"),
        (dict(categories=[["a"]]), "2 stimuli but 1 categories"),
    ],
)
def test_lengths_that_disagree(arguments, told):
    with pytest.raises(InputError, match=told):
        Split(**(dict(betas=np.zeros((3, 2), np.float32), trial_stimulus_ids=["a", "b", "a"]) | arguments))


def test_a_nan_is_counted_in_voxels():
    betas = np.zeros((3, 4), np.float32)
    betas[1, 2] = np.nan
    betas[2, 0] = np.inf
    with pytest.raises(InputError, match="2 of 4 voxels hold NaN or infinite betas in trials 1 to 3"):
        average_repeats(betas, ["a", "b", "c"])


def test_train_shares_no_stimulus_with_any_other_split():
    def split(*ids):
        return Split(np.zeros((len(ids), 2), np.float32), ids)

    splits = {"train": split("a", "b"), "test": split("c"), "imagery": split("c", "d")}
    make_subject(splits=splits)  # imagery may share with test
    for other in ("test", "imagery"):
        with pytest.raises(InputError, match=f"1 stimuli are in both train and {other} .*the first is b"):
            make_subject(splits=splits | {other: split("e", "b")})


@pytest.mark.parametrize(
    "changes, told",
    [
        (dict(rois={"V1": np.ones(4, bool)}), "roi V1 has 4 voxels but split train has 3"),
        (dict(noise_ceiling=np.ones(2, np.float32)), "the noise ceiling has 2 voxels but split train has 3"),
    ],
)
def test_voxel_counts_that_disagree(changes, told):
    with pytest.raises(InputError, match=told):
        make_subject(**changes)


def test_fingerprint_is_of_what_was_shown():
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (40, 4, 4, 3), dtype=np.uint8)
    ids = [f"s{number}" for number in range(40)]

    def fingerprint(images=images, ids=ids, n_voxels=3, **facts):
        return stimulus_fingerprint("test", {"train": Split(np.zeros((40, n_voxels)), ids, images=images)}, **facts)

    assert fingerprint() == fingerprint(n_voxels=7) == fingerprint(images=images.copy())
    others = [
        fingerprint(images=255 - images),
        fingerprint(images=images[:, :2]),
        fingerprint(ids=ids[::-1]),
        fingerprint(caption_bytes=3),
    ]
    assert len({fingerprint(), *others}) == 5
