"""GPT-2 with narrow cross-attention: attention written out, sizes as published, weights under three kinds of names."""

import pytest
import torch
from random_gpt2 import gpt2, save_gpt2, sizes
from safetensors.torch import load_file, save_file

from stages.ground.errors import InputError
from stages.networks.small_captioner import fill_language, next_scores, read_sizes, small_captioner
from weights.manifest import CheckpointError


def made(factor=4, n_values=12, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return small_captioner(sizes(), factor, n_values).eval()


def test_cross_attention_is_that_of_the_formula():
    layer = made().transformer.h[0].crossattention
    tokens, states = torch.randn(3, 5, 16), torch.randn(3, 7, 12)
    with torch.no_grad():
        found, _ = layer(tokens, encoder_hidden_states=states)
        query = tokens @ layer.q_attn.weight + layer.q_attn.bias
        keys, values = (states @ layer.c_attn.weight + layer.c_attn.bias).chunk(2, dim=-1)
        assert query.shape == (3, 5, 4) and keys.shape == (3, 7, 4)
        heads = []
        for head in range(2):
            q, k, v = (one[..., 2 * head : 2 * head + 2] for one in (query, keys, values))
            heads.append(torch.softmax(q @ k.transpose(1, 2) / 2**0.5, dim=-1) @ v)
        expected = torch.cat(heads, dim=-1) @ layer.c_proj.weight + layer.c_proj.bias
    torch.testing.assert_close(found, expected)


def test_the_states_change_what_follows_and_later_words_do_not():
    network, states = made(), torch.randn(1, 6, 12)
    words = torch.tensor([[5, 3, 8, 2]])
    with torch.no_grad():
        one, other = (network(words, encoder_hidden_states=each).logits for each in (states, -states))
        shorter = network(words[:, :2], encoder_hidden_states=states).logits
    assert (one - other).abs().max() > 1e-4
    torch.testing.assert_close(one[:, :2], shorter)


def test_scores_for_training_are_those_of_the_network(tmp_path):
    network, states, words = made(), torch.randn(2, 6, 12), torch.tensor([[5, 3, 8, 2], [1, 1, 7, 0]])
    with torch.no_grad():
        torch.testing.assert_close(
            next_scores(network, words, states), network(words, encoder_hidden_states=states).logits
        )


def test_sizes_as_published():
    with torch.device("meta"):
        network = small_captioner()
    trained = sum(one.numel() for one in network.parameters() if one.requires_grad)
    everything = sum(one.numel() for one in network.parameters())
    norms = 12 * 2 * 768
    assert trained == 12 * (768 * 96 + 96 + 768 * 48 + 48 + 48 * 768 + 768) == 1_780_416
    assert everything - trained - norms == 124_439_808
    layer = network.transformer.h[11].crossattention
    assert (layer.head_dim, layer.split_size, layer.scaling) == (4, 48, 0.5)


def test_nothing_but_cross_attention_is_trained():
    network = made()
    free = {name for name, one in network.named_parameters() if one.requires_grad}
    assert free and all(".crossattention." in name for name in free)
    states = torch.randn(2, 6, 12)
    network(torch.tensor([[1, 2], [3, 4]]), encoder_hidden_states=states).logits.square().mean().backward()
    assert {name for name, one in network.named_parameters() if one.grad is not None} == free


def test_published_weights_go_in_and_the_cross_attention_stays(tmp_path):
    published, network = save_gpt2(tmp_path, gpt2(seed=9)), made()
    before = network.transformer.h[0].crossattention.q_attn.weight.clone()
    assert read_sizes(tmp_path) == sizes()
    fill_language(network, tmp_path)
    words = torch.tensor([[5, 3, 8, 2]])
    with torch.no_grad():
        torch.testing.assert_close(network(words).logits, published(words).logits)
    assert torch.equal(network.transformer.h[0].crossattention.q_attn.weight, before)


def test_a_trained_one_is_read_under_the_names_of_smallcap(tmp_path):
    trained, network = made(seed=1), made(seed=2)
    stored = {f"decoder.{name}": value.clone() for name, value in trained.state_dict().items()}
    stored |= {"decoder.transformer.h.0.crossattention.bias": torch.ones(1, 1, 4, 4), "encoder.x": torch.ones(2)}
    save_file(stored, tmp_path / "model.safetensors")
    fill_language(network, tmp_path)
    states, words = torch.randn(1, 6, 12), torch.tensor([[5, 3, 8]])
    with torch.no_grad():
        one, other = (each(words, encoder_hidden_states=states).logits for each in (trained, network))
    torch.testing.assert_close(one, other)


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(InputError, match="Heads have 8 values, which 3 does not divide"):
        small_captioner(sizes(), factor=3)
    save_gpt2(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors.pop("h.1.ln_1.weight")
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="missing: transformer.h.1.ln_1.weight"):
        fill_language(made(), tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match="describes a 'bert', but the model_type 'gpt2'"):
        read_sizes(tmp_path)
