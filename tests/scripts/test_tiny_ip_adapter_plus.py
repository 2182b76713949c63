"""The embedded IP-Adapter-Plus: its recipe in small, and what is drawn under tokens of scenes that it never saw."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from few_pictures import FewPictures

from brainrecon.evaluation.metrics.identification import two_way_identification
from brainrecon.simulation.world.pictures import draw_pictures
from stages.generators.diffusion.ip_tokens import StableDiffusionIPTokensGenerator
from stages.generators.generator import Item, in_order
from stages.networks.evaluation_network import EvaluationNetwork
from stages.networks.ip_resampler import load_resampler, tokens_of_nothing
from stages.targets.clip import CLIPImageVector
from stages.targets.ip_tokens import IPTokens
from weights import store

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("tiny_networks.ip_adapter_plus")


def test_what_is_written_is_what_was_trained(recipe, tmp_path):
    """By the published names and back: diffusers' own conversion gives the resampler that was trained."""
    adapter = recipe.Adapter(recipe._unet())
    with torch.no_grad():
        for each in adapter.parameters():
            each.add_(0.1 * torch.randn_like(each))
    from safetensors.torch import save_file

    save_file(adapter.published(), tmp_path / recipe.WEIGHTS_FILE)
    states = torch.randn(2, 65, 128)
    with torch.no_grad():
        torch.testing.assert_close(load_resampler(tmp_path)(states), adapter.resampler(states))


@pytest.mark.slow
def test_recipe_runs_whole(recipe, tmp_path, monkeypatch):
    few = FewPictures.of(draw_pictures(47, range(60)), ("kind", "category", "colour"))
    for name in ("ip_adapter_plus_data", "ip_adapter_plus_figures"):
        module = importlib.import_module(f"tiny_networks.{name}")
        monkeypatch.setattr(module, "load_pool", lambda workspace, held_out=False: few)
    monkeypatch.setattr(importlib.import_module("tiny_networks.ip_adapter_plus_figures"), "STEPS", 1)
    recipe.train(tmp_path, steps=2, device="cpu")
    figures = recipe.export(tmp_path, tmp_path / "export")
    assert {path.name for path in (tmp_path / "export").iterdir()} == {
        recipe.WEIGHTS_FILE,
        "card.md",
        "unconditional_contexts",
    }
    said = f"| held out, from noise category | {figures['from_noise_category']:.3f} |"
    assert said in (tmp_path / "export" / "card.md").read_text()


def test_the_tokens_of_nothing_that_lie_beside_it_are_its_own():
    clip, adapter = store.path("tiny-clip"), store.path("tiny-ip-adapter-plus")
    generator = StableDiffusionIPTokensGenerator.from_pretrained(store.path("tiny-stable-diffusion"), adapter, clip)
    visual = CLIPImageVector.from_pretrained(clip).model.visual
    torch.testing.assert_close(
        generator.nothing, tokens_of_nothing(visual, load_resampler(adapter)), atol=1e-4, rtol=1e-4
    )


def test_scenes_are_found_again_by_what_is_drawn_under_their_tokens():
    scenes = [picture.image for picture in draw_pictures(46, range(30)) if picture.kind == "scene"][:12]
    scenes = np.stack(scenes)
    clip, adapter = store.path("tiny-clip"), store.path("tiny-ip-adapter-plus")
    target = IPTokens.from_pretrained(clip, adapter=adapter)
    generator = StableDiffusionIPTokensGenerator.from_pretrained(
        store.path("tiny-stable-diffusion"), adapter, clip, scheduler="ddim"
    )
    tokens = target.encode(scenes).reshape(-1, *target.shape)
    items = [Item(str(row)) for row in range(len(scenes))]
    drawn = np.stack(in_order(generator.draw({"ip_tokens": tokens}, items, num_inference_steps=12, guidance_scale=2.0)))
    judge = EvaluationNetwork.from_pretrained(store.path("tiny-evaluation"))
    shown, found = judge.embed(scenes), judge.embed(drawn)
    assert two_way_identification(shown, found).mean() > 0.75
    assert two_way_identification(shown, np.roll(found, 1, axis=0)).mean() < 0.65
    assert store.entry("tiny-ip-adapter-plus").size < 500_000
