"""The generator that pictures are searched in: sizes as published, its layers written out, both names of its tensors."""

import pytest
import torch
from random_vgg19 import BOUNDS, generator, save_deepsim, two_names
from safetensors.torch import load_file, save_file
from torch.nn import functional

from stages.ground.errors import InputError
from stages.networks.deepsim_generator import DeepSimConfig, DeepSimGenerator, own_names, read_bounds
from weights.manifest import CheckpointError

# In, out, and kernel of the layers behind the three linear ones, all of them transposed.
PUBLISHED = {
    "deconv5": (256, 256, 4), "conv5_1": (256, 512, 3), "deconv4": (512, 256, 4), "conv4_1": (256, 256, 3),
    "deconv3": (256, 128, 4), "conv3_1": (128, 128, 3), "deconv2": (128, 64, 4), "deconv1": (64, 32, 4),
    "deconv0": (32, 3, 4),
}  # fmt: skip


def test_names_and_sizes_are_published():
    with torch.device("meta"):
        network = DeepSimGenerator()
        picture = network(torch.zeros(2, 4096))
    assert picture.shape == (2, 3, 256, 256)
    expected = {f"defc{number}.weight": (4096, 4096) for number in (7, 6, 5)}
    expected |= {f"defc{number}.bias": (4096,) for number in (7, 6, 5)}
    for name, (inputs, outputs, kernel) in PUBLISHED.items():
        expected |= {f"{name}.weight": (inputs, outputs, kernel, kernel), f"{name}.bias": (outputs,)}
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == expected
    assert sum(value.numel() for value in network.parameters()) == 56_097_891
    assert sum(value.numel() for name, value in network.named_parameters() if name.startswith("defc")) == 50_343_936


def test_pictures_vs_the_layers_written_out():
    network, state = generator(), generator().state_dict()
    values = torch.rand(3, 6, generator=torch.Generator().manual_seed(2)) * 3

    def rectified(x):
        return torch.where(x > 0, x, 0.3 * x)

    x = values
    for number in (7, 6, 5):
        x = rectified(x @ state[f"defc{number}.weight"].T + state[f"defc{number}.bias"])
    x = x.reshape(3, 16, 1, 1)
    for name, (_, _, kernel) in PUBLISHED.items():
        stride = {4: 2, 3: 1}[kernel]
        x = functional.conv_transpose2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, 1)
        x = x if name == "deconv0" else rectified(x)
    assert x.shape == (3, 3, 64, 64) and float(x.std()) > 1
    torch.testing.assert_close(network(values), x)


@pytest.mark.parametrize("kept", ["both", "layers", "sequences"])
def test_either_name_of_a_tensor_is_read(kept, tmp_path):
    network = save_deepsim(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    own = set(network.state_dict())
    assert len(stored) == 2 * len(own) and stored.keys() == two_names(network.state_dict()).keys()
    chosen = {"both": set(stored), "layers": own, "sequences": set(stored) - own}[kept]
    save_file({name: stored[name] for name in chosen}, tmp_path / "model.safetensors")
    found = DeepSimGenerator.from_pretrained(tmp_path)
    values = torch.ones(1, 6)
    torch.testing.assert_close(found(values), network(values), atol=1e-4, rtol=1e-4)
    assert not found.deconv0.weight.requires_grad
    assert own_names({name: stored[name] for name in chosen}).keys() == own


def test_what_does_not_fit_is_named(tmp_path):
    save_deepsim(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: value for name, value in stored.items() if "deconv0" not in name and "16" not in name},
        tmp_path / "model.safetensors",
    )
    with pytest.raises(CheckpointError, match="missing: deconv0.bias, deconv0.weight"):
        DeepSimGenerator.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="There are 3 widths"):
        DeepSimConfig(widths=(1, 2, 3))


def test_bounds_are_read_as_they_are_published(tmp_path):
    save_deepsim(tmp_path)
    assert read_bounds(tmp_path / BOUNDS, 6).tolist() == [2, 3, 4, 5, 6, 2]
    for text, said in (("2 3 4", "holds 3 numbers"), ("1 2 3 4 5 -6", "the least -6.0"), ("1 2 x", "than numbers")):
        (tmp_path / BOUNDS).write_text(text)
        with pytest.raises(CheckpointError, match=said):
            read_bounds(tmp_path / BOUNDS, 6)
    with pytest.raises(CheckpointError, match="is absent"):
        read_bounds(tmp_path / "none.txt", 6)
