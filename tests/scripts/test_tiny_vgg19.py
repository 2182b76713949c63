import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from few_pictures import FewPictures
from scipy.io import loadmat

from brainrecon.simulation.world.pictures import draw_pictures
from stages.inverters.feature_spreads import SPREADS_FILE, read_spreads
from stages.networks.vgg19 import MEANS, VGG19, load_vgg19
from weights import store

LABELS = ("kind", "category", "colour", "background", "digit", "place")
SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("tiny_networks.vgg19")


@pytest.fixture(scope="module")
def pool():
    return FewPictures.of(list(draw_pictures(43, range(24))), LABELS)


def test_size_of_the_embedded_network(recipe):
    assert load_vgg19(store.path("tiny-vgg19")).config == recipe.CONFIG
    assert sum(value.numel() for value in VGG19(recipe.CONFIG).parameters()) <= 330_000


def test_every_value_of_the_last_layer_is_a_class_of_one_head(recipe, pool):
    assert sum(map(len, recipe.HEADS.values())) == recipe.CONFIG.classes
    rows = torch.arange(2.0 * recipe.CONFIG.classes).view(2, -1)
    named = recipe.by_head(rows)
    assert list(named) == ["category", "colour", "background", "digit", "place"]
    assert torch.equal(torch.cat(list(named.values()), dim=1), rows)
    found = recipe.targets(pool.labels)
    for column, head in enumerate(recipe.HEADS):
        names = [recipe.HEADS[head][number] for number in found[:, column]]
        assert names == ["none" if label == -1 else str(label) for label in pool.labels[head]]


def test_each_layer_varies_at_the_start(recipe, pool):
    torch.manual_seed(0)
    network = recipe.initial().eval()
    with torch.inference_mode():
        found = network(recipe.prepared(torch.from_numpy(pool.images)), ("conv1_1", "conv3_4", "conv5_4", "fc7"))
    for values in found.values():
        assert 0.1 < values.std(dim=0).mean() < 10


def test_loss_is_what_it_says(recipe, pool):
    torch.manual_seed(0)
    model = recipe.Learning().eval()
    classes = torch.from_numpy(recipe.targets(pool.labels))
    value, logs = recipe.loss(model, (torch.from_numpy(pool.images), classes), torch.Generator().manual_seed(5))
    greys = torch.from_numpy(pool.images / np.float32(255)).permute(0, 3, 1, 2)
    disturbed = recipe.evaluation.disturb(greys[1::2], torch.Generator().manual_seed(5))
    shown = 255 * torch.cat([greys[0::2], disturbed])
    blue_first = shown[:, [2, 1, 0]] - torch.tensor(MEANS, dtype=torch.float32)[:, None, None]
    with torch.inference_mode():
        logits, told = model(blue_first)
    small = blue_first.unflatten(3, (8, 8)).unflatten(2, (8, 8)).mean(dim=(3, 5)) / 64
    expected = recipe.LAYOUT_WEIGHT * ((told - small) ** 2).mean().item()
    assert logs["layout"] == pytest.approx(expected / recipe.LAYOUT_WEIGHT, rel=1e-3)
    order, start = [*range(0, 24, 2), *range(1, 24, 2)], 0
    for column, (head, names) in enumerate(recipe.HEADS.items()):
        chances = logits[:, start : start + len(names)].log_softmax(1).numpy()
        right = classes[order, column].numpy()
        wanted = np.full(chances.shape, 0.05 / len(names))
        wanted[np.arange(24), right] += 0.95
        expected += recipe.WEIGHTS[head] * -(wanted * chances).sum(1).mean()
        start += len(names)
    assert value.item() == pytest.approx(expected, rel=1e-3)


def test_spreads_are_means_of_each_pictures_own(recipe, pool, tmp_path):
    network = load_vgg19(store.path("tiny-vgg19"))
    for name in ("one.mat", "two.mat"):
        recipe.write_spreads(network, pool.images, tmp_path / name)
    assert (tmp_path / "one.mat").read_bytes() == (tmp_path / "two.mat").read_bytes()
    with torch.inference_mode():
        found = network(recipe.prepared(torch.from_numpy(pool.images)), ("conv2_2", "fc7"))
    maps, values = (each.numpy().astype(np.float64) for each in found.values())
    expected = {"conv2_2": maps.std(axis=(2, 3), ddof=1).mean(), "fc7": values.std(axis=1, ddof=1).mean()}
    assert read_spreads(tmp_path / "one.mat", ("conv2_2", "fc7")) == pytest.approx(expected, rel=1e-5)
    assert len([name for name in loadmat(tmp_path / "one.mat") if not name.startswith("_")]) == 19


def test_recipe_runs_whole(recipe, pool, tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "load_pool", lambda workspace, held_out=False: pool)
    monkeypatch.setattr(recipe, "BATCH_SIZE", 8)
    recipe.train(tmp_path / "workspace", steps=2, device="cpu")
    figures = recipe.export(tmp_path / "workspace", tmp_path / "export")
    written = {path.name for path in (tmp_path / "export").iterdir()}
    assert written == {"model.safetensors", SPREADS_FILE, "card.md"}
    assert f"colour named rightly | {100 * figures['colour']:.1f} %" in (tmp_path / "export" / "card.md").read_text()
    assert load_vgg19(tmp_path / "export").config == recipe.CONFIG


def test_the_embedded_network_names_what_it_has_not_seen(recipe, pool):
    found = recipe.figures(store.path("tiny-vgg19"), pool)
    assert found["background"] > 0.8 and found["colour"] > 0.4
