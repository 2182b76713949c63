"""CaffeNet: every layer against its formula, published sizes, and files of it."""

import numpy as np
import pytest
import torch
from random_caffenet import save_caffenet
from safetensors.torch import save_file
from torch.nn import functional

from stages.ground.errors import InputError
from stages.networks.caffenet import CONVOLUTIONS, FULL, LAYERS, CaffeNet, CaffeNetConfig, load_caffenet
from weights.manifest import CheckpointError

SIDE = 70


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("caffenet")


@pytest.fixture(scope="module")
def state(folder):
    return save_caffenet(folder)


@pytest.fixture(scope="module")
def greys():
    return torch.from_numpy(np.random.default_rng(0).normal(0, 60, (2, 3, SIDE, SIDE)).astype(np.float32))


def written_out(greys, state):
    """All layers: pooling of three by three whose last window may stick out, then division by five neighbouring channels."""

    def pooled(maps):
        side = maps.shape[-1]
        places = range(-(-(side - 3) // 2) + 1)
        rows = [maps[..., 2 * row : 2 * row + 3, :].amax(-2) for row in places]
        return torch.stack(
            [torch.stack([row[..., 2 * j : 2 * j + 3].amax(-1) for j in places], -1) for row in rows], -2
        )

    def normalised(maps):
        squares = functional.pad(maps**2, (0, 0, 0, 0, 2, 2))
        return maps / (1 + 1e-4 / 5 * sum(squares[:, k : k + maps.shape[1]] for k in range(5))) ** 0.75

    x, found = greys, {}
    for number in range(1, 6):
        name, groups = f"conv{number}", 2 if number in (2, 4, 5) else 1
        options = {"stride": 4} if number == 1 else {"padding": 2 if number == 2 else 1}
        parts = zip(
            *(
                one.chunk(groups, axis)
                for one, axis in ((x, 1), (state[f"{name}.weight"], 0), (state[f"{name}.bias"], 0))
            )
        )
        found[name] = torch.cat([functional.conv2d(*part, **options) for part in parts], 1)
        x = found[f"relu{number}"] = found[name].clamp(min=0)
        if number in (1, 2, 5):
            x = found[f"pool{number}"] = pooled(x)
        if number in (1, 2):
            x = found[f"norm{number}"] = normalised(x)
    x = x.flatten(1)
    for number in (6, 7, 8):
        found[f"fc{number}"] = x @ state[f"fc{number}.weight"].T + state[f"fc{number}.bias"]
        x = found[f"relu{number}"] = found[f"fc{number}"].clamp(min=0)
    del found["relu8"]
    return found


def test_every_layer_vs_its_formula(folder, state, greys):
    network = load_caffenet(folder)
    assert network.config.picture == SIDE
    found, expected = network(greys, LAYERS), written_out(greys, state)
    assert found.keys() == expected.keys()
    for layer, values in expected.items():
        assert found[layer].shape == values.shape == (2, *network.config.shape(layer)), layer
        torch.testing.assert_close(found[layer], values, atol=1e-4 * float(values.abs().max()), rtol=1e-4, msg=layer)


def test_published_sizes():
    """The numbers of Caffe's own prototxt: parameters of the model, and units of the eight layers that are decoded."""
    with torch.device("meta"):
        network = CaffeNet()
    assert sum(value.numel() for value in network.parameters()) == 60_965_224
    sizes = [int(np.prod(network.config.shape(layer))) for layer in (*CONVOLUTIONS, *FULL)]
    assert sizes == [290_400, 186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]


def test_loaded_up_to_a_layer_it_gives_the_same_and_reads_no_more(folder, state, greys):
    whole, cut = load_caffenet(folder), load_caffenet(folder, "conv4")
    assert set(dict(cut.named_parameters())) == {f"conv{n}.{kind}" for n in range(1, 5) for kind in ("weight", "bias")}
    assert torch.equal(cut(greys, ("conv2", "conv4"))["conv4"], whole(greys, ("conv4",))["conv4"])
    with pytest.raises(InputError, match="fc8 is asked for, but the network was loaded up to conv4"):
        cut(greys, ("fc8",))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("fc7.bias"), "missing: fc7.bias"),
        (lambda state: state.update({"conv9.weight": torch.zeros(1)}), "unexpected: conv9.weight"),
        (lambda state: state.update({"fc7.weight": torch.zeros(3, 3)}), "misshapen: fc7.weight"),
    ],
)
def test_files_that_do_not_fit_are_refused(state, tmp_path, change, said):
    changed = dict(state)
    change(changed)
    save_file(changed, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=said):
        load_caffenet(tmp_path)
    with pytest.raises(CheckpointError, match="absent"):
        load_caffenet(tmp_path / "elsewhere")


@pytest.mark.parametrize("settings", [{"channels": (2, 4, 6, 6)}, {"channels": (1, 4, 6, 6, 4)}, {"picture": 20}])
def test_sizes_that_make_no_network_are_refused(settings):
    with pytest.raises(InputError):
        CaffeNetConfig(**settings)
