"""The embedded bridge: its recipe in small, and what is said over it of scenes that it never saw."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from few_pictures import FewPictures

from brainrecon.evaluation.metrics.caption_metrics import cider, corpus_bleu
from brainrecon.methods.most_frequent_caption import most_frequent
from brainrecon.simulation.world.pictures import draw_pictures
from stages.generators.generator import Item, in_order
from stages.generators.language.bridged_captioner import BridgedCaptioner
from stages.networks.caption_bridge import CaptionBridge
from stages.targets.unclip_tokens import UnclipTokens
from weights import store

SCRIPTS = Path(__file__).parents[2] / "scripts"
LABELS = ("kind", "category", "colour")
WRITING = {"num_beams": 3, "max_length": 32, "min_length": 5}


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("tiny_networks.caption_bridge")


@pytest.fixture(scope="module")
def drawn():
    """Forty pictures of a seed that the recipe does not use; most are scenes."""
    return draw_pictures(46, range(40))


def test_a_bridge_that_there_is_is_found_again(recipe):
    """Solved in turn, the two layers come to those that made the states; each round leaves less error."""
    random = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        true, found = (CaptionBridge((6, 5), (7, 4)).double().requires_grad_(False) for _ in range(2))
    tokens = torch.randn(200, 6, 5, generator=random, dtype=torch.float64)
    states = true(tokens)
    errors = recipe.solved(found, tokens, states, 60)
    # A layer is penalised a little, so that it never is found to the last digit.
    assert all(later <= earlier + 1e-6 for earlier, later in zip(errors, errors[1:]))
    assert errors[0] > 1e-2 * states.var().item() > 1e2 * errors[-1]
    torch.testing.assert_close(found(tokens), states, atol=0.05, rtol=0)


def test_it_learns_the_captioners_surprise_at_captions_behind_its_states(recipe):
    """The captioner itself is given what the bridge makes of the tokens, disturbed by draws of the step's generator."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        bridge = CaptionBridge((64, 128), (65, 128))
    tokens, seen = torch.randn(3, 64, 128), []

    def captioner(states, words, given):
        seen.append(states)
        return states.square().mean(), (words == given).float().mean()

    value, logs = recipe.loss_of(captioner, lambda given, generator: given + torch.rand(1, generator=generator))(
        bridge, (tokens, torch.ones(3), torch.tensor([1.0, 1.0, 4.0])), torch.Generator().manual_seed(5)
    )
    disturbed = tokens + torch.rand(1, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(seen[0], bridge(disturbed))
    assert value.requires_grad and logs["right"] == pytest.approx(2 / 3)


def test_recipe_runs_whole(recipe, drawn, tmp_path, monkeypatch):
    few = FewPictures.of(drawn[:12], LABELS)
    monkeypatch.setattr(recipe, "load_pool", lambda workspace, held_out=False: few)
    recipe.train(tmp_path, steps=2, device="cpu")
    figures = recipe.export(tmp_path, tmp_path / "export")
    assert {path.name for path in (tmp_path / "export").iterdir()} == {"model.safetensors", "card.md"}
    assert (
        f"| held out, states explained | {figures['states_explained']:.3f} |"
        in (tmp_path / "export" / "card.md").read_text()
    )
    assert recipe.figures(tmp_path / "export", few) == figures


def test_captions_of_unseen_scenes_are_better_than_what_sees_nothing(drawn):
    scenes = [picture for picture in drawn if picture.kind == "scene"][:16]
    captioner = BridgedCaptioner.from_pretrained(store.path("tiny-caption-bridge"), store.path("tiny-captioner"))
    tokens = UnclipTokens.from_pretrained(store.path("tiny-clip")).encode(np.stack([scene.image for scene in scenes]))
    items = [Item(str(row)) for row in range(len(scenes))]
    captions = in_order(captioner.draw({"unclip_tokens": tokens}, items, batch_size=16, **WRITING))
    said = [list(scene.captions) for scene in scenes]
    frequent = [most_frequent(text for own in said for text in own)] * len(scenes)
    for score in (corpus_bleu, lambda *pair: cider(*pair).mean()):
        assert score(said, captions) > 1.3 * max(score(said, frequent), score(said, captions[1:] + captions[:1]))
    assert np.mean([scene.colour in caption for scene, caption in zip(scenes, captions)]) >= 0.6
    assert store.entry("tiny-caption-bridge").size < 60_000
