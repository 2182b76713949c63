"""Instance features: unit length, the published preparation, one picture like another way to it."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from stages.ground.errors import InputError
from stages.networks.frozen_backbones import SwAVResNet50
from stages.networks.icgan import to_pictures
from stages.targets.clip import CLIPImageVector
from stages.targets.instance_features import (
    CLIPInstanceFeatures,
    InstanceFeatures,
    SwAVInstanceFeatures,
    square_pictures,
)
from weights import store
from weights.store import CheckpointError

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 80, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def swav():
    return SwAVInstanceFeatures(SwAVResNet50.random("avgpool"))


@pytest.fixture(scope="module")
def clip():
    return InstanceFeatures.from_pretrained(store.path("tiny-clip"))


def test_the_embedded_clip_gives_its_pooled_vector(clip):
    assert isinstance(clip, CLIPInstanceFeatures) and (clip.size, clip.shape) == (64, (64,))
    target = CLIPImageVector.from_pretrained(store.path("tiny-clip"), normalise=True)
    square = np.ascontiguousarray(IMAGES[:, 8:72])
    np.testing.assert_allclose(clip.encode(IMAGES), target.encode(square), atol=1e-5)


def test_swav_sees_what_the_published_scripts_show_it(swav):
    picture = Image.fromarray(IMAGES[0]).crop((0, 8, 64, 72)).resize((256, 256), Image.Resampling.BICUBIC)
    values = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None] / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    values = (values - mean[:, None, None]) / std[:, None, None]
    prepared = functional.interpolate(values, size=(224, 224), mode="bicubic", align_corners=True)
    expected = swav._network.embed(prepared)[0]
    found = swav.encode(IMAGES[:1])[0]
    assert found.shape == (2048,) and swav.shape == (2048,)
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-6)


def test_rows_have_unit_length_and_do_not_depend_on_the_batch(clip):
    whole = clip.encode(IMAGES)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(whole, clip.encode(IMAGES, batch_size=1), atol=1e-6)
    assert clip.encode(IMAGES[:0]).shape == (0, 64)


@pytest.mark.parametrize("which", ["swav", "clip"])
def test_gradients_reach_the_picture(which, request):
    target = request.getfixturevalue(which)
    square = square_pictures(IMAGES[:1], target.size)
    pictures = to_pictures(torch.from_numpy(square).permute(0, 3, 1, 2)).requires_grad_()
    target.features(pictures)[0, 0].backward()
    assert torch.isfinite(pictures.grad).all() and pictures.grad.abs().max() > 0


def test_another_size_of_picture_is_brought_to_the_models_own(clip):
    square = square_pictures(IMAGES[:1], 64)
    small = to_pictures(torch.from_numpy(square).permute(0, 3, 1, 2))
    large = small.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert functional.cosine_similarity(clip.features(small), clip.features(large)).item() > 0.9


def test_squares_are_cut_from_the_middle():
    wide = np.zeros((1, 4, 10, 3), np.uint8)
    wide[:, :, 3:7] = 200
    assert (square_pictures(wide, 4) == 200).all() and (square_pictures(wide, 8) == 200).all()
    assert square_pictures(wide[:0], 8).shape == (0, 8, 8, 3)


def test_floats_are_refused(clip):
    with pytest.raises(InputError, match="float64 of shape"):
        clip.encode(IMAGES / 255)


def test_a_folder_without_either_network_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="holds no .safetensors"):
        InstanceFeatures.from_pretrained(tmp_path)
