"""The latent of a blurry picture under guidance: its layers written out, what it reads, and what training takes away."""

import pytest
import torch
from torch.nn import functional

from stages.ground.errors import InputError
from stages.networks.guided_latent import GuidedLatent

VOXELS, SHAPE = {"subj02": 20, "subj01": 14}, (4, 8, 8)
PATTERNS = {"subj01": torch.randn(2, 14, generator=torch.Generator().manual_seed(3))}
GUIDANCE = torch.randn(2, 8, generator=torch.Generator().manual_seed(4))


def small(**changed):
    torch.manual_seed(0)
    return GuidedLatent(
        VOXELS, SHAPE, **{"hidden": 8, "n_blocks": 2, "map_channels": 32, "channels": (32, 32)} | changed
    )


def test_parameters_at_the_published_size():
    with torch.device("meta"):
        network = GuidedLatent({"subj01": 15724}, (4, 64, 64))
    counts = {name: sum(one.numel() for one in part.parameters()) for name, part in network.named_children()}
    assert counts["upsampler"] == 6_841_668
    # No biases between: 4096 x 4096 and two vectors of the norm, four times and once; 4096 x 16384.
    assert (counts["mlp"], counts["merge_block"], counts["lin"]) == (4 * 16_785_408, 16_785_408, 67_108_864)
    assert network.null_high_embeds_1.shape == (4096,)


def test_the_network_vs_its_layers_written_out():
    network = small().eval()
    weights = network.state_dict()

    def block(values, name):
        inside = functional.linear(values, weights[f"{name}.0.weight"])
        inside = functional.layer_norm(inside, (8,), weights[f"{name}.1.weight"], weights[f"{name}.1.bias"])
        return functional.silu(inside) + values

    values = network.adapter(PATTERNS)
    for number in range(2):
        values = block(values, f"mlp.{number}")
    values = block(values + GUIDANCE, "merge_block")
    small_map = functional.linear(values, weights["lin.weight"]).reshape(2, 32, 4, 4)
    small_map = functional.group_norm(small_map, 1, weights["norm.weight"], weights["norm.bias"])
    with torch.inference_mode():
        torch.testing.assert_close(network(PATTERNS, GUIDANCE), network.upsampler(small_map))


def gradients(network, seed=0):
    torch.manual_seed(seed)
    network({name: rows.clone() for name, rows in PATTERNS.items()}, GUIDANCE).square().sum().backward()
    return {name: one.grad for name, one in network.named_parameters()}


def test_of_one_alone_learned_values_stand_for_the_other():
    with torch.inference_mode():
        alone = small(reads="guidance").eval()
        assert not hasattr(alone, "adapter") and alone.subject_tensors("subj01") == {}
        torch.testing.assert_close(alone({"subj01": -PATTERNS["subj01"]}, GUIDANCE), alone(PATTERNS, GUIDANCE))
        assert (alone(PATTERNS, -GUIDANCE) - alone(PATTERNS, GUIDANCE)).abs().max() > 1e-3
        voxels = small(reads="voxels").eval()
        torch.testing.assert_close(voxels(PATTERNS, -GUIDANCE), voxels(PATTERNS, GUIDANCE))
        assert (voxels({"subj01": -PATTERNS["subj01"]}, GUIDANCE) - voxels(PATTERNS, GUIDANCE)).abs().max() > 1e-3
    for reads in ("guidance", "voxels"):
        found = gradients(small(reads=reads))
        learned = next(one for name, one in found.items() if name.startswith("null_"))
        assert learned.abs().max() > 0, reads


def test_training_takes_the_voxels_from_whole_batches():
    network = small(without_voxels=1.0).train()
    found = gradients(network)
    assert found["null_high_embeds_1"].abs().max() > 0
    assert all((one == 0).all() for name, one in found.items() if name.startswith("mlp.") and one is not None)
    with_voxels = gradients(small(without_voxels=0.0).train())
    assert (with_voxels["null_high_embeds_1"] == 0).all() and with_voxels["mlp.0.0.weight"].abs().max() > 0
    usual, taken = small().train(), 0
    for seed in range(60):
        usual.zero_grad()
        taken += bool((gradients(usual, seed)["mlp.0.0.weight"] == 0).all())
    # Of 60 draws, five standard errors about 0.4.
    assert abs(taken - 24) < 5 * (60 * 0.24) ** 0.5
    # In use nothing is taken.
    network.eval()
    with torch.inference_mode():
        assert (network({"subj01": -PATTERNS["subj01"]}, GUIDANCE) - network(PATTERNS, GUIDANCE)).abs().max() > 1e-3


def test_a_subject_owns_its_adapter():
    names = small().subject_tensors("subj01")
    assert names["adapter.input_proj.0.weight"] == "adapter.input_proj.1.0.weight" and len(names) == 8
    assert set(names.values()) <= set(small().state_dict())


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="latent is 9 x 9; expected multiples of 2"):
        GuidedLatent(VOXELS, (4, 9, 9), hidden=8, map_channels=32, channels=(32, 32))
    with pytest.raises(InputError, match="reads is 'high'"):
        small(reads="high")
