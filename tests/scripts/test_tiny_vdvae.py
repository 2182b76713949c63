import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from brainrecon.simulation.world.pictures import draw_pictures
from stages.networks.vdvae import VDVAE
from stages.networks.vdvae_presets import TINY64
from stages.targets.vdvae import VDVAELatents
from weights import store

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("tiny_networks.vdvae")


@pytest.fixture(scope="module")
def drawn():
    return np.stack([picture.image for picture in draw_pictures(41, range(48))])


class FewPictures:
    def __init__(self, images):
        self.images = images

    def batch_indices(self, step, batch_size):
        return np.arange(batch_size) % len(self.images)


def test_size_of_the_preset():
    with torch.device("meta"):
        model = VDVAE(TINY64)
        target = VDVAELatents(model)
    assert sum(parameter.numel() for parameter in model.parameters()) <= 2_000_000
    assert len(model.latent_shapes) >= 16
    assert {shape[1] for shape in model.latent_shapes} == {1, 4, 8, 16, 32, 64}
    assert target.n_targets == 2 * 8 + 4 * 128 + 6 * 512 + 1 * 2048 <= 6000


def test_loss_counts_each_picture_once(recipe, drawn):
    """The squared error of the pictures told through target layers, the bound of the others, every rate."""
    torch.manual_seed(0)
    model = VDVAE(TINY64)
    images = torch.from_numpy(drawn[: recipe.BATCH_SIZE])
    value, logs = recipe.loss(model, images, torch.Generator().manual_seed(0))
    share = recipe.TOLD_THROUGH_ALL_LAYERS / recipe.BATCH_SIZE
    squared_error = 4 * 10 ** (-logs["target_psnr"] / 10)
    expected = share * logs["distortion"] + (1 - share) * recipe.SQUARED_ERROR_WEIGHT * squared_error
    expected += logs["target_rate"] + share * logs["further_rate"]
    assert value.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_recipe_runs_whole(recipe, drawn, tmp_path, monkeypatch):
    few = drawn[:4]
    monkeypatch.setattr(recipe, "load_pool", lambda workspace, held_out=False: FewPictures(few))
    monkeypatch.setattr(recipe, "BATCH_SIZE", 4)
    monkeypatch.setattr(recipe, "TOLD_THROUGH_ALL_LAYERS", 1)
    recipe.train(tmp_path / "workspace", steps=2, device="cpu")
    figures = recipe.export(tmp_path / "workspace", tmp_path / "export")
    assert {path.name for path in (tmp_path / "export").iterdir()} == {
        "config.json",
        "model.safetensors",
        "card.md",
    }
    assert json.loads((tmp_path / "export" / "config.json").read_text())["target_layers"] == 13
    assert f"{figures['psnr_target_layers']:.1f} dB" in (tmp_path / "export" / "card.md").read_text()
    assert recipe.figures(tmp_path / "export", images=few) == figures


def test_embedded_target_layers_tell_the_picture(recipe, drawn):
    folder = store.path("tiny-vdvae")
    figures = recipe.figures(folder, images=drawn)
    assert VDVAE.from_pretrained(folder).config == TINY64
    assert figures["psnr_target_layers"] >= 22
