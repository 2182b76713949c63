"""The step that brings a new subject to the one that was learned from: what it is fitted on, and what never enters."""

import numpy as np
import pytest
from made_up_systems import Adding, system_of

from brainrecon.assembly.align import ALIGNED_PATTERNS, KINDS, Align, responses_to, shared_rows
from brainrecon.assembly.alignment_settings import AlignmentSettings
from brainrecon.assembly.chain import Chain
from brainrecon.assembly.condition import CONDITIONS
from brainrecon.assembly.decode import Decode
from brainrecon.assembly.decoder_settings import DecoderSettings
from brainrecon.assembly.settings import from_dict
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Item, Machine, Training, Workspace
from brainrecon.datasets.resplit import resplit
from brainrecon.datasets.split import Split
from brainrecon.datasets.subject import Subject
from stages.ground.errors import InputError

# A hundred stimuli: 40 of subj01 alone, 30 of subj02 alone, 30 that both saw, tested on each.
FIRST, SECOND, SHARED = range(40), range(40, 70), range(70, 100)
N_FEATURES = 6


def responses(n_voxels, seed, noise=0.1):
    features = np.random.default_rng(0).standard_normal((100, N_FEATURES))
    random = np.random.default_rng(seed)
    made = features @ random.standard_normal((N_FEATURES, n_voxels)) + noise * random.standard_normal((100, n_voxels))
    return features, made.astype(np.float32)


def subject(name, train, n_voxels, seed, test=SHARED):
    _, made = responses(n_voxels, seed)
    splits = {of: Split(made[list(own)], [f"s{row}" for row in own]) for of, own in (("train", train), ("test", test))}
    return Subject(name, "arrays", "arrays:x", splits, roi="all")


@pytest.fixture
def reference():
    return subject("subj01", FIRST, 25, seed=1)


@pytest.fixture
def new():
    """Half of the shared stimuli are learned from."""
    return resplit(subject("subj02", SECOND, 18, seed=2), [f"s{row}" for row in SHARED[15:]], "half")


def fitted(new, reference, features=dict, kinds=None, **settings):
    step = Align(AlignmentSettings(**({"alphas": (1.0,)} | settings)), kinds)
    step.fit(Training({new.name: new}, features, pretraining={reference.name: reference}), Workspace(store=None))
    return step


def aligned(step, patterns):
    return step.run([None] * len(patterns), {"patterns": patterns})[ALIGNED_PATTERNS]


def test_new_patterns_become_those_of_the_reference(new, reference):
    found = aligned(fitted(new, reference), new.test.patterns)
    true = responses_to(reference, [str(name) for name in new.test.stimulus_ids])
    assert found.shape == (15, 25)
    assert np.corrcoef(found.ravel(), true.ravel())[0, 1] > 0.95


def test_it_is_fitted_on_shared_training_stimuli_alone(new, reference):
    step = fitted(new, reference)
    assert step.stimulus_ids == [f"s{row}" for row in SHARED[:15]]
    assert step.alignment.n_stimuli == 15


@pytest.mark.parametrize("whose", ["new", "reference"])
def test_responses_to_tested_stimuli_never_enter(new, reference, whose):
    before = aligned(fitted(new, reference), new.test.patterns)
    tested = set(new.test.stimulus_ids)
    changed = {"new": new, "reference": reference}[whose]
    patterns = new.test.patterns.copy()
    split = changed.test
    of_tested = np.isin(split.trial_stimulus_ids, list(tested))
    betas = np.array(split.betas[:])
    betas[of_tested] += 100 * np.random.default_rng(3).standard_normal(betas[of_tested].shape)
    spoilt = Split(betas.astype(np.float32), split.trial_stimulus_ids)
    changed = Subject(changed.name, "arrays", "arrays:x", {"train": changed.train, "test": spoilt}, roi="all")
    after = aligned(fitted(*((changed, reference) if whose == "new" else (new, changed))), patterns)
    assert of_tested.sum() == 15 and np.array_equal(before, after)


