"""MaskGIT's transformer against BERT's layers and its formula, and its file."""

import json

import pytest
import torch
from torch import nn

from stages.ground.errors import InputError
from stages.networks.masked_tokens import MaskedTokens, MaskedTokensConfig
from weights.manifest import CheckpointError

SMALL = {"n_places": 6, "context": 5, "width": 16, "depth": 2, "n_heads": 4, "dropout": 0.0}


def network(**changes):
    torch.manual_seed(0)
    made = MaskedTokens(MaskedTokensConfig(**{"n_codes": 10, "n_classes": 4, **SMALL, **changes})).eval()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made


def test_it_is_bert_behind_a_condition():
    """transformers' own post-norm layers, with the same weights, find the same scores."""
    from transformers import BertConfig
    from transformers.models.bert.modeling_bert import BertLayer

    own, tokens, context = network(), torch.randint(15, (3, 6)), torch.randn(3, 5)
    config = BertConfig(
        hidden_size=16, num_attention_heads=4, intermediate_size=64, layer_norm_eps=1e-12, attn_implementation="eager"
    )
    values = torch.cat([own.decoder_embed(context)[:, None], own.token_emb(tokens)], dim=1) + own.de_pos_emb.weight
    values = nn.functional.layer_norm(values, (16,), own.ln.weight, own.ln.bias, 1e-5)
    for layer in own.decoder:
        bert = BertLayer(config).eval()
        names = {
            "attention.self.key": layer.self_attn.key,
            "attention.self.query": layer.self_attn.query,
            "attention.self.value": layer.self_attn.value,
            "attention.output.dense": layer.self_attn.proj,
            "attention.output.LayerNorm": layer.norm1,
            "intermediate.dense": layer.linear1,
            "output.dense": layer.linear2,
            "output.LayerNorm": layer.norm2,
        }
        for name, one in names.items():
            bert.get_submodule(name).load_state_dict(one.state_dict())
        found = bert(values)
        values = found[0] if isinstance(found, tuple) else found
    hidden = nn.functional.gelu(own.mlps[0](values))
    hidden = nn.functional.layer_norm(hidden, (16,), own.mlps[2].weight, own.mlps[2].bias, 1e-12)
    scores = (hidden @ own.token_emb.weight.T + own.mlps_bias)[:, 1:, :10]
    torch.testing.assert_close(own(tokens, context), scores, atol=1e-5, rtol=1e-5)


def test_the_head_is_tied_and_classes_and_the_mask_are_never_drawn():
    own, tokens, context = network(), torch.randint(9, (3, 6)), torch.randn(3, 5)
    before = own(tokens, context)
    assert before.shape == (3, 6, 10)
    with torch.no_grad():
        # A row that no token of the input has: the head alone reads it.
        own.token_emb.weight[9] += torch.randn(16)
    changed = (own(tokens, context) - before).abs().amax(dim=(0, 1))
    assert changed[9] > 0.1 and changed[:9].max() < 1e-6


def test_a_place_for_a_class_holds_the_mask_without_an_embedding():
    own, tokens = network(), torch.randint(10, (3, 6))
    none = own(tokens)
    torch.testing.assert_close(own(tokens, torch.full((3, 5), torch.nan)), none)
    context = torch.randn(3, 5)
    mixed = own(tokens, torch.where(torch.tensor([[True], [False], [False]]), torch.nan, context))
    torch.testing.assert_close(mixed, torch.cat([none[:1], own(tokens, context)[1:]]))
    assert network(context=0).de_pos_emb.weight.shape == (6, 16)
    assert network(context=0, class_place=True).de_pos_emb.weight.shape == (7, 16)


def test_soft_tokens_are_read_as_means_of_codes():
    own, tokens, context = network(), torch.randint(10, (2, 6)), torch.randn(2, 5)
    sure = torch.nn.functional.one_hot(tokens, 10).float()
    torch.testing.assert_close(own(tokens, context, sure), own(tokens, context))
    torch.testing.assert_close(own(tokens, context, torch.zeros(2, 6, 10)), own(tokens, context))
    masked = torch.full((2, 6), own.config.mask_token)
    torch.testing.assert_close(own(masked, context, sure), own(tokens, context))
    assert not torch.allclose(own(tokens, context, torch.full((2, 6, 10), 0.1)), own(tokens, context))


def test_before_and_after_are_two_networks():
    tokens, context = torch.randint(10, (2, 6)), torch.randn(2, 5)
    after, before = network(), network(norm="before")
    before.load_state_dict(after.state_dict())
    assert not torch.allclose(before(tokens, context), after(tokens, context), atol=0.1)


def test_published_sizes_and_names():
    with torch.device("meta"):
        published = MaskedTokens(MaskedTokensConfig())
        guessed = MaskedTokens(
            MaskedTokensConfig(1024, 0, context=0, width=512, depth=8, n_heads=8, norm="before", dropout=0.1)
        )
    layer = 4 * (768**2 + 768) + 2 * 4 * 768**2 + 5 * 768 + 4 * 768
    total = 2025 * 768 + 257 * 768 + 1024 * 768 + 768 + 2 * 768 + 24 * layer + 768**2 + 768 + 2 * 768 + 2025
    assert sum(one.numel() for one in published.parameters()) == total == 173_244_393
    assert sum(one.numel() for one in guessed.parameters()) == 26_140_673
    names = set(published.state_dict())
    assert {"token_emb.weight", "de_pos_emb.weight", "decoder_embed.weight", "mlps.0.weight", "mlps.2.bias"} <= names
    assert {"decoder.23.self_attn.query.weight", "decoder.0.linear1.bias", "decoder.0.norm2.weight", "ln.bias"} <= names
    assert "mlps_bias" in names and len(names) == 24 * 16 + 11


def test_written_and_read_it_is_the_same(tmp_path):
    own, tokens, context = network(), torch.randint(10, (2, 6)), torch.randn(2, 5)
    own.save_pretrained(tmp_path, torch.float32)
    again = MaskedTokens.from_pretrained(tmp_path)
    assert again.config == own.config and torch.equal(again(tokens, context), own(tokens, context))
    config = json.loads((tmp_path / "config.json").read_text())
    for changes, said in (
        ({"architecture": "ICGAN"}, "architecture is 'ICGAN'"),
        ({"width": 0}, "width is 0"),
        ({"n_codes": 11}, "token_emb.weight"),
        ({"colour": 1}, "colour"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config | changes))
        with pytest.raises((CheckpointError, InputError)) as error:
            MaskedTokens.from_pretrained(tmp_path)
        assert said in str(error.value)


def test_heads_that_do_not_share_the_width_are_refused():
    with pytest.raises(InputError, match="width is 10, no multiple of 4 heads"):
        MaskedTokensConfig(width=10, n_heads=4)
