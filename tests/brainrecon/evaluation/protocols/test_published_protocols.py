"""Published protocols: nobody changes one, and what they do to pictures is what the published code does.

The published chains are written out by hand here, with Pillow, torchvision and hooks on whole networks.
"""

import functools
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torchvision
from PIL import Image
from skimage.color import rgb2gray
from skimage.metrics import structural_similarity
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from brainrecon.evaluation.metrics.metric import METRICS
from brainrecon.evaluation.protocols.protocol import available, load_protocol
from brainrecon.evaluation.views.networks import load_network
from brainrecon.evaluation.views.resize_and_crop import prepare, resize_pictures
from weights import store
from weights.manifest import write_manifest

# Whoever changes one of these gives the changed protocol another name: scores were saved under the old one.
SHA256 = {
    "brain-diffuser-2023": "7cb4e595666e3e5929019935c912349f78e80b129813d5100e69f050c055cacb",
    "brain-diffuser-2023-columns": "0e876462a4b65a3800742c814acf72f56c82a6faa469a2ec24629433b1f91426",
    "brainhub-2024": "caab120f4fafaa00ae2a9da92cfca203ed92b354b3ed1f5b6716bd27b9484f12",
    "dbdm-2023": "c022e6a2e91eae43efa4d048f4a093cd14250385bdc50ff0797fc527e90794bb",
    "ferrante-2022": "884b2b9c675ea746bc6b3318e6592ce2df3ba6f23811b927ad7ab77e1d476624",
    "horikawa-2017": "6533f1f8ea02a607686281fff256c3d01592d20fd21623898263bbde0f52a72a",
    "mindeye-2023": "d0f9ff887ca977e975af35a633c9fb628202e9091936845056bed386ebf98e25",
    "mindeye-2023-pools": "2192b9ba8323f6a95bd1878c69e461d136781a32460e24827ba79b7bcb6d4465",
    "mindeye2-2024": "6cad38e11eb1ba677727ac685fee7dd44a09ab7bbf86d43179c5c481c825dc1e",
    "mindeye2-2024-brain": "e41ba7811459b518cad7428e416c207631c02058c1357d6da1d0cc392a3baee9",
    "mindvis-2023": "79e23682a27c6a0c186f81770bb869afe8a86454f88b779cc659a33887d87e75",
    "miyawaki-2008": "356a72ce482a41abed4854219a6a49a231fe87008a71eefc4c0b50fa12702c3c",
    "miyawaki-2008-identification": "4a537a43137fcbc84d36a742163b5f6473078c6e20403aa832c0c6a649af5045",
    "shen-2019": "dd33766997ad95bf3cfe20c5d20d387a2fee1a1639502dba58d8a635df1813f4",
    "takagi-2023": "bee400a6bf1c65f24866239cb9afb308176b1d46e4da11b1cf220e295ca9ae08",
    "vanrullen-2019": "49e1853d35e2762c955b9497ce0042d90b9d2e0ddeba7995fa8cf7bbb4bf72a1",
}

IMAGENET = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
CLIP = transforms.Normalize([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])


def test_no_published_protocol_changed():
    published = {name for name in available() if not name.startswith("brainrecon-1")}
    assert {name: load_protocol(name).sha256 for name in published} == SHA256


@pytest.mark.parametrize("name", SHA256)
def test_a_protocol_says_where_it_is_from_and_what_is_not_known(name):
    protocol = load_protocol(name)
    assert protocol.name == name and protocol.source and protocol.description
    assert all(spec.label != spec.name and spec.description for spec in protocol.columns.values())
    assert all(spec.label != spec.name and spec.description for spec in protocol.retrieval.values())
    path = Path(load_protocol.__code__.co_filename).parent / f"{name}.toml"
    comment = path.read_text(encoding="utf-8").split("\n\nname =")[0]
    assert comment.startswith("#") and "Not known" in comment and "Fixed" in comment.replace("Read in", "Fixed")


@pytest.mark.parametrize("name", SHA256)
def test_every_checkpoint_is_in_the_manifest_and_said_to_be_for_scoring(name):
    for spec in load_protocol(name).networks.values():
        assert "evaluate" in store.checkpoints()[spec.checkpoint].needed_by


