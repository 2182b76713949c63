"""Batches of a training: live values and values beside, mixtures of trials, held-out stimuli; and trainings on them."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_decoders import TwoHeads

from stages.decoders.samples import Samples
from stages.decoders.trained import TrainedDecoder, Training
from stages.ground.errors import InputError
from stages.objectives.regression import MeanSquaredError
from stages.objectives.teacher import PlacesOfTeacher
from stages.training.batches import Mixtures, VirtualTrials
from stages.training.recipe import OptimiserSpec, Recipe
from stages.training.state import FILE

RECIPE = Recipe(steps=10, batch_size=8, validate_every=5, validation=0.25, seed=3, optimiser=OptimiserSpec("sgd", 1e-2))


class Live:
    """Values that say which stimuli and which step they are for."""

    def __init__(self, values, identity="noise"):
        self.values, self.identity, self.asked = values, identity, []

    def __call__(self, stimuli, step):
        self.asked.append((stimuli.tolist(), step))
        shape = (len(stimuli), *self.values.shape[1:])
        return self.values[stimuli] + np.random.default_rng([7, step]).standard_normal(shape)


class WithPlaces(TwoHeads):
    """A value, and places that are no value."""

    def __init__(self, n_voxels, gives):
        super().__init__(n_voxels, gives | {"places": (3, 4)})

    def forward(self, patterns):
        # Without dropout, so that parts of a batch can be compared with the whole.
        hidden = self.trunk[:2](patterns)
        return {name: head(hidden).unflatten(1, self.gives[name]) for name, head in self.heads.items()}


@pytest.fixture(scope="module")
def training():
    """32 stimuli, seen one to three times."""
    random = np.random.default_rng(0)
    rows = random.permutation(np.concatenate([np.arange(32), np.arange(20), np.arange(9)]))
    responses = random.standard_normal((len(rows), 12)).astype(np.float32)
    places = random.standard_normal((32, 3, 4)).astype(np.float16)
    features = {"vdvae": random.standard_normal((32, 5)).astype(np.float32)}
    beside = {"places": places, "changed_places": places}
    live = {"changed_places": Live(places.astype(np.float32))}
    return Training({"subj01": responses}, {"subj01": rows}, features, "mixtures", beside, live)


def test_a_batch_holds_live_values_for_its_stimuli_and_stored_ones_beside(training):
    samples = Samples(training, RECIPE)
    assert samples.gives == {"vdvae": (5,)}
    (live,) = training.live.values()
    for step in (0, 4):
        batch = samples.at(step)
        stimuli, asked = live.asked[-1]
        assert asked == step and len(set(stimuli)) == 8
        np.testing.assert_array_equal(batch["targets"]["vdvae"], training.features["vdvae"][stimuli])
        np.testing.assert_array_equal(batch["targets"]["places"], training.beside["places"][stimuli].astype(np.float32))
        expected = live(np.array(stimuli), step).astype(np.float32)
        np.testing.assert_array_equal(batch["targets"]["changed_places"], expected)
        assert {values.dtype for values in batch["targets"].values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("epoch_of, order", [("mixtures", Mixtures), ("virtual trials", VirtualTrials)])
def test_patterns_are_weighted_sums_of_trials(training, epoch_of, order):
    samples = Samples(replace(training, epoch_of=epoch_of), RECIPE)
    responses, stimuli = training.responses["subj01"], training.stimulus_rows["subj01"]
    mixtures = order(len(samples.trials["subj01"].learned), 8, 3, stimuli[samples.trials["subj01"].learned])
    for step in range(12):
        rows, weights = mixtures(step)
        batch = samples.at(step)
        for place in range(8):
            expected = sum(
                weight * responses[samples.trials["subj01"].learned[row]].astype(float)
                for row, weight in zip(rows[place], weights[place])
            )
            np.testing.assert_allclose(batch["patterns"][place], expected, atol=1e-6)


@pytest.mark.parametrize("epoch_of", ["mixtures", "virtual trials"])
def test_validation_looks_at_averages_and_at_stored_values(training, epoch_of):
    samples = Samples(replace(training, epoch_of=epoch_of), RECIPE)
    (live,) = training.live.values()
    before = len(live.asked)
    batches = list(samples.validation())
    assert len(live.asked) == before and len(batches) == 1
    (batch,) = batches
    stimuli = training.stimulus_rows["subj01"]
    kept_away = np.setdiff1d(stimuli, stimuli[samples.trials["subj01"].learned])
    assert len(kept_away) == 8 == len(batch["patterns"])
    for row, stimulus in enumerate(kept_away):
        np.testing.assert_allclose(
            batch["patterns"][row], training.responses["subj01"][stimuli == stimulus].mean(0), atol=1e-6
        )
        np.testing.assert_array_equal(batch["targets"]["changed_places"][row], training.beside["places"][stimulus])
    by_trial = Samples(replace(training, epoch_of="trials"), RECIPE)
    n_held_out = np.isin(stimuli, kept_away).sum()
    assert sum(len(one["patterns"]) for one in by_trial.validation()) == n_held_out
    assert not list(Samples(training, replace(RECIPE, validation=0.0)).validation())


def test_values_of_one_source_are_made_once(training):
    live = Live(training.features["vdvae"])
    double = replace(
        training,
        features={"vdvae": training.features["vdvae"], "other": training.features["vdvae"]},
        live={"vdvae": live, "other": live},
    )
    batch = Samples(double, RECIPE).at(3)
    assert len(live.asked) == 1
    np.testing.assert_array_equal(batch["targets"]["vdvae"], batch["targets"]["other"])


def test_what_a_live_value_draws_is_no_affair_of_others(training):
    class Drawing(Live):
        def __call__(self, stimuli, step):
            torch.rand(3), np.random.rand(3)
            return super().__call__(stimuli, step)

    samples = Samples(replace(training, live={"places": Drawing(training.beside["places"])}), RECIPE)
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), np.random.get_state()[2]
    samples.at(0)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])
    assert np.random.get_state()[2] == before[2]


def decoder(recipe=RECIPE, **options):
    objectives = [MeanSquaredError("vdvae"), PlacesOfTeacher("places", "changed_places", weight=1.0)]
    return TrainedDecoder(WithPlaces, recipe, objectives, **options)


def test_what_is_no_value_is_trained_and_not_predicted(training):
    fitted = decoder().fit(training)
    assert fitted.gives == {"vdvae": (5,)}
    found = [name for name, _, _ in fitted.predict_blocks(training.responses["subj01"][:3])]
    assert found == ["vdvae"]
    assert {"places contrast", "vdvae error"} <= set(fitted.curves())
    with torch.random.fork_rng():
        torch.manual_seed(3)
        untrained = WithPlaces(12, fitted.gives)
    before, after = untrained.state_dict(), fitted.network.network.state_dict()
    assert not torch.equal(before["heads.places.weight"], after["heads.places.weight"])


def test_places_of_a_batch_are_compared_whole_whatever_its_parts(training):
    whole, parts = (decoder(replace(RECIPE, accumulate=accumulate)).fit(training) for accumulate in (1, 4))
    expected = whole.curves()["places contrast"][1]
    assert parts.curves()["places contrast"][1] == pytest.approx(expected, rel=1e-5)
    for name, values in whole.network.state_dict().items():
        torch.testing.assert_close(parts.network.state_dict()[name], values, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_killed_and_started_again_it_ends_in_the_same_bytes(training, tmp_path):
    def killed(label, done, total):
        if done == 6:
            os.kill(os.getpid(), signal.SIGKILL)

    if not (process := os.fork()):
        try:
            decoder(seconds_between_checkpoints=0.0).fit(training, folder=tmp_path / "parts", progress=killed)
        finally:
            os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(process, 0)[1]) and (tmp_path / "parts" / FILE).exists()
    done = []
    resumed = decoder().fit(training, folder=tmp_path / "parts", progress=lambda label, step, total: done.append(step))
    assert done[0] == 6
    for folder, one in (("parts", resumed), ("whole", decoder().fit(training))):
        one.save_pretrained(tmp_path / folder)
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    "other",
    [
        lambda one: replace(one, epoch_of="stimuli"),
        lambda one: replace(one, live={}),
        lambda one: replace(one, live={"changed_places": Live(one.beside["places"], "other noise")}),
        lambda one: replace(one, beside={**one.beside, "places": one.beside["places"] + 1}),
    ],
    ids=["trials that take turns", "nothing live", "another live value", "other values beside"],
)
def test_another_training_does_not_go_on_from_a_checkpoint(training, other, tmp_path):
    decoder().fit(training, folder=tmp_path)
    again, steps = [], []
    decoder().fit(training, folder=tmp_path, progress=lambda label, step, total: again.append(step))
    decoder().fit(other(training), folder=tmp_path, progress=lambda label, step, total: steps.append(step))
    assert (again[0], steps[0]) == (10, 0)


def test_a_live_value_without_a_stored_one_is_refused(training):
    wrong = replace(training, live={"change_places": Live(training.beside["places"])})
    with pytest.raises(InputError, match="live values of 'change_places' but no stored ones.*mean 'changed_places'"):
        decoder().fit(wrong)


def test_by_default_predicted_values_alone_are_judged(training):
    fitted = TrainedDecoder(TwoHeads, RECIPE).fit(training)
    assert {name for name in fitted.curves() if name.endswith("error")} == {"vdvae error"}
