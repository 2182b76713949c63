"""A captioner behind a prompt: its bytes, what is learned, and words that greedy search by hand finds, too."""

import numpy as np
import pytest
import torch
from random_gpt2 import save_gpt2

from stages.checkpoints.transformers_loading import load_gpt2_tokenizer
from stages.generators.generator import Item, in_order
from stages.generators.language.caption_rows import caption_rows
from stages.generators.language.prompted_captioner import PromptedCaptioner
from stages.generators.language.similar_captions import caption_prefix
from stages.ground.errors import InputError
from stages.ground.not_finite import NotFinite
from stages.networks.small_captioner import fill_language, read_sizes, small_captioner
from stages.objectives.next_words import IGNORED
from weights.manifest import CheckpointError

SIMILAR = ["a dog", "the red boat", "a dog", "a blue square on the circle"]
ITEMS = [Item(f"s{row}") for row in range(4)]
STATES = np.random.default_rng(0).standard_normal((4, 16, 12)).astype(np.float32)
VALUES = {"caption_states": STATES, "similar_caption": SIMILAR}


@pytest.fixture(scope="module")
def captioner(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt2")
    save_gpt2(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = small_captioner(read_sizes(folder), 4, 12)
        for block in network.transformer.h:
            for layer in (block.crossattention.c_attn, block.crossattention.q_attn, block.crossattention.c_proj):
                torch.nn.init.normal_(layer.weight)
    fill_language(network, folder)
    return PromptedCaptioner(network, load_gpt2_tokenizer(folder), (16, 12))


def test_the_prompt_to_the_byte(captioner):
    text = caption_prefix(["a dog on the boat"])
    assert text == "Similar images show\n\na dog on the boat.\n\nThis image shows "
    assert captioner.tokenizer.decode(captioner.tokenizer(text)["input_ids"]) == text


def greedy(captioner, row, length):
    tokenizer, network = captioner.tokenizer, captioner.decoder
    words = tokenizer(caption_prefix([SIMILAR[row]]))["input_ids"]
    n_read, end = len(words), tokenizer(".")["input_ids"][0]
    states = torch.from_numpy(STATES[row : row + 1])
    while len(words) < n_read + length and words[-1 if len(words) > n_read else 0] != end:
        with torch.no_grad():
            scores = network(torch.tensor([words]), encoder_hidden_states=states, use_cache=False).logits[0, -1]
        words.append(int(scores.argmax()))
    return tokenizer.decode(words[n_read:]).split(".")[0].strip()


def test_with_one_beam_it_writes_what_greedy_search_finds(captioner):
    found = in_order(captioner.draw(VALUES, ITEMS, num_beams=1, max_length=9, min_length=0))
    assert found == [greedy(captioner, row, 9) for row in range(4)]
    assert len(set(found)) > 1


def test_others_in_the_batch_and_their_order_change_nothing(captioner):
    alone = in_order(captioner.draw(VALUES, ITEMS, max_length=8))
    assert in_order(captioner.draw(VALUES, ITEMS, max_length=8, batch_size=4)) == alone
    turned = {"caption_states": STATES[::-1], "similar_caption": SIMILAR[::-1]}
    assert in_order(captioner.draw(turned, ITEMS[::-1], max_length=8, batch_size=3))[::-1] == alone
    assert in_order(captioner.draw(VALUES, ITEMS, max_length=8, seed=5)) == alone


def test_the_states_and_the_similar_caption_matter(captioner):
    known = in_order(captioner.draw(VALUES, ITEMS, max_length=8))
    other_states = VALUES | {"caption_states": STATES[[1, 2, 3, 0]]}
    other_texts = VALUES | {"similar_caption": ["circle circle circle"] * 4}
    for values in (other_states, other_texts, {"caption_states": STATES}):
        assert in_order(captioner.draw(values, ITEMS, max_length=8)) != known


def test_captions_are_learned_as_they_are_written(captioner):
    tokenizer = captioner.tokenizer
    prefix, caption = caption_prefix(["a dog"]), "the boat on a boat"
    before, words = tokenizer(prefix)["input_ids"], tokenizer(caption)["input_ids"]
    (rows,) = caption_rows(tokenizer, [prefix], [caption])
    end = tokenizer(".")["input_ids"]
    assert rows[0].tolist() == before + words
    assert rows[1].tolist() == [IGNORED] * (len(before) - 1) + words + end
    # The first word of the caption follows the last of the prefix.
    assert rows[1][len(before) - 1] == words[0]


def test_long_captions_are_cut_and_short_ones_padded(captioner):
    tokenizer = captioner.tokenizer
    long, short = caption_rows(tokenizer, ["a", "a"], ["circle " * 40, "dog"])
    assert (long[1] != IGNORED).sum() == 25 + 1
    n_words = len(tokenizer("dog")["input_ids"])
    assert set(short[0, 1 + n_words :]) == set(tokenizer("!")["input_ids"])
    assert (short[1] != IGNORED).sum() == n_words + 1 and long.shape == short.shape


def test_what_does_not_fit_is_refused(captioner, tmp_path):
    with pytest.raises(InputError, match="3 similar captions for 4 items"):
        captioner.draw(VALUES | {"similar_caption": SIMILAR[:3]}, ITEMS)
    with pytest.raises(InputError, match="the language model has 320 places"):
        captioner.draw(VALUES, ITEMS, max_length=310)
    with pytest.raises(InputError, match="num_beams is 0"):
        captioner.draw(VALUES, ITEMS, num_beams=0)
    with pytest.raises(CheckpointError, match="neither tokenizer.json nor vocab.json"):
        load_gpt2_tokenizer(tmp_path)


def test_scores_that_are_not_finite_are_named_after_the_others(captioner):
    layer = captioner.decoder.transformer.h[0].crossattention.c_proj
    known = layer.bias.detach().clone()
    with torch.no_grad():
        layer.bias.fill_(float("nan"))
    try:
        with pytest.raises(NotFinite):
            list(captioner.draw(VALUES, ITEMS, max_length=4))
    finally:
        with torch.no_grad():
            layer.bias.copy_(known)
