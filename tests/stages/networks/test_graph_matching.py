"""The encoder and the graph against their formulas written out, timm's block, and counts by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from stages.ground.errors import InputError
from stages.networks.graph_matching import AttentionalPropagation, CaptionTokens, GraphMatching, SampleGraph
from stages.networks.region_encoder import Block, RegionEncoder, RegionTokens

SMALL = {"n_values": 6, "n_regions": 3, "n_features": 5, "width": 8, "depth": 2, "n_heads": 2, "hidden": 4}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def moved(network, scale=0.3):
    """A network none of whose parameters is 0 or 1, as those of layers that normalise are."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "pos_embed" not in name:
                parameter += scale * torch.randn(parameter.shape)
    return network


def numbers(network):
    return {name: value.detach().double().numpy() for name, value in network.state_dict().items()}


def soft(logits):
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def normed(x, weight, bias):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * weight + bias


def block_written_out(x, w, n_heads):
    """Of one sample (n_tokens, width), in float64."""
    width = x.shape[1]
    read = normed(x, w["norm1.weight"], w["norm1.bias"]) @ w["attn.qkv.weight"].T + w["attn.qkv.bias"]
    each, attended = width // n_heads, []
    for head in range(n_heads):
        q, k, v = (read[:, part * width + head * each : part * width + (head + 1) * each] for part in range(3))
        attended.append(soft(q @ k.T / math.sqrt(each)) @ v)
    x = x + np.concatenate(attended, axis=1) @ w["attn.proj.weight"].T + w["attn.proj.bias"]
    inner = normed(x, w["norm2.weight"], w["norm2.bias"]) @ w["mlp.fc1.weight"].T + w["mlp.fc1.bias"]
    inner = inner * np.vectorize(lambda value: (1 + math.erf(value / math.sqrt(2))) / 2)(inner)
    return x + inner @ w["mlp.fc2.weight"].T + w["mlp.fc2.bias"]


def propagation_written_out(x, source, w, n_heads, in_training=True):
    """Of nodes (n, width) and their source (m, width), in float64."""

    def through(name, values):
        return values @ w[f"{name}.weight"][:, :, 0].T + w[f"{name}.bias"]

    query, key, value = through("attn.proj.0", x), through("attn.proj.1", source), through("attn.proj.2", source)
    attended = np.empty_like(x)
    for head in range(n_heads):
        own = slice(head, None, n_heads)
        logits = query[:, own] @ key[:, own].T / math.sqrt(x.shape[1] / n_heads)
        attended[:, own] = soft(logits) @ value[:, own]
    inner = through("mlp.0", np.concatenate([x, through("attn.merge", attended)], axis=1))
    mean, variance = (inner.mean(0), inner.var(0)) if in_training else (w["mlp.1.running_mean"], w["mlp.1.running_var"])
    inner = (inner - mean) / np.sqrt(variance + 1e-5) * w["mlp.1.weight"] + w["mlp.1.bias"]
    return through("mlp.3", np.maximum(inner, 0))


# Tokens and blocks


def test_regions_are_padded_behind_and_may_share_voxels():
    tokens = RegionTokens([[3, 0], [1, 0, 2], [2]])
    patterns = torch.randn(4, 2, 5)
    patterns[..., 4] = torch.nan
    found = tokens(patterns)
    assert found.shape == (4, 2, 3, 3) and not tokens.state_dict()
    for region, columns in enumerate([[3, 0], [1, 0, 2], [2]]):
        expected = torch.nn.functional.pad(patterns[..., columns], (0, 3 - len(columns)))
        torch.testing.assert_close(found[..., region, :], expected)
    # A voxel that stands in for padding does not show, whatever it holds.
    patterns[..., 0] = torch.nan
    assert not tokens(patterns)[..., 2, 1:].any()


def test_a_block_is_its_formula():
    block, x = moved(Block(12, n_heads=3, expansion=2)), torch.randn(4, 5, 12)
    found = block(x)
    for sample in range(4):
        expected = block_written_out(x[sample].double().numpy(), numbers(block), n_heads=3)
        np.testing.assert_allclose(found[sample].detach(), expected, atol=1e-5)


def test_a_block_is_that_of_timm_and_loads_its_tensors():
    timm = pytest.importorskip("timm.models.vision_transformer")
    theirs, x = moved(timm.Block(12, 3, 4.0, qkv_bias=True, norm_layer=nn.LayerNorm)), torch.randn(4, 5, 12)
    block = Block(12, n_heads=3)
    block.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(block(x), theirs(x))


