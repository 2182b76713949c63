"""Places of tokens and the blocks that read them: formulas written out, timm's own blocks, and lots counted."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from stages.ground.errors import InputError
from stages.networks.brain_transformer import (
    blocks_of,
    kept_by_lot,
    plane_waves,
    resampled,
    waves,
    with_class_row,
)


def test_waves_are_sines_and_cosines_by_halves():
    found = waves(7, 10)
    for place in range(7):
        for i in range(5):
            angle = place * 10_000 ** (-2 * i / 10)
            assert found[place, i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert found[place, 5 + i].item() == pytest.approx(math.cos(angle), abs=1e-6)
    assert found[0].tolist() == [0.0] * 5 + [1.0] * 5
    assert torch.allclose(found.square().sum(dim=1), torch.full((7,), 5.0))


def test_waves_of_a_plane_tell_columns_before_rows():
    found = plane_waves(3, 4, 16).reshape(3, 4, 16)
    assert torch.equal(found[1, :, :8], waves(4, 8)) and torch.equal(found[:, 2, 8:], waves(3, 8))


def test_the_row_of_the_class_token_is_zero_and_is_kept():
    places = with_class_row(waves(6, 8))
    assert places.shape == (1, 7, 8) and not places[0, 0].any()
    assert resampled(places, 6) is places
    assert not resampled(places, 9)[0, 0].any()


@pytest.mark.parametrize("n", [3, 4, 10, 13])
def test_places_are_resampled_to_the_nearest(n):
    places = with_class_row(waves(6, 8))
    expected = places[0, 1:][[int(i * 6 / n) for i in range(n)]]
    assert torch.equal(resampled(places, n)[0, 1:], expected)


def test_blocks_are_timms():
    from timm.models.vision_transformer import Block

    (block,) = blocks_of(1, 32, 4, mlp_ratio=1.0)
    other = Block(32, 4, mlp_ratio=1.0, qkv_bias=True, norm_layer=nn.LayerNorm).eval()
    with torch.no_grad():
        for one in block.parameters():
            one.copy_(torch.randn_like(one))
    assert list(block.state_dict()) == list(other.state_dict())
    other.load_state_dict(block.state_dict())
    tokens = torch.randn(3, 5, 32)
    assert torch.allclose(block(tokens), other(tokens), atol=1e-4)


def test_first_weights_are_xaviers():
    (block,) = blocks_of(1, 64, 4)
    weight, bound = block.mlp.fc1.weight, math.sqrt(6 / (64 + 256))
    assert weight.abs().max() <= bound and weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert not block.mlp.fc1.bias.any() and not block.attn.qkv.bias.any()


@pytest.mark.parametrize("n_tokens, ratio", [(8, 0.75), (291, 0.75), (7, 0.5), (106, 0.6)])
def test_as_many_are_kept_as_published_and_each_sample_has_lots_of_its_own(n_tokens, ratio):
    order, n_kept = kept_by_lot(20, n_tokens, ratio)
    assert n_kept == int(n_tokens * (1 - ratio))
    assert torch.equal(order.sort(dim=1).values, torch.arange(n_tokens).expand(20, -1))
    assert len({tuple(row) for row in order[:, :n_kept].sort(dim=1).values.tolist()}) > 1
    # There and back again.
    tokens = torch.randn(20, n_tokens)
    assert torch.equal(tokens.gather(1, order).gather(1, order.argsort(dim=1)), tokens)


def share_masked_within(rate, n=4000, n_tokens=12, mask_ratio=0.5):
    torch.manual_seed(0)
    weights = torch.full((n_tokens,), 1 - rate)
    weights[2:8] = rate
    order, n_kept = kept_by_lot(n, n_tokens, mask_ratio, weights=weights)
    masked = order[:, n_kept:]
    return ((masked >= 2) & (masked < 8)).float().mean().item()


def test_focus_masks_one_range_while_there_is_room_and_none_at_equal_weights():
    assert share_masked_within(1 - 1e-6) > 0.9999
    assert share_masked_within(0.5) == pytest.approx(0.5, abs=0.01)
    assert 0.55 < share_masked_within(0.6) < 0.65


def test_focus_masks_others_where_there_is_no_room():
    # 9 of 12 are masked, 6 of which can lie in the range.
    assert share_masked_within(1 - 1e-6, mask_ratio=0.75) == pytest.approx(6 / 9, abs=1e-3)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: waves(3, 7), "The width is 7"),
        (lambda: plane_waves(2, 2, 6), "6, no multiple of 4"),
        (lambda: kept_by_lot(2, 3, 0.75), "0.75 of 3 tokens keeps 0"),
        (lambda: kept_by_lot(2, 3, 0.0), "keeps 3"),
        (lambda: blocks_of(1, 10, 3), "no multiple of 3 heads"),
        (lambda: resampled(torch.zeros(1, 1, 4), 3), "places of 0 tokens"),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(InputError, match=words):
        call()


def test_places_are_numbers_of_their_own():
    assert np.array_equal(waves([3, 1], 4), waves(4, 4)[[3, 1]])
