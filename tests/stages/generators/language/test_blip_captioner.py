"""Captions from BLIP's states: against transformers' own, which begins with the picture."""

import numpy as np
import pytest
import random_blip
import torch
from random_blip import WORDS, save_bert_tokenizer

from brainrecon.assembly.draw import Draw
from brainrecon.assembly.values import Item as StepItem
from stages.checkpoints.transformers_loading import load_bert_tokenizer
from stages.generators.generator import Item, in_order
from stages.generators.language.blip_captioner import PROMPT, BLIPCaptioner
from stages.ground.errors import InputError
from stages.ground.media import CAPTION
from stages.ground.not_finite import NotFinite
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


def test_a_caption_does_not_depend_on_neighbours_batch_order_or_seed(captioner, states):
    captions = written(captioner, states)
    assert written(captioner, states, batch_size=5) == captions
    assert written(captioner, states[::-1], ITEMS[::-1])[::-1] == captions
    assert written(captioner, states[3:4], ITEMS[:1], seed=8) == captions[3:4]
    assert written(captioner, states.reshape(-1, 26, 12)) == captions
    assert not captioner.draws_by_lot and captioner.gives == CAPTION.name and not captioner.optional


def test_the_state_of_the_random_numbers_stays(captioner, states):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    written(captioner, states[:2], ITEMS[:2])
    assert torch.equal(torch.get_rng_state(), before)


def test_progress_is_told_after_each_caption(captioner, states):
    told = []
    written(captioner, states[:3], ITEMS[:3], progress=lambda *each: told.append(each))
    assert told == [("pictures", done, 3) for done in (1, 2, 3)]
    assert written(captioner, states[:0], []) == []


def test_captions_are_of_their_medium(captioner, states):
    for caption in written(captioner, states):
        assert CAPTION.check(caption) == caption == caption.strip()
        assert not caption.startswith("a picture of") and "[" not in caption


def test_states_that_are_not_finite_are_named(captioner, states):
    spoilt = states.copy()
    spoilt[4, 7] = np.nan
    with pytest.raises(InputError, match="blip of nsd00004 has 1 values that are not finite"):
        list(captioner.draw({"blip": spoilt}, ITEMS))


@pytest.mark.parametrize("batch_size", [1, 5])
def test_captions_whose_probabilities_are_not_finite_are_named_and_the_others_written(captioner, states, batch_size):
    expected = written(captioner, states)
    spoilt = states.copy()
    # Finite, but no longer behind a matrix.
    spoilt[[4, 6]] = np.finfo(np.float32).max * np.sign(states[[4, 6]])
    drawn = captioner.draw({"blip": spoilt}, ITEMS, batch_size=batch_size)
    found = {}
    with pytest.raises(NotFinite, match=r"nsd00004 \(sample 0\), nsd00006 \(sample 0\)") as error:
        for position, caption in drawn:
            found[position] = caption
    assert error.value.positions == (4, 6)
    assert found == {position: caption for position, caption in enumerate(expected) if position not in (4, 6)}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_beams": 0}, "num_beams is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"max_length": 4}, "max_length is 4; expected a whole number from 5 to 24: pass max_length=20"),
        ({"max_length": 25}, "max_length is 25"),
        ({"min_length": 21}, "min_length is 21; expected a whole number from 0 to 20"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0"),
        ({"prompt": None}, "prompt is None"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_written(captioner, states, settings, said):
    with pytest.raises(InputError, match=said):
        captioner.draw({"blip": states}, ITEMS, **settings)


def test_states_of_another_side_are_refused(captioner, states):
    with pytest.raises(InputError, match=r"reads \(26, 12\)"):
        captioner.draw({"blip": states[:, :-12]}, ITEMS)


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


def test_a_step_draws_captions_with_it(captioner, states):
    step = Draw(lambda: captioner, reads=("blip",), gives="caption", medium="caption", by_lot=False)
    items = [StepItem("subj01", item.stimulus_id) for item in ITEMS]
    assert step.run(items, {"blip": states})["caption"] == written(captioner, states)
