"""The embedded captioner: its recipe in small, and what the network in weights/tiny says of scenes that it never saw."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from few_pictures import FewPictures
from torch.nn import functional

from brainrecon.evaluation.metrics.caption_metrics import cider, corpus_bleu
from brainrecon.methods.most_frequent_caption import most_frequent
from brainrecon.simulation.world.pictures import draw_pictures
from stages.generators.generator import Item, in_order
from stages.generators.language.blip_captioner import BLIPCaptioner
from stages.networks.blip import load_blip
from stages.targets.blip import BLIPStates
from stages.targets.clip import CLIPImageTokens
from weights import store

LABELS = ("kind", "category", "colour")
SCRIPTS = Path(__file__).parents[2] / "scripts"
WRITING = {"prompt": "", "num_beams": 3, "max_length": 32, "min_length": 5, "repetition_penalty": 1.0}


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("tiny_networks.captioner")


@pytest.fixture(scope="module")
def drawn():
    """Forty pictures of a seed that the recipe does not use; most are scenes."""
    return draw_pictures(44, range(40))


@pytest.fixture(scope="module")
def scenes(drawn):
    return [picture for picture in drawn if picture.kind == "scene"][:16]


def test_size_of_the_embedded_network(recipe):
    network = load_blip(store.path("tiny-captioner"))
    assert sum(each.numel() for each in network.parameters()) <= 1_400_000
    assert store.entry("tiny-captioner").size < 3e6
    assert network.config.text_config.vocab_size == len(recipe.WORDS) + 2 and recipe.DEC == len(recipe.WORDS)


def test_it_begins_with_the_eyes_of_clip(recipe, drawn):
    images = np.stack([picture.image for picture in drawn])
    torch.manual_seed(0)
    model = recipe.Captioner().eval()
    recipe.see_as_clip(model.blip.vision_model, images)
    clip = CLIPImageTokens.from_pretrained(store.path("tiny-clip")).model.visual
    seen = []
    clip.ln_post.register_forward_hook(lambda layer, given, output: seen.append(output.detach()))
    with torch.no_grad():
        clip((torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25)
        found = model.states(torch.from_numpy(images))
    expected = torch.cat([one if one.ndim == 3 else one[:, None] for one in seen], dim=1)
    found = found[:, : expected.shape[1]]
    # The deviation before CLIP's first norm is the same for no two tokens, so that it is not CLIP's exactly.
    both = [(one - one.mean(0)).flatten().numpy() for one in (found, expected)]
    assert np.corrcoef(*both)[0, 1] > 0.9
    assert not any(each.requires_grad for each in model.blip.vision_model.parameters())


def test_loss_counts_the_words_of_the_caption_alone(recipe, drawn, tmp_path):
    torch.manual_seed(0)
    model, few = recipe.Captioner().eval(), FewPictures.of(drawn[:4], LABELS)
    tokens, given = recipe.sentences([captions[-1] for captions in few.captions], recipe.tokenizer_of(tmp_path))
    assert given.tolist() == [1, 4] and (tokens[:, :, 0] == recipe.DEC).all()
    way = np.array([0, 1, 1, 0])
    chosen = torch.from_numpy(tokens[np.arange(4), way])
    batch = (torch.from_numpy(few.images), chosen, torch.from_numpy(given[way]))
    value, logs = recipe.loss_under()(model, batch, None)
    losses, right = [], []
    for image, sentence, start in zip(batch[0], chosen, given[way]):
        words = sentence[: int((sentence != recipe.PAD).sum())]
        assert words[-1] == recipe.SEP
        with torch.no_grad():
            states = model.states(image[None])
            logits = model.blip.text_decoder(input_ids=words[None], encoder_hidden_states=states).logits[0]
        for place in range(start, len(words)):
            losses.append(functional.cross_entropy(logits[place - 1], words[place]).item())
            right.append(logits[place - 1].argmax() == words[place])
    assert value.item() == pytest.approx(np.mean(losses), rel=1e-4)
    assert logs["right"] == pytest.approx(np.mean(right), abs=1e-6)


def test_recipe_runs_whole(recipe, drawn, tmp_path, monkeypatch):
    few = FewPictures.of(drawn[:8], LABELS)
    monkeypatch.setattr(recipe, "load_pool", lambda workspace, held_out=False: few)
    monkeypatch.setattr(recipe, "BATCH_SIZE", 4)
    recipe.train(tmp_path, steps=3, device="cpu")
    figures = recipe.export(tmp_path, tmp_path / "export")
    written = {path.name for path in (tmp_path / "export").iterdir()}
    assert written == {"config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json", "card.md"}
    card = (tmp_path / "export" / "card.md").read_text()
    assert f"| held out, true BLEU 4 | {figures['true_bleu_4']:.3f} |" in card
    assert recipe.figures(tmp_path / "export", few) == figures


def test_it_captions_unseen_scenes_better_than_what_sees_nothing(scenes):
    folder = store.path("tiny-captioner")
    states = BLIPStates.from_pretrained(folder, size=64, normalise="CLIP")
    captioner = BLIPCaptioner.from_pretrained(folder, size=64)
    items = [Item(str(row)) for row in range(len(scenes))]
    values = {"blip": states.encode(np.stack([scene.image for scene in scenes]))}
    captions = in_order(captioner.draw(values, items, batch_size=16, **WRITING))
    said = [list(scene.captions) for scene in scenes]
    frequent = [most_frequent(text for own in said for text in own)] * len(scenes)
    another = captions[1:] + captions[:1]
    for score in (corpus_bleu, lambda *pair: cider(*pair).mean()):
        own, blind = score(said, captions), max(score(said, frequent), score(said, another))
        assert own > 1.5 * blind
    named = [scene.category in caption for scene, caption in zip(scenes, captions)]
    coloured = [scene.colour in caption for scene, caption in zip(scenes, captions)]
    assert np.mean(named) >= 0.5 and np.mean(coloured) >= 0.7


def test_it_takes_a_prompt(scenes):
    folder = store.path("tiny-captioner")
    states = BLIPStates.from_pretrained(folder, size=64, normalise="CLIP")
    captioner = BLIPCaptioner.from_pretrained(folder, size=64)
    values = {"blip": states.encode(scenes[0].image[None])}
    (caption,) = in_order(captioner.draw(values, [Item("a")], max_length=32, repetition_penalty=1.0))
    assert caption.split()[0] in ("a", "an") and scenes[0].colour in caption
