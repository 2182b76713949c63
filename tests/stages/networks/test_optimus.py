"""Optimus against transformers' own BERT and GPT-2, and its names and shapes."""

import json

import pytest
import torch
from random_optimus import LATENT, config, convert_authors_optimus, decoder_sizes, optimus
from safetensors.torch import load_file, save_file
from transformers import BertModel, GPT2Config, GPT2LMHeadModel

from stages.networks.optimus import Optimus, load_optimus
from stages.networks.optimus_decoder import OptimusDecoder
from weights.manifest import CheckpointError


@pytest.fixture(scope="module")
def network():
    return optimus()


def gpt2(decoder):
    """transformers' own GPT-2 with the decoder's tensors."""
    sizes = decoder_sizes()
    numbers = dict(bos_token_id=1, eos_token_id=2)
    named = dict(
        vocab_size=sizes["vocabulary"], n_embd=sizes["width"], n_layer=sizes["n_layers"], n_head=sizes["n_heads"]
    )
    own = GPT2LMHeadModel(GPT2Config(**named, **numbers, n_positions=sizes["n_positions"], tie_word_embeddings=False))
    left = own.load_state_dict(decoder.state_dict(), strict=False)
    assert not left.missing_keys
    assert left.unexpected_keys == ["transformer.linear.weight", "transformer.linear_emb.weight"]
    return own.eval()


def with_memory(own, decoder, tokens, latents):
    """Scores of transformers' GPT-2, whose cache holds the memory and whose embeddings have the latent added."""
    from transformers.cache_utils import DynamicCache

    parts, cache = decoder.transformer, DynamicCache()
    width = parts.wte.embedding_dim
    for layer, own_part in enumerate(parts.linear(latents).split(width, dim=1)):
        memory = own_part.reshape(len(latents), 1, decoder.n_heads, -1).transpose(1, 2)
        cache.update(memory, memory, layer)
    embeddings = own.transformer.wte(tokens) + parts.linear_emb(latents)[:, None]
    positions = torch.arange(1, tokens.shape[1] + 1)[None]
    return own(inputs_embeds=embeddings, position_ids=positions, past_key_values=cache).logits


def drawn(n=3, n_tokens=6, seed=0):
    random = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, decoder_sizes()["vocabulary"], (n, n_tokens), generator=random)
    return tokens, torch.randn(n, LATENT, generator=random)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("scale", [1.0, 0.0])
def test_decoder_vs_transformers_gpt2_with_one_memory_a_layer(network, scale):
    """A latent of 0 is GPT-2 that attends to one place of zeros besides: both matrices have no bias."""
    tokens, latents = drawn()
    expected = with_memory(gpt2(network.decoder), network.decoder, tokens, scale * latents)
    found, past = network.decoder(tokens, scale * latents)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)
    assert len(past) == 2 and all(keys.shape[2] == values.shape[2] == 7 for keys, values in past)


@torch.no_grad()
def test_the_memory_is_there_once_and_sentences_go_on_from_what_was_kept(network):
    tokens, latents = drawn()
    whole, _ = network.decoder(tokens, latents)
    past = None
    for place in range(tokens.shape[1]):
        scores, past = network.decoder(tokens[:, place : place + 1], latents, past)
        torch.testing.assert_close(scores[:, 0], whole[:, place], atol=2e-5, rtol=1e-5)
    assert past[0][0].shape[2] == 1 + tokens.shape[1]
    nothing, _ = network.decoder(tokens, 0 * latents)
    assert (nothing - whole).abs().max() > 0.1


@torch.no_grad()
def test_a_token_does_not_see_what_comes_after_it(network):
    tokens, latents = drawn()
    changed = tokens.clone()
    changed[:, 4:] = 1
    before, after = (network.decoder(each, latents)[0] for each in (tokens, changed))
    torch.testing.assert_close(before[:, :4], after[:, :4])


@torch.no_grad()
def test_encoder_vs_transformers_bert(network):
    own = BertModel(network.encoder.config).eval()
    own.load_state_dict(
        {name: one for name, one in network.encoder.state_dict().items() if not name.startswith("linear")}
    )
    tokens = torch.tensor([[2, 9, 11, 3, 0, 0], [2, 30, 8, 7, 6, 3]])
    mean, logvar = network.encoder.posterior(tokens)
    for row, length in enumerate((4, 6)):
        pooled = own(input_ids=tokens[row : row + 1, :length]).pooler_output
        expected = pooled @ network.encoder.linear.weight.T
        torch.testing.assert_close(mean[row], expected[0, :LATENT], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(logvar[row], expected[0, LATENT:], atol=1e-5, rtol=1e-5)


def test_it_is_loaded_from_the_authors_file(network, tmp_path):
    convert_authors_optimus(tmp_path / "optimus", network)
    loaded = load_optimus(tmp_path / "optimus")
    assert loaded.state_dict().keys() == network.state_dict().keys()
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in loaded.state_dict().items())
    assert not loaded.training and not any(one.requires_grad for one in loaded.parameters())
    stored = load_file(tmp_path / "optimus" / "model.safetensors")
    assert not any(name.endswith(".attn.bias") for name in stored)


def test_a_file_that_holds_the_words_once_is_as_good(network, tmp_path):
    convert_authors_optimus(tmp_path / "optimus", network)
    path = tmp_path / "optimus" / "model.safetensors"
    save_file({name: one for name, one in load_file(path).items() if name != "decoder.lm_head.weight"}, path)
    assert torch.equal(load_optimus(tmp_path / "optimus").decoder.lm_head.weight, network.decoder.lm_head.weight)


def test_what_does_not_fit_is_named(network, tmp_path):
    convert_authors_optimus(tmp_path / "optimus", network)
    path = tmp_path / "optimus" / "model.safetensors"
    stored = load_file(path)
    save_file({name: one for name, one in stored.items() if name != "encoder.linear.weight"}, path)
    with pytest.raises(CheckpointError, match=r"missing: encoder\.linear\.weight"):
        load_optimus(tmp_path / "optimus")
    save_file(stored | {"decoder.transformer.linear.bias": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match=r"unexpected: decoder\.transformer\.linear\.bias"):
        load_optimus(tmp_path / "optimus")
    (tmp_path / "optimus" / "config.json").write_text(json.dumps(config() | {"model_type": "gpt2"}))
    with pytest.raises(CheckpointError, match="describes no Optimus"):
        load_optimus(tmp_path / "optimus")


def test_names_and_shapes_at_full_size():
    """BERT-base-cased and GPT-2 small as transformers builds them, and the three matrices of the latent."""
    with torch.device("meta"):
        network = Optimus()
        bert = BertModel(network.encoder.config).state_dict()
        gpt = GPT2LMHeadModel(GPT2Config(vocab_size=50260)).state_dict()
    expected = {f"encoder.{name}": tuple(one.shape) for name, one in bert.items()}
    expected |= {f"decoder.{name}": tuple(one.shape) for name, one in gpt.items()}
    expected |= {
        "encoder.linear.weight": (1536, 768),
        "decoder.transformer.linear.weight": (768 * 12, 768),
        "decoder.transformer.linear_emb.weight": (768, 768),
    }
    assert {name: tuple(one.shape) for name, one in network.state_dict().items()} == expected
    assert OptimusDecoder.__init__.__defaults__ == (50260, 768, 768, 12, 12, 1024)
