"""Places of pictures as a target: from the published file on, against a computation by hand."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from random_checkpoints import convert_place_teacher, save_place_teacher
from safetensors.torch import load_file, save_file

from brainrecon.cli.main import run_command
from stages.ground.errors import InputError
from stages.targets.place_features import PlaceFeatures
from weights import store
from weights.manifest import CheckpointError

NAME = "vicregl-convnext-xl"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The folder of a small published network, converted, and the network."""
    folder = tmp_path_factory.mktemp("places") / "converted"
    network = convert_place_teacher(folder).eval()
    return folder, network


def pictures(n=3, side=40):
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def test_what_nobody_reads_of_the_published_file_is_left_out(checkpoint):
    folder, network = checkpoint
    names = load_file(folder / "model.safetensors").keys()
    assert len(names) == len(network.state_dict())
    assert all(name.startswith(("backbone.", "maps_projector.")) for name in names)


@pytest.mark.parametrize(("std", "values"), [("published", (0.228, 0.224, 0.225)), ("ImageNet", (0.229, 0.224, 0.225))])
def test_places_by_hand(checkpoint, std, values):
    folder, network = checkpoint
    target = PlaceFeatures.from_pretrained(folder, size=64, std=std)
    resized = [Image.fromarray(one).resize((64, 64), Image.Resampling.BILINEAR) for one in pictures()]
    greys = np.stack([np.asarray(one) for one in resized]).astype(np.float32) / 255
    normalised = (greys - np.float32([0.485, 0.456, 0.406])) / np.float32(values)
    with torch.no_grad():
        expected = network(torch.from_numpy(normalised).permute(0, 3, 1, 2)).numpy()
    found = target.encode(pictures(), batch_size=2).reshape(3, *target.shape)
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.std())
    assert target.shape == (4, 512) and target.preprocessing["std"] == list(values)


def test_a_damaged_or_another_network_is_refused(checkpoint, tmp_path):
    folder, _ = checkpoint
    tensors = load_file(folder / "model.safetensors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    for changed, said in (
        ({name: one for name, one in tensors.items() if "stages.2.1.dwconv" not in name}, "features.5.1.block.0"),
        (tensors | {"backbone.head.weight": torch.ones(1)}, "head.weight"),
    ):
        save_file(changed, tmp_path / "model.safetensors")
        with pytest.raises(CheckpointError, match=said):
            PlaceFeatures.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"depths": [1]}))
    with pytest.raises(CheckpointError, match="does not describe a ConvNeXtMaps"):
        PlaceFeatures.from_pretrained(tmp_path)


@pytest.mark.parametrize(("options", "said"), [({"size": 500}, "multiple of 32"), ({"std": "mean"}, "std is 'mean'")])
def test_options_that_cannot_be_are_refused(checkpoint, options, said):
    with pytest.raises(InputError, match=said):
        PlaceFeatures.from_pretrained(checkpoint[0], **options)


def test_the_manifests_configuration_is_the_published_network():
    entry = store.checkpoints()[NAME]
    config = entry.writes["config.json"]
    assert config["depths"] == [3, 3, 27, 3] and config["widths"] == [256, 512, 1024, 2048]
    assert config["projected"] == [512, 512, 512]


def test_it_is_pulled_from_the_published_file(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path / "store"))
    network = save_place_teacher(tmp_path / "origin")
    assert run_command(["weights", "pull", NAME, "--from", str(tmp_path / "origin")]) == 0
    stored = load_file(store.path(NAME) / "model.safetensors")
    assert torch.equal(stored["maps_projector.6.weight"], network.maps_projector[6].weight)
