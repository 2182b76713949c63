"""VGG19: sizes as published, layers held against torchvision's own network, names of three kinds."""

import pytest
import torch
import torchvision
from random_vgg19 import VGG19_CONFIG, save_vgg19, vgg19
from safetensors.torch import load_file, save_file

from stages.ground.errors import InputError
from stages.networks.vgg19 import PUBLISHED, VGG19, VGG19Config, load_vgg19, n_values
from stages.networks.vgg19_names import LAYERS, PLACES
from weights.manifest import CheckpointError

# As published: Caffe's name -> the module in KamitaniLab's conversion.
FEATURES = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
BEFORE = [name for name in LAYERS if name.startswith(("conv", "fc"))]


def test_names_and_sizes_are_published():
    assert [PLACES[name] for name in BEFORE[:16]] == [("features", number) for number in FEATURES]
    assert [PLACES[name] for name in BEFORE[16:]] == [("classifier", number) for number in (0, 3, 6)]
    with torch.device("meta"):
        network, theirs = VGG19(), torchvision.models.vgg19(weights=None)
        found = network.eval()(torch.zeros(2, 3, 224, 224), LAYERS)
    own, expected = (
        {name: tuple(value.shape) for name, value in one.state_dict().items()} for one in (network, theirs)
    )
    assert own == expected and sum(value.numel() for value in network.parameters()) == 143_667_240
    assert {name: tuple(value.shape[1:]) for name, value in found.items()} == {
        name: PUBLISHED.shape(name) for name in LAYERS
    }
    shapes = [PUBLISHED.shape(f"conv{block}_1") for block in range(1, 6)]
    assert shapes == [(64, 224, 224), (128, 112, 112), (256, 56, 56), (512, 28, 28), (512, 14, 14)]
    assert [PUBLISHED.shape(name) for name in ("fc6", "fc7", "fc8")] == [(4096,), (4096,), (1000,)]
    assert n_values(PUBLISHED, "conv1_2") == 64 * 224**2


@pytest.fixture(scope="module")
def network():
    return vgg19()


@pytest.fixture(scope="module")
def pictures():
    return 60 * torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_layers_vs_torchvisions_modules_one_by_one(network, pictures):
    """Its rectifiers overwrite what they read, so that everything is copied."""
    channels = VGG19_CONFIG.channels
    cfg = [width for width, n in zip(channels, (2, 2, 4, 4, 4)) for width in (*[width] * n, "M")]
    features = torchvision.models.vgg.make_layers(cfg)
    features.load_state_dict(network.features.state_dict())
    x, expected = pictures, {}
    with torch.no_grad():
        for number, module in enumerate(features):
            x = module(x)
            expected["features", number] = x.clone()
        x = x.flatten(1)
        for number, module in enumerate(network.classifier):
            x = module(x)
            expected["classifier", number] = x.clone()
    found = network(pictures, LAYERS)
    assert list(found) == list(LAYERS)
    for name in LAYERS:
        torch.testing.assert_close(found[name], expected[PLACES[name]])
        assert (float(found[name].min()) < 0) == name.startswith(("conv", "fc")), name


def test_up_to_a_layer_it_computes_the_same_and_nothing_behind(network, pictures, tmp_path):
    save_vgg19(tmp_path, network)
    for layer in ("conv1_1", "relu3_4", "pool5", "fc6", "fc8"):
        part = load_vgg19(tmp_path, layer)
        torch.testing.assert_close(part(pictures, (layer,))[layer], network(pictures, (layer,))[layer])
        assert len(part.features) + len(part.classifier) <= 37 + 7
        if layer != "fc8":
            with pytest.raises(InputError, match="loaded up to an earlier layer"):
                part(pictures, ("fc8",))


def test_caffes_names_are_read_too(network, pictures, tmp_path):
    save_vgg19(tmp_path, network)
    stored = load_file(tmp_path / "model.safetensors")
    caffe = {place: name for name, place in PLACES.items()}
    renamed = {}
    for name, value in stored.items():
        part, number, kind = name.split(".")
        renamed[f"{caffe[part, int(number)]}.{kind}"] = value
    assert {"conv1_1.weight", "fc8.bias"} <= set(renamed)
    save_file(renamed, tmp_path / "model.safetensors")
    torch.testing.assert_close(load_vgg19(tmp_path)(pictures, ("fc8",))["fc8"], network(pictures, ("fc8",))["fc8"])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        # Of the layer that is asked for nothing is missing, but the file is another's.
        (lambda stored: stored.pop("classifier.6.bias"), "missing: classifier.6.bias"),
        (lambda stored: stored.pop("features.0.weight"), "missing: features.0.weight"),
        (
            lambda stored: stored.update({"features.2.bias": torch.zeros(9)}),
            r"features.2.bias \(9,\) instead of \(3,\)",
        ),
        (lambda stored: stored.update({"fc9.bias": torch.zeros(9)}), "unexpected: fc9.bias"),
    ],
)
def test_what_does_not_fit_is_named(network, tmp_path, spoil, said):
    save_vgg19(tmp_path, network)
    stored = load_file(tmp_path / "model.safetensors")
    spoil(stored)
    save_file(stored, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=said):
        load_vgg19(tmp_path, "conv1_1")


def test_a_layer_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(InputError, match="layer is 'conv1_9'"):
        load_vgg19(tmp_path, "conv1_9")


@pytest.mark.parametrize("options", [{"picture": 48}, {"channels": (1, 2)}, {"hidden": 0}])
def test_sizes_that_make_no_sense_are_refused(options):
    with pytest.raises(InputError):
        VGG19Config(**options)


def test_the_leaky_variant_vs_the_same_layers_written_out(network, pictures, tmp_path):
    """A fifth of what is below 0, and means of four, from the same file."""
    save_vgg19(tmp_path, network)
    found = load_vgg19(tmp_path, variant="leaky")(pictures, LAYERS)
    x = pictures
    for number, module in enumerate(network.features):
        if isinstance(module, torch.nn.ReLU):
            x = torch.where(x > 0, x, 0.2 * x)
        else:
            x = (
                x.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))
                if isinstance(module, torch.nn.MaxPool2d)
                else module(x)
            )
        name = next(name for name, place in PLACES.items() if place == ("features", number))
        torch.testing.assert_close(found[name], x, rtol=1e-4, atol=1e-3)
    x = x.flatten(1)
    for name, number in (("fc6", 0), ("fc7", 3), ("fc8", 6)):
        x = network.classifier[number](x)
        torch.testing.assert_close(found[name], x, rtol=1e-4, atol=1e-3)
        x = torch.where(x > 0, x, 0.2 * x)
    assert found["relu3_1"].min() < 0
    with pytest.raises(InputError, match="variant is 'smooth'"):
        load_vgg19(tmp_path, variant="smooth")
