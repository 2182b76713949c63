"""Recipes: schedules against PyTorch's own, optimisers as they are described, and what makes no sense."""

import math

import pytest
import torch

from stages.ground.errors import InputError
from stages.training.muon import Muon, orthogonalise
from stages.training.optimisers import LARGEST_RATE_BESIDE_MUON, learning_rate, make_optimisers, set_rates
from stages.training.recipe import OptimiserSpec, Recipe, Schedule

STEPS, RATE = 40, 0.02


def ours(schedule, **spec):
    """Learning rates and momenta of every step, as the optimiser gets them."""
    recipe = Recipe(STEPS, 1, OptimiserSpec(learning_rate=RATE, **spec), schedule)
    (optimiser,) = make_optimisers({"x": torch.nn.Parameter(torch.zeros(2))}, recipe.optimiser)
    found = []
    for step in range(STEPS):
        set_rates([optimiser], recipe, step)
        (group,) = optimiser.param_groups
        assert group["lr"] == learning_rate(recipe, step)
        found.append((group["lr"], group["betas"][0] if "betas" in group else group["momentum"]))
    return found


def theirs(make, optimiser_class=torch.optim.AdamW):
    """The same of a scheduler of PyTorch's."""
    options = {"momentum": 0.5} if optimiser_class is torch.optim.SGD else {}
    optimiser = optimiser_class([torch.nn.Parameter(torch.zeros(2))], lr=RATE, **options)
    scheduler = make(optimiser)
    found = []
    for _ in range(STEPS):
        (group,) = optimiser.param_groups
        found.append((group["lr"], group["betas"][0] if "betas" in group else group["momentum"]))
        optimiser.step()
        scheduler.step()
    return found


schedulers = torch.optim.lr_scheduler


def warm(optimiser, steps):
    return schedulers.LinearLR(optimiser, start_factor=1 / steps, total_iters=steps - 1)


def one_cycle(**options):
    return lambda optimiser: schedulers.OneCycleLR(optimiser, max_lr=RATE, total_steps=STEPS, **options)


@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        (Schedule(), lambda optimiser: schedulers.ConstantLR(optimiser, factor=1.0)),
        (Schedule(warmup=7), lambda optimiser: warm(optimiser, 7)),
        (Schedule("linear"), lambda optimiser: schedulers.LinearLR(optimiser, 1.0, 0.0, STEPS)),
        (Schedule("cosine"), lambda optimiser: schedulers.CosineAnnealingLR(optimiser, STEPS)),
        (
            Schedule("cosine", warmup=5),
            lambda optimiser: schedulers.ChainedScheduler(
                [warm(optimiser, 5), schedulers.CosineAnnealingLR(optimiser, STEPS)]
            ),
        ),
        (
            Schedule("milestones", milestones=(3, 20), drop=0.1),
            lambda optimiser: schedulers.MultiStepLR(optimiser, [3, 20], gamma=0.1),
        ),
        (Schedule("one-cycle"), one_cycle()),
        (
            Schedule("one-cycle", rise=0.1, first_divisor=10, last_divisor=1000, momenta=None),
            one_cycle(pct_start=0.1, div_factor=10, final_div_factor=1000, cycle_momentum=False),
        ),
    ],
)
def test_schedules_vs_pytorch(schedule, make):
    for found, expected in zip(ours(schedule), theirs(make), strict=True):
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_cosine_may_begin_after_the_warm_up():
    """As masked autoencoders have it: step / warm-up, then half a cosine of what is left."""
    found = [Schedule("cosine after warm-up", warmup=10).factor(step, 50) for step in range(50)]
    expected = [step / 10 if step < 10 else 0.5 * (1 + math.cos(math.pi * (step - 10) / 40)) for step in range(50)]
    assert found == pytest.approx(expected, abs=1e-12)
    assert found[0] == 0 and found[10] == 1
    assert [Schedule("cosine after warm-up").factor(step, 4) for step in (0, 2)] == pytest.approx([1.0, 0.5])


def test_one_cycle_turns_the_momentum_of_sgd_as_pytorch_does():
    found = ours(Schedule("one-cycle"), name="sgd", momentum=0.5)
    assert found == [pytest.approx(line, rel=1e-9) for line in theirs(one_cycle(), torch.optim.SGD)]


