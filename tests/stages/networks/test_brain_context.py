"""Tokens in the place of a text, and a map for a control branch: shapes, and what they are before anything is learned."""

import pytest
import torch

from stages.ground.errors import InputError
from stages.networks.brain_context import FeatureMap, TextLikeTokens


def test_published_shapes_and_parameters():
    with torch.device("meta"):
        high, low = TextLikeTokens(), FeatureMap()
        values = torch.empty(2, 257, 1024)
        assert high(values).shape == (2, 77, 1024) and low(values).shape == (2, 320, 64, 64)
    mixed = (257 + 1) * 128 + (128 + 1) * 77 + (1024 + 1) * 1024 + 2 * 1024
    assert sum(one.numel() for one in high.parameters()) == 2 * mixed + (3 * 77 + 1) * 77 == 2_207_074
    expected = (257 + 1) * 514 + (514 + 1) * 320 + (1024 + 1) * 4096 + (3 * 320 + 1) * 320
    assert sum(one.numel() for one in low.parameters()) == expected == 4_803_332


def test_tokens_vs_the_layers_written_out():
    torch.manual_seed(0)
    head, values = TextLikeTokens(9, 8, (5, 6), hidden=7), torch.randn(3, 9, 8)
    first, second, linear, norm = head.main
    between = torch.einsum("nkd,hk->nhd", values, first.weight[..., 0]) + first.bias[:, None]
    tokens = torch.einsum("nhd,th->ntd", between, second.weight[..., 0]) + second.bias[:, None]
    expected = torch.nn.functional.layer_norm(tokens @ linear.weight.T + linear.bias, (6,), norm.weight, norm.bias)
    torch.testing.assert_close(head.main(values), expected)


def test_the_branch_beside_adds_exactly_nothing_at_first_and_learns_from_the_first_step_on():
    torch.manual_seed(0)
    head, values = TextLikeTokens(9, 8, (5, 6), hidden=7), torch.randn(3, 9, 8)
    assert torch.equal(head(values), head.main(values))
    head(values).square().sum().backward()
    zero = head.beside[1]
    assert zero.weight.grad.abs().max() > 0 and not zero.weight.any()
    torch.optim.SGD(head.beside.parameters(), 0.1).step()
    assert not torch.equal(head(values), head.main(values))


def test_the_map_is_exactly_zero_at_first_and_learns_from_the_first_step_on():
    torch.manual_seed(0)
    head, values = FeatureMap(9, 8, (5, 4, 4)), torch.randn(3, 9, 8)
    found = head(values)
    assert found.shape == (3, 5, 4, 4) and not found.any()
    (found * torch.randn_like(found)).sum().backward()
    assert head.zero.weight.grad.abs().max() > 0
    # Behind what is zero nothing moves yet.
    assert not head.mix[0].weight.grad.any()
    torch.optim.SGD(head.parameters(), 0.1).step()
    assert head(values).abs().max() > 0


def test_rows_of_a_channel_lie_in_order():
    """A token becomes a channel, and the values of the linear layer its rows."""
    head = FeatureMap(1, 6, (1, 2, 3), hidden=1)
    with torch.no_grad():
        for layer in head.mix:
            layer.weight.fill_(1)
            layer.bias.zero_()
        head.spread[0].weight.copy_(torch.eye(6))
        head.spread[0].bias.zero_()
        head.zero.weight[0, 0, 1] = 1
    values = torch.arange(6.0).view(1, 1, 6)
    torch.testing.assert_close(head(values)[0, 0], torch.nn.functional.silu(values).view(2, 3))


def test_tokens_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"\(5,\)"):
        TextLikeTokens(9, 8, (5,))