def test_files_are_called_what_torchvision_calls_them():
    models = torchvision.models
    urls = {
        "alexnet-imagenet1k-v1": models.AlexNet_Weights.IMAGENET1K_V1.url,
        "inception-v3-imagenet1k-v1": models.Inception_V3_Weights.IMAGENET1K_V1.url,
        "efficientnet-b1-imagenet1k-v1": models.EfficientNet_B1_Weights.IMAGENET1K_V1.url,
        "efficientnet-b1-imagenet1k-v2": models.EfficientNet_B1_Weights.IMAGENET1K_V2.url,
    }
    for name, url in urls.items():
        entry = store.checkpoints()[name]
        assert entry.origin == url and [file.path for file in entry.files] == [url.rsplit("/", 1)[1]]


def test_the_two_weights_of_efficientnet_have_two_names():
    first, second = (load_protocol(name) for name in ("brain-diffuser-2023", "mindeye-2023"))
    assert first.networks["efficientnet"].checkpoint != second.networks["efficientnet"].checkpoint
    assert "efficientnet_b1_v1" in first.metrics and "efficientnet_b1_v2" not in first.metrics
    assert "efficientnet_b1_v2" in second.metrics and "efficientnet_b1_v1" not in second.metrics


def test_mindeye2_is_mindeye_on_another_test_set():
    first, second = (load_protocol(name) for name in ("mindeye-2023", "mindeye2-2024"))
    assert (first.test_set.n_stimuli, second.test_set.n_stimuli) == (982, 1000)
    for key in ("resize", "networks", "metrics", "embeddings"):
        assert first.content[key] == second.content[key]


def test_dbdms_networks_are_brain_diffusers():
    own, other = (load_protocol(name) for name in ("dbdm-2023", "brain-diffuser-2023"))
    assert own.networks == {name: other.networks[name] for name in ("inception", "clip", "swav")}
    assert {spec.measure for spec in own.metrics.values()} == {"correlation_distance"}


def test_a_protocol_with_pools_is_mindeye_in_everything_else():
    base, pools = (load_protocol(name) for name in ("mindeye-2023", "mindeye-2023-pools"))
    assert pools.based_on == base.name and pools.embeddings == {} and base.retrieval == {}
    for key in ("resize", "networks", "metrics", "test_set", "headline", "low_level"):
        assert base.content[key] == pools.content[key]
    for name, spec in base.embeddings.items():
        own = pools.retrieval[name]
        assert (own.target, own.similarity, own.pool, own.top_k) == (
            spec.target,
            spec.similarity,
            spec.n_way,
            spec.top_k,
        )
    assert {(spec.pool, spec.repeats) for spec in pools.retrieval.values()} == {(300, 30), (None, 1)}


def scenes(n, size, seed):
    """Pictures with flat parts, edges, gradients and noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size] / size
    pictures = np.empty((n, size, size, 3), dtype=np.uint8)
    for picture in pictures:
        colours = 255 * (rows[..., None] * rng.random(3) + columns[..., None] * rng.random(3)) / 2
        top, left = rng.integers(0, size // 2, 2)
        colours[top : top + size // 3, left : left + size // 3] = rng.integers(0, 256, 3)
        picture[:] = np.clip(colours + rng.normal(0, 20, colours.shape), 0, 255)
    return pictures


SHOWN, DRAWN = scenes(2, 425, 0), scenes(2, 512, 1)


def pixels(name, metric, pictures):
    """A metric's pictures, as scoring prepares them."""
    protocol = load_protocol(name)
    steps = [step for step in (protocol.resize, protocol.metrics[metric].resize) if step is not None]
    return resize_pictures(pictures, steps)


def score(name, metric):
    spec = load_protocol(name).metrics[metric]
    return METRICS[spec.measure].function(pixels(name, metric, SHOWN), pixels(name, metric, DRAWN), **spec.options)


def published_pixels(name):
    """Shown and drawn pictures in 0..1 at 425 px as the code of a protocol has them before PixCorr and SSIM."""
    if name.startswith("brain-diffuser-2023"):
        drawn = [np.array(Image.fromarray(picture).resize((425, 425))) for picture in DRAWN]
        return SHOWN / 255.0, np.stack(drawn) / 255.0
    first, second = (transforms.Resize(size, antialias=False) for size in ((256, 256), 425))
    return tuple(
        second(first(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255)).permute(0, 2, 3, 1).double().numpy()
        for pictures in (SHOWN, DRAWN)
    )


