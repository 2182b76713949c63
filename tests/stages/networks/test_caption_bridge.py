"""The bridge from CLIP's tokens to GIT's states: by hand, on constant input, and out of the published file."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from stages.networks.caption_bridge import CaptionBridge, load_caption_bridge
from weights import store
from weights.conversion import convert
from weights.manifest import CheckpointError


def random_bridge(tokens=(6, 5), states=(7, 4)):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CaptionBridge(tokens, states).eval().requires_grad_(False)


def written_out(bridge, tokens):
    """Value by value, in double precision."""
    first, second = (
        (layer.weight.double().numpy(), layer.bias.double().numpy()) for layer in (bridge.linear1, bridge.linear2)
    )
    between = np.stack([first[0] @ one + first[1][:, None] for one in tokens])
    return np.einsum("nsw,vw->nsv", between, second[0]) + second[1]


def test_states_by_hand():
    bridge, tokens = random_bridge(), np.random.default_rng(0).normal(size=(3, 6, 5))
    found = bridge(torch.from_numpy(tokens).float())
    np.testing.assert_allclose(found.numpy(), written_out(bridge, tokens), atol=1e-6)


def test_constant_input_gives_states_that_differ_along_one_direction_alone():
    """Of tokens that are all c: state s is (c * sum of row s of A + a_s) times the row sums of B, plus b."""
    bridge = random_bridge()
    for constant in (0.0, 1.0, -2.5):
        (found,) = bridge(torch.full((1, 6, 5), constant))
        scale = constant * bridge.linear1.weight.sum(1) + bridge.linear1.bias
        expected = scale[:, None] * bridge.linear2.weight.sum(1) + bridge.linear2.bias
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
        assert torch.linalg.matrix_rank(found - bridge.linear2.bias, atol=1e-5) == 1


def test_the_published_file(tmp_path):
    """As its entry in the manifest names it: `model_state_dict` with two linear layers of the published sizes."""
    entry = store.entry("bigg-to-git-bridge")
    (file,) = entry.files
    with torch.random.fork_rng():
        torch.manual_seed(1)
        bridge = CaptionBridge((256, 1664), (257, 1024)).requires_grad_(False)
    training = {
        "epoch": 8,
        "model_state_dict": bridge.state_dict(),
        "optimizer_state_dict": {"state": {}, "param_groups": []},
    }
    torch.save(training, tmp_path / "bigG_to_L_epoch8.pth")
    assert file.path.endswith("bigG_to_L_epoch8.pth") and file.entry == "model_state_dict"
    convert(tmp_path / "bigG_to_L_epoch8.pth", tmp_path / file.becomes, entry=file.entry)
    loaded = load_caption_bridge(tmp_path)
    assert (loaded.tokens, loaded.states) == ((256, 1664), (257, 1024)) and not loaded.training
    assert set(loaded.state_dict()) == {"linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias"}
    for name, value in bridge.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    assert sum(each.numel() for each in loaded.parameters()) == 257 * 257 + 1665 * 1024 + 0 == 1_771_009


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"linear1.weight": torch.zeros(3)}, r"shapes \(3,\)"),
        ({"linear1.bias": torch.zeros(9)}, r"linear1.bias \(9,\) instead of \(7,\)"),
        ({"linear3.bias": torch.zeros(9)}, "unexpected: linear3.bias"),
        ({"linear2.weight": None}, r"\(\) as linear1"),
    ],
)
def test_another_file_is_refused(tmp_path, changed, said):
    tensors = random_bridge().state_dict() | changed
    save_file({name: value for name, value in tensors.items() if value is not None}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=said):
        load_caption_bridge(tmp_path)
