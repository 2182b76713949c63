"""Generators that pictures are searched in: sizes as published, layers written out, Caffe's files and converted ones."""

import numpy as np
import pytest
import torch
from caffe_files import written
from random_vgg19 import BOUNDS, SECOND_NAMES, SMALL_GENERATORS, generator, save_deepsim, two_names
from safetensors.torch import load_file, save_file
from torch.nn import functional

from stages.ground.errors import InputError
from stages.networks.deepsim_bounds import bounds_file, read_bounds
from stages.networks.deepsim_generator import PUBLISHED, DeepSimConfig, DeepSimGenerator, config_of, own_names
from weights.conversion import convert
from weights.manifest import CheckpointError

# Each published layer, by hand: "c" a convolution and "t" a transposed one with their kernel, stride and padding, then channels
# behind it; "-" means that no rectifier is behind it.
FROM_4 = (
    "deconv5 t421 256, conv5_1 t311 512, deconv4 t421 256, conv4_1 t311 256, deconv3 t421 128, conv3_1 t311 128, "
    "deconv2 t421 64, deconv1 t421 32, deconv0 t421 3 -"
)
FROM_15 = (
    "deconv4 t421 128, conv4_1 c311 128, deconv3 t421 64, conv3_1 c311 64, deconv2 t421 32, conv2_1 c311 32, "
    "deconv1 t421 16 -, conv1_1 c311 3 -"
)
FROM_8 = (
    "deconv5 t421 256, conv5_1 t311 256, deconv4 t421 128, conv4_1 t311 128, deconv3 t421 128, conv3_1 t311 128, "
    "deconv2 t421 64, conv2_1 c311 32, deconv1 t421 16, conv1_1 c311 3 -"
)
LAYERS = {
    "full": FROM_4,
    "pool5": f"Rconv6 c311 512, Rconv7 c311 512, Rconv8 c310 512, {FROM_4}",
    "relu": f"Rconv6 c310 384, Rconv7 c310 512, Rconv8 c210 512, {FROM_8}",
    "norm2": f"Rconv6 c312 256, Rconv7 c311 128, Rconv8 c311 128, {FROM_15}",
    "norm1": f"Rconv6 c322 128, Rconv7 c311 128, Rconv8 c311 128, {FROM_15}",
}


def parsed(layout):
    """The table above as (name, kind, kernel, stride, padding, channels, rectified)."""
    for entry in LAYERS[layout].split(", "):
        name, code, channels, *linear = entry.split()
        yield name, code[0], *map(int, code[1:]), int(channels), not linear


@pytest.mark.parametrize(
    ("name", "shape", "side", "parameters"),
    [
        ("fc8", (1000,), 256, 43_416_675),
        ("fc7", (4096,), 256, 56_097_891),
        ("fc6", (4096,), 256, 56_097_891),
        ("pool5", (256, 6, 6), 256, 12_702_307),
        ("relu4", (384, 13, 13), 256, 8_074_147),
        ("relu3", (384, 13, 13), 256, 8_074_147),
        ("norm2", (256, 13, 13), 240, 1_661_315),
        ("norm1", (96, 27, 27), 240, 1_034_499),
    ],
)
def test_names_and_sizes_are_published(name, shape, side, parameters):
    config = PUBLISHED[name]
    with torch.device("meta"):
        network = DeepSimGenerator(config)
        pictures = network(torch.zeros(2, *shape))
    assert config.shape == shape and pictures.shape == (2, 3, side, side) and config.picture == side
    expected = {f"defc{number}.weight": (4096, shape[0] if number == 7 else 4096) for number in (7, 6, 5)}
    expected |= {f"defc{number}.bias": (4096,) for number in (7, 6, 5)}
    if config.layout != "full":
        expected = {}
    inputs = 256 if config.layout == "full" else shape[0]
    for layer, kind, kernel, _, _, outputs, _ in parsed(config.layout):
        channels = (inputs, outputs) if kind == "t" else (outputs, inputs)
        expected |= {f"{layer}.weight": (*channels, kernel, kernel), f"{layer}.bias": (outputs,)}
        inputs = outputs
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == expected
    assert sum(np.prod(shape) for shape in expected.values()) == parameters
    assert config_of(network.state_dict()) == config


