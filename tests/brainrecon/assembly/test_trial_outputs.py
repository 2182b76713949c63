"""Outputs averaged over trials: against averages written out, on a step that is no linear map."""

import numpy as np
import pytest
from made_up_systems import Adding, system_of
from torch import nn

from brainrecon.assembly.chain import Chain
from brainrecon.assembly.learn import Learn
from brainrecon.assembly.step import Step
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.trial_outputs import averaged_outputs
from brainrecon.assembly.values import Item
from brainrecon.datasets.padded_trials import padded
from stages.decoders.trained import TrainedDecoder, Training
from stages.ground.errors import InputError
from stages.training.recipe import Recipe


class Bent(Step):
    """The exponential of a pattern, and its square: neither is linear."""

    gives, averages = ("exponential", "square"), "outputs"

    def run(self, items, values, *, seed=0):
        patterns = np.asarray(values["patterns"], dtype=np.float64)
        assert len(items) == len(patterns)
        return {"exponential": np.exp(patterns), "square": patterns[:, :2] ** 2}


def trials_of(counts, seed=0):
    random = np.random.default_rng(seed)
    return [random.normal(size=(count, 5)).astype(np.float32) for count in counts]


def items(n):
    return [Item("subj01", f"stimulus{number}") for number in range(n)]


def test_one_trial_counts_three_times_and_of_two_the_first_counts_twice():
    a, b, c, d = trials_of([4])[0].astype(np.float64)
    trials = [np.stack(own).astype(np.float32) for own in ([a], [a, b], [a, b, c], [a, b, c, d])]
    found = averaged_outputs(Bent(), items(4), trials.__getitem__)
    e = np.exp
    expected = [e(a), (e(a) + e(b) + e(a)) / 3, (e(a) + e(b) + e(c)) / 3, (e(a) + e(b) + e(c) + e(d)) / 4]
    np.testing.assert_allclose(found["exponential"], expected, rtol=1e-6)
    assert found["exponential"].dtype == np.float32 and found["square"].shape == (4, 2)
    # The output of the average is another, and so is the plain average of two.
    assert np.abs(found["exponential"][1] - e((2 * a + b) / 3)).max() > 1e-2
    assert np.abs(found["exponential"][1] - (e(a) + e(b)) / 2).max() > 1e-2
    np.testing.assert_array_equal(found["exponential"][0], e(a).astype(np.float32))


def test_how_many_are_averaged_is_the_steps():
    step, (trials,) = Bent(), trials_of([2])
    step.n_trials = 5
    a, b = np.exp(trials.astype(np.float64))
    found = averaged_outputs(step, items(1), lambda place: trials)["exponential"][0]
    np.testing.assert_allclose(found, (3 * a + 2 * b) / 5, rtol=1e-6)
    assert padded(2, 5) == [0, 1, 0, 1, 0]


def test_an_item_does_not_depend_on_those_beside_it():
    trials = trials_of([3, 1, 2] * 30)
    told = []
    every = averaged_outputs(Bent(), items(90), trials.__getitem__, progress=lambda *each: told.append(each[1:]))
    for place in (0, 31, 32, 89):
        alone = averaged_outputs(Bent(), items(90)[place : place + 1], lambda _, place=place: trials[place])
        np.testing.assert_array_equal(alone["square"][0], every["square"][place])
    assert told[-1] == (90, 90)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (Adding(["patterns", "repeats"], "picture"), "reads 'repeats'"),
        (Adding(["patterns"], "picture", media={"picture": "picture"}), "gives 'picture', a picture"),
        (Adding(["patterns"], "picture", by_lot=True), "draws by lot"),
    ],
)
def test_a_step_whose_outputs_have_no_average_is_refused(step, said):
    step.averages = "outputs"
    with pytest.raises(InputError, match=said):
        Chain(system_of(step))


def test_patterns_that_are_given_by_themselves_are_one_trial_each():
    chain = Chain(system_of(Bent(), output="square"))
    patterns = trials_of([4])[0]
    assert chain.averages_outputs
    np.testing.assert_allclose(chain.predict(patterns)["exponential"], np.exp(patterns.astype(np.float64)), rtol=1e-6)
    found = chain.run_from_patterns([str(row) for row in range(4)], patterns)
    np.testing.assert_allclose(found[:, 0], patterns[:, :2].astype(np.float64) ** 2, rtol=1e-6)


class Bend(nn.Module):
    def __init__(self, n_voxels, gives):
        super().__init__()
        self.layer = nn.Linear(n_voxels, gives["colour"][0])

    def forward(self, patterns):
        return {"colour": self.layer(patterns).exp()}


class Colour:
    shape, n_targets = (3,), 3


class Halved(Bend):
    """Reads halves of voxels, which it makes itself of whole ones."""

    def __init__(self, n_voxels, gives):
        super().__init__(n_voxels // 2, gives)

    def prepared(self, patterns):
        return patterns.unflatten(1, (self.layer.in_features, -1)).amax(dim=2)

    def forward(self, patterns):
        return super().forward(self.prepared(patterns))


def test_what_a_network_makes_of_trials_first_is_averaged_if_it_is_told_so():
    colour, random = TargetSource(Colour, checkpoints=()), np.random.default_rng(0)
    responses = random.standard_normal((20, 6)).astype(np.float32)
    decoder = TrainedDecoder(Halved, Recipe(steps=3, batch_size=4))
    decoder.fit(Training({"a": responses}, {"a": np.arange(20)}, {"colour": random.standard_normal((20, 3))}))
    step = Learn({"colour": colour}, decoder, averages="inputs", n_trials=3)
    trials = [array.astype(np.float32) for array in (random.standard_normal((3, 6)), random.standard_normal((2, 6)))]
    found = averaged_outputs(step, items(2), trials.__getitem__)["colour"]
    network = decoder.network
    for place, own in enumerate(trials):
        own = (own - network.mean.numpy()) / network.scale.numpy()
        halves = own.reshape(len(own), 3, 2).max(axis=2)[[0, 1, 2 if len(own) == 3 else 0]].mean(axis=0)
        weight, bias = (one.detach().numpy() for one in network.network.layer.parameters())
        np.testing.assert_allclose(found[place], np.exp(weight @ halves + bias), rtol=1e-4)
    # One trial by itself is what it is without averages.
    alone = averaged_outputs(step, items(1), lambda _: trials[0][:1])["colour"]
    np.testing.assert_allclose(alone, step.run(items(1), {"patterns": trials[0][:1]})["colour"], rtol=1e-5)


def test_learn_averages_responses_unless_it_is_told_otherwise():
    colour = TargetSource(Colour, checkpoints=())
    make = TrainedDecoder(Bend, Recipe(steps=1, batch_size=2))
    assert Learn({"colour": colour}, make).averages == "responses"
    step = Learn({"colour": colour}, make, averages="outputs", n_trials=2)
    assert (step.averages, step.n_trials) == ("outputs", 2)
    for wrong in ({"averages": "both"}, {"n_trials": 0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            Learn({"colour": colour}, make, **wrong)
