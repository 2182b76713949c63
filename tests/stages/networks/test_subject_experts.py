"""Shared experts weighed by subject: the sum written out, one expert, equal parameters, and whom gradients reach."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from stages.ground.errors import InputError
from stages.networks.subject_experts import GATES, SubjectExperts

SUBJECTS = {"subj02": 20, "subj01": 14}
GATE = pytest.mark.parametrize("gate", GATES)


def layer(n_experts=3, gate="matrix"):
    torch.manual_seed(0)
    found = SubjectExperts(SUBJECTS, width=8, inner=12, n_experts=n_experts, gate=gate)
    with torch.no_grad():
        for name, parameter in found.named_parameters():
            if "alpha" in name:
                parameter.add_(torch.randn_like(parameter))
    return found


def expert(found, number):
    """One expert as PyTorch's own layers."""
    first, second = nn.Linear(8, 12), nn.Linear(12, 8)
    with torch.no_grad():
        first.weight.copy_(found.weight_in[number])
        first.bias.copy_(found.bias_in[number])
        second.weight.copy_(found.weight_out[number].T)
        second.bias.copy_(found.bias_out[number])
    return nn.Sequential(first, nn.GELU(), second)


@GATE
def test_it_is_the_weighted_sum_of_all_experts(gate):
    found, tokens = layer(gate=gate), torch.randn(4, 5, 8)
    for place, subject in enumerate(SUBJECTS):
        alpha = found.gates[place].alpha
        if gate == "matrix":
            logits = torch.einsum("ntd,de->nte", tokens, alpha)
        else:
            logits = functional.linear(tokens * alpha, found.router.weight, found.router.bias)
        shares = logits.exp() / logits.exp().sum(dim=-1, keepdim=True)
        torch.testing.assert_close(found.shares(tokens, subject), shares)
        expected = sum(shares[..., [number]] * expert(found, number)(tokens) for number in range(3))
        torch.testing.assert_close(found(tokens, subject), expected)


@GATE
def test_one_expert_is_a_plain_feed_forward_layer(gate):
    found, tokens = layer(n_experts=1, gate=gate), torch.randn(4, 5, 8)
    torch.testing.assert_close(found(tokens, "subj01"), expert(found, 0)(tokens))


@GATE
def test_with_equal_parameters_it_does_not_matter_whose_tokens_they_are(gate):
    found, tokens = layer(gate=gate), torch.randn(4, 5, 8)
    assert not torch.allclose(found(tokens, "subj01"), found(tokens, "subj02"), atol=1e-3)
    with torch.no_grad():
        found.gates[0].alpha.copy_(found.gates[1].alpha)
    assert torch.equal(found(tokens, "subj01"), found(tokens, "subj02"))


@GATE
def test_every_expert_has_a_share_and_shares_add_to_one(gate):
    shares = layer(gate=gate).shares(5 * torch.randn(50, 8), "subj02")
    assert (shares > 0).all()
    torch.testing.assert_close(shares.sum(dim=-1), torch.ones(50))


@GATE
def test_gradients_reach_every_expert_from_every_subject_and_alpha_from_its_own_alone(gate):
    for subject, other in (("subj01", "subj02"), ("subj02", "subj01")):
        found = layer(gate=gate)
        (found(torch.randn(4, 5, 8), subject) * torch.randn(4, 5, 8)).sum().backward()
        for name in ("weight_in", "bias_in", "weight_out", "bias_out"):
            assert (getattr(found, name).grad.flatten(1).abs().amax(dim=1) > 0).all(), name
        places = list(SUBJECTS)
        assert found.gates[places.index(subject)].alpha.grad.abs().max() > 0
        assert found.gates[places.index(other)].alpha.grad is None


def test_each_expert_begins_as_a_linear_layer_does():
    torch.manual_seed(0)
    found = SubjectExperts({"a": 1}, width=64, inner=256, n_experts=4)
    for weights, n_inputs in ((found.weight_in, 64), (found.weight_out, 256)):
        assert 0.9 * n_inputs**-0.5 < weights.abs().max() <= n_inputs**-0.5


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"n_experts": 0}, "n_experts is 0"),
        ({"width": 2.5}, "width is 2.5"),
        ({"gate": "top-k"}, "gate is 'top-k'"),
        ({"n_voxels": {}}, "n_voxels is {}"),
    ],
)
def test_what_cannot_be_is_refused(changed, said):
    with pytest.raises(InputError, match=said):
        SubjectExperts(**{"n_voxels": SUBJECTS, "width": 8, "inner": 8, "n_experts": 2} | changed)
