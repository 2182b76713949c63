"""Decoded values with the means and spreads of true ones: exact after the transductive way, and nothing of it for one alone."""

from types import SimpleNamespace

import numpy as np
import pytest

from brainrecon.assembly.match_moments import ALL_VALUES, EACH_VALUE, MatchMoments, Moments
from brainrecon.assembly.values import Item, Training, Workspace
from brainrecon.features.store import FeatureStore
from stages.ground.errors import InputError

VALUE = "decoded_latent"


class Learned:
    """A step that decodes: half of the patterns, and a little more for one subject."""

    targets = {VALUE: "the target"}

    def run(self, items, values, *, seed=0):
        (subject,) = {item.subject for item in items}
        return {VALUE: np.float32(0.5) * values["patterns"] + (subject == "subj02")}


def subject_of(seed):
    random = np.random.default_rng(seed)
    patterns = random.standard_normal((20, 3)).astype(np.float32)
    patterns[:, 2] = 4.0
    return SimpleNamespace(train=SimpleNamespace(patterns=patterns, stimulus_ids=np.arange(20).astype(str)))


@pytest.fixture
def training():
    subjects = {"subj01": subject_of(0), "subj02": subject_of(1)}
    true = {name: np.float32([[10, -3, 7]]) + 2 * one.train.patterns[::-1] for name, one in subjects.items()}
    return Training(subjects, lambda names, subject, **how: {VALUE: true[subject]}), true


def fitted(by, training, spread=EACH_VALUE):
    step = MatchMoments(Learned(), VALUE, "first_latent", by, "moments", spread)
    step.fit(training, Workspace(FeatureStore()))
    return step


def decoded(n=7):
    return {VALUE: np.random.default_rng(2).standard_normal((n, 3)).astype(np.float32) * [1, 2, 3] + 5}


def items(n=7):
    return [Item("subj01", str(row)) for row in range(n)]


def test_transductive_statistics_are_exactly_the_true_ones(training):
    given, true = training
    step, every = fitted("transductive", given), np.concatenate([*true.values()])
    found = step.run(items(), decoded())["first_latent"]
    np.testing.assert_allclose(found.mean(axis=0), every.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.std(axis=0), every.std(axis=0), rtol=1e-4)
    assert found.dtype == np.float32 and step.no_mean_response


def test_transductive_statistics_of_one_response_are_refused(training):
    step = fitted("transductive", training[0])
    with pytest.raises(InputError, match="1 response is decoded, .* latent_statistics=training"):
        step.run(items(1), decoded(1))


def test_training_statistics_are_those_of_all_subjects_predictions(training):
    given, true = training
    step = fitted("training", given)
    made = np.concatenate([0.5 * one.train.patterns + (name == "subj02") for name, one in given.subjects.items()])
    every, rows = np.concatenate([*true.values()]), decoded()[VALUE]
    found = step.run(items(), {VALUE: rows})["first_latent"]
    scaled = (rows - made.mean(axis=0)) / made.std(axis=0) * every.std(axis=0) + every.mean(axis=0)
    np.testing.assert_allclose(found, scaled, rtol=1e-4, atol=1e-4)
    # A row depends on no other, and there is one for the mean response.
    np.testing.assert_array_equal(step.run(items(1), {VALUE: rows[3:4]})["first_latent"], found[3:4])
    assert step.no_mean_response is None


def test_with_one_spread_of_all_values_what_is_decoded_keeps_its_form(training):
    given, true = training
    step, rows = fitted("training", given, ALL_VALUES), decoded()[VALUE]
    made = np.concatenate([0.5 * one.train.patterns + (name == "subj02") for name, one in given.subjects.items()])
    every = np.concatenate([*true.values()])
    factor = np.sqrt(every.var(axis=0).mean() / made.var(axis=0).mean())
    found = step.run(items(), {VALUE: rows})["first_latent"]
    np.testing.assert_allclose(found, (rows - made.mean(axis=0)) * factor + every.mean(axis=0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cuts", [(), (1,), (3, 4), (250,)])
def test_moments_of_blocks_are_those_of_all_rows(cuts):
    rows = np.random.default_rng(3).standard_normal((251, 4)).astype(np.float32) + [0, 1e4, -3, 0]
    rows[:, 3] = 7
    found = Moments()
    for block in np.split(rows, cuts):
        found.add(block)
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.deviation, rows.std(axis=0), rtol=1e-9, atol=1e-9)


def test_a_value_that_does_not_vary_becomes_the_true_mean():
    subject = subject_of(0)
    true = np.float32([[1.0, 2.0, 3.0]]) + subject.train.patterns
    step = fitted("training", Training({"subj01": subject}, lambda names, **how: {VALUE: true}))
    found = step.run(items(), decoded())["first_latent"]
    np.testing.assert_allclose(found[:, 2], 7.0, rtol=1e-6)
    assert np.isfinite(found).all() and found[:, :2].std() > 0


def test_what_is_learned_is_kept(training, tmp_path):
    step = fitted("training", training[0])
    step.save(tmp_path)
    opened = MatchMoments(Learned(), VALUE, "first_latent", "training", "moments")
    opened.open(Workspace(FeatureStore(), folder=tmp_path))
    np.testing.assert_array_equal(*(one.run(items(), decoded())["first_latent"] for one in (step, opened)))
    assert (step.target_of, step.targets) == ({"first_latent": VALUE}, {"first_latent": "the target"})


def test_another_way_is_refused():
    with pytest.raises(InputError, match="by is 'testing'"):
        MatchMoments(Learned(), VALUE, "first_latent", "testing", "moments")
