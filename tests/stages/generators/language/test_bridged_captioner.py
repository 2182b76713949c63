"""Captions from another network's tokens: over a bridge, word by word what the captioner itself writes from the states."""

import numpy as np
import pytest
import random_git
import torch
from random_blip import save_blip
from safetensors.torch import save_file

from stages.checkpoints.transformers_loading import load_bert_tokenizer
from stages.generators.generator import Item, in_order
from stages.generators.language.blip_captioner import BLIPCaptioner
from stages.generators.language.bridged_captioner import BridgedCaptioner
from stages.generators.language.git_captioner import GITCaptioner
from stages.ground.errors import InputError
from stages.networks.caption_bridge import CaptionBridge
from stages.networks.git import load_git
from weights.manifest import CheckpointError

ITEMS = [Item(f"nsd{number:05d}") for number in range(10)]
TOKENS = (16, 9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("git")
    random_git.save_git(folder)
    return folder


def bridge(states=(17, 12)):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return CaptionBridge(TOKENS, states).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def captioner(folder):
    return BridgedCaptioner(bridge(), GITCaptioner.from_pretrained(folder))


@pytest.fixture(scope="module")
def tokens():
    """As far from each other as pictures are for the random network."""
    return np.random.default_rng(0).normal(size=(len(ITEMS), *TOKENS)).astype(np.float32) * 4


def test_transformers_own_git_writes_the_same_from_the_bridged_states(folder, captioner, tokens):
    """The states are put in the place of what transformers' vision transformer sees, the published way around it."""
    network, words, layer = load_git(folder), load_bert_tokenizer(folder), bridge()
    expected = []
    for one in tokens:
        states = layer(torch.from_numpy(one)[None])
        seen = network.git.image_encoder(torch.zeros(1, 3, 32, 32))
        seen.last_hidden_state = states
        hook = network.git.image_encoder.register_forward_hook(lambda module, given, found, seen=seen: seen)
        (sentence,) = network.generate(
            pixel_values=torch.zeros(1, 3, 32, 32), input_ids=torch.tensor([[2]]), max_length=20, do_sample=False
        )
        hook.remove()
        expected.append(words.decode(sentence, skip_special_tokens=True))
    found = in_order(captioner.draw({"unclip_tokens": tokens}, ITEMS))
    assert found == expected
    assert len(set(found)) > 2


def test_a_caption_does_not_depend_on_neighbours_batch_or_order(captioner, tokens):
    alone = [
        in_order(captioner.draw({"unclip_tokens": tokens[row : row + 1]}, [item]))[0] for row, item in enumerate(ITEMS)
    ]
    assert in_order(captioner.draw({"unclip_tokens": tokens}, ITEMS, batch_size=4)) == alone
    assert in_order(captioner.draw({"unclip_tokens": tokens[::-1]}, ITEMS[::-1]))[::-1] == alone
    flat = tokens.reshape(len(tokens), -1)
    assert in_order(captioner.draw({"unclip_tokens": flat}, ITEMS, seed=3)) == alone


def test_the_same_tokens_give_the_same_caption(captioner):
    found = in_order(captioner.draw({"unclip_tokens": np.ones((len(ITEMS), *TOKENS), dtype=np.float32)}, ITEMS))
    assert len(set(found)) == 1


def test_a_bridge_to_another_captioner_is_refused(folder):
    with pytest.raises(InputError, match=r"\(17, 13\) but GITCaptioner reads git of shape \(17, 12\)"):
        BridgedCaptioner(bridge((17, 13)), GITCaptioner.from_pretrained(folder))


def test_both_are_opened_by_their_folders(folder, captioner, tokens, tmp_path):
    save_file(dict(bridge().state_dict()), tmp_path / "model.safetensors")
    opened = BridgedCaptioner.from_pretrained(tmp_path, folder)
    assert isinstance(opened.captioner, GITCaptioner) and opened.takes == captioner.takes
    values = {"unclip_tokens": tokens}
    assert in_order(opened.draw(values, ITEMS)) == in_order(captioner.draw(values, ITEMS))
    (folder / "of others").mkdir()
    (folder / "of others" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match="'bert'.*'git' or 'blip'"):
        BridgedCaptioner.from_pretrained(tmp_path, folder / "of others")


def test_blip_writes_over_a_bridge_too(tmp_path, tokens):
    save_blip(tmp_path)
    (tmp_path / "bridge").mkdir()
    own = BLIPCaptioner.from_pretrained(tmp_path, size=32)
    layer = bridge(own.takes["blip"])
    captioner = BridgedCaptioner(layer, own, reads="tokens")
    settings = {"num_beams": 3, "max_length": 15, "min_length": 4, "repetition_penalty": 1.5, "prompt": "a picture of "}
    found = in_order(captioner.draw({"tokens": tokens}, ITEMS, **settings))
    save_file(dict(layer.state_dict()), tmp_path / "bridge" / "model.safetensors")
    assert isinstance(BridgedCaptioner.from_pretrained(tmp_path / "bridge", tmp_path).captioner, BLIPCaptioner)
    states = np.stack([layer(torch.from_numpy(one)[None])[0].numpy() for one in tokens])
    assert found == in_order(own.draw({"blip": states}, ITEMS, **settings))
