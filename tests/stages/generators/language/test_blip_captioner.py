"""Captions from BLIP's states: against transformers' own, which begins with the picture."""

import numpy as np
import pytest
import random_blip
import torch
from random_blip import WORDS, save_bert_tokenizer

from stages.checkpoints.transformers_loading import load_bert_tokenizer
from stages.generators.generator import Item, in_order
from stages.generators.language.blip_captioner import PROMPT, BLIPCaptioner
from stages.targets.blip import BLIPStates
from weights.manifest import CheckpointError

SIZE = 40
DEC = len(WORDS)
AUTHORS = {"num_beams": 3, "max_length": 20, "min_length": 5, "repetition_penalty": 1.5}
ITEMS = [Item(f"nsd{number:05d}") for number in range(12)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blip") / "hub"
    return folder, random_blip.save_blip(folder)


@pytest.fixture(scope="module")
def captioner(checkpoint):
    return BLIPCaptioner.from_pretrained(checkpoint[0], size=SIZE)


@pytest.fixture(scope="module")
def states(checkpoint):
    """True states of random pictures, as rows."""
    return BLIPStates.from_pretrained(checkpoint[0], size=SIZE).encode(pictures(), batch_size=1)


def pictures():
    return np.random.default_rng(0).integers(0, 256, (len(ITEMS), SIZE, SIZE, 3), dtype=np.uint8)


def written(captioner, states, items=ITEMS, **options):
    return in_order(captioner.draw({"blip": states}, items, **options))


def transformers_tokens(network, prompt=PROMPT, **settings):
    """Numbers of the tokens that transformers itself writes about each picture."""
    tokens = [2, *(WORDS.index(word) for word in prompt.split()), 3]
    found = []
    for picture in pictures():
        seen = torch.from_numpy(picture)[None].permute(0, 3, 1, 2) / 255
        given = {"input_ids": torch.tensor([tokens]), "interpolate_pos_encoding": True, "do_sample": False}
        (sentence,) = network.generate(seen, **given, **settings)
        found.append(sentence.tolist())
    return found


def as_published(folder, tokens, prompt=PROMPT):
    """Text of a sentence as the authors cut it: by the prompt's letters, with [DEC] among the special tokens."""
    tokenizer = load_bert_tokenizer(folder)
    tokenizer.add_special_tokens({"bos_token": "[DEC]", "additional_special_tokens": ["[ENC]"]})
    assert tokenizer.convert_tokens_to_ids(["[DEC]", "[ENC]"]) == [DEC, DEC + 1]
    return tokenizer.decode(tokens, skip_special_tokens=True)[len(prompt) :]


def test_with_true_states_the_tokens_are_transformers_own(checkpoint, captioner, states, monkeypatch):
    folder, network = checkpoint
    found, own = [], captioner._tokens

    def kept(*given):
        found.extend(own(*given))
        return found[-1:]

    monkeypatch.setattr(captioner, "_tokens", kept)
    captions = written(captioner, states)
    expected = transformers_tokens(network, **AUTHORS)
    assert found == expected
    assert all(tokens[:4] == [DEC, 5, 6, 7] for tokens in found)
    assert len({len(tokens) for tokens in found}) > 2
    assert captions == [as_published(folder, tokens) for tokens in expected]
    # The network is random, but it looks at the picture.
    assert len(set(captions)) > 4


@pytest.mark.parametrize(
    "changed",
    [{"num_beams": 1}, {"num_beams": 5}, {"max_length": 9}, {"min_length": 12}, {"repetition_penalty": 1.0}, {"prompt": "on "}],
)  # fmt: skip
def test_every_setting_is_transformers_own_and_counts(checkpoint, captioner, states, changed):
    folder, network = checkpoint
    captions = written(captioner, states, **changed)
    prompt = changed.get("prompt", PROMPT)
    expected = transformers_tokens(network, **AUTHORS | changed | {"prompt": prompt})
    assert captions == [as_published(folder, tokens, prompt) for tokens in expected]
    assert captions != written(captioner, states)


def test_a_sentence_that_goes_on_within_the_prompts_last_word_keeps_its_letters(checkpoint, captioner):
    tokens = [DEC, *(WORDS.index(word) for word in ("a", "boat", "##s", "on", "water")), 3]
    assert captioner._caption(tokens, 3) == "s on water"
    assert as_published(checkpoint[0], tokens, "a boat ") == " on water"


def test_the_authors_layout_writes_the_same(tmp_path, captioner, states):
    random_blip.convert_authors_blip(tmp_path / "authors")
    (tmp_path / "words").mkdir()
    save_bert_tokenizer(tmp_path / "words")
    other = BLIPCaptioner.from_pretrained(tmp_path / "authors", size=SIZE, tokenizer=tmp_path / "words")
    assert other.takes == captioner.takes == {"blip": (26, 12)}
    assert written(other, states) == written(captioner, states)


def test_a_tokenizer_that_knows_blips_own_tokens_writes_the_same(captioner, states, checkpoint):
    tokenizer = load_bert_tokenizer(checkpoint[0])
    tokenizer.add_special_tokens({"bos_token": "[DEC]", "additional_special_tokens": ["[ENC]"]})
    other = BLIPCaptioner(captioner.decoder, tokenizer, 26)
    assert written(other, states) == written(captioner, states)


def test_a_tokenizer_of_another_network_is_refused(checkpoint, tmp_path):
    folder, _ = checkpoint
    with pytest.raises(CheckpointError, match="neither tokenizer.json nor vocab.txt"):
        BLIPCaptioner.from_pretrained(folder, size=SIZE, tokenizer=tmp_path)
    save_bert_tokenizer(tmp_path)
    for words, said in (
        ([*WORDS, "x", "y", "z"], "has 29 tokens but the text decoder 28"),
        (WORDS[1:], "sep_token_id is 2"),
    ):
        (tmp_path / "vocab.txt").write_text("\n".join(words))
        with pytest.raises(CheckpointError, match=said):
            BLIPCaptioner.from_pretrained(folder, size=SIZE, tokenizer=tmp_path)
