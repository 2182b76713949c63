"""Settings of the transformer of regions: its recipe and its losses, its folds, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from brainrecon.assembly.region_experts import GATES, HEADS, LeftOut, RegionExpertsSettings, region_experts
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Machine
from stages.ground.errors import InputError
from stages.networks import psychometry, subject_experts

NAMES = [f"nsd{row:05d}" for row in range(3000)]


def learned(**settings):
    targets = {name: TargetSource(SimpleNamespace, checkpoints=()) for name in ("image", "text")}
    return region_experts(targets, ("V1", "V2"), RegionExpertsSettings(**settings), Machine(), "network")


def test_choices_are_those_of_the_network():
    assert (GATES, HEADS) == (subject_experts.GATES, psychometry.HEADS)


def test_the_recipe_is_the_guessed_one():
    recipe = learned().decoder.recipe
    assert (recipe.steps, recipe.batch_size) == (200 * 138, 64)
    assert (recipe.optimiser.name, recipe.optimiser.learning_rate, recipe.optimiser.weight_decay) == (
        "adamw",
        1e-4,
        0.05,
    )
    shares = [recipe.schedule.factor(step, recipe.steps) for step in (0, recipe.steps // 2, recipe.steps)]
    np.testing.assert_allclose(shares, [1, 0.5, 0], atol=1e-3)
    assert learned(subjects=4).decoder.recipe.batch_size == 4 * 64


def test_the_loss_is_soft_contrast_and_the_angle_of_both_outputs():
    torch.manual_seed(0)
    outputs, targets = ({name: torch.randn(6, 3, 4) for name in ("image", "text")} for _ in range(2))
    found = sum(one(outputs, targets, 0)[0] for one in learned(text_weight=0.5).decoder.objectives)
    expected = 0.0
    for name, weight in (("image", 1.0), ("text", 0.5)):
        rows, true = (normalize(one[name].flatten(1)) for one in (outputs, targets))
        soft = (true @ true.T / 0.005).softmax(dim=1)
        contrast = (cross_entropy(rows @ true.T / 0.005, soft) + cross_entropy(true @ rows.T / 0.005, soft)) / 2
        expected = expected + weight * (contrast + 10_000 * ((rows - true) ** 2).mean())
    torch.testing.assert_close(found, expected)
    alone = learned(contrast_weight=0.0).decoder.objectives
    assert [type(one).__name__ for one in alone] == 2 * ["UnitSquaredError"]


def test_folds_part_all_stimuli_evenly_and_by_their_names_alone():
    folds = np.array([LeftOut(fold, 5, seed=1)(NAMES) for fold in range(5)])
    assert (folds.sum(axis=0) == 1).all()
    assert (np.abs(folds.sum(axis=1) - 600) < 100).all()
    backwards = LeftOut(2, 5, seed=1)(NAMES[::-1])
    np.testing.assert_array_equal(backwards[::-1], folds[2])
    assert (LeftOut(2, 5, seed=2)(NAMES) != folds[2]).any()


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"gate": "top-k"}, "gate is 'top-k'"),
        ({"heads": "mean"}, "heads is 'mean'"),
        ({"width": 0}, "width is 0"),
        ({"n_experts": 1.5}, "n_experts is 1.5"),
        ({"dropout": -0.1}, "dropout is -0.1"),
        ({"temperature": 0}, "temperature is 0"),
        ({"text_weight": 0}, "text_weight is 0"),
        ({"width": 100}, "width is 100, no multiple of 8 heads; .*width=96"),
        ({"contrast_weight": 0, "squared_weight": 0}, "both 0"),
    ],
)
def test_what_cannot_be_is_refused(settings, said):
    with pytest.raises(InputError, match=said):
        RegionExpertsSettings(**settings)