def test_the_encoder_is_its_formula():
    encoder, x = moved(RegionEncoder(6, 3, width=8, depth=2, n_heads=2, places="learned")), torch.randn(4, 3, 6)
    nn.init.normal_(encoder.pos_embed)
    w, found = numbers(encoder), encoder(x)
    for sample in range(4):
        tokens = x[sample].double().numpy() @ w["proj.weight"][:, :, 0].T + w["proj.bias"]
        tokens = np.concatenate([w["cls_token"][0], tokens]) + w["pos_embed"][0]
        for number in range(2):
            own = {name.split(".", 2)[2]: value for name, value in w.items() if name.startswith(f"blocks.{number}.")}
            tokens = block_written_out(tokens, own, n_heads=2)
        expected = np.tanh(normed(tokens, w["norm.weight"], w["norm.bias"]))
        np.testing.assert_allclose(found[sample].detach(), expected, atol=1e-5)


def test_the_order_of_regions_is_seen_through_learned_places_alone():
    x, order = torch.randn(4, 7, 6), torch.tensor([3, 0, 6, 1, 5, 2, 4])
    encoder = moved(RegionEncoder(6, 7, width=16, depth=3, n_heads=4))
    assert not encoder.pos_embed.any() and not encoder.pos_embed.requires_grad
    found, permuted = encoder(x), encoder(x[:, order])
    torch.testing.assert_close(permuted[:, 0], found[:, 0], atol=1e-6, rtol=0)
    torch.testing.assert_close(permuted[:, 1:], found[:, 1:][:, order], atol=1e-6, rtol=0)
    learned = moved(RegionEncoder(6, 7, width=16, depth=3, n_heads=4, places="learned"))
    assert not learned.pos_embed.any() and learned.pos_embed.requires_grad
    learned(x)[:, 0].sum().backward()
    with torch.no_grad():
        learned.pos_embed -= learned.pos_embed.grad
    assert (learned(x[:, order])[:, 0] - learned(x)[:, 0]).abs().max() > 1e-4


# The graph


@pytest.mark.parametrize("in_training", [True, False])
def test_a_layer_of_the_graph_is_its_formula(in_training):
    layer = moved(AttentionalPropagation(12, n_heads=3)).train(in_training)
    layer.mlp[1].running_mean.normal_()
    layer.mlp[1].running_var.uniform_(0.5, 2)
    x, source, w = torch.randn(5, 12), torch.randn(7, 12), numbers(layer)
    expected = propagation_written_out(x.double().numpy(), source.double().numpy(), w, 3, in_training)
    np.testing.assert_allclose(layer(x.T[None], source.T[None])[0].T.detach(), expected, atol=2e-5)


def test_layers_of_the_graph_attend_to_the_own_set_and_to_the_other_in_turn():
    graph, first, second = moved(SampleGraph(8, n_heads=2, n_rounds=2)), torch.randn(5, 8), torch.randn(6, 8)
    expected = [first.double().numpy(), second.double().numpy()]
    for number, layer in enumerate(graph.layers):
        sources = expected if number in (0, 2) else expected[::-1]
        found = [propagation_written_out(x, source, numbers(layer), 2) for x, source in zip(expected, sources)]
        expected = [x + more for x, more in zip(expected, found)]
    for found, wanted in zip(graph(first, second), expected):
        np.testing.assert_allclose(found.detach(), wanted, rtol=1e-4, atol=1e-4)


def test_a_graph_whose_last_layers_are_zero_changes_nothing():
    graph, first, second = moved(SampleGraph(8, n_heads=2)), torch.randn(5, 8), torch.randn(5, 8)
    assert (graph(first, second)[0] - first).abs().max() > 1e-2
    for layer in graph.layers:
        nn.init.zeros_(layer.mlp[-1].weight)
        nn.init.zeros_(layer.mlp[-1].bias)
    for found, given in zip(graph(first, second), (first, second)):
        assert torch.equal(found, given)


def test_the_order_of_samples_is_that_of_the_outputs():
    graph, first, second = moved(SampleGraph(8, n_heads=2)).double(), torch.randn(6, 8), torch.randn(5, 8)
    first, second, order, other = first.double(), second.double(), torch.randperm(6), torch.randperm(5)
    found = graph(first, second)
    permuted = graph(first[order], second[other])
    torch.testing.assert_close(permuted[0], found[0][order])
    torch.testing.assert_close(permuted[1], found[1][other])
    # Which others are there does matter.
    assert (graph(first[:4], second)[0] - found[0][:4]).abs().max() > 1e-3


def test_layers_begin_with_no_bias_and_with_four_equal_projections():
    for layer in SampleGraph(8, n_heads=2).layers:
        assert not layer.mlp[3].bias.any()
        for projection in layer.attn.proj:
            assert torch.equal(projection.weight, layer.attn.merge.weight)
            assert projection.weight.data_ptr() != layer.attn.merge.weight.data_ptr()


