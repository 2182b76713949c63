import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from few_pictures import FewPictures

from brainrecon.simulation.world.pictures import draw_pictures
from stages.networks.face_vaegan import FaceVAEGAN, n_parameters
from weights import store

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("tiny_networks.faces")


@pytest.fixture(scope="module")
def drawn():
    return np.stack([picture.image for picture in draw_pictures(43, range(8))])


def test_size_of_the_embedded_network(recipe):
    with torch.device("meta"):
        model = FaceVAEGAN(recipe.CONFIG)
    assert n_parameters(model) <= 600_000
    assert FaceVAEGAN.from_pretrained(store.path("tiny-faces")).config == recipe.CONFIG


def test_loss_is_what_it_says(recipe, drawn):
    model = FaceVAEGAN(recipe.CONFIG)
    images = torch.from_numpy(drawn)
    value, logs = recipe.loss(model, images, torch.Generator().manual_seed(0))
    shown = images.permute(0, 3, 1, 2).float() / 255
    mu, _ = model.encoder(shown)
    noise = torch.randn(mu.shape, generator=torch.Generator().manual_seed(0))
    error = (model.generator(mu + recipe.DISTURBANCE * noise) - shown).detach().numpy()
    edges = np.abs(np.diff(error, axis=2)).mean() + np.abs(np.diff(error, axis=3)).mean()
    assert 10 ** (-logs["psnr"] / 10) == pytest.approx((error**2).mean(), rel=1e-4)
    expected = (error**2).mean() + recipe.EDGES * edges + recipe.LATENT_COST * mu.square().mean().item()
    assert value.item() == pytest.approx(expected, rel=1e-4)


def test_recipe_runs_whole(recipe, drawn, tmp_path, monkeypatch):
    few = FewPictures(drawn[:4])
    monkeypatch.setattr(recipe, "load_pool", lambda workspace, held_out=False: few)
    monkeypatch.setattr(recipe, "BATCH_SIZE", 4)
    recipe.train(tmp_path / "workspace", steps=2, device="cpu")
    figures = recipe.export(tmp_path / "workspace", tmp_path / "export")
    assert {path.name for path in (tmp_path / "export").iterdir()} == {"config.json", "model.safetensors", "card.md"}
    assert json.loads((tmp_path / "export" / "config.json").read_text())["latents"] == 64
    assert f"{figures['redrawn_psnr']:.1f} dB" in (tmp_path / "export" / "card.md").read_text()
    assert recipe.figures(tmp_path / "export", few) == figures


def test_the_embedded_network_redraws_pictures_from_their_latents(recipe, drawn):
    found = recipe.redrawn(store.path("tiny-faces"), drawn).astype(float)
    errors = ((found - drawn) ** 2).mean(axis=(1, 2, 3))
    others = ((found[::-1] - drawn) ** 2).mean(axis=(1, 2, 3))
    assert errors.mean() < others.mean() / 2
