"""A residual adapter: nothing at first, what is published after, and refused sizes."""

import pytest
import torch

from stages.adapters.residual_adapter import ResidualAdapter
from stages.ground.errors import InputError


def test_a_fresh_one_gives_what_it_reads_and_learns_from_its_second_half_on():
    adapter, values = ResidualAdapter(12, 3), torch.randn(5, 12)
    assert torch.equal(adapter(values), values)
    adapter(values).square().sum().backward()
    assert adapter.up_proj.weight.grad.abs().max() > 0 and (adapter.down_proj.weight.grad == 0).all()


def test_it_equals_its_formula_and_keeps_the_published_names():
    adapter, values = ResidualAdapter(12, 3), torch.randn(5, 12)
    assert list(adapter.state_dict()) == [
        f"{part}_proj.{kind}" for part in ("down", "up") for kind in ("weight", "bias")
    ]
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter)
    down = torch.einsum("nw,bw->nb", values, adapter.down_proj.weight) + adapter.down_proj.bias
    up = torch.einsum("nb,wb->nw", down.clamp(min=0), adapter.up_proj.weight) + adapter.up_proj.bias
    torch.testing.assert_close(adapter(values), values + up)


def test_its_published_size():
    with torch.device("meta"):
        adapter = ResidualAdapter(8192, 128)
    assert sum(one.numel() for one in adapter.parameters()) == 2_105_472


@pytest.mark.parametrize("sizes", [(0, 3), (12, 0), (12, 1.5)])
def test_sizes_that_cannot_be_are_refused(sizes):
    with pytest.raises(InputError, match=r"(width|bottleneck) is"):
        ResidualAdapter(*sizes)
