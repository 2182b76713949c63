import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from stages.ground.errors import InputError
from stages.networks.evaluation_network import HEADS, EvaluationNetwork
from weights.store import CheckpointError

LABELS = {
    "category": ["ball", "house", "digit", "pattern"],
    "colour": ["red", "blue", "grey"],
    "background": ["beach", "plain"],
    "digit": ["0", "1", "none"],
}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = EvaluationNetwork(LABELS, widths=(4, 8), n_features=6, image_size=32)
    # Statistics as after training, so that normalisation is not the identity.
    for name, buffer in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.2, 0.8)
    return network.eval()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def folder(network, tmp_path):
    network.save_pretrained(tmp_path)
    return tmp_path


def test_default_size_stays_within_half_a_million_parameters():
    network = EvaluationNetwork(LABELS)
    assert sum(parameter.numel() for parameter in network.parameters()) <= 500_000


def test_forward_gives_features_and_a_logit_per_name(network, images):
    judged = network(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
    assert set(judged) == {"features", *HEADS}
    assert judged["features"].shape == (7, 6)
    assert all(judged[head].shape == (7, len(LABELS[head])) for head in HEADS)


def test_embed_vs_forward(network, images):
    expected = network(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)["features"]
    embedded = network.embed(images)
    assert embedded.dtype == np.float32
    np.testing.assert_allclose(embedded, expected.detach().numpy(), atol=1e-6)


def test_classify_vs_the_largest_logit(network, images):
    judged = network(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    for head, names in network.classify(images).items():
        assert names == [LABELS[head][k] for k in judged[head].argmax(1)]


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_one_picture_equals_the_same_in_a_batch(network, images, batch_size):
    together = network.embed(images)
    np.testing.assert_allclose(network.embed(images, batch_size), together, atol=1e-5)
    np.testing.assert_allclose(network.embed(images[4:5]), together[4:5], atol=1e-5)


def test_judging_in_the_middle_of_training_leaves_the_network_as_it_was(network, images):
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.embed(images)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    network.eval()


def test_pictures_of_another_size_are_resized(network, images):
    doubled = images.repeat(2, axis=1).repeat(2, axis=2)
    close = np.corrcoef(network.embed(doubled).ravel(), network.embed(images).ravel())[0, 1]
    assert close > 0.95


def test_no_pictures_give_no_rows(network):
    assert network.embed(np.zeros((0, 32, 32, 3), np.uint8)).shape == (0, 6)


@pytest.mark.parametrize(
    "hostile",
    [
        np.zeros((2, 32, 32, 3), np.float32),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((2, 3, 32, 32), np.uint8),
    ],
)
def test_hostile_pictures(network, hostile):
    with pytest.raises(InputError, match=r"takes uint8 of shape \(n, height, width, 3\)"):
        network.embed(hostile)


def test_hostile_labels():
    with pytest.raises(InputError, match="got labels for category"):
        EvaluationNetwork({"category": ["ball"]})


def test_round_trip_in_single_precision(network, images, tmp_path):
    network.save_pretrained(tmp_path, dtype=torch.float32)
    loaded = EvaluationNetwork.from_pretrained(tmp_path)
    assert loaded.config == network.config
    assert not loaded.training
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in network.state_dict().items())
    np.testing.assert_array_equal(loaded.embed(images), network.embed(images))


def test_round_trip_in_half_precision_computes_in_single(network, images, folder):
    assert load_file(folder / "model.safetensors")["features.weight"].dtype == torch.float16
    loaded = EvaluationNetwork.from_pretrained(folder)
    assert all(parameter.dtype == torch.float32 for parameter in loaded.parameters())
    np.testing.assert_allclose(loaded.embed(images), network.embed(images), atol=0.02)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def _spoil_missing(state):
    del state["features.bias"]


def _spoil_unexpected(state):
    state["features.scale"] = torch.zeros(1)


def _spoil_shape(state):
    state["heads.colour.weight"] = torch.zeros(5, 6)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_spoil_missing, "missing: features.bias"),
        (_spoil_unexpected, "unexpected: features.scale"),
        (_spoil_shape, r"heads.colour.weight \(5, 6\) instead of \(3, 6\)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(folder, spoil, told):
    state = load_file(folder / "model.safetensors")
    spoil(state)
    save_file(state, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=told):
        EvaluationNetwork.from_pretrained(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_absent_and_damaged_files_are_named(folder, name):
    (folder / name).write_bytes(b"\x00\x01")
    with pytest.raises(CheckpointError, match=name):
        EvaluationNetwork.from_pretrained(folder)
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is absent"):
        EvaluationNetwork.from_pretrained(folder)


@pytest.mark.parametrize("change", [{"architecture": "VDVAE"}, {"depth": 3}, {"architecture": None}])
def test_the_configuration_of_another_network_is_refused(folder, change):
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="give the folder of an evaluation network"):
        EvaluationNetwork.from_pretrained(folder)


def test_a_configuration_that_is_no_table_is_refused(folder):
    (folder / "config.json").write_text("[1, 2]")
    with pytest.raises(CheckpointError, match="holds a list"):
        EvaluationNetwork.from_pretrained(folder)


@pytest.mark.parametrize("change", [{"widths": 3}, {"n_features": "many"}, {"labels": ["red"]}, {"labels": 2}])
def test_values_of_a_wrong_type_are_refused(folder, change):
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="config.json does not describe a EvaluationNetwork"):
        EvaluationNetwork.from_pretrained(folder)
