"""Perceptual distances against their formulas, their laws, and what happens without packages or weights."""

import hashlib
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from stages.ground.errors import InputError
from stages.judges import perceptual_distances
from stages.judges.perceptual_distances import DREAMSIM_VARIANTS, TRUNK_FILE, DreamSimDistance, LPIPSDistance
from weights.store import CheckpointError

# AlexNet's convolutions: place in torchvision's list, weights, stride, padding, whether pooling comes first.
CONVOLUTIONS = [
    (0, (64, 3, 11, 11), 4, 2, False),
    (3, (192, 64, 5, 5), 1, 2, True),
    (6, (384, 192, 3, 3), 1, 1, True),
    (8, (256, 384, 3, 3), 1, 1, False),
    (10, (256, 256, 3, 3), 1, 1, False),
]


def trunk():
    generator = torch.Generator().manual_seed(0)
    state = {"classifier.6.bias": torch.zeros(4)}
    for place, shape, *_ in CONVOLUTIONS:
        spread = (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        state[f"features.{place}.weight"] = torch.randn(shape, generator=generator) * spread
        state[f"features.{place}.bias"] = torch.randn(shape[0], generator=generator) * 0.1
    return state


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alexnet")
    torch.save(trunk(), folder / TRUNK_FILE)
    return folder


@pytest.fixture(scope="module")
def lpips_distance(folder):
    pytest.importorskip("lpips")
    return LPIPSDistance.from_pretrained(folder)


def pictures(seed, n=5, height=64, width=48):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def floats(images):
    return np.ascontiguousarray((images.astype(np.float32) / 255).transpose(0, 3, 1, 2))


def published_lpips(reference, predicted):
    """Zhang et al., equation 1, with the channel weights of the package and ImageNet's statistics."""
    import lpips

    weights = torch.load(Path(lpips.__file__).parent / "weights/v0.1/alex.pth", map_location="cpu", weights_only=True)
    state = {name: value.double() for name, value in trunk().items()}
    # In 0..1, ImageNet's mean and deviation; lpips writes them for -1..1, rounded to three digits.
    mean = (torch.tensor([-0.030, -0.088, -0.188]).double() + 1)[:, None, None] / 2
    deviation = torch.tensor([0.458, 0.448, 0.450]).double()[:, None, None] / 2
    hidden = [(torch.from_numpy(images).double() - mean) / deviation for images in (reference, predicted)]
    total = 0
    for layer, (place, _, stride, padding, pool) in enumerate(CONVOLUTIONS):
        kernel, bias = state[f"features.{place}.weight"], state[f"features.{place}.bias"]
        if pool:
            hidden = [functional.max_pool2d(h, 3, 2) for h in hidden]
        hidden = [functional.conv2d(h, kernel, bias, stride, padding).relu() for h in hidden]
        one, other = (h / torch.linalg.vector_norm(h, dim=1, keepdim=True).clamp_min(1e-12) for h in hidden)
        per_channel = weights[f"lin{layer}.model.1.weight"].double().flatten()
        total = total + torch.einsum("nchw,c->nhw", (one - other) ** 2, per_channel).mean(dim=(1, 2))
    return total.numpy()


def test_lpips_vs_its_formula(lpips_distance):
    one, other = floats(pictures(1)), floats(pictures(2))
    distances = lpips_distance.distance(one, other)
    assert distances.dtype == np.float64 and distances.shape == (5,) and (distances > 0.01).all()
    np.testing.assert_allclose(distances, published_lpips(one, other), rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*(pretrained|weight enum)")
def test_lpips_vs_the_package_in_single_precision(folder, lpips_distance):
    import lpips

    reference = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    by_place = {name.split(".", 1)[1]: name for name in reference.net.state_dict()}
    stored = {name.split(".", 1)[1]: value for name, value in trunk().items() if name.startswith("features")}
    reference.net.load_state_dict({by_place[place]: value for place, value in stored.items()})
    one, other = floats(pictures(1)), floats(pictures(2))
    with torch.no_grad():
        expected = reference(torch.from_numpy(one), torch.from_numpy(other), normalize=True).flatten().numpy()
    np.testing.assert_allclose(lpips_distance.distance(one, other), expected, atol=1e-5)


def test_lpips_of_equal_pictures_is_zero(lpips_distance):
    np.testing.assert_array_equal(lpips_distance.distance(pictures(1), pictures(1)), 0)
    black = np.zeros((2, 40, 40, 3), np.uint8)
    np.testing.assert_array_equal(lpips_distance.distance(black, black), 0)


def test_lpips_is_symmetric(lpips_distance):
    one, other = pictures(1), pictures(2)
    np.testing.assert_allclose(lpips_distance.distance(one, other), lpips_distance.distance(other, one), rtol=1e-12)


def test_lpips_grows_with_noise(lpips_distance):
    one, noise = floats(pictures(1)), floats(pictures(2))
    near, far = (lpips_distance.distance(one, (1 - share) * one + share * noise) for share in (0.1, 0.6))
    assert (near < far).all()


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_lpips_depends_on_no_batch(lpips_distance, batch_size):
    one, other = pictures(1), pictures(2)
    whole = lpips_distance.distance(one, other)
    np.testing.assert_allclose(lpips_distance.distance(one, other, batch_size=batch_size), whole, rtol=1e-9)
    order = [3, 0, 4]
    np.testing.assert_allclose(lpips_distance.distance(one[order], other[order]), whole[order], rtol=1e-9)


@pytest.mark.parametrize(
    "form",
    [
        floats,
        lambda images: torch.from_numpy(floats(images)).requires_grad_(),
        torch.from_numpy,
        lambda images: images[:, :, ::-1][:, :, ::-1],
        lambda images: floats(images).astype(np.float64),
    ],
)
def test_every_form_of_a_picture_gives_one_distance(lpips_distance, form):
    one, other = pictures(1, n=2), pictures(2, n=2)
    expected = lpips_distance.distance(one, other)
    np.testing.assert_allclose(lpips_distance.distance(form(one), form(other)), expected, rtol=1e-5)
    np.testing.assert_allclose(lpips_distance.distance(one, form(other)), expected, rtol=1e-5)


def test_pictures_mapped_from_a_file_are_read(lpips_distance, tmp_path):
    np.save(tmp_path / "one.npy", pictures(1))
    mapped = np.load(tmp_path / "one.npy", mmap_mode="r")
    expected = lpips_distance.distance(pictures(1), pictures(2))
    np.testing.assert_array_equal(lpips_distance.distance(mapped, pictures(2)), expected)


def test_no_pictures_have_no_distances(lpips_distance):
    assert lpips_distance.distance(pictures(1, n=0), pictures(1, n=0)).shape == (0,)


def with_value(value):
    images = floats(pictures(1))
    images[3, 1, 2, 2] = value
    return images


@pytest.mark.parametrize(
    ("reference", "predicted", "message"),
    [
        (pictures(1), pictures(2, n=4), "5 references of 64 x 48 and 4 predictions of 64 x 48"),
        (pictures(1), pictures(2, height=50), "5 references of 64 x 48 and 5 predictions of 50 x 48"),
        (pictures(1), floats(pictures(2, width=50)), "predictions of 64 x 50"),
        (pictures(1).astype(np.int64), pictures(2), "int64 of shape .5, 64, 48, 3.; give uint8"),
        (floats(pictures(1)).transpose(0, 2, 3, 1), pictures(2), "float32 of shape .5, 64, 48, 3."),
        (pictures(1)[0], pictures(2)[0], "uint8 of shape .64, 48, 3."),
        (pictures(1).tolist(), pictures(2), "are a list; give an array"),
        (with_value(np.nan), pictures(2), "Picture 3 has values from nan to nan; expected finite"),
        (pictures(2), with_value(1.5), "Picture 3 has values from .* to 1.5"),
        (floats(pictures(1)) * 2 - 1, floats(pictures(2)), "Picture 0 has values from -1"),
        (pictures(1, height=30), pictures(2, height=30), "30 x 48 and LPIPS takes at least 31 pixels"),
    ],
)
def test_unsuitable_pictures_are_refused(lpips_distance, reference, predicted, message):
    with pytest.raises(InputError, match=message):
        lpips_distance.distance(reference, predicted, batch_size=2)


def test_an_empty_batch_is_refused(lpips_distance):
    with pytest.raises(InputError, match="batch_size is 0"):
        lpips_distance.distance(pictures(1), pictures(2), batch_size=0)


def test_the_smallest_picture_has_a_distance(lpips_distance):
    small = pictures(1, height=31, width=31), pictures(2, height=31, width=31)
    assert (lpips_distance.distance(*small) > 0).all()


def test_loading_lpips_leaves_the_callers_generator_alone(folder, recwarn, capsys):
    pytest.importorskip("lpips")
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    LPIPSDistance.from_pretrained(folder)
    torch.testing.assert_close(torch.rand(2), expected, rtol=0, atol=0)
    assert not recwarn.list and capsys.readouterr() == ("", "")


def broken(change):
    state = trunk()
    change(state)
    return state


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is absent and nothing is downloaded"),
        (b"", "does not hold torchvision's AlexNet"),
        (b"not a checkpoint", "does not hold torchvision's AlexNet"),
        ([1, 2], "does not hold"),
        (broken(lambda state: state.pop("features.6.bias")), "features.6.bias"),
        (broken(lambda state: state.update({"features.6.bias": torch.zeros(3)})), "slice3.6.bias.*fetch"),
        # What only an unrestricted pickle could hold.
        ({"features.0.weight": hashlib.sha256}, "does not hold"),
    ],
)
def test_a_trunk_that_is_not_alexnet_is_refused(content, message, tmp_path):
    pytest.importorskip("lpips")
    if isinstance(content, bytes):
        (tmp_path / TRUNK_FILE).write_bytes(content)
    elif content is not None:
        torch.save(content, tmp_path / TRUNK_FILE)
    with pytest.raises(CheckpointError, match=message):
        LPIPSDistance.from_pretrained(tmp_path)


