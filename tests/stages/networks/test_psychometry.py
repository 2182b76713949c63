"""Psychometry's network: its sizes, a block of one expert beside PyTorch's, and whose tensors are whose."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from stages.ground.errors import InputError
from stages.networks.psychometry import HEADS, ExpertBlock, PsychometryNetwork
from stages.networks.subject_experts import GATES

GIVES = {"clip_image": (5, 8), "clip_text": (3, 8)}
VOXELS = {"subj02": 6, "subj01": 4}
NAMES = ["V1", "FFA", "rest"]
REGIONS = {"subj02": {"V1": [0, 3], "FFA": [1, 2, 4], "rest": [5]}, "subj01": {"V1": [1], "rest": [0, 2, 3]}}
SMALL = {"width": 16, "depth": 2, "n_heads": 2, "n_experts": 3}
N_CLIP = {"clip_image": (257, 768), "clip_text": (77, 768)}


def small(**changed):
    torch.manual_seed(0)
    return PsychometryNetwork(VOXELS, GIVES, REGIONS, NAMES, **{**SMALL, **changed}).eval()


def n_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_at_the_guessed_sizes():
    with torch.device("meta"):
        network = PsychometryNetwork({"subj01": 15724}, N_CLIP)
        queries = PsychometryNetwork({"subj01": 15724}, N_CLIP, heads="queries")
        scale = PsychometryNetwork({"subj01": 15724}, N_CLIP, gate="scale")
    attention, norms = 4 * 512**2 + 4 * 512, 4 * 512
    experts = 8 * (2 * 512 * 1024 + 1024 + 512)
    blocks = 8 * (attention + norms + experts)
    own = 15724 * 512 + 12 * 512 + 8 * 512 * 8
    heads = 513 * (257 + 77) * 768
    assert n_parameters(network) == own + blocks + heads + 12 * 512 + 512 + 2 * 512 == 215_316_480
    mine = {name: network.state_dict()[place] for name, place in network.subject_tensors("subj01").items()}
    assert sum(one.numel() for one in mine.values()) == own == 8_089_600
    decoder = 334 * 512 + attention + 2 * 512 * 1024 + 1024 + 512 + 6 * 512 + 2 * 513 * 768
    assert n_parameters(queries) == n_parameters(network) - heads + decoder
    assert n_parameters(scale) == n_parameters(network) - 8 * 512 * 8 + 8 * (512 + 513 * 8)


def test_a_block_of_one_expert_is_a_plain_transformer_block():
    torch.manual_seed(0)
    block = ExpertBlock({"a": 1, "b": 1}, width=16, n_heads=2, n_experts=1, expansion=2).eval()
    plain = nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", batch_first=True, norm_first=True).eval()
    with torch.no_grad():
        for one in block.parameters():
            one.add_(0.1 * torch.randn_like(one))
        plain.self_attn.load_state_dict(block.attention.state_dict())
        plain.norm1.load_state_dict(block.norm1.state_dict())
        plain.norm2.load_state_dict(block.norm2.state_dict())
        plain.linear1.weight.copy_(block.experts.weight_in[0])
        plain.linear1.bias.copy_(block.experts.bias_in[0])
        plain.linear2.weight.copy_(block.experts.weight_out[0].T)
        plain.linear2.bias.copy_(block.experts.bias_out[0])
    tokens = torch.randn(3, 5, 16)
    for subject in "ab":
        torch.testing.assert_close(block(tokens, subject), plain(tokens))


def test_tokens_are_regions_and_a_class_token():
    network, patterns = small(), torch.randn(3, 4)
    assert network.tokens(patterns, "subj01").shape == (3, 1 + 2, 16)
    assert network.tokens(torch.randn(3, 6), "subj02").shape == (3, 1 + 3, 16)
    tokeniser = network.tokenisers.of("subj01")
    found = tokeniser(patterns, network.region_embeddings)
    by_hand = patterns[:, [0, 2, 3]] @ tokeniser.linears[1].weight.T + tokeniser.linears[1].bias
    torch.testing.assert_close(found[:, 1], by_hand + network.region_embeddings[2])
    changed = patterns.clone()
    changed[:, 2] += 1
    difference = tokeniser(changed, network.region_embeddings) - found
    assert (difference[:, 0] == 0).all() and (difference[:, 1] != 0).any()


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("gate", GATES)
def test_every_parameter_learns_but_those_of_subjects_who_are_not_there(heads, gate):
    network = small(heads=heads, gate=gate).train()
    found = network({"subj01": torch.randn(4, 4)})
    assert {name: tuple(one.shape) for name, one in found.items()} == {
        "clip_image": (4, 5, 8),
        "clip_text": (4, 3, 8),
    }
    sum((one * torch.randn_like(one)).sum() for one in found.values()).backward()
    other = set(network.subject_tensors("subj02").values())
    for name, one in network.named_parameters():
        if name in other:
            assert one.grad is None, name
        elif name.endswith("in_proj_bias"):
            # What is added to every key shifts the logits of a query alike.
            key = one.grad.chunk(3)[1]
            assert key.abs().max() < 1e-5 < one.grad.abs().max(), name
        else:
            assert one.grad is not None and one.grad.abs().max() > 0, name
    # No token of this subject's is of the region.
    assert (network.region_embeddings.grad[1] == 0).all()


def test_names_of_a_subjects_tensors_do_not_tell_its_place():
    network = small()
    names = {subject: network.subject_tensors(subject) for subject in VOXELS}
    assert "blocks.1.experts.gates.alpha" in names["subj01"]
    assert names["subj01"]["blocks.1.experts.gates.alpha"] == "blocks.1.experts.gates.1.alpha"
    assert not set(names["subj01"].values()) & set(names["subj02"].values())
    state = network.state_dict()
    assert all(place in state for own in names.values() for place in own.values())
    assert not any("columns" in name for name in state)


# Whose parameters weigh experts


N_CODE, N_SEEN = 4, 48


def _study(seed):
    """Two subjects who see other stimuli of one world: patterns mix a code each in its own way, values follow from the code."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=random)

    first, second = draw(N_CODE, 24) / 2, draw(24, 8) / 4
    mixing = {"a": draw(N_CODE, 12), "b": draw(N_CODE, 12)}

    def seen(n):
        codes = {name: draw(n, N_CODE) for name in mixing}
        patterns = {name: codes[name] @ mixing[name] + 0.3 * draw(n, 12) for name in mixing}
        return patterns, {name: (code @ first).tanh() @ second for name, code in codes.items()}

    return seen(N_SEEN), seen(400)


