"""The shallow adapter of each subject: its two layers written out, and whose tensors they are."""

import pytest
import torch
from torch.nn import functional

from stages.ground.errors import InputError
from stages.networks.subject_adapter import SubjectAdapter

VOXELS = {"subj02": 20, "subj01": 14}


def test_an_adapter_vs_its_layers_written_out():
    torch.manual_seed(0)
    adapter = SubjectAdapter(VOXELS, hidden=8).eval()
    patterns = {"subj01": torch.randn(2, 14), "subj02": torch.randn(3, 20)}
    weights, expected = adapter.state_dict(), []
    for name, place in (("subj01", 1), ("subj02", 0)):
        values = patterns[name]
        for part in ("input_proj", "input_res_block"):
            layer, norm = (f"{part}.{place}.{number}" for number in (0, 1))
            inside = functional.linear(values, weights[f"{layer}.weight"], weights[f"{layer}.bias"])
            inside = functional.layer_norm(inside, (8,), weights[f"{norm}.weight"], weights[f"{norm}.bias"])
            values = functional.gelu(inside) + (values if part == "input_res_block" else 0)
        expected.append(values)
    torch.testing.assert_close(adapter(patterns), torch.cat(expected))


def test_a_subject_owns_both_of_its_layers_and_no_others():
    adapter = SubjectAdapter(VOXELS, hidden=8)
    owned = {name: set(adapter.subject_tensors(name).values()) for name in VOXELS}
    assert set.union(*owned.values()) == set(adapter.state_dict()) and not owned["subj01"] & owned["subj02"]
    adapter({"subj01": torch.randn(2, 14)}).square().sum().backward()
    moved = {name for name, one in adapter.named_parameters() if one.grad is not None}
    assert moved == owned["subj01"]


def test_shares_that_training_leaves_out():
    adapter = SubjectAdapter(VOXELS, hidden=4, dropout=0.65)
    assert adapter.input_proj[0][3].p == 0.65 and adapter.input_res_block[0][3].p == 0.15
    assert SubjectAdapter(VOXELS, hidden=4).input_proj[1][3].p == 0.5


@pytest.mark.parametrize("changed, said", [({"hidden": 0}, "hidden is 0"), ({"dropout": 1.0}, "dropout is 1.0")])
def test_what_cannot_be_is_refused(changed, said):
    with pytest.raises(InputError, match=said):
        SubjectAdapter(VOXELS, **{"hidden": 8, **changed})