def test_stimuli_stand_in_one_order_whatever_the_reference_has(new, reference):
    order = np.random.default_rng(4).permutation(30)
    ids = [f"s{SHARED[row]}" for row in order]
    splits = {"train": reference.train, "test": Split(np.asarray(reference.test.betas[:])[order], ids)}
    mixed = Subject("subj01", "arrays", "arrays:x", splits, roi="all")
    np.testing.assert_allclose(
        aligned(fitted(new, mixed), new.test.patterns), aligned(fitted(new, reference), new.test.patterns), atol=1e-5
    )


def test_a_stimulus_of_the_references_train_and_one_of_its_test_both_count(new, reference):
    half = resplit(reference, [f"s{row}" for row in (*FIRST[:5], *SHARED[8:])], "another half")
    assert fitted(new, half).stimulus_ids == [f"s{row}" for row in SHARED[:15]]
    np.testing.assert_allclose(
        responses_to(half, [f"s{row}" for row in SHARED[:15]]),
        responses_to(reference, [f"s{row}" for row in SHARED[:15]]),
    )


def test_the_reference_itself_is_left_as_it_is(reference, tmp_path):
    step = Align(AlignmentSettings(method="procrustes"))
    step.fit(Training({"subj01": reference}, dict), Workspace(store=None))
    assert np.array_equal(aligned(step, reference.test.patterns), reference.test.patterns)
    step.save(tmp_path)
    again = Align(AlignmentSettings(method="procrustes"))
    again.open(Workspace(store=None, folder=tmp_path))
    assert np.array_equal(aligned(again, reference.test.patterns), reference.test.patterns)
    assert again.remarks() == []


def test_a_subject_that_equals_the_reference_is_aligned_to_itself_by_anatomy(reference):
    twin = resplit(subject("subj02", SECOND, 25, seed=1), [f"s{row}" for row in SHARED[15:]], "half")
    step = fitted(twin, reference, method="anatomical")
    assert np.array_equal(aligned(step, twin.test.patterns), twin.test.patterns)


def test_what_was_learned_is_kept_and_told(new, reference, tmp_path):
    step = fitted(new, reference)
    step.save(tmp_path)
    assert step.is_fitted(tmp_path)
    again = Align(AlignmentSettings(alphas=(1.0,)))
    again.open(Workspace(store=None, folder=tmp_path))
    assert np.array_equal(aligned(again, new.test.patterns), aligned(step, new.test.patterns))
    assert again.remarks() == step.remarks()
    assert (
        "aligned to subj01 by ridge, fitted on 15 stimuli that both saw, none of them tested (alpha 1"
        in step.remarks()[0]
    )


def test_without_shared_training_stimuli_a_sentence_says_what_to_type(reference):
    unsplit = subject("subj02", SECOND, 18, seed=2)
    with pytest.raises(InputError, match="0 of 30 training .* 30 that both saw are tested: .*--split shared:0.5"):
        fitted(unsplit, reference)


def test_a_reference_that_learned_from_what_is_tested_is_refused(new, reference):
    known = resplit(reference, [f"s{row}" for row in FIRST[:5]], "few")
    with pytest.raises(
        InputError, match="15 of 15 stimuli that are tested on subj02 are among those that subj01 learned from"
    ):
        shared_rows(new, known)


def test_several_references_are_refused(new, reference):
    training = Training({"subj02": new}, dict, pretraining={"subj01": reference, "subj03": reference})
    with pytest.raises(InputError, match="subj02 is to be aligned to subj01, subj03; name one"):
        Align(AlignmentSettings()).fit(training, Workspace(store=None))


def test_other_voxels_by_anatomy_are_refused(new, reference):
    with pytest.raises(InputError, match="18 voxels and the target 25, but anatomical"):
        fitted(new, reference, method="anatomical")


