import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from few_pictures import FewPictures

from brainrecon.methods.icgan2022 import ICGAN2022
from brainrecon.simulation.world.pictures import draw_pictures
from stages.generators.gan.icgan import ICGANGenerator
from stages.generators.generator import Item, in_order
from stages.inverters.latent_search import Inversion, InversionSettings
from stages.networks.icgan import ICGAN, to_pictures
from stages.targets.instance_features import InstanceFeatures
from weights import store

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("tiny_networks.icgan")


@pytest.fixture(scope="module")
def drawn():
    return np.stack([picture.image for picture in draw_pictures(43, range(8))])


def test_size_of_the_embedded_network(recipe):
    with torch.device("meta"):
        model = ICGAN(recipe.CONFIG)
    assert sum(parameter.numel() for parameter in model.parameters()) <= 1_500_000
    assert recipe.CONFIG.instance_features == InstanceFeatures.from_pretrained(store.path("tiny-clip")).n_targets


def test_the_rate_of_a_code_is_its_divergence_from_the_prior(recipe):
    mean, log_std = torch.randn(3, 5), torch.randn(3, 5) * 0.5
    told, rate = recipe._drawn(mean, log_std, torch.ones(3, 5))
    posterior, prior = torch.distributions.Normal(mean, log_std.exp()), torch.distributions.Normal(0.0, 1.0)
    torch.testing.assert_close(rate, torch.distributions.kl_divergence(posterior, prior).sum(1))
    torch.testing.assert_close(told, mean + log_std.exp())


def test_loss_counts_each_half_once(recipe, drawn):
    torch.manual_seed(0)
    model = recipe.Autoencoder()
    images, instance = torch.from_numpy(drawn), torch.nn.functional.normalize(torch.randn(8, 64), dim=1)
    told = []
    model.register_forward_hook(lambda module, inputs, output: told.append(output[0].detach()))
    value, logs = recipe.loss(model, (images, instance), torch.Generator().manual_seed(0))
    shown = to_pictures(images.permute(0, 3, 1, 2))
    error = (told[0] - shown).numpy()
    edges = np.abs(np.diff(error, axis=2)).mean() + np.abs(np.diff(error, axis=3)).mean()
    halves = [4 * 10 ** (-logs[name] / 10) for name in ("noise_psnr", "dense_psnr")]
    assert np.mean(halves) == pytest.approx((error**2).mean(), rel=1e-4)
    expected = np.mean(halves) + recipe.EDGES * edges
    expected += recipe.NOISE_RATE * logs["noise_nats"] + recipe.DENSE_RATE * logs["dense_nats"]
    assert value.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_recipe_runs_whole(recipe, drawn, tmp_path, monkeypatch):
    few = FewPictures(drawn[:4])
    monkeypatch.setattr(recipe, "load_pool", lambda workspace, held_out=False: few)
    monkeypatch.setattr(recipe, "BATCH_SIZE", 4)
    monkeypatch.setitem(ICGAN2022.tiny, "inversion", {"noise_steps": 1, "dense_steps": 1})
    recipe.train(tmp_path / "workspace", steps=2, device="cpu")
    figures = recipe.export(tmp_path / "workspace", tmp_path / "export")
    assert {path.name for path in (tmp_path / "export").iterdir()} == {"config.json", "model.safetensors", "card.md"}
    assert json.loads((tmp_path / "export" / "config.json").read_text())["noise"] == 80
    assert f"{figures['redrawn_psnr']:.1f} dB" in (tmp_path / "export" / "card.md").read_text()
    assert recipe.figures(tmp_path / "export", few) == figures


def test_the_embedded_network_redraws_pictures_from_their_latents(drawn):
    generator = ICGANGenerator.from_pretrained(store.path("tiny-icgan"))
    instance = InstanceFeatures.from_pretrained(store.path("tiny-clip"))
    images, settings = drawn[:4], InversionSettings(noise_steps=20, dense_steps=40, batch_size=4)
    latents = Inversion(generator.network, instance, settings).latents(images)
    items = [Item(str(row)) for row in range(len(images))]
    found = np.stack(in_order(generator.draw({"instance": instance.encode(images), **latents}, items)))
    errors = ((found.astype(float) - images) ** 2).mean(axis=(1, 2, 3))
    assert (10 * np.log10(255**2 / errors)).mean() >= 20
    others = ((found.astype(float)[::-1] - images) ** 2).mean(axis=(1, 2, 3))
    assert (errors < others / 3).all()
