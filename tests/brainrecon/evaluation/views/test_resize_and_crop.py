"""Preparation of pictures, against torchvision and Pillow."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from brainrecon.evaluation.views import resize_and_crop
from brainrecon.evaluation.views.resize_and_crop import Form, Preparation, Resize, prepare, resize_pictures, views
from stages.ground.errors import InputError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PILLOW = {"nearest": Image.NEAREST, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "area": Image.BOX}


def noise(n, height, width, seed=0):
    """Black, white and noise: what overshoots most."""
    pictures = np.random.default_rng(seed).integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    pictures[:, : height // 2] = np.where(pictures[:, : height // 2] > 127, 255, 0)
    return pictures


def as_tensors(pictures):
    return torch.stack([transforms.functional.to_tensor(Image.fromarray(picture)) for picture in pictures])


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("sizes", [(90, 64), (64, 90), (85, 51)])
def test_floats_are_resized_cropped_and_normalised_as_torchvision_does_tensors(interpolation, antialias, sizes):
    pictures = noise(3, sizes[0], sizes[0])
    published = transforms.Compose(
        [
            transforms.Resize(sizes[1], InterpolationMode(interpolation), antialias=antialias),
            transforms.CenterCrop(40),
            transforms.Normalize(MEAN, STD),
        ]
    )
    preparation = Preparation(Resize(sizes[1], interpolation, antialias), 40, MEAN, STD)
    ours = prepare(pictures, None, preparation)
    assert ours.dtype == np.float32 and ours.shape == (3, 3, 40, 40)
    np.testing.assert_allclose(ours, published(as_tensors(pictures)).numpy(), atol=1e-6)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("sizes", [(90, 64), (64, 90)])
def test_bytes_are_resized_as_torchvision_does_pillow_pictures(interpolation, sizes):
    pictures = noise(3, sizes[0], sizes[0])
    published = transforms.Compose(
        [
            transforms.Resize((sizes[1], sizes[1]), InterpolationMode(interpolation)),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    expected = torch.stack([published(Image.fromarray(picture)) for picture in pictures]).numpy()
    ours = prepare(pictures, None, Preparation(Resize(sizes[1], interpolation, True, "bytes"), None, MEAN, STD))
    np.testing.assert_allclose(ours, expected, atol=1e-6)


def test_a_bicubic_kernel_overshoots_before_a_network_and_not_in_pictures_that_are_compared():
    pictures, resize = noise(2, 60, 60), Resize(97, "bicubic", True)
    floats = prepare(pictures, None, Preparation(resize, None, (0, 0, 0), (1, 1, 1)))
    assert floats.min() < -0.01 and floats.max() > 1.01
    compared = resize_pictures(pictures, resize)
    assert compared.min() == 0 and compared.max() == 1
    np.testing.assert_array_equal(compared, floats.transpose(0, 2, 3, 1).clip(0, 1))


@pytest.mark.parametrize("interpolation", PILLOW)
def test_pictures_that_are_compared_as_bytes_are_pillows_over_255(interpolation):
    pictures = noise(2, 51, 77)
    resized = [np.asarray(Image.fromarray(picture).resize((40, 40), PILLOW[interpolation])) for picture in pictures]
    ours = resize_pictures(pictures, Resize(40, interpolation, True, "bytes"))
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, np.stack(resized) / np.float32(255))


def test_two_resizes_follow_one_another_and_round_only_where_one_works_on_bytes():
    pictures = noise(2, 80, 80)
    first, second = Resize(50, "bilinear", False), Resize(70, "bilinear", False)
    tensors = transforms.Resize(50, antialias=False)(as_tensors(pictures))
    expected = transforms.Resize(70, antialias=False)(tensors).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(resize_pictures(pictures, [first, second]), expected, atol=1e-6)
    normalised = prepare(pictures, first, Preparation(second, None, (0, 0, 0), (1, 1, 1)))
    np.testing.assert_allclose(normalised.transpose(0, 2, 3, 1), expected, atol=1e-6)

    bytes_in_between = np.rint(tensors.permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)
    expected = [np.asarray(Image.fromarray(one).resize((70, 70), Image.BILINEAR)) for one in bytes_in_between]
    chained = resize_pictures(pictures, [first, Resize(70, "bilinear", True, "bytes")])
    np.testing.assert_array_equal(chained, np.stack(expected) / np.float32(255))
    # Even where the size is right already, bytes are bytes.
    same_size = resize_pictures(pictures, [first, Resize(50, "bilinear", True, "bytes")])
    np.testing.assert_array_equal(same_size, bytes_in_between / np.float32(255))


def test_area_gives_back_a_pattern_that_was_enlarged():
    cells = np.random.default_rng(0).integers(0, 256, (4, 10, 10, 1), dtype=np.uint8).repeat(3, axis=3)
    enlarged = cells.repeat(7, axis=1).repeat(7, axis=2)
    for values in ("floats", "bytes"):
        ours = resize_pictures(enlarged, Resize(10, "area", True, values))
        np.testing.assert_allclose(ours * 255, cells, atol=1e-3)
    means = resize_pictures(noise(1, 20, 20), Resize(10, "area", True))
    np.testing.assert_allclose(means, noise(1, 20, 20).reshape(1, 10, 2, 10, 2, 3).mean(axis=(2, 4)) / 255, atol=1e-6)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "area"])
@pytest.mark.parametrize("antialias", [True, False])
def test_a_uniform_picture_stays_uniform_to_the_last_bit(interpolation, antialias):
    uniform = np.arange(5, 256, 50, dtype=np.uint8)[:, None, None, None] * np.ones((97, 97, 3), dtype=np.uint8)
    for size in (10, 64, 131):
        resized = resize_pictures(uniform, Resize(size, interpolation, antialias))
        np.testing.assert_array_equal(
            resized, uniform[:, :1, :1] / np.float32(255) * np.ones((size, size, 1), np.float32)
        )


def test_without_mean_and_std_a_network_gets_rounded_bytes():
    pictures = noise(2, 60, 60)
    ours = prepare(pictures, Resize(32, "bilinear", True), Preparation())
    assert ours.dtype == np.uint8 and ours.shape == (2, 32, 32, 3)
    np.testing.assert_array_equal(ours, np.rint(resize_pictures(pictures, Resize(32, "bilinear", True)) * 255))
    np.testing.assert_array_equal(prepare(pictures, None, Preparation()), pictures)
    np.testing.assert_array_equal(prepare(pictures, None, Preparation(crop=20)), pictures[:, 20:40, 20:40])


@pytest.mark.parametrize(
    "resize, preparation",
    [
        (Resize(33, "bicubic", False), Preparation(Resize(48, "bilinear", True, "bytes"), 40, MEAN, STD)),
        (None, Preparation(Resize(33, "bilinear", True))),
        (Resize(33, "area", True), Preparation(None, None, MEAN, STD)),
    ],
)
def test_a_picture_is_prepared_alike_alone_and_among_many_and_is_not_changed(resize, preparation):
    pictures = noise(70, 45, 45)  # more than a block
    before = pictures.copy()
    together = prepare(pictures, resize, preparation)
    np.testing.assert_array_equal(pictures, before)
    alone = np.concatenate([prepare(pictures[row : row + 1], resize, preparation) for row in range(70)])
    np.testing.assert_array_equal(together, alone)
    together[:] = 0
    np.testing.assert_array_equal(pictures, before)
    pictures.setflags(write=False)
    assert prepare(pictures[::-1], resize, preparation).shape == together.shape
    assert prepare(pictures[:0], resize, preparation).shape == (0, *together.shape[1:])


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((64, "magic", True), "interpolation.*'magic'.*'bilinear'"),
        ((64, "bilinear", "yes"), "antialias.*'yes'"),
        ((64, "bilinear", 1), "antialias.*1.*True"),
        ((64, "bilinear", True, "doubles"), "values.*'doubles'.*'floats', 'bytes'"),
        ((64, "bilinear", False, "bytes"), "Pillow always antialiases"),
        ((0, "bilinear", True), "size.*0.*from 1"),
        ((64.0, "bilinear", True), "64.0.*whole number"),
        ((True, "bilinear", True), "True.*whole number"),
    ],
)
def test_a_resize_that_cannot_be_is_refused(arguments, words):
    with pytest.raises(InputError, match=words) as caught:
        Resize(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"crop": 0}, "crop is 0"),
        ({"crop": "all"}, "crop is 'all'"),
        ({"mean": MEAN}, "std None"),
        ({"std": STD}, "mean None"),
        ({"mean": MEAN, "std": (1.0, 1.0)}, "three"),
        ({"mean": MEAN, "std": (1.0, 0.0, 1.0)}, "above 0"),
        ({"mean": (float("nan"), 0.0, 0.0), "std": STD}, "finite"),
    ],
)
def test_a_preparation_that_cannot_be_is_refused(options, words):
    with pytest.raises(InputError, match=words):
        Preparation(**options)


def test_a_crop_that_is_larger_than_the_pictures_is_refused():
    with pytest.raises(InputError, match="30 x 30.*40 x 40"):
        prepare(noise(1, 50, 50), None, Preparation(Resize(30, "bilinear", True), 40))


@pytest.mark.parametrize("shape, kind", [((2, 8, 8, 3), float), ((8, 8, 3), np.uint8), ((2, 8, 8, 4), np.uint8)])
def test_other_than_8_bit_colour_pictures_are_refused(shape, kind):
    images = np.zeros(shape, dtype=kind)
    for attempt in (
        lambda: prepare(images, None, Preparation()),
        lambda: resize_pictures(images, Resize(4, "nearest", False)),
    ):
        with pytest.raises(InputError, match="uint8"):
            attempt()


def test_forms_that_begin_alike_share_a_resize_and_none_differs_from_being_alone(monkeypatch):
    pictures = noise(3, 60, 70)
    first, second = Resize(40, "bilinear", False), Resize(50, "bicubic", True)
    network = Preparation(second, 32, (0.5,) * 3, (0.2,) * 3)
    forms = [Form.of_pixels(first, None), Form.of_pixels(first, second), Form.of_network(first, network)]
    alone = [views(pictures, [form])[form] for form in forms]
    resized, resize = [], resize_and_crop._like_torchvision
    monkeypatch.setattr(
        resize_and_crop, "_like_torchvision", lambda one, step: resized.append(step) or resize(one, step)
    )
    seen = views(pictures, forms)
    assert resized == [first, second] * 3  # once for each picture
    for form, own in zip(forms, alone):
        np.testing.assert_array_equal(seen[form], own)
    np.testing.assert_array_equal(seen[forms[1]], resize_pictures(pictures, [first, second]))
    np.testing.assert_array_equal(seen[forms[2]], prepare(pictures, first, network))


@pytest.mark.parametrize("corner", ["last", "all"])
def test_a_channel_whose_corners_agree_is_resized_like_any_other(corner):
    picture = noise(1, 20, 20)
    picture[0, -1, -1] = picture[0, 0, 0]
    if corner == "all":
        picture[..., 1] = 77
    (resized,) = resize_pictures(picture, Resize(9, "bilinear", True))
    (other,) = resize_pictures(np.ascontiguousarray(picture[:, ::-1, ::-1]), Resize(9, "bilinear", True))
    np.testing.assert_allclose(resized, other[::-1, ::-1], atol=1e-6)
    assert (resized[..., 0].std() > 0) and (resized[..., 1] == np.float32(77) / np.float32(255)).all() == (
        corner == "all"
    )
