"""Layers of several subjects: each reads its own rows, whatever others stand beside them."""

import numpy as np
import pytest
import torch
from torch import nn

from stages.adapters.subject_inputs import SubjectLinears, SubjectModules
from stages.ground.errors import InputError

VOXELS = {"subj02": 7, "subj01": 5, "subj05": 3}


def made(width=4):
    torch.manual_seed(0)
    return SubjectLinears(VOXELS, width)


def rows_of(*subjects, n=2):
    random = torch.Generator().manual_seed(1)
    return {name: torch.randn(n + place, VOXELS[name], generator=random) for place, name in enumerate(subjects)}


def test_rows_vs_matrix_products_in_the_order_they_are_given():
    layers, patterns = made(), rows_of("subj05", "subj02", "subj01")
    expected = []
    for name, rows in patterns.items():
        layer = layers.linears[list(VOXELS).index(name)]
        expected.append(rows.numpy().astype(float) @ layer.weight.detach().numpy().T + layer.bias.detach().numpy())
    np.testing.assert_allclose(layers(patterns).detach(), np.concatenate(expected), atol=1e-6)


def test_a_subject_alone_gives_what_it_gives_among_others():
    layers, patterns = made(), rows_of("subj02", "subj01")
    together, alone = layers(patterns), layers({"subj01": patterns["subj01"]})
    torch.testing.assert_close(together[2:], alone)


def test_a_gradient_reaches_the_layers_of_those_who_are_there():
    layers = made()
    layers(rows_of("subj01")).sum().backward()
    reached = {name for name, one in layers.named_parameters() if one.grad is not None}
    assert reached == {"linears.1.weight", "linears.1.bias"} == set(layers.subject_tensors("subj01").values())


def test_names_and_count_are_the_published_ones():
    with torch.device("meta"):
        layers = SubjectLinears({"subj01": 15724}, 4096)
    assert sum(one.numel() for one in layers.parameters()) == 64_409_600
    assert list(layers.state_dict()) == ["linears.0.weight", "linears.0.bias"]


def test_tensors_of_all_subjects_are_all_there_are():
    layers = made()
    owned = [name for subject in VOXELS for name in layers.subject_tensors(subject).values()]
    assert sorted(owned) == sorted(layers.state_dict())
    assert layers.state_dict()[layers.subject_tensors("subj02")["weight"]].shape == (4, 7)


@pytest.mark.parametrize("n_voxels", [{}, 15724, {"subj01": 0}, {"subj01": 2.5}, {"subj01": None}])
def test_voxels_that_cannot_be_are_refused(n_voxels):
    with pytest.raises(InputError) as caught:
        SubjectLinears(n_voxels, 4)
    assert "n_voxels" in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_subjects_and_nobody_are_refused():
    with pytest.raises(InputError, match=r"no layer of subject 'subj03'.* made for subj02, subj01, subj05\."):
        made()({"subj03": torch.zeros(1, 7)})
    with pytest.raises(InputError, match="patterns of no subject; give those of some of subj02"):
        made()({})


def test_modules_of_any_kind_stand_at_the_places_of_their_subjects():
    torch.manual_seed(0)
    modules, patterns = SubjectModules(VOXELS, lambda n: nn.Sequential(nn.Linear(n, 4), nn.ReLU())), rows_of("subj01")
    torch.testing.assert_close(modules(patterns), modules[1](patterns["subj01"]))
    assert modules.of("subj01") is modules[1]
    owned = [name for subject in VOXELS for name in modules.subject_tensors(subject).values()]
    assert sorted(owned) == sorted(modules.state_dict())
    with pytest.raises(InputError, match="no layer of subject 'subj03'"):
        modules.of("subj03")
