"""Low-rank adapters of subjects: the formula, whose rows they change, names without them, merging, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from stages.adapters.subject_lora import SubjectLora
from stages.ground.errors import InputError

SUBJECTS = ["subj01", "subj02"]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Sequential(nn.Linear(5, 4)), nn.Linear(4, 3))


def adapted(moved=True, **options):
    """A network with adapters of its first two layers, and these; moved from where they begin, if asked for."""
    made = network()
    adapters = SubjectLora(made, ["0", "2.0"], SUBJECTS, **({"rank": 2, "alpha": 3.0} | options))
    if moved:
        with torch.no_grad():
            for name, one in made.named_parameters():
                if "lora" in name:
                    one.copy_(0.3 * torch.randn(one.shape))
    return made, adapters


@pytest.mark.parametrize("init", ["b_normal", "peft"])
def test_before_training_nothing_changes_bit_for_bit(init):
    plain, x = network(), torch.randn(4, 6)
    made, adapters = adapted(moved=False, init=init)
    with adapters.rows_of({"subj02": 1, "subj01": 3}):
        assert torch.equal(made(x), plain(x))
    zero, drawn = ("lora_A", "lora_B") if init == "b_normal" else ("lora_B", "lora_A")
    for name, one in made.named_parameters():
        if zero in name:
            assert not one.any(), name
        elif drawn in name:
            assert one.all(), name
    assert all(one.requires_grad for one in made.parameters())


def test_b_begins_with_a_standard_deviation_of_a_hundredth():
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(10, 5000))
    SubjectLora(layer, ["0"], ["subj01"], rank=8)
    assert abs(float(layer[0].lora_B["subj01"].weight.detach().std()) - 0.01) < 2e-4


def test_a_layer_vs_its_formula_each_row_by_its_subject():
    made, adapters = adapted()
    x, tensors = torch.randn(5, 6), {name: one.detach().numpy() for name, one in made.state_dict().items()}
    with adapters.rows_of({"subj02": 2, "subj01": 3}):
        found = made[0](x).detach().numpy()
    for rows, subject in ((slice(0, 2), "subj02"), (slice(2, 5), "subj01")):
        low = tensors[f"0.lora_B.{subject}.weight"] @ tensors[f"0.lora_A.{subject}.weight"]
        expected = x.numpy()[rows] @ (tensors["0.weight"] + 3 / 2 * low).T + tensors["0.bias"]
        np.testing.assert_allclose(found[rows], expected, atol=1e-5)


def test_outside_of_a_call_nobody_is_adapted_to():
    made, adapters = adapted()
    plain = network()
    plain.load_state_dict({name: one for name, one in made.state_dict().items() if "lora" not in name})
    x = torch.randn(4, 6)
    assert torch.equal(made(x), plain(x))
    with pytest.raises(RuntimeError, match="stop"), adapters.rows_of({"subj01": 4}):
        assert not torch.equal(made(x), plain(x))
        raise RuntimeError("stop")
    assert torch.equal(made(x), plain(x))


def test_what_is_shared_keeps_its_names_read_and_written():
    made, adapters = adapted()
    own = {name for subject in SUBJECTS for name in adapters.subject_tensors(subject).values()}
    assert set(made.state_dict()) == set(network().state_dict()) | own and len(own) == 8
    assert list(adapters.subject_tensors("subj01")) == list(adapters.subject_tensors("subj02"))
    again, others = adapted(moved=False)
    again.load_state_dict(made.state_dict(), assign=True)
    x = torch.randn(4, 6)
    with adapters.rows_of({"subj01": 4}), others.rows_of({"subj01": 4}):
        assert torch.equal(made(x), again(x))
    with pytest.raises(RuntimeError, match="0.base_layer.weight"):
        made.load_state_dict({name: one for name, one in made.state_dict().items() if name != "0.weight"})


def test_gradients_reach_the_subjects_that_are_read_alone():
    made, adapters = adapted()
    with adapters.rows_of({"subj02": 4}):
        made(torch.randn(4, 6)).square().sum().backward()
    for name, one in made.named_parameters():
        if "subj01" in name:
            assert one.grad is None, name
        else:
            assert one.grad.abs().max() > 0, name


def test_merged_adapters_equal_those_beside():
    made, adapters = adapted()
    x = torch.randn(4, 6)
    with torch.inference_mode(), adapters.rows_of({"subj01": 4}):
        beside = made(x)
    shared = made[0].base_layer.weight.clone()
    adapters.merge("subj01")
    low = made[0].lora_B["subj01"].weight @ made[0].lora_A["subj01"].weight
    torch.testing.assert_close(made[0].base_layer.weight, shared + 1.5 * low)
    with torch.inference_mode():
        torch.testing.assert_close(made(x), beside)
    adapters.unmerge()
    torch.testing.assert_close(made[0].base_layer.weight, shared)


@pytest.mark.parametrize(
    "layers, subjects, options, said",
    [
        (["1"], SUBJECTS, {}, "'1' is no linear layer"),
        (["0"], ["sub.01"], {}, "called 'sub.01', which cannot be the name of an adapter"),
        (["0"], SUBJECTS, {"rank": 0}, "rank is 0"),
        (["0"], SUBJECTS, {"alpha": 0}, "alpha is 0"),
        (["0"], SUBJECTS, {"init": "zeros"}, "init is 'zeros'"),
    ],
)
def test_what_cannot_be_adapted_is_refused(layers, subjects, options, said):
    with pytest.raises(InputError, match=said):
        SubjectLora(network(), layers, subjects, **options)


def test_a_subject_without_adapters_is_refused():
    _, adapters = adapted()
    for ask in (adapters.subject_tensors, adapters.merge):
        with pytest.raises(InputError, match="no adapters of subject 'subj03'"):
            ask("subj03")
    with pytest.raises(InputError, match="no adapters of subject 'subj03'"), adapters.rows_of({"subj03": 1}):
        pass