def test_a_fraction_has_every_kind_of_stimuli(new, reference):
    kinds = TargetSource(lambda: None, checkpoints=())
    vectors = np.zeros((45, 3), dtype=np.float32)
    of_shared = np.flatnonzero(np.isin(new.train.stimulus_ids, [f"s{row}" for row in SHARED]))
    vectors[of_shared[:12], 0] = vectors[of_shared[12:14], 1] = vectors[of_shared[14:], 2] = 1
    step = fitted(new, reference, lambda names: {KINDS: vectors}, kinds, fraction=0.25)
    drawn = [list(new.train.stimulus_ids).index(name) for name in step.stimulus_ids]
    assert vectors[drawn].sum(axis=0).tolist() == [3, 1, 1]
    assert step.beside == {KINDS: kinds} and Align(AlignmentSettings(), kinds).beside == {}


def test_a_fraction_without_kinds_is_drawn_from_its_seed(new, reference):
    first, again, other = (fitted(new, reference, fraction=0.4, seed=seed).stimulus_ids for seed in (0, 0, 1))
    assert first == again != other and len(first) == 6


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"method": "hyper"}, "alignment.method is 'hyper'"),
        ({"alphas": (0.0,)}, "alignment.alphas is"),
        ({"fraction": 0.0}, "alignment.fraction is 0.0; expected a number above 0 and up to 1"),
        ({"rank": 0}, "alignment.rank is 0"),
        ({"statistics": "test"}, "alignment.statistics is 'test'"),
    ],
)
def test_settings_that_do_not_go_are_refused(settings, told):
    with pytest.raises(InputError, match=told):
        from_dict(AlignmentSettings, settings)


# In a chain


class Features:
    """Six values of each stimulus, known."""

    takes, shape, n_targets, preprocessing = "images", (N_FEATURES,), N_FEATURES, {}


def chain():
    source = TargetSource(Features, checkpoints=(), identity=lambda: "features")
    decode = Decode(
        {"features": source},
        DecoderSettings(alpha=1.0, rescale="none", held_out="none"),
        Machine(),
        reads=ALIGNED_PATTERNS,
        for_new_subject="keep",
    )
    return Chain(system_of(Align(AlignmentSettings(alphas=(1.0,))), decode, Adding(("features",), "picture")))


def test_a_decoder_reads_the_aligned_patterns(new, reference):
    features, _ = responses(25, 1)
    (align, decode, _) = (made := chain()).steps

    def known(names):
        return {"features": features[[int(name[1:]) for name in reference.train.stimulus_ids]].astype(np.float32)}

    of_reference = Training({"subj01": reference}, known)
    align.fit(of_reference, Workspace(store=None))
    decode.fit(of_reference, Workspace(store=None))
    align.fit(Training({"subj02": new}, dict, pretraining={"subj01": reference}), Workspace(store=None))
    found = made.predict(new.test.patterns)["features"]
    true = features[[int(name[1:]) for name in new.test.stimulus_ids]]
    assert np.corrcoef(found.ravel(), true.ravel())[0, 1] > 0.9
    assert (align.for_new_subject, decode.for_new_subject) == ("again", "keep")


@pytest.mark.parametrize("name", ["shuffled_responses", "mean_response"])
def test_conditions_replace_the_measured_patterns(name):
    assert CONDITIONS[name].why_not(chain()) is None


def test_the_mean_response_has_no_statistics_of_its_own():
    step = Align(AlignmentSettings(statistics="transductive"))
    made = Chain(system_of(step, Adding((ALIGNED_PATTERNS,), "picture")))
    assert CONDITIONS["mean_response"].why_not(made) == step.no_mean_response
    assert CONDITIONS["shuffled_responses"].why_not(made) is None


def test_items_are_not_looked_at(new, reference):
    step = fitted(new, reference)
    items = [Item("subj02", str(name)) for name in new.test.stimulus_ids]
    found = step.run(items, {"patterns": list(new.test.patterns)})[ALIGNED_PATTERNS]
    assert np.array_equal(found, aligned(step, new.test.patterns))
