"""MindShot's network: parameters by count, its layers written out, mixed features, and what belongs to a subject."""

import pytest
import torch
from torch.nn import functional

from stages.adapters.fixed_length import pooled
from stages.adapters.spectra import with_mixed_amplitudes
from stages.ground.errors import InputError
from stages.networks.mindshot import MindShotNetwork

GIVES = {"image": (3, 8), "text": (2, 8)}
VOXELS = {"subj02": 50, "subj01": 40}


def small(**arguments):
    torch.manual_seed(0)
    return MindShotNetwork(VOXELS, GIVES, **{"length": 20, "hidden": 16, "n_blocks": 2} | arguments)


def patterns():
    random = torch.Generator().manual_seed(1)
    return {"subj01": torch.randn(2, 40, generator=random), "subj02": torch.randn(3, 50, generator=random)}


def parameters(network):
    return sum(one.numel() for one in network.parameters())


# At full size


@pytest.fixture
def published():
    def make(**arguments):
        with torch.device("meta"):
            return MindShotNetwork({"subj01": 15724}, {"image": (257, 768), "text": (77, 768)}, **arguments)

    return make


def test_parameters_at_full_size(published):
    network = published()
    assert parameters(network.inputs) == 2 * 8192 + 7
    assert parameters(network.entry) == 8192 * 2048 + 3 * 2048
    assert parameters(network.blocks) == 16_801_792
    assert parameters(network.heads) == 525_593_088
    assert parameters(network) == 16_391 + 16_783_360 + 16_801_792 + 525_593_088
    # An adapter is less than a hundredth of the trunk, and of a layer from all voxels.
    assert 100 * parameters(network.inputs) < parameters(network.entry) + parameters(network.blocks)


def test_parameters_with_a_layer_of_each_subjects_own(published):
    network = published(reads="own layer", adapter="none")
    assert parameters(network.inputs) == 15724 * 2048 + 2048 and parameters(network.entry) == 2 * 2048
    assert parameters(network) == 32_204_800 + 4_096 + 16_801_792 + 525_593_088


def test_names_of_tensors(published):
    own = {"inputs.0.adapter.gain", "inputs.0.adapter.offset", "inputs.0.adapter.kernel"}
    shared = {f"entry.{layer}.{kind}" for layer in (0, 1) for kind in ("weight", "bias")}
    shared |= {f"blocks.{n}.{layer}.{kind}" for n in range(4) for layer in (0, 1) for kind in ("weight", "bias")}
    shared |= {f"heads.{name}.{kind}" for name in ("image", "text") for kind in ("weight", "bias")}
    network = published()
    assert set(network.state_dict()) == own | shared
    assert set(network.subject_tensors("subj01").values()) == own
    assert set(published(adapter="film").state_dict()) == (own | shared) - {"inputs.0.adapter.kernel"}


# Arithmetic


def linear(x, weights, name):
    return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def norm(x, weights, name):
    return functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


@pytest.mark.parametrize("reads, adapter", [("pooled", "film"), ("own layer", "none"), ("own layer", "film")])
def test_the_network_vs_its_layers_written_out(reads, adapter):
    network, given = small(reads=reads, adapter=adapter).eval(), patterns()
    for one in network.parameters():
        torch.nn.init.normal_(one, std=0.3)
    weights, places = network.state_dict(), {"subj02": 0, "subj01": 1}
    rows = []
    for name, values in given.items():
        own = f"inputs.{places[name]}"
        x = pooled(values, 20) if reads == "pooled" else linear(values, weights, f"{own}.lead")
        film = [weights[f"{own}.adapter.{one}"] for one in ("gain", "offset")] if adapter == "film" else (1, 0)
        rows.append(film[0] * x + film[1])
    x = torch.cat(rows)
    first = 0
    if reads == "pooled":
        x, first = linear(x, weights, "entry.0"), 1
    x = functional.gelu(norm(x, weights, f"entry.{first}"))
    for n in range(2):
        x = x + functional.gelu(norm(linear(x, weights, f"blocks.{n}.0"), weights, f"blocks.{n}.1"))
    found = network(given)
    torch.testing.assert_close(found["trunk_features"], x)
    for name, shape in GIVES.items():
        torch.testing.assert_close(found[name], linear(x, weights, f"heads.{name}").reshape(5, *shape))


def test_mixed_features_are_decoded_by_the_same_heads():
    network, teacher = small().eval(), torch.randn(5, 16, generator=torch.Generator().manual_seed(2))
    found = network(patterns(), teacher)
    # Validation takes the mean of the shares that training draws.
    mixed = with_mixed_amplitudes(found["trunk_features"], teacher, torch.full((5,), 0.25))
    for name, shape in GIVES.items():
        expected = network.heads[name](mixed).reshape(5, *shape)
        torch.testing.assert_close(found[f"mixed_{name}"], expected)
        assert (found[f"mixed_{name}"] - found[name]).abs().max() > 1e-3


def test_training_draws_a_share_for_each_sample():
    network = small().train()
    shares = [network._shares(torch.zeros(1000, 16)) for _ in range(2)]
    assert (shares[0] != shares[1]).any() and 0 <= shares[0].min() < 0.01 and 0.49 < shares[0].max() <= 0.5
    torch.manual_seed(5)
    one = network._shares(torch.zeros(4, 16))
    torch.manual_seed(5)
    assert torch.equal(one, network._shares(torch.zeros(4, 16)))


def test_nothing_is_mixed_without_a_teacher_or_a_share():
    teacher = torch.zeros(5, 16)
    assert set(small()(patterns())) == set(small(largest_share=0.0)(patterns(), teacher)) == {"trunk_features", *GIVES}


def test_every_parameter_is_reached():
    network = small()
    found = network(patterns(), torch.randn(5, 16))
    sum(values.square().mean() for values in found.values()).backward()
    assert all(one.grad is not None and one.grad.abs().max() > 0 for one in network.parameters())


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({"reads": "resized"}, "reads is 'resized'"),
        ({"pooling": "median"}, "pooling is 'median'"),
        ({"adapter": "lora"}, "adapter is 'lora'"),
        ({"adapter": "none"}, "nothing of a subject's own"),
        ({"kernel": "box"}, "kernel is 'box'"),
        ({"kernel_length": 4}, "length is 4"),
        ({"length": 0}, "length is 0"),
        ({"hidden": 0}, "hidden is 0"),
        ({"n_blocks": 0}, "n_blocks is 0"),
        ({"largest_share": 1.5}, "largest_share is 1.5"),
    ],
)
def test_what_cannot_be_made(arguments, said):
    with pytest.raises(InputError, match=said):
        small(**arguments)


@pytest.mark.parametrize("name", ["trunk_features", "mixed_image"])
def test_names_of_values_that_it_gives_besides(name):
    with pytest.raises(InputError, match=f"gives '{name}' besides"):
        MindShotNetwork(VOXELS, {name: (4,)}, length=8, hidden=8)
