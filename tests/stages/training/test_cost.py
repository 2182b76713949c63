"""What a training takes, against what is written out for small networks and against a training that is watched."""

from dataclasses import replace

import pytest
import torch
from small_learners import CASES, batch_at
from torch.utils.flop_counter import FlopCounterMode

from stages.training.cost import cost_of
from stages.training.recipe import OptimiserSpec, Recipe
from stages.training.sharing import on_device

RECIPE = Recipe(steps=10, batch_size=8, optimiser=OptimiserSpec("adamw"))
N_IN, N_HIDDEN, N_OUT = 100, 50, 3


class Two(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(N_IN, N_HIDDEN), torch.nn.Linear(N_HIDDEN, N_OUT)

    def forward(self, batch):
        return self.second(self.first(batch).relu()).square().mean(), {}


N_WEIGHTS = N_IN * N_HIDDEN + N_HIDDEN + N_HIDDEN * N_OUT + N_OUT


def cost(recipe=RECIPE, make=Two):
    return cost_of(make, lambda n: torch.empty(n, N_IN), recipe)


def test_memory_is_that_of_the_tensors_that_are_kept():
    found = cost()
    assert (found.parameters, found.weights, found.gradients, found.moments) == (
        N_WEIGHTS, 4 * N_WEIGHTS, 4 * N_WEIGHTS, 8 * N_WEIGHTS,
    )  # fmt: skip
    # What is read, the hidden values (once, for both who keep them), and what is squared.
    assert found.activations == 4 * 8 * (N_IN + N_HIDDEN + N_OUT)
    assert found.on_device == 16 * N_WEIGHTS + found.activations
    assert found.checkpoint == 12 * N_WEIGHTS
    # Two copies of weights and moments while a checkpoint is written, or all of a step.
    assert found.on_cpu == max(found.on_device, 24 * N_WEIGHTS)


@pytest.mark.parametrize(
    "changes, weights, moments",
    [
        ({"average": 0.9}, 8, 8),
        ({"validation": 0.1}, 8, 8),
        ({"average": 0.9, "validation": 0.1}, 12, 8),
        ({"optimiser": OptimiserSpec("adam")}, 4, 8),
        ({"optimiser": OptimiserSpec("sgd")}, 4, 0),
        ({"optimiser": OptimiserSpec("sgd", momentum=0.9)}, 4, 4),
    ],
)
def test_the_recipe_decides_what_is_kept_of_a_weight(changes, weights, moments):
    found = cost(replace(RECIPE, **changes))
    assert (found.weights, found.moments) == (weights * N_WEIGHTS, moments * N_WEIGHTS)


def test_muon_keeps_one_moment_of_matrices_and_two_of_vectors():
    vectors = N_HIDDEN + N_OUT
    assert cost(replace(RECIPE, optimiser=OptimiserSpec("muon"))).moments == 4 * (N_WEIGHTS + vectors)


def test_what_is_not_trained_has_no_gradient():
    found = cost(replace(RECIPE, trains=("second.*",)))
    assert found.gradients == 4 * (N_HIDDEN * N_OUT + N_OUT) and found.weights == 4 * N_WEIGHTS


def test_operations_are_those_of_a_step_times_steps():
    forwards = 2 * 8 * (N_IN * N_HIDDEN + N_HIDDEN * N_OUT)
    # Backwards twice as many, but for what is read, of which nobody wants the gradient.
    assert cost().operations == 10 * (3 * forwards - 2 * 8 * N_IN * N_HIDDEN)


def test_parts_of_a_batch_take_less_memory_and_as_many_operations():
    whole, parts = cost(), cost(replace(RECIPE, accumulate=4))
    assert parts.activations == whole.activations // 4 and parts.operations == whole.operations
    half = cost(replace(RECIPE, precision="bf16"))
    assert half.activations == whole.activations // 2 + 2 * N_WEIGHTS


@pytest.mark.parametrize("name", ["dropout, average, validation", "samples that are compared, parts of a batch"])
def test_an_outline_counts_what_a_real_step_does(name):
    case = CASES[name]
    recipe = replace(case.recipe, accumulate=1, steps=1)

    def outline(n):
        return {"x": torch.empty(n, 6), "y": torch.empty(n, 3), "step": 0}

    with FlopCounterMode(display=False) as counter:
        loss, _ = case.learner()(on_device(batch_at(0), "cpu"))
        loss.backward()
    assert cost_of(case.make, outline, recipe).operations == counter.get_total_flops() > 0


def test_a_network_that_asks_for_values_is_trained_all_the_same():
    class Asking(Two):
        def forward(self, batch):
            loss, _ = super().forward(batch)
            return loss, {"doubled": 2 * loss.item()}

    found = cost(make=Asking)
    assert (found.activations, found.operations) == (None, None) and found.on_device == 16 * N_WEIGHTS


def test_a_network_that_asks_for_values_when_it_is_made_is_not_counted():
    class Asking(Two):
        def __init__(self):
            super().__init__()
            self.size = int(torch.tensor([2, 3]).prod())

    assert cost(make=Asking) is None and Asking().size == 6


def test_counting_leaves_the_random_state_alone():
    torch.manual_seed(3)
    cost()
    drawn = torch.rand(3)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(3))
