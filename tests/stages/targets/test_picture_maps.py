"""Maps of pictures: contours, colours, nearness and silhouettes, held against their definitions and what may not change them."""

import numpy as np
import pytest
import torch
from PIL import Image
from random_checkpoints import save_deeplab, save_dpt
from torchvision.models.segmentation import deeplabv3_resnet50, deeplabv3_resnet101

from brainrecon.simulation.world.pictures import draw_pictures
from stages.ground.errors import InputError
from stages.networks.deeplab import built, load_deeplab
from stages.networks.dpt_depth import load_dpt
from stages.targets.colour_map import ColourMap
from stages.targets.contour import Contour, contours
from stages.targets.depth_map import DepthMap, DrawnDepthMap, cells
from stages.targets.dpt_states import read_preparation
from stages.targets.picture_maps import scaled
from stages.targets.saliency import SIDE, saliency
from stages.targets.silhouette import MEAN, STD, DrawnSilhouette, Silhouette
from weights.manifest import CheckpointError


def square(size, first, last, level=255, below=0):
    picture = np.full((size, size, 3), below, np.uint8)
    picture[first:last, first:last] = level
    return picture


@pytest.fixture(scope="module")
def scenes():
    drawn = [each.image for each in draw_pictures(5, range(12), size=64) if each.kind == "scene"]
    return np.stack(drawn[:3])


# Contours


@pytest.mark.parametrize("size, first, last", [(32, 8, 24), (64, 20, 40), (64, 17, 48), (128, 30, 99), (512, 100, 300)])
@pytest.mark.parametrize("level", [255, 90, 20])
def test_a_square_has_its_outline_and_nothing_else(size, first, last, level):
    edges = contours(square(size, first, last, level))
    assert abs(int(edges.sum()) - 4 * (last - first)) <= 4
    rows, columns = np.nonzero(edges)
    sides = np.minimum.reduce([np.abs(rows - side) for side in (first - 0.5, last - 0.5)])
    others = np.minimum.reduce([np.abs(columns - side) for side in (first - 0.5, last - 0.5)])
    assert np.minimum(sides, others).max() <= 1


def test_a_constant_picture_has_no_edge_and_a_constant_changes_none(scenes):
    for level in (0, 90, 255):
        assert not contours(np.full((64, 64, 3), level, np.uint8)).any()
    dark = scenes // 2
    for shift in (1, 50, 127):
        for picture in dark:
            np.testing.assert_array_equal(contours(picture + np.uint8(shift)), contours(picture))
    assert all(contours(picture).any() for picture in dark)


def test_a_blurred_picture_keeps_contours_where_fixed_thresholds_leave_none(scenes):
    from skimage.color import rgb2gray
    from skimage.feature import canny

    small = Image.fromarray(scenes[0]).resize((10, 10), Image.Resampling.BOX)
    blurred = np.asarray(small.resize((256, 256), Image.Resampling.BICUBIC))
    fixed = canny(rgb2gray(blurred), sigma=1, low_threshold=0.1, high_threshold=0.2)
    assert contours(blurred).sum() > 200 > fixed.sum()


def test_thresholds_are_recorded_and_stricter_ones_find_less(scenes):
    usual, strict = Contour(size=64), Contour(size=64, quantiles=(0.9, 0.98))
    assert usual.preprocessing["quantiles"] == [0.7, 0.9] and strict.preprocessing["quantiles"] == [0.9, 0.98]
    assert strict.encode(scenes).sum() < usual.encode(scenes).sum()
    np.testing.assert_array_equal(usual.encode(scenes)[0].reshape(64, 64), contours(scenes[0]))
    assert set(np.unique(usual.encode(scenes))) == {0.0, 1.0}


# Colours


