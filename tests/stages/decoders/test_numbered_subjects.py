"""Released files that call subjects by their numbers: read by places among those that are asked for."""

import pytest
import torch
from safetensors.torch import save_file

from stages.decoders.numbered_subjects import NumberedSubjects
from stages.decoders.released import Released
from stages.decoders.trained import TrainedDecoder
from stages.ground.errors import InputError
from stages.networks.mindbridge import MindBridgeNetwork
from stages.training.recipe import Recipe

SMALL = {"length": 16, "hidden": 12, "n_blocks": 2, "bottleneck": 3}
GIVES = {"rough_image": (5, 6), "rough_text": (4, 6)}
NUMBERED = NumberedSubjects(("embedder", "builder"), "embedder.{}.0.down_proj.weight")
NUMBERS = (1, 2, 5, 7)


def renamed(state):
    """Tensors as the authors' modules call them, after subjects' numbers."""
    found = {}
    for name, value in state.items():
        part, place, rest = (*name.split(".", 2), "")[:3]
        if part in NUMBERED.parts:
            name = f"{part}.{NUMBERS[int(place)]}.{rest}"
        found[name] = value.contiguous()
    return found


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = MindBridgeNetwork({f"subj{number:02}": 30 for number in NUMBERS}, GIVES, **SMALL).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.requires_grad_(False)


@pytest.fixture
def folder(network, tmp_path):
    save_file(renamed(network.state_dict()), tmp_path / "model.safetensors")
    return tmp_path


def taken(folder, n_voxels, tensors=dict):
    decoder = TrainedDecoder(MindBridgeNetwork, Recipe(steps=1, batch_size=2), arguments=SMALL)
    return decoder.take(folder, "small", Released("", tensors, NUMBERED), n_voxels, GIVES)


def test_subjects_are_found_by_their_numbers_in_whatever_order(network, folder):
    patterns = torch.randn(3, 30)
    decoder = taken(folder, {"subj07": 30, "subj02": 30})
    for subject in ("subj07", "subj02"):
        expected = network({subject: patterns})["rough_text"].flatten(1).numpy()
        found = {name: values for name, _, values in decoder.predict_blocks(patterns.numpy(), subject=subject)}
        assert (found["rough_text"] == expected).all()


def test_everybody_is_read_if_nobody_is_named(network, folder):
    decoder = taken(folder, None)
    assert decoder.network.n_voxels == {f"subj{number:02}": 16 for number in NUMBERS}
    for name, value in decoder.network.network.state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name


def test_of_one_subject_the_file_has_more_than_the_network(folder):
    with pytest.raises(InputError, match=r"builder\.0"):
        taken(folder, {"subj05": 30})
    one = {"subj05": 30}
    decoder = taken(folder, one, lambda stored: {k: v for k, v in stored.items() if not k.startswith("builder")})
    assert decoder.network.network.builder is None


def test_who_is_not_in_the_file_is_refused(folder):
    with pytest.raises(InputError, match="knows subj01, subj02, subj05, subj07 and not subj03"):
        taken(folder, {"subj03": 30})


def test_a_file_of_nobody_is_refused(tmp_path):
    save_file({"head.weight": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"holds no embedder\.0\.0\.down_proj\.weight"):
        taken(tmp_path, None)
