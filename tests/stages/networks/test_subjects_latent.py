"""The latent's network of several subjects: its parameters at full size, and that of one subject."""

import pytest
import torch

from stages.ground.errors import InputError
from stages.networks.mindeye import MindEyeLatent
from stages.networks.subjects_latent import SubjectsLatent

GIVES = {"first_latent": (4, 8, 8)}
SMALL = {"hidden": 16, "n_blocks": 2, "map_channels": 8, "channels": (32, 64)}
VOXELS = {"subj01": 50, "subj02": 40}


def count(module):
    return sum(one.numel() for one in module.parameters())


def test_parameters_at_full_size():
    """For one subject as many as MindEye's network; of each subject a layer without bias and its normalisation."""
    with torch.device("meta"):
        one = SubjectsLatent({"subj01": 15724}, {"first_latent": (4, 64, 64)})
        two = SubjectsLatent({"subj01": 15724, "subj02": 14278}, {"first_latent": (4, 64, 64)})
        latents, places = one({"subj01": torch.zeros(2, 15724)}).values()
    assert count(one) == 206_065_604
    assert count(one.upsampler) == 6_841_668
    assert count(one.lin0.of("subj01")) == 15724 * 4096 + 2 * 4096
    assert count(two) - count(one) == 14278 * 4096 + 2 * 4096
    assert latents.shape == (2, 4, 64, 64) and places.shape == (2, 256, 512)


def test_one_subject_is_minds_eye_network():
    network = SubjectsLatent({"subj01": 50}, GIVES, **SMALL).eval()
    alone = MindEyeLatent(50, GIVES, **SMALL).eval()
    alone.load_state_dict({name.replace("lin0.0.", "lin0."): value for name, value in network.state_dict().items()})
    patterns = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    for found, expected in zip(network({"subj01": patterns}).values(), alone(patterns).values()):
        torch.testing.assert_close(found, expected)


def test_tensors_of_a_subject_are_all_that_it_reads():
    network = SubjectsLatent(VOXELS, GIVES, **SMALL)
    found = network({"subj02": torch.randn(4, 40)})["first_latent"]
    found.square().sum().backward()
    own = set(network.subject_tensors("subj02").values())
    read = {name for name, one in network.named_parameters() if one.grad is not None and name.startswith("lin0")}
    assert read == own and own == {"lin0.1.0.weight", "lin0.1.1.weight", "lin0.1.1.bias"}
    assert network.subject_tensors("subj01").keys() == network.subject_tensors("subj02").keys()


@pytest.mark.parametrize(("voxels", "said"), [({}, "expected the number of voxels"), ({"a": 0}, "n_voxels of a is 0")])
def test_subjects_that_cannot_be_are_refused(voxels, said):
    with pytest.raises(InputError, match=said):
        SubjectsLatent(voxels, GIVES, **SMALL)
