"""Networks of published evaluations: layers against hooks on torchvision's own, and files of the published layout."""

import shutil

import numpy as np
import pytest
import torch
import torchvision

from stages.ground.errors import InputError
from stages.networks.frozen_backbones import AlexNet, EfficientNetB1, InceptionV3, SwAVResNet50, ViTH14
from weights.store import CheckpointError

# Smaller than in any protocol, larger than each network's smallest.
SIZES = {AlexNet: 96, InceptionV3: 107, EfficientNetB1: 64, SwAVResNet50: 64}


def published(network_class):
    """Torchvision's network as torchvision builds it for its own weights, with random ones everywhere."""
    torch.manual_seed(1)
    network = {
        AlexNet: torchvision.models.alexnet,
        InceptionV3: lambda: torchvision.models.inception_v3(transform_input=True, init_weights=False),
        EfficientNetB1: torchvision.models.efficientnet_b1,
        SwAVResNet50: torchvision.models.resnet50,
    }[network_class]()
    norms = [module for module in network.eval().modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, std=0.1)
        norm.momentum = 1.0
        norm.train()
    # Statistics as pictures have them: with those of no picture, deep features lose sight of it.
    with torch.no_grad():
        network(torch.from_numpy(pictures(4, SIZES[network_class], seed=2)))
    return network.eval()


def stored(network_class, network):
    """The network's tensors as the published file names them."""
    state = network.state_dict()
    if network_class is not SwAVResNet50:
        return state
    trunk = {f"module.{name}": value for name, value in state.items() if not name.startswith("fc.")}
    head = {"0.weight": (2048, 2048), "0.bias": (2048,), "1.running_mean": (2048,), "3.weight": (128, 2048)}
    extra = {f"module.projection_head.{name}": torch.zeros(shape) for name, shape in head.items()}
    return trunk | extra | {"module.prototypes.weight": torch.zeros(3000, 128)}


def hooked(network, layer, batch):
    """What a module gives, flattened."""
    caught = []
    handle = network.get_submodule(layer).register_forward_hook(lambda *call: caught.append(call[2].detach().clone()))
    with torch.no_grad():
        network(batch)
    handle.remove()
    return caught[0].flatten(1).numpy()


def pictures(n, size, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 3, size, size)).astype(np.float32)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Each class: torchvision's network, and the folder of its file."""
    found = {}
    for network_class in SIZES:
        folder = tmp_path_factory.mktemp(network_class.__name__)
        network = published(network_class)
        torch.save(stored(network_class, network), folder / "published-01234567.pth")
        found[network_class] = network, folder
    yield found
    for _, folder in found.values():
        shutil.rmtree(folder)  # half a gigabyte together


@pytest.mark.parametrize("network_class, layer", [(each, layer) for each in SIZES for layer in each.layers])
def test_features_are_what_torchvisions_layer_gives(checkpoints, network_class, layer):
    network, folder = checkpoints[network_class]
    batch = pictures(3, SIZES[network_class])
    expected = hooked(network, layer, torch.from_numpy(batch))
    ours = network_class.from_pretrained(folder, layer).embed(batch)
    assert ours.dtype == np.float32 and ours.shape == expected.shape
    assert np.abs(expected[0] - expected[1]).max() > 1e-3 * np.abs(expected).max()  # the features see the picture
    np.testing.assert_allclose(ours, expected, atol=1e-5 * np.abs(expected).max())


def test_a_relu_that_works_in_place_does_not_reach_into_the_layer_before():
    network = AlexNet.random("features.4")
    batch = pictures(2, 96)
    relu, pooled = network.embed(batch), AlexNet.random("features.5").embed(batch)
    maps = torch.from_numpy(relu).reshape(2, 192, 11, 11)
    np.testing.assert_array_equal(torch.nn.functional.max_pool2d(maps, 3, 2).flatten(1).numpy(), pooled)