@pytest.mark.parametrize(("kind", "package"), [(LPIPSDistance, "lpips"), (DreamSimDistance, "dreamsim")])
def test_a_missing_package_is_named(kind, package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"package {package}, .* `pip install 'brainrecon\[perceptual\]'`"):
        kind.from_pretrained(tmp_path)


class StandInModel(torch.nn.Module):
    """Embeds a picture as its mean colour."""

    def embed(self, images):
        assert images.dtype == torch.float32 and images.min() >= 0 and images.max() <= 1
        return images.mean(dim=(2, 3)).float()


@pytest.fixture
def dreamsim_stand_in(monkeypatch):
    """A module that records how it is called, and tries to download where it is told to."""
    module = types.ModuleType("dreamsim")
    module.calls, module.reaches = [], None

    def dreamsim(**options):
        module.calls.append(options)
        if module.reaches:
            module.reaches()
        print("Using cached weights")
        return StandInModel(), None

    module.dreamsim = dreamsim
    monkeypatch.setitem(sys.modules, "dreamsim", module)
    return module


def fill(folder, variant, adapter_name="adapter_model.safetensors"):
    *files, adapter = DREAMSIM_VARIANTS[variant]
    for name in (*files, f"{adapter}/adapter_config.json", f"{adapter}/{adapter_name}"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize("variant", DREAMSIM_VARIANTS)
def test_dreamsim_is_asked_for_the_local_folder(variant, dreamsim_stand_in, tmp_path, capsys):
    fill(tmp_path, variant)
    DreamSimDistance.from_pretrained(tmp_path, variant=variant)
    assert dreamsim_stand_in.calls == [
        {"pretrained": True, "device": "cpu", "cache_dir": str(tmp_path), "dreamsim_type": variant}
    ]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("variant", DREAMSIM_VARIANTS)
def test_dreamsim_is_not_asked_when_a_file_is_absent(variant, dreamsim_stand_in, tmp_path):
    fill(tmp_path, variant)
    for path in sorted(tmp_path.rglob("*.*")):
        if path.is_file():
            path.rename(path.with_name("away"))
            with pytest.raises(CheckpointError, match=f"{variant} lacks .*{path.name} in .*nothing is downloaded"):
                DreamSimDistance.from_pretrained(tmp_path, variant=variant)
            path.with_name("away").rename(path)
    assert dreamsim_stand_in.calls == []


@pytest.mark.parametrize(
    "reach",
    [
        lambda: torch.hub.load("facebookresearch/dinov2", "dinov2_vitb14"),
        lambda: torch.hub.download_url_to_file("https://example.org/pretrained.zip", "pretrained.zip"),
    ],
)
def test_dreamsim_cannot_download(reach, dreamsim_stand_in, tmp_path):
    fill(tmp_path, "ensemble", adapter_name="adapter_model.bin")
    dreamsim_stand_in.reaches = reach
    kept = torch.hub.load, torch.hub.set_dir, torch.hub.download_url_to_file
    with pytest.raises(CheckpointError, match="would be downloaded"):
        DreamSimDistance.from_pretrained(tmp_path)
    assert (torch.hub.load, torch.hub.set_dir, torch.hub.download_url_to_file) == kept


def test_an_unknown_variant_is_refused(dreamsim_stand_in, tmp_path):
    with pytest.raises(InputError, match="no DreamSim variant 'dino'; choose one of ensemble, dino_vitb16"):
        DreamSimDistance.from_pretrained(tmp_path, variant="dino")


def test_dreamsim_is_the_cosine_distance_of_embeddings():
    one, other = pictures(1, height=224, width=224), pictures(2, height=224, width=224) // 2
    distances = DreamSimDistance(StandInModel()).distance(one, floats(other), batch_size=2)
    a, b = (floats(images).mean(axis=(2, 3), dtype=np.float64) for images in (one, other))
    expected = 1 - (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(distances, expected, atol=1e-7)
    np.testing.assert_allclose(DreamSimDistance(StandInModel()).distance(one, one), 0, atol=1e-12)


def test_dreamsim_takes_one_size():
    with pytest.raises(InputError, match="64 x 48 and DreamSim takes 224 x 224"):
        DreamSimDistance(StandInModel()).distance(pictures(1), pictures(2))


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["ensemble", "clip_vitb32"])
def test_dreamsim_loads_weights_of_the_published_layout(variant, tmp_path):
    """The package itself, on random weights: every tensor of the trunk and of the adapter takes part."""
    pytest.importorskip("dreamsim")
    from peft import LoraConfig, get_peft_model

    folder = random_dreamsim(variant, tmp_path)
    from dreamsim.config import dreamsim_args
    from dreamsim.model import PerceptualModel

    options = dreamsim_args["model_config"][variant]
    with perceptual_distances._local_hub(folder):
        plain = PerceptualModel(**options, device="cpu", load_dir=str(folder), normalize_embeds=True)
    config = LoraConfig(r=16, lora_alpha=8, target_modules=["qkv"], init_lora_weights=False)
    adapted = get_peft_model(plain, config).eval()
    adapted.save_pretrained(folder / DREAMSIM_VARIANTS[variant][-1])

    loaded = DreamSimDistance.from_pretrained(folder, variant=variant)
    one, other = (floats(pictures(seed, n=3, height=224, width=224)) for seed in (1, 2))
    other = 0.5 * one + 0.5 * other
    with torch.no_grad():
        expected = adapted(torch.from_numpy(one), torch.from_numpy(other)).numpy()
        with adapted.disable_adapter():
            unadapted = adapted(torch.from_numpy(one), torch.from_numpy(other)).numpy()
    distances = loaded.distance(one, other)
    np.testing.assert_allclose(distances, expected, atol=2e-6)
    assert np.abs(distances - unadapted).max() > 1e-4
    np.testing.assert_allclose(loaded.distance(one, other, batch_size=1), distances, atol=1e-6)
    np.testing.assert_allclose(loaded.distance(one, one), 0, atol=1e-6)

    # An adapter of which a part is lacking is refused, where peft warns.
    from safetensors.torch import load_file, save_file

    path = folder / DREAMSIM_VARIANTS[variant][-1] / "adapter_model.safetensors"
    state = load_file(path)
    state.pop(sorted(state)[0])
    save_file(state, path)
    with pytest.raises(CheckpointError, match="missing adapter keys"):
        DreamSimDistance.from_pretrained(folder, variant=variant)


def random_dreamsim(variant, folder):
    """The trunks' files of a variant, in half precision."""
    from dreamsim.feature_extraction.vision_transformer import DINOHead, vit_base

    torch.manual_seed(0)
    for name in DREAMSIM_VARIANTS[variant][:-1]:
        network = vit_base(patch_size=32 if "vitb32" in name else 16)
        for parameter in network.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.03)
        if name == "dino_vitb16_pretrain.pth":
            head = DINOHead(768, 2048).state_dict() | {"last_layer.weight": torch.zeros(2048, 256)}
            content = {"student": {f"module.head.{key}": value for key, value in head.items()}}
        elif name.startswith("checkpoints/"):
            (folder / "checkpoints").mkdir()
            content = network.half().state_dict()
        else:
            network.pos_drop = torch.nn.LayerNorm(768)
            content = {"state_dict": network.half().state_dict() | {"proj": torch.randn(768, 512) * 0.05}}
        torch.save(content, folder / name)
    return folder