def test_a_graph_of_one_sample_is_not_trained():
    with pytest.raises(InputError, match="The graph has 1 and 5 samples"):
        SampleGraph(8, n_heads=2)(torch.zeros(1, 8), torch.zeros(5, 8))


# The whole


def test_the_published_size_has_as_many_parameters_as_counted_by_hand():
    n_values = 1000
    with torch.device("meta"):
        network = GraphMatching(n_values)

    def layer(inputs, outputs):
        return inputs * outputs + outputs

    block = 2 * (2 * 512) + layer(512, 1536) + layer(512, 512) + layer(512, 2048) + layer(2048, 512)
    encoder = layer(512, 512) + 512 + 8 * 512 + 12 * block + 2 * 512
    propagation = 4 * layer(512, 512) + layer(1024, 1024) + 2 * 1024 + layer(1024, 512)
    expected = layer(n_values, 512) + encoder + layer(512, 256) + layer(256, 512) + 6 * propagation
    assert sum(parameter.numel() for parameter in network.parameters()) == expected == 54_634_752
    frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    assert frozen == ["fmri_encoder.pos_embed"]


def test_names_are_those_of_the_authors_code():
    found = set(GraphMatching(**SMALL, n_rounds=1, graph_heads=2).state_dict())
    ends = ("weight", "bias")
    expected = {"fmri_encoder.cls_token", "fmri_encoder.pos_embed"}
    layers = ["start_proj", "img_encoder.fc1", "img_encoder.fc2", "fmri_encoder.proj", "fmri_encoder.norm"]
    for block in range(2):
        parts = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
        layers += [f"fmri_encoder.blocks.{block}.{part}" for part in parts]
    for number in range(2):
        parts = ("attn.merge", "attn.proj.0", "attn.proj.1", "attn.proj.2", "mlp.0", "mlp.1", "mlp.3")
        layers += [f"gnn.layers.{number}.{part}" for part in parts]
        counted = ("running_mean", "running_var", "num_batches_tracked")
        expected |= {f"gnn.layers.{number}.mlp.1.{name}" for name in counted}
    assert found == expected | {f"{layer}.{end}" for layer in layers for end in ends}


def test_the_whole_is_its_parts_and_responses_are_encoded_without_the_graph():
    network = moved(GraphMatching(**SMALL))
    tokens, features = torch.randn(5, 3, 6), torch.randn(4, 5)
    w = network.state_dict()
    encoded = network.fmri_encoder(tokens @ w["start_proj.weight"].T + w["start_proj.bias"])
    torch.testing.assert_close(network.encode(tokens), encoded)
    inner = (features @ w["img_encoder.fc1.weight"].T + w["img_encoder.fc1.bias"]).clamp(min=0)
    nodes = inner @ w["img_encoder.fc2.weight"].T + w["img_encoder.fc2.bias"]
    for found, expected in zip(network(tokens, features), network.gnn(encoded[:, 0], nodes)):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(network.encode(tokens[:2]), encoded[:2])


def test_mixing_before_the_first_layer_is_mixing_behind_it():
    network, trials = moved(GraphMatching(**SMALL)), torch.randn(5, 4, 3, 6)
    weights = torch.rand(4).softmax(0)
    mixed = torch.einsum("t,ntrv->nrv", weights, trials)
    behind = torch.einsum("t,ntrv->nrv", weights, network.start_proj(trials))
    torch.testing.assert_close(network.encode(mixed), network.fmri_encoder(behind))


def test_a_caption_model_reads_trained_tokens_first_and_leaves_the_matching_as_it_is():
    matching = GraphMatching(**{**SMALL, "n_regions": 7})
    network, x = CaptionTokens(matching, n_values=6, width=16, depth=1, n_heads=4), torch.randn(3, 7, 6)
    tokens = network.train()(x)
    assert tokens.shape == (3, 16, 16) and not network.fmrigm.training and network.encoder.training
    torch.testing.assert_close(tokens[:, :8], network.encoder(x))
    torch.testing.assert_close(tokens[:, 8:], network.proj(matching.encode(x)))
    tokens[:, 0].sum().backward(retain_graph=True)
    assert network.encoder.cls_token.grad.abs().max() > 0 and not network.proj.weight.grad.any()
    tokens.square().sum().backward()
    assert network.proj.weight.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in network.fmrigm.parameters())
    assert network.encoder.pos_embed.grad.abs().max() > 0 and not network.encoder.pos_embed.any()


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="The width is 8, no multiple of 3 heads"):
        Block(8, 3)
    with pytest.raises(InputError, match="places is 'sines'"):
        RegionEncoder(6, 3, width=8, n_heads=2, places="sines")
    with pytest.raises(InputError, match=r"Regions have \[2, 0\] voxels"):
        RegionTokens([[0, 1], []])
    with pytest.raises(InputError, match="n_values is 0"):
        GraphMatching(0)
