import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from few_pictures import FewPictures

from brainrecon.simulation.world.pictures import draw_pictures
from stages.generators.generator import Item, in_order
from stages.generators.tokens.masked_tokens import MaskedTokenGenerator
from stages.networks.masked_tokens import MaskedTokens
from weights import store

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("tiny_networks.maskgit")


@pytest.fixture(scope="module")
def drawn():
    pictures = [picture for picture in draw_pictures(43, range(60)) if picture.kind == "scene"]
    return np.stack([picture.image for picture in pictures[:8]])


def test_size_of_the_embedded_network(recipe):
    with torch.device("meta"):
        model = MaskedTokens(recipe.CONFIG)
    assert 2 * sum(parameter.numel() for parameter in model.parameters()) <= 2_500_000
    encoder = recipe.Encoder()
    assert (encoder.tokens.n_codes, encoder.tokens.n_targets) == (recipe.CONFIG.n_codes, recipe.CONFIG.n_places)
    assert encoder.vectors.n_targets == recipe.CONFIG.context


def test_some_rows_have_no_vector_and_the_others_are_disturbed(recipe, drawn):
    tokens, vectors = recipe.Encoder()(drawn)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(8))
    seen = []

    class Watched(torch.nn.Module):
        config, bias = recipe.CONFIG, torch.nn.Parameter(torch.zeros(256))

        def forward(self, tokens, context):
            seen.append(context)
            return torch.zeros(*tokens.shape, 256) + self.bias

    for seed in range(40):
        value, logs = recipe.loss(Watched(), (tokens, vectors), torch.Generator().manual_seed(seed))
        assert value.item() == pytest.approx(np.log(256), rel=1e-5) and 0 <= logs["right"] <= 1
    given = torch.stack(seen)
    none = given.isnan().all(dim=2)
    assert torch.equal(given.isnan().any(dim=2), none) and 0.08 < none.float().mean() < 0.23
    moved = (given - vectors).norm(dim=2)[~none]
    assert moved.max() <= recipe.DISTURBED + 1e-5 and moved.min() < 0.05


@pytest.mark.slow
def test_recipe_runs_whole(recipe, drawn, tmp_path, monkeypatch):
    few = FewPictures(drawn[:4])
    monkeypatch.setattr(recipe, "load_pool", lambda workspace, held_out=False: few)
    monkeypatch.setattr(recipe, "BATCH_SIZE", 4)
    recipe.train(tmp_path / "workspace", steps=2, device="cpu")
    figures = recipe.export(tmp_path / "workspace", tmp_path / "export")
    assert {path.name for path in (tmp_path / "export").iterdir()} == {"config.json", "model.safetensors", "card.md"}
    assert json.loads((tmp_path / "export" / "config.json").read_text())["n_codes"] == 256
    assert f"| {figures['completed_tokens']:.3f} |" in (tmp_path / "export" / "card.md").read_text()


def test_the_embedded_network_draws_what_its_vector_says(recipe, drawn):
    """A picture that is drawn under a vector is nearer, by tiny-clip, to that picture than to another."""
    generator = MaskedTokenGenerator.from_pretrained(store.path("tiny-maskgit"), store.path("tiny-label2img"))
    encoder = recipe.Encoder()
    vectors = encoder.vectors.encode(drawn)
    items = [Item(str(row)) for row in range(len(drawn))]
    found = encoder.vectors.encode(np.stack(in_order(generator.draw({"clip_image": vectors}, items))))
    likeness = found @ vectors.T
    others = likeness[~np.eye(len(drawn), dtype=bool)].reshape(len(drawn), -1)
    assert (likeness.diagonal() > others.mean(axis=1)).mean() >= 0.75
    assert (likeness.diagonal()[:, None] > others).mean() > 0.7