# Which axis of a grey picture the scikit-image of a protocol's environment takes for channels.
CHANNELS = {"ssim": None, "ssim_columns": -1}


@pytest.mark.parametrize(
    "name", ["brain-diffuser-2023", "brain-diffuser-2023-columns", "mindeye-2023", "mindeye2-2024"]
)
def test_pixcorr_and_ssim_are_those_of_the_published_code(name):
    pairs = list(zip(*published_pixels(name), strict=True))
    correlations = [np.corrcoef(shown.reshape(1, -1), drawn.reshape(1, -1))[0, 1] for shown, drawn in pairs]
    np.testing.assert_allclose(score(name, "pixcorr"), correlations, atol=1e-6)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    for metric in CHANNELS.keys() & load_protocol(name).metrics:
        similarities = [
            structural_similarity(rgb2gray(drawn), rgb2gray(shown), channel_axis=CHANNELS[metric], **options)
            for shown, drawn in pairs
        ]
        np.testing.assert_allclose(score(name, metric), similarities, atol=1e-6)


def test_ssim_of_columns_is_in_the_protocol_whose_environment_computes_it_and_in_no_other():
    assert [name for name in available() if "ssim_columns" in load_protocol(name).metrics] == [
        "brain-diffuser-2023-columns"
    ]
    base, own = (load_protocol(name) for name in ("brain-diffuser-2023", "brain-diffuser-2023-columns"))
    assert own.based_on == base.name and list(own.metrics) == [*base.metrics, "ssim_columns"]
    for key in ("networks", "test_set", "headline", "low_level"):
        assert base.content[key] == own.content[key]


def test_the_preparations_of_the_protocols_are_not_interchangeable():
    assert np.abs(score("brain-diffuser-2023", "ssim") - score("mindeye-2023", "ssim")).max() > 1e-3


def test_patterns_of_cells_survive_being_enlarged():
    cells = np.random.default_rng(0).integers(0, 2, (3, 10, 10)).astype(np.uint8) * 255
    enlarged = cells.repeat(25, axis=1).repeat(25, axis=2)[..., None].repeat(3, axis=3)
    protocol = load_protocol("miyawaki-2008")
    back = resize_pictures(enlarged, protocol.resize)
    np.testing.assert_allclose(back[..., 0] * 255, cells, atol=1e-3)
    for name in ("binary_accuracy", "binary_precision", "binary_recall", "binary_f1", "pixcorr"):
        spec = protocol.metrics[name]
        assert spec.metric.function(back, back, **spec.options) == pytest.approx([1, 1, 1])
    flipped = back.copy()
    flipped[0, 0, :5] = 1 - flipped[0, 0, :5]
    spec = protocol.metrics["binary_accuracy"]
    assert spec.metric.function(back, flipped, **spec.options) == pytest.approx([0.95, 1, 1])


# What each published script does to one 8-bit picture before a network, and which module it reads. None: what CLIP's
# image tower returns.


def pillow_then(size, normalise, interpolation=InterpolationMode.BILINEAR):
    """Resize a Pillow picture, crop its middle, then make it a tensor."""
    return transforms.Compose(
        [
            Image.fromarray,
            transforms.Resize(size, interpolation),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            normalise,
        ]
    )


def tensors_then(size, normalise):
    """Make it a tensor of 256 px, as all pictures are before any metric, then resize that, without antialiasing."""
    return transforms.Compose(
        [
            transforms.ToTensor(),
            transforms.Resize((256, 256), antialias=False),
            transforms.Resize(size, InterpolationMode.BILINEAR, antialias=False),
            normalise,
        ]
    )


