import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

from brainrecon.simulation.world.pictures import draw_pictures
from stages.networks.evaluation_network import HEADS, EvaluationNetwork

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("tiny_networks.evaluation")


@pytest.fixture(scope="module")
def drawn():
    return draw_pictures(40, range(40))


def _labels(drawn):
    return {head: [getattr(picture, head) for picture in drawn] for head in HEADS}


def test_targets_number_the_names_of_each_head(recipe, drawn):
    classes = recipe.targets(_labels(drawn))
    assert classes.shape == (len(drawn), len(HEADS))
    for row, picture in zip(classes, drawn):
        named = {head: recipe.NAMES[head][k] for head, k in zip(HEADS, row)}
        digit = "none" if picture.digit < 0 else str(picture.digit)
        assert named == {
            "category": picture.category,
            "colour": picture.colour,
            "background": picture.background,
            "digit": digit,
        }


def test_disturbing_is_mild_and_repeatable(recipe, drawn):
    images = torch.from_numpy(np.stack([picture.image for picture in drawn])).permute(0, 3, 1, 2) / 255
    first = recipe.disturb(images, torch.Generator().manual_seed(1))
    assert torch.equal(first, recipe.disturb(images, torch.Generator().manual_seed(1)))
    assert not torch.equal(first, recipe.disturb(images, torch.Generator().manual_seed(2)))
    assert first.shape == images.shape
    assert 0 <= first.min() and first.max() <= 1
    related = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(images.numpy(), first.numpy())]
    assert np.median(related) > 0.6


def test_figures_count_what_the_heads_name_rightly(recipe, drawn, tmp_path):
    network = EvaluationNetwork(recipe.NAMES)
    with torch.no_grad():
        # A network that always gives the same answer is right as often as that answer is.
        for head, answer in (
            ("category", "digit"),
            ("colour", "white"),
            ("background", "black"),
            ("digit", "6"),
        ):
            network.heads[head].weight.zero_()
            network.heads[head].bias.zero_()[recipe.NAMES[head].index(answer)] = 1
    network.save_pretrained(tmp_path)
    images = np.stack([picture.image for picture in drawn])
    reached = recipe.figures(tmp_path, images, _labels(drawn))
    assert reached["category"] == np.mean([picture.kind == "digit" for picture in drawn])
    assert reached["colour_disturbed"] == np.mean([picture.colour == "white" for picture in drawn])
    digits = [picture.digit for picture in drawn if picture.kind == "digit"]
    assert reached["digit"] == np.mean(np.equal(digits, 6))


def test_loss_falls_on_a_handful_of_pictures(recipe, drawn):
    torch.manual_seed(0)
    network = EvaluationNetwork(recipe.NAMES, widths=(8, 16))
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    batch = (
        torch.from_numpy(np.stack([picture.image for picture in drawn])),
        torch.from_numpy(recipe.targets(_labels(drawn))),
    )
    losses = []
    for step in range(12):
        value, logs = recipe.loss(network, batch, torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        losses.append(value.item())
    assert losses[-1] < 0.8 * losses[0]
    assert set(logs) == set(HEADS)
