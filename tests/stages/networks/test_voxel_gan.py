"""The end-to-end generator and discriminator: shapes as published, and values against the layers written out."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from stages.ground.errors import InputError
from stages.networks.voxel_gan import GANDiscriminator, GANGenerator
from weights.store import CheckpointError

# Names, kinds and sizes of the published networks; 11,726 voxels are those of the first subject.
GENERATOR = {
    "defc7": (4096, 11726), "defc6": (4096, 4096), "defc5": (4096, 4096),
    "deconv5": (256, 256, 4, 4), "conv5_1": (512, 256, 3, 3), "deconv4": (512, 256, 4, 4), "conv4_1": (256, 256, 3, 3),
    "deconv3": (256, 128, 4, 4), "conv3_1": (128, 128, 3, 3), "deconv2": (128, 64, 4, 4), "deconv1": (64, 32, 4, 4),
    "deconv0": (32, 3, 4, 4),
}  # fmt: skip
DISCRIMINATOR = {
    "conv1": (32, 3, 7, 7), "conv2": (64, 32, 5, 5), "conv3": (128, 64, 3, 3), "conv4": (256, 128, 3, 3),
    "conv5": (256, 256, 3, 3), "fc1": (256, 256), "fc2": (2, 256),
}  # fmt: skip


@pytest.mark.parametrize(
    ("build", "expected"), [(lambda: GANGenerator(11726), GENERATOR), (GANDiscriminator, DISCRIMINATOR)]
)
def test_parameters_have_the_published_shapes(build, expected):
    with torch.device("meta"):
        network = build()
    found = {name: tuple(value.shape) for name, value in network.named_parameters()}
    assert {name.removesuffix(".weight"): shape for name, shape in found.items() if name.endswith("weight")} == expected
    biases = {name for name in found if name.endswith("bias")}
    # The generator's convolutions have none: published, they stay at the zero they begin with.
    with_bias = {name for name, shape in expected.items() if expected is DISCRIMINATOR or len(shape) == 2}
    assert biases == {f"{name}.bias" for name in with_bias}


def test_227_pixels_are_the_middle_of_256():
    with torch.device("meta"):
        network = GANGenerator(50)
        drawn = network(torch.zeros(2, 50))
    assert drawn.shape == (2, 3, 227, 227)
    whole, part = GANGenerator(10, picture=64, channels=8, seed=3), GANGenerator(10, picture=63, channels=8, seed=3)
    patterns = torch.randn(2, 10, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(part(patterns), whole(patterns)[..., :63, :63])


def test_generator_vs_the_layers_written_out():
    network = GANGenerator(9, picture=64, channels=8, seed=1)
    weights = dict(network.named_parameters())
    patterns = torch.randn(3, 9, generator=torch.Generator().manual_seed(2))

    def leaky(values):
        return torch.where(values > 0, values, 0.3 * values)

    hidden = patterns
    for name in ("defc7", "defc6", "defc5"):
        hidden = leaky(hidden @ weights[f"{name}.weight"].T + weights[f"{name}.bias"])
    hidden = hidden.reshape(3, 8, 4, 4)
    for name in ("deconv5", "conv5_1", "deconv4", "conv4_1", "deconv3", "conv3_1"):
        weight = weights[f"{name}.weight"]
        if name.startswith("deconv"):
            hidden = functional.conv_transpose2d(hidden, weight, stride=2, padding=1)
        else:
            hidden = functional.conv2d(hidden, weight, padding=1)
        hidden = leaky(hidden)
    expected = functional.conv_transpose2d(hidden, weights["deconv0.weight"], stride=2, padding=1)
    torch.testing.assert_close(network(patterns), expected)


def test_discriminator_of_227_pixels_averages_11_by_11():
    network = GANDiscriminator(8, seed=4).eval()
    pictures = torch.randn(2, 3, 227, 227, generator=torch.Generator().manual_seed(0))
    hidden = pictures
    for name in ("conv1", "conv2", "conv3", "conv4", "conv5"):
        hidden = torch.relu(network.get_submodule(name)(hidden))
    assert hidden.shape[-2:] == (11, 11)
    pooled = functional.avg_pool2d(hidden, 11).flatten(1)
    torch.testing.assert_close(network(pictures), network.fc2(torch.relu(network.fc1(pooled))))


# Width in, width out and kernel of three layers of 64 channels. All of the published generator's are Caffe's deconvolutions.
DECONVOLUTIONS = {"deconv4": (1.8, 128, 64, 4), "conv5_1": (0.9, 64, 128, 3), "deconv0": (1.8, 16, 3, 4)}


@pytest.mark.parametrize("spread", ["caffe", "inputs"])
def test_initial_weights_have_the_spread_of_their_formula(spread):
    network = GANGenerator(2000, picture=128, channels=64, seed=0, spread=spread)
    assert network.defc7.weight.std().item() == pytest.approx(math.sqrt(2 / 2000), rel=0.02)
    for name, (gain, width_in, width_out, kernel) in DECONVOLUTIONS.items():
        # Caffe divides the number of weights by the length of their first axis, which is a deconvolution's input.
        weights = np.empty((width_in, width_out, kernel, kernel))
        inputs = weights.size // len(weights) if spread == "caffe" else width_in * kernel**2
        found = network.get_submodule(name).weight
        rough = 4 / math.sqrt(2 * found.numel())
        assert found.numel() == weights.size
        assert found.std().item() == pytest.approx(gain * math.sqrt(2 / inputs), rel=rough), name


def test_the_published_spread_is_caffes():
    usual, other = (GANGenerator(9, 64, 8, seed=5, **given).conv5_1.weight for given in ({}, {"spread": "inputs"}))
    # 8 to 16 channels.
    torch.testing.assert_close(other, usual * math.sqrt(2))


def test_initial_weights_of_the_discriminator():
    judge = GANDiscriminator(256)
    assert judge.conv4.weight.std().item() == pytest.approx(math.sqrt(2 / (128 * 9)), rel=0.02)
    assert judge.fc1.weight.std().item() == pytest.approx(0.1 * math.sqrt(2 / 256), rel=0.02)
    assert torch.equal(GANGenerator(9, 64, 8, seed=5).defc7.weight, GANGenerator(9, 64, 8, seed=5).defc7.weight)


def test_greys_and_values_are_inverse():
    network = GANGenerator(4, 64, 8, brightness=1.0, offset=(123.0, 117.0, 104.0))
    values = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(network.values(network.greys(values)), values, atol=1e-4, rtol=1e-4)
    assert network.greys(torch.zeros(1, 3, 1, 1)).flatten().tolist() == [123, 117, 104]
    assert GANGenerator(4, 64, 8).greys(torch.ones(1, 3, 1, 1)).flatten().tolist() == [255] * 3


def test_files_keep_everything_and_loading_is_strict(tmp_path):
    network = GANGenerator(9, 64, 8, brightness=1.0, offset=(1.0, 2.0, 3.0), seed=1)
    network.save_pretrained(tmp_path)
    again = GANGenerator.from_pretrained(tmp_path)
    patterns = torch.randn(2, 9)
    torch.testing.assert_close(again.greys(again(patterns)), network.greys(network(patterns)))
    state = load_file(tmp_path / "model.safetensors")
    for change, said in (
        ({"defc6.bias": None}, "missing: defc6.bias"),
        ({"more": torch.zeros(2)}, "unexpected: more"),
        ({"deconv0.weight": torch.zeros(8, 3, 3, 3)}, r"misshapen: deconv0.weight \(8, 3, 3, 3\)"),
    ):
        changed = {name: value for name, value in (state | change).items() if value is not None}
        save_file(changed, tmp_path / "model.safetensors")
        with pytest.raises(CheckpointError, match=said):
            GANGenerator.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"n_voxels": 9, "wings": 2}))
    with pytest.raises(CheckpointError, match="wings"):
        GANGenerator.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"picture": 300}, "picture is 300"),
        ({"channels": 12}, "channels is 12"),
        ({"spread": "he"}, "spread is 'he'"),
    ],
)
def test_sizes_that_cannot_be_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        GANGenerator(9, **options)


def test_a_picture_is_the_same_alone_and_in_a_batch():
    network = GANGenerator(30, 64, 16, seed=0).eval()
    patterns = torch.from_numpy(np.random.default_rng(0).standard_normal((5, 30), dtype=np.float32))
    with torch.inference_mode():
        together = network.greys(network(patterns))
        alone = torch.cat([network.greys(network(patterns[row : row + 1])) for row in range(5)])
    assert (together - alone).abs().max() < 1