CHAINS = {
    ("brain-diffuser-2023", "alexnet2"): (pillow_then(224, IMAGENET), "alexnet-imagenet1k-v1", "features.4"),
    ("brain-diffuser-2023", "alexnet5"): (pillow_then(224, IMAGENET), "alexnet-imagenet1k-v1", "features.11"),
    ("brain-diffuser-2023", "inception"): (pillow_then(224, IMAGENET), "inception-v3-imagenet1k-v1", "avgpool"),
    ("brain-diffuser-2023", "clip"): (pillow_then(224, CLIP), "clip-vit-l-14-quickgelu", None),
    ("brain-diffuser-2023", "efficientnet"): (pillow_then(224, IMAGENET), "efficientnet-b1-imagenet1k-v1", "avgpool"),
    ("brain-diffuser-2023", "swav"): (pillow_then(224, IMAGENET), "swav-resnet50-800ep", "avgpool"),
    ("mindeye-2023", "alexnet2"): (tensors_then(256, IMAGENET), "alexnet-imagenet1k-v1", "features.4"),
    ("mindeye-2023", "alexnet5"): (tensors_then(256, IMAGENET), "alexnet-imagenet1k-v1", "features.11"),
    ("mindeye-2023", "inception"): (tensors_then(342, IMAGENET), "inception-v3-imagenet1k-v1", "avgpool"),
    ("mindeye-2023", "clip"): (tensors_then(224, CLIP), "clip-vit-l-14-quickgelu", None),
    ("mindeye-2023", "efficientnet"): (tensors_then(255, IMAGENET), "efficientnet-b1-imagenet1k-v2", "avgpool"),
    ("mindeye-2023", "swav"): (tensors_then(224, IMAGENET), "swav-resnet50-800ep", "avgpool"),
    ("takagi-2023", "alexnet_pool2"): (pillow_then(299, IMAGENET), "alexnet-imagenet1k-v1", "features.5"),
    ("takagi-2023", "alexnet_pool5"): (pillow_then(299, IMAGENET), "alexnet-imagenet1k-v1", "features.12"),
    ("takagi-2023", "alexnet_fc7"): (pillow_then(299, IMAGENET), "alexnet-imagenet1k-v1", "classifier.5"),
    ("takagi-2023", "inception"): (pillow_then(299, IMAGENET), "inception-v3-imagenet1k-v1", "avgpool"),
    ("takagi-2023", "clip"): (
        pillow_then(224, CLIP, InterpolationMode.BICUBIC),
        "clip-vit-l-14-quickgelu",
        None,
    ),
}


def test_every_network_of_the_published_protocols_has_its_chain_here():
    # These have the networks of mindeye-2023 or of brain-diffuser-2023, as other tests here hold, and GNet, which has its own.
    # That of mindvis-2023 is held to torchvision's transforms beside its scores.
    based = {"mindeye2-2024", "mindeye2-2024-brain", "mindeye-2023-pools", "brain-diffuser-2023-columns", "dbdm-2023"}
    based |= {"mindvis-2023"}
    others = set(SHA256) - based
    assert {(name, one) for name in others for one in load_protocol(name).networks} == set(CHAINS)


@pytest.mark.parametrize("name, network", CHAINS)
@pytest.mark.parametrize("pictures", [SHOWN, DRAWN], ids=["shown", "drawn"])
def test_a_network_gets_what_the_published_code_gives_it(name, network, pictures):
    protocol = load_protocol(name)
    prepared = prepare(pictures, protocol.resize, protocol.networks[network].preparation)
    expected = torch.stack([CHAINS[name, network][0](picture) for picture in pictures]).numpy()
    assert prepared.shape == expected.shape
    np.testing.assert_allclose(prepared, expected, atol=3e-6)


def alive(network):
    """Statistics of batch norm as pictures have them; with those of no picture, deep features lose sight of it."""
    norms = [module for module in network.eval().modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, std=0.1)
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        network(torch.stack([pillow_then(224, IMAGENET)(picture) for picture in scenes(4, 225, 2)]))
    return network.eval()


