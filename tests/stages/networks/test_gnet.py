"""GNet: shapes, the whole formula in NumPy and SciPy, a field that sees one place, and its published file."""

import numpy as np
import pytest
import torch
from PIL import Image
from random_gnet import CHANNELS, random_readout, save_gnet
from safetensors.torch import load_file, save_file
from torch.nn import functional

from stages.checkpoints.outlines import outlines
from stages.ground.errors import InputError
from stages.networks.gnet import GNet, GNetReadout, subjects_of
from weights.conversion import convert
from weights.manifest import CheckpointError

VOXELS = {1: 7, 5: 4}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The folder of a small published file, converted; network and readouts."""
    folder = tmp_path_factory.mktemp("gnet")
    network, readouts = save_gnet(folder / "gnet_multisubject.pt", VOXELS)
    convert(folder / "gnet_multisubject.pt", folder / "model.safetensors", entry="best_params")
    return folder, network, readouts


def pictures(n=3, side=40):
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def bent(x):
    return np.log(1 + np.abs(x)) * np.tanh(x)


def convolved(x, state, name, padding, stride=1):
    """A convolution as a product of windows and weights, in double precision."""
    weight, bias = (state[f"{name}.{kind}"].double().numpy() for kind in ("weight", "bias"))
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    side = weight.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("cyxij,ocij->oyx", windows, weight, optimize=True) + bias[:, None, None]


def normalised(x, state, name):
    weight, bias, mean, variance = (
        state[f"{name}.{kind}"].double().numpy()[:, None, None]
        for kind in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias


def pooled(x, padding=0):
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)), constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, ::2].max(axis=(-1, -2))


def maps_written_out(state, picture, kept=2):
    """Both sets of maps of a picture (3, 227, 227) of 0 to 1."""
    state = {name: value for name, value in state.items()}
    x = picture - state["mu"].double().numpy()
    x = pooled(np.maximum(convolved(x, state, "pre.conv1.0", 2, stride=4), 0))
    assert x.shape[1:] == (27, 27)
    x = np.maximum(convolved(x, state, "pre.conv2.0", 2), 0)
    third = np.maximum(convolved(normalised(x, state, "enc.bn1"), state, "enc.conv3", 0), 0)

    def block(x, name):
        return np.maximum(convolved(normalised(x, state, f"enc.{name}.bn1"), state, f"enc.{name}.conv1", 1), 0)

    a = block(third, "conv4a")
    b = block(a, "conv4b")
    c = block(pooled(b, 1), "conv5a")
    d = block(c, "conv5b")
    e = block(d, "conv6a")
    fine = np.concatenate([third, a[:kept], b[:kept]])
    return fine, np.concatenate([c[:kept], d[:kept], e[:kept], block(e, "conv6b")])


def response_written_out(readout, maps):
    """Voxel by voxel, (n_voxels,)."""
    found = []
    for voxel in range(len(readout["b"])):
        channels = []
        for field, own in zip(("rf0", "rf1"), maps):
            field = readout[field][voxel].double().numpy()
            weights = np.exp(field - field.max())
            channels.append((bent(own) * weights / weights.sum()).sum(axis=(1, 2)))
        weighed = bent(np.concatenate(channels)) @ readout["w"][voxel].double().numpy()
        found.append(weighed + float(readout["b"][voxel]))
    return np.array(found)


def test_shapes_of_the_published_network():
    """64 channels of 27 x 27, 25 x 25 behind the third convolution, 13 x 13 behind the second pooling, 256 of both."""
    with torch.device("meta"):
        network = GNet()
        fine, coarse = network.eval()(torch.empty(2, 3, 227, 227))
        assert network.pre.conv1(torch.empty(1, 3, 227, 227)).shape == (1, 64, 27, 27)
    assert fine.shape == (2, 256, 25, 25) and coarse.shape == (2, 256, 13, 13)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert shapes["pre.conv1.0.weight"] == (64, 3, 11, 11) and shapes["pre.conv2.0.weight"] == (192, 64, 5, 5)
    assert shapes["enc.conv3.weight"] == (128, 192, 3, 3) and shapes["enc.conv4a.conv1.weight"] == (256, 128, 3, 3)
    assert shapes["enc.conv6b.conv1.weight"] == (64, 256, 3, 3) and shapes["enc.conv6b.bn1.running_mean"] == (256,)


def test_maps_and_responses_vs_the_formula_in_numpy(published):
    folder, network, readouts = published
    state, loaded = network.state_dict(), GNet.from_pretrained(folder)
    maps = loaded.embed(pictures(), batch_size=2)
    assert maps.shape == (3, CHANNELS * (625 + 169)) and maps.dtype == np.float32
    found = GNetReadout.from_pretrained(folder, 1).predict(maps)
    assert found.shape == (3, 7) and found.dtype == np.float32
    for picture, own, response in zip(pictures(), maps, found):
        resized = np.asarray(Image.fromarray(picture).resize((227, 227), Image.Resampling.LANCZOS))
        expected = maps_written_out(state, resized.transpose(2, 0, 1) / 255.0)
        np.testing.assert_allclose(own, np.concatenate([one.ravel() for one in expected]), atol=2e-5)
        np.testing.assert_allclose(response, response_written_out(readouts[1], expected), atol=2e-5)


@pytest.mark.parametrize("place", [(0, 0), (3, 11), (12, 12)])
def test_a_field_of_one_place_picks_that_place(place):
    """A softmax of a very large value is 1 there and 0 elsewhere: the voxel sees one location of the maps."""
    random = np.random.default_rng(1)
    maps = [random.normal(size=(CHANNELS, side, side)).astype(np.float32) for side in (25, 13)]
    readout = random_readout(1)
    fields = [torch.zeros(1, side, side) for side in (25, 13)]
    for field in fields:
        field[(0, *place)] = 1e4
    found = GNetReadout(*fields, readout["w"], readout["b"]).predict(
        np.concatenate([one.ravel() for one in maps])[None]
    )
    seen = np.concatenate([one[(slice(None), *place)] for one in maps]).astype(np.float64)
    expected = bent(bent(seen)) @ readout["w"][0].double().numpy() + float(readout["b"][0])
    assert found[0, 0] == pytest.approx(expected, abs=1e-5)
    elsewhere = [one.copy() for one in maps]
    for one in elsewhere:
        one[:, 5, 5] += 10
    again = GNetReadout(*fields, readout["w"], readout["b"]).predict(
        np.concatenate([one.ravel() for one in elsewhere])[None]
    )
    assert again[0, 0] == found[0, 0]


def test_torchs_own_pooling_of_the_same_maps(published):
    folder, _, readouts = published
    maps, readout = GNet.from_pretrained(folder).embed(pictures(2)), readouts[5]
    both = [torch.from_numpy(one) for one in np.split(maps, [CHANNELS * 625], axis=1)]
    channels = []
    for field, own in zip(("rf0", "rf1"), both):
        own = own.view(2, CHANNELS, -1)
        own = torch.log(1 + own.abs()) * own.tanh()
        channels.append(torch.einsum("vp,ncp->nvc", functional.softmax(readout[field].flatten(1), dim=1), own))
    features = torch.cat(channels, dim=2)
    features = torch.log(1 + features.abs()) * features.tanh()
    expected = (features * readout["w"]).sum(dim=2) + readout["b"]
    np.testing.assert_allclose(GNetReadout.from_pretrained(folder, 5).predict(maps), expected.numpy(), atol=2e-5)


def test_a_picture_does_not_depend_on_those_beside_it_nor_voxels_on_blocks(published, monkeypatch):
    folder = published[0]
    network, readout = GNet.from_pretrained(folder), GNetReadout.from_pretrained(folder, 1)
    every = readout.predict(network.embed(pictures()))
    alone = np.concatenate([readout.predict(network.embed(one[None])) for one in pictures()])
    np.testing.assert_allclose(alone, every, atol=1e-5)
    monkeypatch.setattr("stages.networks.gnet._VALUES_AT_A_TIME", 3 * 2 * CHANNELS)
    np.testing.assert_allclose(readout.predict(network.embed(pictures())), every, atol=1e-6)


def test_the_published_file_comes_back_tensor_by_tensor(published):
    folder, network, readouts = published
    assert subjects_of(folder) == [1, 5]
    loaded = GNet.from_pretrained(folder)
    assert not loaded.training and {n: tuple(v.shape) for n, v in loaded.named_parameters()} == {
        n: tuple(v.shape) for n, v in network.named_parameters()
    }
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    names = {f"enc.{name}" for name in network.state_dict()}
    names |= {f"fwrfs.{number}.{name}" for number in VOXELS for name in ("rf0", "rf1", "w", "b")}
    assert load_file(folder / "model.safetensors").keys() == names
    readout = GNetReadout.from_pretrained(folder, 5)
    assert readout.n_voxels == 4 and torch.equal(readout.w, readouts[5]["w"])
    with outlines():
        outline = GNet.from_pretrained(folder)
    assert {each.device.type for each in outline.parameters()} == {"meta"}


def test_what_does_not_fit_is_refused(published, tmp_path):
    folder, network, _ = published
    with pytest.raises(InputError, match="no readout of subject 3; expected one of 1, 5"):
        GNetReadout.from_pretrained(folder, 3)
    with pytest.raises(InputError, match="10 values of each picture"):
        GNetReadout.from_pretrained(folder, 1).predict(np.zeros((1, 10), np.float32))
    with pytest.raises(CheckpointError, match="is absent"):
        GNet.from_pretrained(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    for changed, load, said in (
        ({"enc.enc.conv5a.bn1.bias": None}, GNet.from_pretrained, "missing: enc.conv5a.bn1.bias"),
        ({"enc.pre.conv1.0.weight": None}, GNet.from_pretrained, "has no enc.pre.conv1.0.weight"),
        ({"fwrfs.1.b": torch.zeros(9)}, lambda where: GNetReadout.from_pretrained(where, 1), "of subject 1"),
        ({"fwrfs.1.rf1": None}, lambda where: GNetReadout.from_pretrained(where, 1), "of subject 1"),
    ):
        save_file({n: v for n, v in (tensors | changed).items() if v is not None}, tmp_path / "model.safetensors")
        with pytest.raises(CheckpointError, match=said):
            load(tmp_path)