@pytest.mark.parametrize("side, size", [(8, 64), (8, 512), (3, 60)])
def test_the_map_of_an_enlarged_map_is_the_map(side, size):
    colours = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    enlarged = colours.repeat(size // side, axis=0).repeat(size // side, axis=1)
    found = ColourMap(side).encode(enlarged[None])[0].reshape(side, side, 3)
    np.testing.assert_allclose(found, colours / 255, atol=1e-6)


def test_colours_are_means_of_cells(scenes):
    found = ColourMap().encode(scenes).reshape(-1, 8, 8, 3)
    means = scenes.reshape(-1, 8, 8, 8, 8, 3).mean(axis=(2, 4)) / 255
    np.testing.assert_allclose(found, means, atol=1e-5)
    # Of a size that cells do not divide: the mean of all stays, nearly.
    odd = np.random.default_rng(1).integers(0, 256, (1, 50, 37, 3), dtype=np.uint8)
    np.testing.assert_allclose(ColourMap().encode(odd).reshape(-1, 3).mean(0), odd.mean((0, 1, 2)) / 255, atol=2e-3)


# Nearness


def test_scaling_knows_no_unit_and_a_constant_map_is_zero():
    raw = np.random.default_rng(0).random((16, 16)).astype(np.float32) * 30
    np.testing.assert_allclose(scaled(raw * 7.5 + 120), scaled(raw), atol=1e-5)
    assert scaled(raw).min() == 0 and scaled(raw).max() == 1
    for level in (0.0, 0.1, -3.7, 1e6):
        constant = np.full((16, 16), level, np.float32)
        assert not scaled(constant).any()
        assert not scaled(cells(constant, 5)).any()


def test_depth_vs_transformers_network(tmp_path, scenes):
    folder = save_dpt(tmp_path / "dpt")
    target, network = DepthMap.from_pretrained(folder, side=4), load_dpt(folder)
    told = read_preparation(folder, network.config.image_size)
    size = told["size"]
    resized = np.stack([np.asarray(Image.fromarray(one).resize((size, size), told["resample"])) for one in scenes])
    mean, std = (torch.tensor(told[name])[None, :, None, None] for name in ("image_mean", "image_std"))
    pixels = (torch.from_numpy(resized).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.no_grad():
        depth = network(pixels).predicted_depth.numpy()
    for found, raw in zip(target.encode(scenes), depth):
        blocks = raw.reshape(4, len(raw) // 4, 4, len(raw) // 4).mean(axis=(1, 3))
        expected = (blocks - blocks.min()) / max(np.ptp(blocks), 1e-12)
        np.testing.assert_allclose(found.reshape(4, 4), expected, atol=1e-3)


def test_what_stands_out_of_a_drawn_scene_is_near():
    picture = square(64, 20, 44, level=220, below=70)
    near = DrawnDepthMap(side=16).encode(picture[None])[0].reshape(16, 16)
    assert near[7:9, 7:9].min() > 0.9 and near[:3].max() < 0.1
    assert not DrawnDepthMap(side=16).encode(np.full((1, 64, 64, 3), 7, np.uint8)).any()


# Silhouettes


def test_a_silhouette_vs_torchvision(tmp_path, scenes):
    target = Silhouette.from_pretrained(save_deeplab(tmp_path / "deeplab"), side=8, size=32)
    small = np.stack([np.asarray(Image.fromarray(one).resize((32, 32), Image.Resampling.BILINEAR)) for one in scenes])
    pixels = torch.from_numpy(small).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(each)[None, :, None, None] for each in (MEAN, STD))
    network = built((1, 1, 1, 1), 3).eval()
    network.load_state_dict(torch.load(tmp_path / "deeplab" / "deeplab.pth", weights_only=True))
    with torch.no_grad():
        foreground = network((pixels - mean) / std)["out"].softmax(dim=1)[:, 1:].sum(dim=1).numpy()
    expected = foreground.reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(target.encode(scenes).reshape(-1, 8, 8), expected, atol=1e-4)


@pytest.mark.parametrize("numbers, theirs", [((3, 4, 23, 3), deeplabv3_resnet101), ((3, 4, 6, 3), deeplabv3_resnet50)])
def test_the_networks_have_the_published_names_and_shapes(numbers, theirs):
    with torch.device("meta"):
        ours = built(numbers, 21).state_dict()
        published = theirs(weights=None, weights_backbone=None, num_classes=21, aux_loss=True).state_dict()
    assert {name: each.shape for name, each in ours.items()} == {name: each.shape for name, each in published.items()}


def test_files_of_other_networks_are_refused(tmp_path):
    folder = save_deeplab(tmp_path / "deeplab")
    state = torch.load(folder / "deeplab.pth", weights_only=True)
    del state["classifier.1.weight"]
    torch.save(state, folder / "deeplab.pth")
    with pytest.raises(CheckpointError, match=r"missing: classifier\.1\.weight"):
        load_deeplab(folder)
    torch.save({"fc.weight": torch.zeros(3, 3)}, folder / "deeplab.pth")
    with pytest.raises(CheckpointError, match="not those of a DeepLabV3"):
        load_deeplab(folder)


def test_a_drawn_silhouette_is_the_thing(scenes):
    picture = square(64, 16, 48, level=220, below=70)
    found = DrawnSilhouette(side=64).encode(picture[None])[0].reshape(64, 64)
    truth = picture[..., 0] > 100
    assert (found * truth).sum() / np.maximum(found, truth).sum() > 0.9
    assert not DrawnSilhouette(side=16).encode(np.full((1, 40, 40, 3), 7, np.uint8)).any()


def test_saliency_of_large_pictures_is_that_of_small_ones():
    large = saliency(square(512, 160, 352, level=220, below=70))
    small = saliency(square(64, 20, 44, level=220, below=70))
    assert large.shape == (SIDE, SIDE)
    np.testing.assert_allclose(large, small, atol=0.02)


# What is refused


@pytest.mark.parametrize(
    "make",
    [
        lambda: Contour(size=2),
        lambda: Contour(sigma=0),
        lambda: Contour(quantiles=(0.9, 0.7)),
        lambda: Contour(quantiles=(0.5, 1.5)),
        lambda: Contour(quantiles=(float("nan"), 0.9)),
        lambda: Contour(interpolation="box"),
        lambda: ColourMap(side=0),
        lambda: ColourMap(side=2.5),
        lambda: DrawnDepthMap(side=0),
        lambda: DrawnSilhouette(threshold=1.5),
        lambda: DrawnSilhouette(side=-1),
    ],
)
def test_sizes_and_thresholds_that_cannot_be_are_refused(make):
    with pytest.raises(InputError, match=r"expected|choose|must"):
        make()