def _trained(patterns, values, width, seed, steps=150):
    torch.manual_seed(seed)
    voxels = dict.fromkeys(patterns, 12)
    network = PsychometryNetwork(
        voxels, {"value": (8,)}, n_regions=3, width=width, depth=1, n_heads=2, n_experts=4, dropout=0.0
    )
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.05)
    wanted = torch.cat([values[name] for name in patterns])
    for _ in range(steps):
        optimiser.zero_grad()
        ((network(patterns)["value"] - wanted) ** 2).mean().backward()
        optimiser.step()
    return network.eval()


@torch.no_grad()
def _errors(network, patterns, values):
    return torch.stack(
        [((network({name: rows})["value"] - values[name]) ** 2).mean() for name, rows in patterns.items()]
    )


def test_exchanged_parameters_of_experts_make_both_subjects_worse():
    seen, tested = _study(0)
    network = _trained(*seen, width=24, seed=0)
    exchanged = deepcopy(network)
    for block in exchanged.blocks:
        one, two = (gate.alpha for gate in block.experts.gates)
        one.data, two.data = two.data, one.data
    assert (_errors(exchanged, *tested) > _errors(network, *tested)).all()


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"n_heads": 3}, "The width is 16, no multiple of 3 heads"),
        ({"depth": 0}, "depth is 0"),
        ({"heads": "mean"}, "heads is 'mean'"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"regions": {"subj01": REGIONS["subj01"]}}, "There are no regions of subj02, but of subj01"),
        ({"names": ["V1", "rest"]}, "The region FFA of subj02 is none of V1, rest"),
        ({"regions": REGIONS | {"subj01": {"V1": []}}}, "The region V1 of subj01 has no voxel"),
        ({"heads": "queries", "gives": {"vector": (8,)}}, r"vector has shape \(8,\)"),
    ],
)
def test_what_cannot_be_is_refused(changed, said):
    made = {"n_voxels": VOXELS, "gives": GIVES, "regions": REGIONS, "names": NAMES} | SMALL | changed
    with pytest.raises(InputError, match=said):
        PsychometryNetwork(**made)