@pytest.fixture(scope="module")
def published_networks(tmp_path_factory, save_archive):
    """Full-size networks with random weights, by checkpoint; their files, as published, lie in the user's store."""
    folder, known = tmp_path_factory.mktemp("store"), store.checkpoints()
    torch.manual_seed(0)
    inception = functools.partial(torchvision.models.inception_v3, transform_input=True, init_weights=False)
    builders = {
        "alexnet-imagenet1k-v1": torchvision.models.alexnet,
        "inception-v3-imagenet1k-v1": inception,
        "efficientnet-b1-imagenet1k-v1": torchvision.models.efficientnet_b1,
        "efficientnet-b1-imagenet1k-v2": torchvision.models.efficientnet_b1,
        "swav-resnet50-800ep": torchvision.models.resnet50,
    }
    networks = {name: alive(build()) for name, build in builders.items()}
    for name, network in networks.items():
        state = network.state_dict()
        if name.startswith("swav"):
            state = {f"module.{key}": value for key, value in state.items() if not key.startswith("fc.")}
            state |= {
                "module.projection_head.0.weight": torch.zeros(2048, 2048),
                "module.prototypes.weight": torch.ones(1),
            }
        path = folder / known[name].folder / known[name].files[0].path
        path.parent.mkdir()
        torch.save(state, path)

    clip = open_clip.create_model("ViT-L-14-quickgelu", pretrained=None).eval()
    for parameter in clip.parameters():
        parameter.data = parameter.data.half().float()
    (folder / known["clip-vit-l-14-quickgelu"].folder).mkdir()
    state = {key: value for key, value in clip.state_dict().items() if key.startswith(("visual.", "logit_scale"))}
    save_archive(state, folder / known["clip-vit-l-14-quickgelu"].folder / "ViT-L-14.pt")
    networks["clip-vit-l-14-quickgelu"] = clip

    # The manifest knows the hash of the published CLIP, which random weights do not have.
    known["clip-vit-l-14-quickgelu"] = replace(
        known["clip-vit-l-14-quickgelu"], files=(store.CheckpointFile("ViT-L-14.pt"),)
    )
    manifest = folder / "manifest.toml"
    write_manifest(known, manifest)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRAINRECON_WEIGHTS", str(folder))
        patch.setattr(store, "path", functools.partial(store.path, manifest=manifest))
        yield networks
    shutil.rmtree(folder)  # more than a gigabyte


def published_features(network, module, batch):
    """What a script's hook catches."""
    with torch.no_grad():
        if module is None:
            return network.encode_image(batch).numpy()
        caught = []
        handle = network.get_submodule(module).register_forward_hook(lambda *call: caught.append(call[2].clone()))
        network(batch)
        handle.remove()
    return caught[0].flatten(1).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("name, network", CHAINS)
def test_features_are_those_of_the_published_code_at_full_size(published_networks, name, network):
    protocol, (chain, checkpoint, module) = load_protocol(name), CHAINS[name, network]
    spec = protocol.networks[network]
    assert spec.checkpoint == checkpoint
    judge = load_network(spec)
    for pictures in (SHOWN, DRAWN):
        ours = judge.embed(prepare(pictures, protocol.resize, spec.preparation))
        batch = torch.stack([chain(picture) for picture in pictures])
        expected = published_features(published_networks[checkpoint], module, batch)
        largest = np.abs(expected).max()
        assert np.abs(expected[0] - expected[1]).max() > 1e-3 * largest  # the features see the picture
        assert ours.shape == expected.shape
        assert np.abs(ours - expected).max() <= 1e-5 * largest


@pytest.mark.slow
@pytest.mark.parametrize("name", ["brain-diffuser-2023", "mindeye-2023", "takagi-2023"])
def test_a_whole_evaluation_under_a_published_protocol(published_networks, name):
    from brainrecon.evaluation import Outputs, evaluate

    shown, drawn = scenes(4, 425, 5), scenes(4, 512, 5)  # the same scenes at another size, with other noise
    ids = [f"nsd{row:05d}" for row in range(4)]
    conditions = {"reconstruction": Outputs(ids, drawn), "stage_one": Outputs(ids[::-1], shown[::-1])}
    scores = evaluate(shown, conditions, stimulus_ids=ids, protocol=name, data={"dataset": "nsd"})
    own = scores.conditions["stage_one"].values
    assert set(own) == set(load_protocol(name).metrics)
    for metric, values in own.items():
        spec = scores.metrics[metric]
        best = spec.metric.bounds[1] if spec.metric.higher_is_better else spec.metric.bounds[0]
        np.testing.assert_allclose(values, best, atol=1e-6, err_msg=metric)
        assert np.isfinite(scores.conditions["reconstruction"].values[metric]).all()
    assert "these are 4 of nsd" in scores.notes[0]
    assert set(scores.checkpoints) == {spec.checkpoint for spec in scores.protocol.networks.values()}