def test_vectors_need_not_decay():
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3))
    for undecayed, expected in (("none", 0.1), ("vectors", 0.0)):
        (optimiser,) = make_optimisers(
            dict(network.named_parameters()), OptimiserSpec(weight_decay=0.1, undecayed=undecayed)
        )
        decays = {
            id(parameter): group["weight_decay"] for group in optimiser.param_groups for parameter in group["params"]
        }
        assert decays[id(network[0].weight)] == 0.1
        assert {decays[id(value)] for value in (network[0].bias, *network[1].parameters())} == {expected}


def test_biases_alone_need_not_decay():
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.LayerNorm(3))
    spec = OptimiserSpec(weight_decay=0.1, undecayed="biases")
    (optimiser,) = make_optimisers(dict(network.named_parameters()), spec)
    decays = {id(one): group["weight_decay"] for group in optimiser.param_groups for one in group["params"]}
    assert {decays[id(one.weight)] for one in network} == {0.1} and {decays[id(one.bias)] for one in network} == {0.0}


def test_names_say_what_need_not_decay():
    network = torch.nn.ModuleDict({"ridge": torch.nn.Linear(2, 3), "shared": torch.nn.Linear(3, 3)})
    network.shared.relative_bias = torch.nn.Embedding(4, 2)
    spec = OptimiserSpec(weight_decay=0.1, undecayed_names=(r"(?!ridge\.).*bias.*",))
    (optimiser,) = make_optimisers(dict(network.named_parameters()), spec)
    decays = {id(one): group["weight_decay"] for group in optimiser.param_groups for one in group["params"]}
    found = {name for name, one in network.named_parameters() if decays[id(one)] == 0}
    assert found == {"shared.bias", "shared.relative_bias.weight"} and len(decays) == 5
    # Beside what the optimiser leaves alone anyway.
    spec = OptimiserSpec(weight_decay=0.1, undecayed="vectors", undecayed_names=("shared.weight",))
    (optimiser,) = make_optimisers(dict(network.named_parameters()), spec)
    left = [one.shape for group in optimiser.param_groups if not group["weight_decay"] for one in group["params"]]
    assert sorted(map(tuple, left)) == [(3,), (3,), (3, 3)]


def test_names_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="optimiser.undecayed_names has .*, which is no regular expression"):
        OptimiserSpec(undecayed_names=("*.bias",))
    with pytest.raises(InputError, match="but Muon knows none; leave it out, or take adamw"):
        OptimiserSpec("muon", undecayed_names=(".*bias",))


def test_muon_leaves_vectors_to_adamw_at_a_rate_that_these_bear():
    network, spec = torch.nn.Linear(2, 3), OptimiserSpec("muon", 0.05, momentum=0.95)
    adamw, muon = make_optimisers(dict(network.named_parameters()), spec)
    set_rates([adamw, muon], Recipe(10, 1, spec), 0)
    assert isinstance(muon, Muon) and muon.param_groups[0]["params"] == [network.weight]
    assert adamw.param_groups[0]["params"] == [network.bias]
    assert (muon.param_groups[0]["lr"], adamw.param_groups[0]["lr"]) == (0.05, LARGEST_RATE_BESIDE_MUON)


def test_muon_steps_along_the_polar_factor_of_its_momentum():
    for shape in ((6, 20), (20, 6)):
        matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        found = orthogonalise(matrix)
        values = torch.linalg.svdvals(found)
        assert 0.6 < values.min() and values.max() < 1.3
        assert torch.nn.functional.cosine_similarity(found.flatten(), (left @ right).flatten(), dim=0) > 0.97


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Recipe(0, 1), "recipe.steps is 0"),
        (lambda: Recipe(1, 6, accumulate=4), "recipe.accumulate is 4 but recipe.batch_size 6"),
        (lambda: Recipe(1, 1, average=1.0), "recipe.average is 1.0"),
        (lambda: Recipe(1, 1, validation=0.9), "recipe.validation is 0.9"),
        (lambda: Recipe(1, 1, precision="fp8"), "recipe.precision is 'fp8'; expected one of 'no', 'bf16'"),
        (lambda: Recipe(1, 1, trains=("(",)), r"recipe.trains has '\(', which is no regular expression"),
        (lambda: OptimiserSpec("lion"), "optimiser.name is 'lion'"),
        (lambda: OptimiserSpec(learning_rate=math.nan), "optimiser.learning_rate is nan"),
        (lambda: OptimiserSpec(betas=(0.9, 1.0)), "optimiser.betas is"),
        (lambda: Schedule("step"), "schedule.kind is 'step'"),
        (lambda: Schedule(rise=1.0), "schedule.rise is 1.0"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(make, said):
    with pytest.raises(InputError, match=said):
        make()