def test_random_networks_follow_their_seed_and_leave_the_global_generator_alone():
    batch = pictures(1, 64)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (EfficientNetB1.random("avgpool", seed).embed(batch) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


def test_features_do_not_depend_on_the_batch_beyond_rounding():
    network, batch = AlexNet.random("features.11"), pictures(35, 64)  # more than one batch
    together = network.embed(batch)
    alone = np.concatenate([network.embed(batch[row : row + 1]) for row in range(35)])
    np.testing.assert_allclose(together, alone, atol=1e-5 * np.abs(alone).max())
    assert network.embed(torch.from_numpy(batch[:0])).shape == (0, together.shape[1])


def test_two_layers_share_the_weights_of_one_file(checkpoints):
    _, folder = checkpoints[AlexNet]
    one, other = (AlexNet.from_pretrained(folder, layer) for layer in ("features.4", "features.11"))
    pointers = [next(network._extractor.parameters()).data_ptr() for network in (one, other)]
    assert pointers[0] == pointers[1]


def test_a_file_that_was_replaced_is_read_again(checkpoints, tmp_path):
    network, _ = checkpoints[AlexNet]
    path, batch = tmp_path / "a.pth", pictures(1, 64)
    torch.save(network.state_dict(), path)
    first = AlexNet.from_pretrained(tmp_path, "features.4")
    torch.save({name: -value for name, value in network.state_dict().items()} | {"spare": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="unexpected: spare"):
        AlexNet.from_pretrained(tmp_path, "features.4")
    assert first.embed(batch).max() > 0


def test_files_from_before_the_counters_of_batch_norm_are_read(checkpoints, tmp_path):
    network, folder = checkpoints[InceptionV3]
    old = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert len(old) < len(network.state_dict())
    torch.save(old, tmp_path / "old.pth")
    batch = pictures(1, 107)
    expected = InceptionV3.from_pretrained(folder, "avgpool").embed(batch)
    np.testing.assert_array_equal(InceptionV3.from_pretrained(tmp_path, "avgpool").embed(batch), expected)


def changed(state, change):
    change(state)
    return state


@pytest.mark.parametrize(
    "network_class, change, words",
    [
        (AlexNet, lambda state: state.pop("features.3.weight"), "missing: features.3.weight"),
        (AlexNet, lambda state: state.update(more=torch.zeros(1)), "unexpected: more"),
        (
            AlexNet,
            lambda state: state.update({"features.0.weight": torch.zeros(64, 3, 7, 7)}),
            r"features.0.weight \(64, 3, 7, 7\) instead of \(64, 3, 11, 11\)",
        ),
        (InceptionV3, lambda state: state.pop("AuxLogits.fc.weight"), "missing: AuxLogits.fc.weight"),
        (SwAVResNet50, lambda state: state.pop("module.layer4.2.bn3.running_var"), "missing: layer4.2.bn3.running_var"),
        (SwAVResNet50, lambda state: state.update({"module.fc.weight": torch.zeros(1)}), "unexpected: fc.weight"),
        (SwAVResNet50, lambda state: state.clear(), "holds nothing, but named tensors were expected"),
    ],
)
def test_every_tensor_is_accounted_for(checkpoints, tmp_path, network_class, change, words):
    network, _ = checkpoints[network_class]
    torch.save(changed(dict(stored(network_class, network)), change), tmp_path / "broken.pth")
    with pytest.raises(CheckpointError, match=words) as caught:
        network_class.from_pretrained(tmp_path, network_class.layers[0])
    assert "\n" not in str(caught.value) and "broken.pth" in str(caught.value)


def test_another_networks_file_is_refused(checkpoints):
    with pytest.raises(CheckpointError, match="do not fit EfficientNetB1.*missing.*unexpected"):
        EfficientNetB1.from_pretrained(checkpoints[AlexNet][1], "avgpool")


@pytest.mark.parametrize(
    "network_class, batch, words",
    [
        (AlexNet, np.zeros((1, 3, 40, 70), np.float32), "at least 63"),
        (InceptionV3, np.zeros((1, 3, 74, 74), np.float32), "at least 75"),
        (AlexNet, np.zeros((1, 64, 64, 3), np.float32), r"\(1, 64, 64, 3\).*\(n, 3, height, width\)"),
        (AlexNet, np.zeros((1, 3, 64, 64), np.uint8), "uint8"),
        (AlexNet, np.zeros((1, 3, 64, 64)), "float64"),
        (AlexNet, np.zeros((3, 64, 64), np.float32), "float32 of shape"),
    ],
)
def test_pictures_that_are_not_prepared_are_refused(network_class, batch, words):
    with pytest.raises(InputError, match=words):
        network_class.random(network_class.layers[0]).embed(batch)


def test_the_smallest_pictures_are_just_large_enough():
    for network_class in SIZES:
        size = network_class.smallest
        assert np.isfinite(network_class.random(network_class.layers[0]).embed(pictures(1, size))).all()


def test_a_layer_that_is_not_read_is_refused_before_any_file(tmp_path):
    for attempt in (lambda: AlexNet.random("features.3"), lambda: AlexNet.from_pretrained(tmp_path, "features.3")):
        with pytest.raises(InputError, match="'features.3'.*features.4, features.5"):
            attempt()


def test_vit_h_14_is_torchvisions_and_takes_one_size(tmp_path, monkeypatch):
    with torch.device("meta"):
        whole = ViTH14._build()
    assert (
        sum(one.numel() for one in whole.parameters()) == torchvision.models.ViT_H_14_Weights.DEFAULT.meta["num_params"]
    )
    assert whole.heads.head.out_features == 1000 and whole.seq_length == (518 // 14) ** 2 + 1
    # The rest with one narrow layer.
    small = {"image_size": 518, "patch_size": 74, "num_layers": 1, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 8}
    torch.manual_seed(0)
    theirs = torchvision.models.VisionTransformer(**small).eval()
    torch.nn.init.normal_(theirs.heads.head.weight)
    torch.save(theirs.state_dict(), tmp_path / "vit-01234567.pth")
    monkeypatch.setattr(ViTH14, "_build", staticmethod(lambda: torchvision.models.VisionTransformer(**small)))
    judge, batch = ViTH14.from_pretrained(tmp_path, "heads"), pictures(2, 518)
    with torch.no_grad():
        wanted = theirs(torch.from_numpy(batch)).numpy()
    np.testing.assert_allclose(judge.embed(batch), wanted, atol=1e-5)
    for size in (224, 532):
        with pytest.raises(InputError):
            judge.embed(pictures(1, size))
    # Strictly: another head is another network.
    state = theirs.state_dict() | {"heads.head.weight": torch.zeros(10, 8)}
    torch.save(state, tmp_path / "vit-01234567.pth")
    with pytest.raises(CheckpointError):
        ViTH14.from_pretrained(tmp_path, "heads")
