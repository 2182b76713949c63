"""MindBridge's network: published sizes and names, layers written out, cycles, and a new subject who learns its own layers."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import gelu, layer_norm

from stages.ground.errors import InputError
from stages.networks.mindbridge import MindBridgeNetwork
from stages.training.batches import seed_all

SMALL = {"length": 16, "hidden": 12, "n_blocks": 2, "bottleneck": 3}
GIVES = {"rough_image": (5, 6), "rough_text": (4, 6)}
VOXELS = {"subj01": 50, "subj02": 41}


def small(voxels=VOXELS, gives=GIVES, seed=0, **more):
    """A small network, nothing of it 0."""
    torch.manual_seed(seed)
    network = MindBridgeNetwork(voxels, gives, **SMALL, **more)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network


def rows(n=3, seed=0, **voxels):
    random = torch.Generator().manual_seed(seed)
    return {subject: torch.randn(n, size, generator=random) for subject, size in (voxels or VOXELS).items()}


# What is published


PUBLISHED = {"rough_image": (257, 768), "rough_text": (77, 768)}


def n_of(module):
    return sum(one.numel() for one in module.parameters())


def published(*subjects, **more):
    with torch.device("meta"):
        return MindBridgeNetwork(dict.fromkeys(subjects, 15724), PUBLISHED, **more)


def test_published_numbers_of_parameters():
    network = published("subj01", "subj02", "subj05", "subj07")
    of_each = {"embedder": network.embedder.of("subj02"), "builder": network.builder.of("subj02")}
    assert {name: n_of(one) for name, one in of_each.items()} == {"embedder": 18_888_832, "builder": 18_907_264}
    assert n_of(network.translator) == 16_801_792
    assert n_of(network.head_image) + n_of(network.head_text) == 525_593_088
    assert n_of(network) == 693_579_264
    alone = published("subj01")
    assert n_of(alone) == 561_283_712 and alone.builder is None


def test_published_names():
    layers = {
        "embedder": ("0.down_proj", "0.up_proj", "1", "2"),
        "builder": ("0", "1", "3.down_proj", "3.up_proj"),
    }
    expected = {f"{part}.{place}.{name}" for part, names in layers.items() for place in (0, 1) for name in names}
    expected |= {f"translator.mlp.{block}.{layer}" for block in range(4) for layer in (0, 1)}
    expected |= {"head_image", "head_text"}
    network = published("subj01", "subj02")
    assert set(network.state_dict()) == {f"{name}.{kind}" for name in expected for kind in ("weight", "bias")}


def test_dropout_as_published():
    network = published("subj01", "subj02")
    rates = {name: one.p for name, one in network.named_modules() if isinstance(one, nn.Dropout)}
    assert rates == {"embedder.0.4": 0.5, "embedder.1.4": 0.5} | {f"translator.mlp.{b}.3": 0.15 for b in range(4)}


# What it computes


def linear(module, values):
    return torch.einsum("nw,vw->nv", values, module.weight) + module.bias


def adapted(module, values):
    return values + linear(module.up_proj, linear(module.down_proj, values).clamp(min=0))


def normed(module, values):
    return gelu(layer_norm(values, module.normalized_shape, module.weight, module.bias))


def embedded_by(layers, values):
    return normed(layers[2], linear(layers[1], adapted(layers[0], values)))


def built_by(layers, values):
    return adapted(layers[3], normed(layers[1], linear(layers[0], values)))


def pooled_by_hand(values, length=16, kind=np.max):
    n = values.shape[1]
    bins = [(part * n // length, -(-(part + 1) * n // length)) for part in range(length)]
    return torch.from_numpy(np.stack([kind(values.numpy()[:, start:stop], axis=1) for start, stop in bins], axis=1))


def test_it_equals_its_layers_written_out():
    network, patterns = small().eval(), rows()
    found = network(dict(reversed(patterns.items())))
    shared, errors, cycles = [], [], []
    for place, own in reversed(list(enumerate(patterns.values()))):
        voxels = pooled_by_hand(own)
        values = embedded_by(network.embedder[place], voxels)
        errors.append(voxels - built_by(network.builder[place], values))
        other = 1 - place
        cycles.append(values - embedded_by(network.embedder[other], built_by(network.builder[other], values)))
        shared.append(values)
    values = torch.cat(shared)
    for block in network.translator.mlp:
        values = values + normed(block[1], linear(block[0], values))
    expected = {
        "rough_image": linear(network.head_image, values).reshape(6, 5, 6),
        "rough_text": linear(network.head_text, values).reshape(6, 4, 6),
        "response_error": torch.cat(errors),
        "cycle_error": torch.cat(cycles),
    }
    assert found.keys() == expected.keys()
    for name, own in expected.items():
        torch.testing.assert_close(found[name], own, atol=1e-4, rtol=1e-4)


def test_pooling_of_means_and_of_what_is_pooled():
    network, own = small(pool="mean"), rows()["subj01"]
    torch.testing.assert_close(network.prepared(own), pooled_by_hand(own, kind=np.mean))
    for kind in ("mean", "max"):
        network = small(pool=kind)
        assert torch.equal(network.prepared(network.prepared(own)), network.prepared(own))
    # The last of each part is its largest, if they are in order.
    order = torch.arange(15724.0)[None]
    ends = [-(-(part + 1) * 15724 // 8192) - 1 for part in range(8192)]
    assert published("subj01").prepared(order)[0].tolist() == ends


def test_image_tokens_alone():
    found = small(gives={"rough_image": (5, 6)}).eval()(rows())
    assert list(found) == ["rough_image", "response_error", "cycle_error"]


def test_a_response_becomes_that_of_another_subject():
    network, patterns = small().eval(), rows()["subj01"]
    expected = built_by(network.builder[1], embedded_by(network.embedder[0], pooled_by_hand(patterns)))
    torch.testing.assert_close(network.synthesised(patterns, "subj01", "subj02"), expected, atol=1e-5, rtol=1e-5)
    for alone in (small({"subj01": 50}), small(builders=False)):
        assert "cycle_error" not in alone.eval()({"subj01": patterns})
        with pytest.raises(InputError, match="no builders"):
            alone.synthesised(patterns, "subj01", "subj02")


# Cycles


def test_nothing_is_lost_over_a_builder_that_its_embedder_undoes():
    network, patterns = small(), rows()
    for place in range(2):
        embedder, builder = nn.Linear(16, 12, bias=False), nn.Linear(12, 16, bias=False)
        nn.init.orthogonal_(embedder.weight)
        builder.weight = nn.Parameter(torch.linalg.pinv(embedder.weight.detach()))
        network.embedder[place], network.builder[place] = embedder, builder
    found = network.eval()(patterns)
    assert found["cycle_error"].abs().max() < 1e-5 < 0.1 < found["response_error"].abs().max()


def cycles(network, present, steps=range(60)):
    """Pairs of a training by step."""
    found = []
    for step in steps:
        seed_all(step)
        found += network.train()._pairs(present)
    return found


def test_pairs_are_by_lot_and_follow_from_the_step():
    voxels = {"a": 20, "b": 30, "c": 40}
    network = small(voxels)
    drawn = cycles(network, rows(**voxels))
    assert drawn == cycles(network, rows(**voxels)) and len(drawn) == 60
    assert set(drawn) == {(one, other) for one in voxels for other in voxels if one != other}
    for _ in range(5):
        # Rows of one subject.
        assert len(network(rows(**voxels))["cycle_error"]) == 3
    assert network.eval()._pairs(["c", "a"]) == [("c", "a"), ("a", "b")]


def test_a_cycle_leads_from_who_is_known_to_who_is_new():
    voxels = {"a": 20, "b": 30, "new": 40}
    # With this seed no bottleneck of three is dead.
    network = small(voxels, seed=1)
    own = set(network.subject_tensors("new").values())
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in own)
    assert set(cycles(network, {"b": 0, "new": 0})) == {("b", "new")}
    found = network(rows(n=30, a=20, new=40))
    found["cycle_error"].square().mean().backward()
    assert all((one.grad is not None) == (name in own) for name, one in network.named_parameters())
    assert all(one.grad.abs().max() > 0 for one in network.parameters() if one.grad is not None)


def test_gradients_go_through_everything():
    network = small()
    found = network.train()(rows())
    sum(values.square().mean() for values in found.values()).backward()
    assert all(one.grad is not None and one.grad.abs().max() > 0 for one in network.parameters())


# Refused


@pytest.mark.parametrize(
    ("gives", "more", "said"),
    [
        ({"rough_film": (2, 3)}, {}, "rough_film"),
        ({"rough_image": (2, 3), "clip_image": (2, 3)}, {}, "clip_image"),
        ({"rough_image": (6,)}, {}, "rough_image"),
        ({}, {}, "asked for"),
        (GIVES, {"length": 0}, "length is 0"),
        (GIVES, {"hidden": 0}, "hidden is 0"),
        (GIVES, {"n_blocks": -1}, "n_blocks is -1"),
        (GIVES, {"bottleneck": 0}, "bottleneck is 0"),
        (GIVES, {"pool": "median"}, "pool is 'median'"),
    ],
)
def test_what_cannot_be_is_refused(gives, more, said):
    with pytest.raises(InputError, match=said):
        MindBridgeNetwork(VOXELS, gives, **(SMALL | more))


def test_nobody_is_taken_for_another():
    with pytest.raises(InputError, match="subj03"):
        small()({"subj03": torch.zeros(1, 50)})
