"""Skip-LoRA: the formula, where it begins, what a linear adapter cannot do and it can, and that nothing merges it."""

import numpy as np
import pytest
import torch
from scipy.special import ndtr
from torch import nn

from stages.adapters.skip_lora import SkipLora
from stages.adapters.subject_lora import SubjectLora
from stages.ground.errors import InputError


def test_the_path_vs_its_formula():
    torch.manual_seed(0)
    path, voxels = SkipLora(7, 5, rank=2, alpha=3.0), torch.randn(4, 7)
    with torch.no_grad():
        path.lora_A.weight.normal_()
        path.lora_B.weight.normal_()
    a, b = (one.detach().numpy().astype(float) for one in path.parameters())
    before = voxels.numpy() @ (3 / 2 * b @ a).T
    np.testing.assert_allclose(path(voxels).detach(), before * ndtr(before), atol=1e-5)


@pytest.mark.parametrize("init, first", [("b_normal", "lora_A"), ("peft", "lora_B")])
def test_it_begins_with_zero_and_learns_one_factor_first(init, first):
    path = SkipLora(7, 5, init=init)
    path(torch.randn(4, 7)).sum().backward()
    assert not path(torch.randn(4, 7)).any()
    moved = {name.split(".")[0] for name, one in path.named_parameters() if one.grad.any()}
    assert moved == {first}


def test_no_weights_take_it_up():
    with pytest.raises(InputError, match="no weights can take it up"):
        SkipLora(7, 5).merge()


@pytest.mark.parametrize("changed, said", [({"n_in": 0}, "n_in is 0"), ({"rank": 1.5}, "rank is 1.5")])
def test_sizes_that_cannot_be_are_refused(changed, said):
    with pytest.raises(InputError, match=said):
        SkipLora(**({"n_in": 7, "n_out": 5} | changed))


def test_it_finds_a_bend_that_no_linear_adapter_finds():
    """Targets are a linear map, which is known and frozen, and the GELU of a map of rank 2, in noise."""
    random, noise = torch.Generator().manual_seed(1), 0.05
    voxels, known = torch.randn(400, 6, generator=random), torch.randn(12, 6, generator=random)
    low = torch.randn(12, 2, generator=random) @ torch.randn(2, 6, generator=random)
    clean = voxels @ known.T + torch.nn.functional.gelu(voxels @ low.T)
    target = clean + noise * torch.randn(clean.shape, generator=random)

    def error(module, others):
        torch.manual_seed(0)
        optimiser = torch.optim.Adam(others, lr=0.02)
        for _ in range(1500):
            optimiser.zero_grad()
            loss = (module(voxels) - target).square().mean()
            loss.backward()
            optimiser.step()
        return float(loss)

    base = nn.Linear(6, 12, bias=False).requires_grad_(False)
    base.weight.copy_(known)
    torch.manual_seed(0)
    path = SkipLora(6, 12, rank=2, init="peft")
    assert error(lambda rows: base(rows) + path(rows), path.parameters()) < 1.2 * noise**2
    held = nn.Sequential(base)
    adapters = SubjectLora(held, ["0"], ["subj01"], rank=2, init="peft")

    def linear(rows):
        with adapters.rows_of({"subj01": len(rows)}):
            return held(rows)

    found = error(linear, [one for name, one in held.named_parameters() if "lora" in name])
    _, least, _, _ = np.linalg.lstsq(voxels.numpy().astype(float), target.numpy().astype(float))
    assert found > 0.999 * least.sum() / target.numel() > 10 * noise**2
