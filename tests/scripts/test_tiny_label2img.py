"""The embedded label-to-image model and its VQ autoencoder: their recipes, and what they draw."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from few_pictures import FewPictures

from brainrecon.simulation.world.pictures import LABELS, draw_pictures
from stages.generators.diffusion.vq_diffusion import VQDiffusionGenerator
from stages.generators.generator import Item, in_order
from stages.networks.codebook_autoencoder import load_vq
from stages.networks.evaluation_network import EvaluationNetwork
from stages.targets.codebook_latents import CodebookLatents
from weights import store

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def drawn():
    return draw_pictures(43, range(12))


@pytest.fixture
def recipes(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return [importlib.import_module(f"tiny_networks.{name}") for name in ("vq_autoencoder", "label2img")]


def test_the_codebooks_loss_vs_diffusers_own_quantiser(recipes, drawn):
    vq, _ = recipes
    model = vq.build()
    images = torch.from_numpy(np.stack([picture.image for picture in drawn[:2]]))
    value, logs = vq.loss(model, images, None)
    pictures = vq.to_network(images)
    latents = model.encode(pictures).latents
    quantised, _, (_, _, numbers) = model.quantize(latents)
    error = model.decoder(model.post_quant_conv(quantised)) - pictures
    codes = model.quantize.embedding.weight
    apart = (codes[:, None] - latents.permute(0, 2, 3, 1).reshape(1, -1, 3)).square().sum(2).min(1).values.mean() / 3
    commitment = (quantised - latents).square().mean()
    expected = error.abs().mean() + 2 * error.square().mean() + 1.25 * commitment + 0.1 * apart
    expected = expected + 0.5 * (error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean())
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4)
    assert logs["codes"] == len(numbers.unique())


def test_latents_of_unit_spread_show_the_same_pictures(recipes, drawn, tmp_path, monkeypatch):
    vq, label2img = recipes
    few = FewPictures(np.stack([picture.image for picture in drawn]))
    few.labels["category"] = [picture.category for picture in drawn]
    for recipe in recipes:
        monkeypatch.setattr(recipe, "load_pool", lambda workspace, held_out=False: few)
        monkeypatch.setattr(recipe, "BATCH_SIZE", 4)
    monkeypatch.setattr(label2img.label2img_figures, "PER_LABEL", 1)
    monkeypatch.setattr(label2img.label2img_figures, "STEPS", 1)
    vq.train(tmp_path, steps=2, device="cpu")
    scores = vq.export(tmp_path, tmp_path / "first")
    images = torch.from_numpy(few.images)
    plain, scaled = vq.reached(tmp_path), load_vq(tmp_path / "first")
    with torch.no_grad():
        latents = vq.encode(scaled, images)
        assert float(latents.std()) == pytest.approx(1, rel=0.01)
        ratio = vq.encode(plain, images).std()
        torch.testing.assert_close(vq.encode(plain, images) / ratio, latents, rtol=2e-3, atol=2e-3)
    assert scaled.config.scaling_factor == 1 and vq.figures(tmp_path / "first" / "vae", few) == scores
    label2img.train(tmp_path, steps=2, device="cpu")
    figures = label2img.export(tmp_path, tmp_path / "export")
    files = {path.name for path in (tmp_path / "export").iterdir()}
    assert files == {"unet", "vae", "labels", "scheduler", "card.md"}
    assert json.loads((tmp_path / "export" / "labels" / "names.json").read_text()) == list(LABELS)
    assert f"{figures['named_rightly_without_guidance']:.3f}" in (tmp_path / "export" / "card.md").read_text()


def test_the_embedded_autoencoder_keeps_pictures(drawn):
    target, images = (
        CodebookLatents.from_pretrained(store.path("tiny-label2img")),
        np.stack([one.image for one in drawn]),
    )
    latents = target.encode(images)
    assert latents.shape == (12, 768) and 0.8 < latents.std() < 1.2
    errors = ((target.decode(latents).astype(float) - images) ** 2).mean(axis=(1, 2, 3))
    assert (10 * np.log10(255**2 / errors)).mean() >= 27


def test_the_embedded_network_draws_what_a_label_says():
    generator = VQDiffusionGenerator.from_pretrained(store.path("tiny-label2img"), reads="class_label")
    asked = ["house", "umbrella", "butterfly", "digit", "pattern", "fish"]
    labels = np.float32([[LABELS.index(name)] for name in asked])
    items = [Item(name) for name in asked]
    pictures = np.stack(
        in_order(generator.draw({"class_label": labels}, items, num_inference_steps=12, guidance_scale=3.0))
    )
    named = EvaluationNetwork.from_pretrained(store.path("tiny-evaluation")).classify(pictures)["category"]
    # One in 26 by chance.
    assert sum(one == name for one, name in zip(named, asked)) >= 3
