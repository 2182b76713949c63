"""Captions from GIT's states: against transformers' own, which begins with the picture."""

import numpy as np
import pytest
import random_git
import torch
from random_blip import WORDS, save_bert_tokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from stages.checkpoints.transformers_loading import load_bert_tokenizer
from stages.generators.generator import Item, in_order
from stages.generators.language.git_captioner import GITCaptioner
from stages.targets.git import GITStates
from weights.manifest import CheckpointError

SIZE = random_git.GIT_SIZE
ITEMS = [Item(f"nsd{number:05d}") for number in range(12)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("git") / "hub"
    return folder, random_git.save_git(folder)


@pytest.fixture(scope="module")
def captioner(checkpoint):
    return GITCaptioner.from_pretrained(checkpoint[0])


@pytest.fixture(scope="module")
def states(checkpoint):
    return GITStates.from_pretrained(checkpoint[0]).encode(pictures(), batch_size=1)


def pictures():
    return np.random.default_rng(0).integers(0, 256, (len(ITEMS), SIZE, SIZE, 3), dtype=np.uint8)


def transformers_tokens(network, prompt="", **settings):
    """Numbers of the tokens that transformers itself writes about each picture, from the picture on."""
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE})
    tokens = torch.tensor([[2, *(WORDS.index(word) for word in prompt.split())]])
    found = []
    for picture in pictures():
        seen = processor([picture], return_tensors="pt")["pixel_values"]
        (sentence,) = network.generate(pixel_values=seen, input_ids=tokens, do_sample=False, **settings)
        found.append(sentence.tolist())
    return found


@pytest.mark.parametrize(
    "changed",
    [{}, {"num_beams": 3}, {"max_length": 3}, {"min_length": 12}, {"repetition_penalty": 1.5}, {"prompt": "a picture of "}],
)  # fmt: skip
def test_with_true_states_the_tokens_are_transformers_own(checkpoint, captioner, states, changed, monkeypatch):
    found, own = [], captioner._tokens

    def kept(*given):
        found.extend(own(*given))
        return found[-1:]

    monkeypatch.setattr(captioner, "_tokens", kept)
    captions = in_order(captioner.draw({"git": states}, ITEMS, **changed))
    folder, network = checkpoint
    expected = transformers_tokens(network, **{"max_length": 20} | changed)
    assert found == expected
    tokenizer, prompt = load_bert_tokenizer(folder), changed.get("prompt", "").strip()
    texts = [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in expected]
    assert captions == [text.removeprefix(prompt).strip() for text in texts]
    # The network is random, but it looks at the picture, and its sentences end where they like.
    assert len({tuple(tokens) for tokens in found}) > 2
    if changed:
        monkeypatch.undo()
        assert captions != in_order(captioner.draw({"git": states}, ITEMS))


def test_states_are_projected_and_stand_before_the_words(checkpoint, captioner, states):
    """The first word's probabilities, with the language model's blocks called on what is put together by hand."""
    git = captioner.network.git
    given = torch.from_numpy(states[:3]).unflatten(1, captioner.takes["git"])
    with torch.no_grad():
        before, first = git.visual_projection(given), git.embeddings(torch.tensor([[2]] * 3))
        n_states = before.shape[1]
        mask = torch.zeros(1, 1, n_states + 1, n_states + 1)
        mask[..., :n_states, n_states] = -torch.inf  # a picture does not see the words
        hidden = git.encoder(torch.cat([before, first], dim=1), mask).last_hidden_state
        expected = captioner.network.output(hidden[:, -1]).argmax(dim=1)
    found = captioner._tokens(states[:3].reshape(given.shape), [2], {"max_length": 2})
    assert [tokens[1] for tokens in found] == expected.tolist()


def test_mindeye2s_settings_are_the_defaults(captioner, states):
    published = {"num_beams": 1, "max_length": 20, "min_length": 0, "repetition_penalty": 1.0, "prompt": ""}
    one = {"git": states[:4]}
    assert in_order(captioner.draw(one, ITEMS[:4])) == in_order(captioner.draw(one, ITEMS[:4], **published))


def test_the_vision_transformer_is_not_kept(captioner):
    assert not any("image_encoder" in name for name, _ in captioner.network.named_parameters())
    assert captioner.takes == {"git": (17, 12)}


def test_a_tokenizer_of_another_network_is_refused(checkpoint, tmp_path):
    folder, _ = checkpoint
    with pytest.raises(CheckpointError, match="neither tokenizer.json nor vocab.txt"):
        GITCaptioner.from_pretrained(folder, tokenizer=tmp_path)
    save_bert_tokenizer(tmp_path)
    for words, said in (([*WORDS, "x"], "has 27 tokens"), (WORDS[1:], r"\[1, 2, 25\] for")):
        (tmp_path / "vocab.txt").write_text("\n".join(words))
        with pytest.raises(CheckpointError, match=said):
            GITCaptioner.from_pretrained(folder, tokenizer=tmp_path)