@pytest.mark.parametrize("layout", LAYERS)
def test_pictures_vs_the_layers_written_out(layout):
    config = SMALL_GENERATORS[layout]
    network = generator(config=config)
    state = network.state_dict()
    values = torch.rand(3, *config.shape, generator=torch.Generator().manual_seed(2)) * 3

    def rectified(x):
        return torch.where(x > 0, x, 0.3 * x)

    x = values
    if layout == "full":
        for number in (7, 6, 5):
            x = rectified(x @ state[f"defc{number}.weight"].T + state[f"defc{number}.bias"])
        x = x.reshape(3, 16, 1, 1)
    for name, kind, _, stride, padding, _, is_rectified in parsed(layout):
        convolve = functional.conv_transpose2d if kind == "t" else functional.conv2d
        x = convolve(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, padding)
        x = rectified(x) if is_rectified else x
    x = 255 * torch.tanh(x) if layout in ("relu", "norm1", "norm2") else x
    assert x.shape == (3, 3, config.picture, config.picture) and float(x.std()) > 1
    assert float((x[0] - x[1]).abs().mean()) > 0.1
    torch.testing.assert_close(network(values), x)


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("layout", LAYERS)
def test_files_of_caffe_and_of_kamitanilab_draw_the_same(layout, biases, tmp_path):
    """A .caffemodel in either notation, and a pickle of both names, each converted as a pull does."""
    config = SMALL_GENERATORS[layout]
    network = generator(config=config)
    if not biases:
        network = DeepSimGenerator(DeepSimConfig(*(getattr(config, name) for name in FIELDS), biases=False)).eval()
    arrays = {}
    for name, value in network.state_dict().items():
        arrays.setdefault(name.rpartition(".")[0], []).append(value.numpy())
    for old in (True, False):
        (tmp_path / f"caffe{old}").mkdir()
        (tmp_path / f"caffe{old}" / "generator.caffemodel").write_bytes(written(arrays, old))
        convert(tmp_path / f"caffe{old}" / "generator.caffemodel", tmp_path / f"caffe{old}" / "model.safetensors")
    (tmp_path / "converted").mkdir()
    torch.save(two_names(network), tmp_path / "generator.pt")
    convert(tmp_path / "generator.pt", tmp_path / "converted" / "model.safetensors")
    values = torch.rand(2, *config.shape)
    for folder in ("caffeTrue", "caffeFalse", "converted"):
        found = DeepSimGenerator.from_pretrained(tmp_path / folder, side=config.side)
        assert found.config.biases == biases and found.config.layout == layout
        torch.testing.assert_close(found(values), network(values), atol=1e-4, rtol=1e-4)
    assert not any(value.requires_grad for value in found.parameters())


FIELDS = ("inputs", "bottom", "widths", "layout", "side")


@pytest.mark.parametrize("kept", ["both", "layers", "sequences"])
@pytest.mark.parametrize("layout", LAYERS)
def test_either_name_of_a_tensor_is_read(layout, kept):
    network = generator(config=SMALL_GENERATORS[layout])
    own, stored = set(network.state_dict()), two_names(network)
    assert len(stored) == 2 * len(own) and len(SECOND_NAMES[layout]) == len(own) / 2
    chosen = {"both": set(stored), "layers": own, "sequences": set(stored) - own}[kept]
    found = own_names({name: stored[name] for name in chosen})
    assert found.keys() == own and all(torch.equal(found[name], value) for name, value in network.state_dict().items())
    assert config_of(found, network.config.side) == network.config


def test_what_does_not_fit_is_named(tmp_path):
    save_deepsim(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: value for name, value in stored.items() if "deconv0" not in name and "16" not in name},
        tmp_path / "model.safetensors",
    )
    with pytest.raises(CheckpointError, match="missing: deconv0.bias, deconv0.weight"):
        DeepSimGenerator.from_pretrained(tmp_path)
    save_file(stored | {"defc.0.bias": stored["defc.0.bias"] + 1}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="as defc7.bias it is another tensor"):
        DeepSimGenerator.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="There are 3 widths; expected 9"):
        DeepSimConfig(widths=(1, 2, 3))
    with pytest.raises(InputError, match="Maps of 5 places on a side become 3, not bottom=4"):
        DeepSimConfig(256, 4, PUBLISHED["pool5"].widths, "pool5", 5)


def test_bounds_are_read_as_they_are_published(tmp_path):
    save_deepsim(tmp_path)
    assert bounds_file(tmp_path) == tmp_path / BOUNDS
    assert read_bounds(tmp_path / BOUNDS, (6,)).tolist() == [2, 3, 4, 5, 6, 2]
    # Of pool5 there is one for each value, of norm1 one for each channel.
    per_value, per_channel = read_bounds(tmp_path / BOUNDS, (1, 2, 3)), read_bounds(tmp_path / BOUNDS, (6, 2, 2))
    assert per_value.tolist() == [[[2, 3, 4], [5, 6, 2]]]
    assert per_channel.shape == (6, 2, 2) and per_channel[4].unique().tolist() == [6]
    for text, said in (("2 3 4", "holds 3 numbers"), ("1 2 3 4 5 -6", "the least -6.0"), ("1 2 x", "than numbers")):
        (tmp_path / BOUNDS).write_text(text)
        with pytest.raises(CheckpointError, match=said):
            read_bounds(tmp_path / BOUNDS, (6,))
    with pytest.raises(CheckpointError, match="is absent"):
        read_bounds(tmp_path / "none.txt", (6,))
    (tmp_path / BOUNDS).with_name("fc6.txt").write_text("1")
    with pytest.raises(CheckpointError, match="holds 2 files of ranges .fc6.txt, fc7.txt."):
        bounds_file(tmp_path)
