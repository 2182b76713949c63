"""Features before a network's own head: torchvision's network and transforms, batch norm by statistics and by batch, names."""

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torchvision import transforms
from torchvision.models.resnet import Bottleneck, ResNet

from stages.checkpoints.outlines import outlines
from stages.ground.class_labels import LABELS_FILE, imagenet_labels
from stages.ground.errors import InputError
from stages.networks.bottleneck_resnet import load_bottleneck_resnet
from stages.targets.class_features import ClassFeatures, short_sides_resized
from weights import store
from weights.manifest import CheckpointError

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 60, 45, 3), dtype=np.uint8)


def small_resnet(seed=0, n_classes=1000):
    torch.manual_seed(seed)
    network = ResNet(Bottleneck, [1, 2, 1, 1], num_classes=n_classes, width_per_group=4).eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            # Statistics of no batch.
            torch.nn.init.uniform_(layer.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(layer.running_var, 0.5, 2)
    return network


@pytest.fixture(scope="module")
def network():
    return small_resnet()


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("resnet")
    save_file(network.state_dict(), folder / "resnet50.safetensors")
    return folder


@pytest.fixture(scope="module")
def target(folder):
    return ClassFeatures.from_pretrained(folder, size=64)


def prepared(images, size):
    """As the published notebooks prepare a picture."""
    transform = transforms.Compose(
        [
            transforms.Resize(size),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    return torch.stack([transform(Image.fromarray(one)) for one in images])


@torch.inference_mode()
def test_features_and_head_are_torchvisions_network(target, network):
    logits = network(prepared(IMAGES, 64)).numpy()
    trunk = torch.nn.Sequential(*list(network.children())[:-1])
    features = target.encode(IMAGES)
    assert features.shape == (5, 2048) and (features >= 0).all()
    np.testing.assert_allclose(features, trunk(prepared(IMAGES, 64)).flatten(1).numpy(), atol=1e-5)
    np.testing.assert_allclose(target.logits(features), logits, atol=1e-5)
    likeliest = torch.topk(torch.tensor(logits).softmax(1), 5).indices
    np.testing.assert_array_equal(target.top(features), likeliest)


@pytest.mark.parametrize("shape", [(60, 45), (45, 61), (50, 50), (500, 333)])
def test_the_short_side_is_resized_as_torchvision_does(shape):
    images = np.random.default_rng(1).integers(0, 256, (2, *shape, 3), dtype=np.uint8)
    expected = [np.asarray(transforms.Resize(224)(Image.fromarray(one))) for one in images]
    np.testing.assert_array_equal(short_sides_resized(images, 224), expected)


def test_the_other_pictures_of_a_batch_change_features_in_training_mode_alone(folder, target):
    own, other = IMAGES[:3], IMAGES[[0, 3, 4]]
    np.testing.assert_allclose(target.encode(own)[0], target.encode(other)[0], atol=1e-5)
    training = ClassFeatures.from_pretrained(folder, size=64, batchnorm="train")
    assert np.abs(training.encode(own)[0] - training.encode(other)[0]).max() > 1e-2
    assert training.preprocessing != target.preprocessing


@torch.no_grad()
def test_training_mode_is_torchs_own_on_batches_of_64_in_order(folder, network):
    images = np.random.default_rng(2).integers(0, 256, (70, 32, 32, 3), dtype=np.uint8)
    found = ClassFeatures.from_pretrained(folder, size=32, batchnorm="train")
    # Whatever batch is asked for, and as often as it is asked.
    values = found.encode(images, batch_size=8)
    trunk = torch.nn.Sequential(*list(small_resnet().children())[:-1]).train()
    pictures = prepared(images, 32)
    expected = torch.cat([trunk(pictures[:64]), trunk(pictures[64:])]).flatten(1).numpy()
    np.testing.assert_allclose(values, expected, atol=1e-4 * expected.std(), rtol=1e-4)
    np.testing.assert_array_equal(found.encode(images), values)


def test_classes_are_imagenets_unless_a_file_says_otherwise(target, tmp_path):
    assert target.labels == imagenet_labels() and target.labels[0] == "n01440764 tench, Tinca tinca"
    save_file(small_resnet(n_classes=3).state_dict(), tmp_path / "three.safetensors")
    with pytest.raises(InputError, match=r"no synset_words.txt and its network has 3 classes"):
        ClassFeatures.from_pretrained(tmp_path)
    (tmp_path / LABELS_FILE).write_text("n00000001 one\ntwo\n")
    with pytest.raises(InputError, match="has 2 labels in 2 lines for 3 classes"):
        ClassFeatures.from_pretrained(tmp_path)
    (tmp_path / LABELS_FILE).write_text("n00000001 one\ntwo\nthree\n")
    assert ClassFeatures.from_pretrained(tmp_path).labels == ("n00000001 one", "two", "three")


def test_at_full_size_it_is_torchvisions_resnet_50():
    with torch.device("meta"):
        full = torchvision.models.resnet50(weights=None)
        own = ResNet(Bottleneck, [3, 4, 6, 3], width_per_group=64)
    names = {name: tuple(tensor.shape) for name, tensor in own.state_dict().items()}
    assert names == {name: tuple(tensor.shape) for name, tensor in full.state_dict().items()}
    assert sum(one.numel() for one in full.parameters()) == 25_557_032


def test_an_outline_knows_shapes_and_labels(folder, target):
    with outlines():
        outline = ClassFeatures.from_pretrained(folder, device="meta", size=64)
    assert outline.device.type == "meta" and outline.shape == (2048,) and outline.labels == target.labels
    assert outline.preprocessing == target.preprocessing


def test_a_file_of_another_network_is_refused(tmp_path, network):
    torch.manual_seed(0)
    save_file(torchvision.models.resnet18().state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="not those of a ResNet of bottleneck blocks"):
        load_bottleneck_resnet(tmp_path)
    broken = {name: one for name, one in network.state_dict().items() if name != "layer2.1.bn2.weight"}
    save_file(broken, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match=r"missing: layer2.1.bn2.weight"):
        load_bottleneck_resnet(tmp_path)


def test_the_embedded_network_names_what_it_names_in_its_own_way():
    found = ClassFeatures.from_pretrained(store.path("tiny-evaluation"))
    features = found.encode(IMAGES)
    names = [found.labels[number] for number in found.top(features, 1)[:, 0]]
    assert names == found.network.classify(IMAGES)["category"]
    np.testing.assert_allclose(found.encode(IMAGES, batch_size=1), features, atol=1e-5)
    with pytest.raises(InputError, match="batchnorm is 'train'"):
        ClassFeatures.from_pretrained(store.path("tiny-evaluation"), batchnorm="train")


def test_what_makes_no_sense_is_refused(folder, target):
    with pytest.raises(InputError, match="batchnorm is 'both'"):
        ClassFeatures.from_pretrained(folder, batchnorm="both")
    with pytest.raises(InputError, match="size is 0"):
        ClassFeatures.from_pretrained(folder, size=0)
    with pytest.raises(InputError, match=r"shape \(2, 64\) but the head takes \(n, 2,048\)"):
        target.logits(np.zeros((2, 64)))
