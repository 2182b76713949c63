"""The embedded language model: its recipe in small, and what the network in weights/tiny makes of captions that it never read."""

import importlib
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from few_pictures import FewPictures
from torch.nn import functional
from transformers import GPT2LMHeadModel

from brainrecon.simulation.world.captions import VOCABULARY
from brainrecon.simulation.world.pictures import draw_pictures
from stages.checkpoints.transformers_loading import load_gpt2_tokenizer
from stages.generators.language.similar_captions import caption_prefix
from stages.networks.small_captioner import fill_language, next_scores, read_sizes, small_captioner
from weights import store

LABELS = ("kind", "category", "digit")
SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("tiny_networks.gpt2")


@pytest.fixture(scope="module")
def drawn():
    """Forty pictures of a seed that the recipe does not use."""
    return draw_pictures(45, range(40), size=8)


def nats_of(network, tokenizer, prefix, caption):
    """Nats of each token of a caption behind a prefix and of its full stop, word by word."""
    words = tokenizer(prefix)["input_ids"]
    spent = []
    for token in [*tokenizer(caption)["input_ids"], *tokenizer(".")["input_ids"]]:
        with torch.no_grad():
            scores = network(input_ids=torch.tensor([words])).logits[0, -1]
        spent.append(-functional.log_softmax(scores, dim=0)[token].item())
        words = [*words, token]
    return spent


def test_every_word_is_one_token_with_and_without_a_space_and_any_text_comes_back(recipe, tmp_path):
    tokenizer = recipe.tokenizer_of(tmp_path)
    for word in (*VOCABULARY, *recipe.PROMPTED):
        assert len(tokenizer(word)["input_ids"]) == len(tokenizer(f" {word}")["input_ids"]) == 1
    numbers = list(recipe.vocabulary_and_merges()[0].values())
    assert numbers == list(range(len(tokenizer)))
    for text in ("a red car on a beach", caption_prefix(["two boats"]), "Grüße, 4 zebras!\n"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_loss_is_the_surprise_at_prompt_and_caption(recipe, tmp_path):
    tokenizer = recipe.tokenizer_of(tmp_path)
    torch.manual_seed(0)
    model = recipe.LanguageModel(len(tokenizer)).eval()
    prefixes, captions = [caption_prefix(), caption_prefix(["one black bird"])], ["a red car on a beach", "a blue star"]
    value, logs = recipe.loss(model, recipe.rows_to_learn(tokenizer, prefixes, captions), None)
    spent = []
    for prefix, caption in zip(prefixes, captions):
        first, *further = tokenizer(prefix)["input_ids"]
        whole = [*further, *tokenizer(caption)["input_ids"], *tokenizer(".")["input_ids"]]
        with torch.no_grad():
            scores = model.gpt2(input_ids=torch.tensor([[first, *whole[:-1]]])).logits[0]
        spent += functional.cross_entropy(scores, torch.tensor(whole), reduction="none").tolist()
    assert value.item() == pytest.approx(np.mean(spent), rel=1e-4)
    assert logs["perplexity"] == pytest.approx(math.exp(np.mean(spent)), rel=1e-4)


def test_most_captions_stand_behind_one_of_a_picture_of_the_same_thing(recipe, drawn):
    pool = FewPictures.of(drawn, LABELS)
    similar, random = recipe.Similar(pool), np.random.default_rng(0)
    row = pool.labels["kind"].index("scene")
    same = [pool.labels["category"][similar.to(row, random)] == pool.labels["category"][row] for _ in range(300)]
    assert recipe.ALIKE - 0.1 < np.mean(same) < 0.95
    prefixes, captions = recipe.texts(pool, [row] * 300, similar, random)
    alone = np.mean([prefix == caption_prefix() for prefix in prefixes])
    assert alone == pytest.approx(recipe.ALONE, abs=0.1)
    assert set(captions) == set(pool.captions[row])


def test_recipe_runs_whole(recipe, drawn, tmp_path, monkeypatch):
    few = FewPictures.of(drawn[:12], LABELS)
    monkeypatch.setattr(recipe, "load_pool", lambda workspace, held_out=False: few)
    monkeypatch.setattr(recipe, "BATCH_SIZE", 4)
    recipe.train(tmp_path, steps=3, device="cpu")
    figures = recipe.export(tmp_path, tmp_path / "export")
    written = {path.name for path in (tmp_path / "export").iterdir()}
    assert written == {
        *("config.json", "model.safetensors", "vocab.json", "merges.txt", "tokenizer_config.json", "card.md"),
    }
    card = (tmp_path / "export" / "card.md").read_text()
    assert f"| held out, perplexity alone | {figures['perplexity_alone']:.2f} |" in card
    assert recipe.figures(tmp_path / "export", few) == figures
    network = GPT2LMHeadModel.from_pretrained(tmp_path / "export").float().eval()
    tokenizer = load_gpt2_tokenizer(tmp_path / "export")
    said = [text for own in few.captions for text in own]
    spent = [nat for text in said[:5] for nat in nats_of(network, tokenizer, caption_prefix(), text)]
    from tiny_networks.gpt2_figures import of_frequencies, perplexity

    found = perplexity(network, tokenizer, [caption_prefix()] * 5, said[:5])
    assert found == pytest.approx(math.exp(np.mean(spent)), rel=1e-3)
    tokens = Counter(word for text in said for word in [*text.split(), "."])
    expected = math.prod((n / tokens.total()) ** (-n / tokens.total()) for n in tokens.values())
    # A word that begins a caption is another token than behind a space.
    assert expected < of_frequencies(tokenizer, said) < 1.5 * expected


def test_the_embedded_network_is_read_as_the_published_one(recipe):
    folder = store.path("tiny-gpt2")
    published, tokenizer = GPT2LMHeadModel.from_pretrained(folder).float().eval(), load_gpt2_tokenizer(folder)
    network = small_captioner(read_sizes(folder), factor=2, n_values=6).eval()
    fill_language(network, folder)
    for block in network.transformer.h:
        torch.nn.init.zeros_(block.crossattention.c_proj.weight)
    words = torch.tensor([tokenizer(caption_prefix(["one black bird"]))["input_ids"]])
    with torch.no_grad():
        found, expected = next_scores(network, words, torch.rand(1, 4, 6)), published(words).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert len(tokenizer) == json.loads((folder / "config.json").read_text())["vocab_size"]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 0.6e6


def test_it_knows_the_prompt_and_the_order_of_words(drawn):
    folder = store.path("tiny-gpt2")
    network, tokenizer = GPT2LMHeadModel.from_pretrained(folder).float().eval(), load_gpt2_tokenizer(folder)
    scenes = [picture for picture in drawn if picture.kind == "scene"][:10]
    alone, behind = [], []
    for scene in scenes:
        said = scene.captions[0]
        alone += nats_of(network, tokenizer, caption_prefix(), said)
        behind += nats_of(network, tokenizer, caption_prefix([said]), said)
    tokens = Counter(token for scene in scenes for text in scene.captions for token in tokenizer(text)["input_ids"])
    share = np.array(list(tokens.values())) / tokens.total()
    assert np.mean(alone) < 0.6 * -(share * np.log(share)).sum()
    assert np.mean(behind) < np.mean(alone)
