"""Comparators: layers, preparation and files of each, against torchvision's networks and the layers written out."""

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch.nn import functional

from stages.ground.errors import InputError
from stages.judges.comparators import load_comparator
from stages.networks.caffenet import CaffeNet
from stages.networks.evaluation_network import EvaluationNetwork
from weights import store
from weights.store import CheckpointError


@pytest.fixture(scope="module")
def greys():
    return torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (2, 3, 227, 227)).astype(np.float32))


def state_of(network, seed=0):
    random = torch.Generator().manual_seed(seed)
    return {name: 0.05 * torch.randn(value.shape, generator=random) for name, value in network.state_dict().items()}


@pytest.mark.parametrize("name", ["alexnet", "vgg19"])
def test_torchvisions_networks_up_to_the_last_pooling(tmp_path, greys, name):
    build = {"alexnet": torchvision.models.alexnet, "vgg19": torchvision.models.vgg19}[name]
    with torch.device("meta"):
        network = build(weights=None)
    state = state_of(network)
    if name == "vgg19":  # a quarter of a gigabyte of full layers that are not read
        state = {key: value[:1].clone() if key.startswith("classifier") else value for key, value in state.items()}
        features = network.features
        features.load_state_dict(
            {key[9:]: value for key, value in state.items() if key.startswith("features.")}, assign=True
        )
    else:
        network.load_state_dict(state, assign=True)
    torch.save(state, tmp_path / f"{name}.pth")
    greys = greys[:1, :, :64, :64]
    mean, deviation = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        expected = network.features((greys / 255 - mean) / deviation)
        torch.testing.assert_close(load_comparator(name, tmp_path)(greys), expected.flatten(1))


def test_caffenet_vs_the_layers_written_out(tmp_path, greys):
    state = state_of(CaffeNet(last="pool5"))
    save_file(
        state | {"fc6.weight": torch.zeros(4, 9216), "fc8.bias": torch.zeros(1000)}, tmp_path / "model.safetensors"
    )

    def pooled(maps):
        """Largest of 3 x 3, every second; what sticks out counts."""
        side = maps.shape[-1]
        size = -(-(side - 3) // 2) + 1
        rows = [maps[..., 2 * i : 2 * i + 3, :].amax(-2) for i in range(size)]
        return torch.stack(
            [torch.stack([row[..., 2 * j : 2 * j + 3].amax(-1) for j in range(size)], -1) for row in rows], -2
        )

    def normalised(maps):
        """Divided by (1 + 1e-4 / 5 * squares of five neighbouring channels) ** 0.75."""
        squares = functional.pad(maps**2, (0, 0, 0, 0, 2, 2))
        return maps / (1 + 1e-4 / 5 * sum(squares[:, k : k + maps.shape[1]] for k in range(5))) ** 0.75

    def convolved(maps, name, groups=1, **options):
        parts = maps.chunk(groups, 1), state[f"{name}.weight"].chunk(groups), state[f"{name}.bias"].chunk(groups)
        return torch.relu(torch.cat([functional.conv2d(m, w, b, **options) for m, w, b in zip(*parts)], 1))

    hidden = greys[:, [2, 1, 0]] - torch.tensor([104.0, 117.0, 123.0]).reshape(1, 3, 1, 1)
    hidden = normalised(pooled(convolved(hidden, "conv1", stride=4)))
    hidden = normalised(pooled(convolved(hidden, "conv2", 2, padding=2)))
    hidden = convolved(hidden, "conv3", padding=1)
    hidden = convolved(hidden, "conv4", 2, padding=1)
    expected = pooled(convolved(hidden, "conv5", 2, padding=1))
    assert expected.shape[1:] == (256, 6, 6)
    with torch.no_grad():
        found = load_comparator("caffenet", tmp_path)(greys)
    # Grey levels of 255 through five layers of sums.
    assert (found - expected.flatten(1)).abs().max() < 1e-4 * expected.abs().max()


def test_the_evaluation_networks_maps(greys):
    folder = store.path("tiny-evaluation")
    network = EvaluationNetwork.from_pretrained(folder)
    small = greys[..., :64, :64]
    with torch.no_grad():
        expected = network.trunk(small / 255 * 2 - 1).flatten(1)
        torch.testing.assert_close(load_comparator("evaluation", folder)(small), expected)
        assert load_comparator("evaluation", folder)(greys).shape == expected.shape


@pytest.mark.parametrize("name", ["caffenet", "alexnet", "evaluation"])
def test_comparators_are_frozen_and_pass_gradients_to_pictures(name, greys):
    comparator = load_comparator(name, store.path("tiny-evaluation") if name == "evaluation" else None)
    comparator.train()
    assert not any(parameter.requires_grad for parameter in comparator.parameters())
    assert not any(module.training for module in comparator.modules())
    pictures = greys[..., :64, :64].clone().requires_grad_()
    comparator(pictures).square().sum().backward()
    assert pictures.grad.abs().sum() > 0


def test_random_weights_follow_their_seed_and_keep_the_spread(greys):
    small = greys[..., :64, :64]
    first, again, other = (load_comparator("alexnet", seed=seed)(small) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == (2, 256)
    for name in ("alexnet", "caffenet"):
        assert 0.1 < load_comparator(name)(small).std() < 10, name


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(InputError, match="no comparator 'resnet'; expected one of caffenet, alexnet"):
        load_comparator("resnet")
    with pytest.raises(InputError, match="name its checkpoint, tiny-evaluation"):
        load_comparator("evaluation")
    state = state_of(CaffeNet(last="pool5"))
    del state["conv3.bias"]
    save_file(state | {"conv9.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="missing: conv3.bias; unexpected: conv9.weight"):
        load_comparator("caffenet", tmp_path)
