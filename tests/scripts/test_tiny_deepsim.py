import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from few_pictures import FewPictures

from brainrecon.simulation.world.pictures import draw_pictures
from stages.networks.deepsim_bounds import read_bounds
from stages.networks.deepsim_generator import DeepSimGenerator
from stages.networks.vgg19 import MEANS, load_vgg19
from weights import store

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("tiny_networks.deepsim")


@pytest.fixture(scope="module")
def drawn():
    return np.stack([picture.image for picture in draw_pictures(43, range(8))])


@pytest.fixture(scope="module")
def network():
    return load_vgg19(store.path("tiny-vgg19"))


def test_size_of_the_embedded_networks(recipe):
    folders = [store.path("tiny-vgg19"), store.path("tiny-deepsim")]
    assert DeepSimGenerator.from_pretrained(folders[1]).config == recipe.CONFIG
    written = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in written) <= 2.5e6


def test_folded_network_takes_and_gives_the_same(recipe):
    torch.manual_seed(0)
    model = recipe.Learning(3.0)
    values = 3 * torch.rand(4, recipe.CONFIG.inputs)
    expected = model(values).detach()
    assert 4 < expected.std() < 200
    torch.testing.assert_close(model.folded()(values), expected, rtol=1e-4, atol=1e-3)


def test_loss_is_what_it_says(recipe, drawn, network):
    torch.manual_seed(0)
    model = recipe.Learning(1.0).eval()
    value, logs = recipe.loss_with(network)(model, torch.from_numpy(drawn), torch.Generator().manual_seed(5))
    shown = torch.from_numpy(drawn[..., ::-1] - np.float32(MEANS)).permute(0, 3, 1, 2)
    layers = ("conv2_2", "conv3_4", "relu7")
    with torch.inference_mode():
        true = network(shown, layers)
        noise = torch.randn(8, recipe.CONFIG.inputs, generator=torch.Generator().manual_seed(5))
        found = model(true["relu7"] + recipe.DISTURBANCE * true["relu7"].std() * noise)
        seen = network(found, layers)
    error = ((found - shown) / 64).numpy()
    edges = np.abs(np.diff(error, axis=2)).mean() + np.abs(np.diff(error, axis=3)).mean()
    expected = np.square(error).mean() + recipe.EDGES * edges
    for layer in layers:
        share = ((seen[layer] - true[layer]) ** 2).sum() / (true[layer] ** 2).sum()
        assert logs[layer] == pytest.approx(share.item(), rel=1e-3)
        expected += recipe.LAYERS[layer] * share.item()
    assert value.item() == pytest.approx(expected, rel=1e-3)


def test_bounds_are_means_and_three_standard_deviations(recipe, tmp_path):
    values = np.array([[0.0, 4.0, 1.0], [0.0, 8.0, 3.0]])
    recipe.write_bounds(values, tmp_path / "act_range" / "fc7.txt")
    assert read_bounds(tmp_path / "act_range" / "fc7.txt", (3,)).tolist() == [0.0, 12.0, 5.0]


@pytest.mark.slow
def test_recipe_runs_whole(recipe, drawn, tmp_path, monkeypatch):
    few = FewPictures(drawn)
    monkeypatch.setattr(recipe, "load_pool", lambda workspace, held_out=False: few)
    monkeypatch.setattr(recipe, "BATCH_SIZE", 4)
    recipe.train(tmp_path / "workspace", steps=2, device="cpu")
    figures = recipe.export(tmp_path / "workspace", tmp_path / "export")
    written = {str(path.relative_to(tmp_path / "export")) for path in (tmp_path / "export").rglob("*.*")}
    assert written == {"model.safetensors", "act_range/3x/fc7.txt", "card.md"}
    assert f"{figures['searched_pixel_correlation']:.3f}" in (tmp_path / "export" / "card.md").read_text()


@pytest.mark.parametrize("searched", [False, True])
def test_the_embedded_network_draws_pictures_with_their_features(recipe, drawn, searched):
    draw = recipe.found_by_search if searched else recipe.drawn
    found = draw(store.path("tiny-deepsim"), drawn).astype(float)
    errors = ((found - drawn) ** 2).mean(axis=(1, 2, 3))
    others = ((found[::-1] - drawn) ** 2).mean(axis=(1, 2, 3))
    assert errors.mean() < others.mean() / 2
