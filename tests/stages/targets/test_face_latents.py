"""Latents of faces: a picture is cut by the published arithmetic, and resized by a formula that is written out."""

import numpy as np
import pytest
import torch

from stages.ground.errors import InputError
from stages.networks.face_vaegan import FaceVAEGAN, FaceVAEGANConfig
from stages.targets.face_latents import FaceLatents, prepared

SMALL = FaceVAEGANConfig(picture=16, channels=(4, 6), hidden=5, latents=7)


def pictures(n, height, width):
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def bilinear(values, side):
    """Bilinear, pixels being squares whose centres lie at halves; what lies outside is the nearest pixel."""
    n = len(values)
    place = np.clip((np.arange(side) + 0.5) * n / side - 0.5, 0, n - 1)
    low = np.minimum(place.astype(int), n - 2)
    share = (place - low)[:, None, None]
    rows = (1 - share) * values[low] + share * values[low + 1]
    share = share[:, 0][None]
    return (1 - share) * rows[:, low] + share * rows[:, low + 1]


@pytest.mark.parametrize("antialias", [True, False])
def test_a_picture_of_celeba_is_cut_and_resized_by_hand(antialias):
    (picture,) = pictures(1, 218, 178)
    # 20 rows above the square, then 17 pixels, a tenth of 178 rounded down, off each side.
    expected = bilinear(picture[37:181, 17:161] / 255, 128)
    found = prepared(picture, 128, antialias=antialias)
    assert found.dtype == np.float32 and expected.shape == (128, 128, 3)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_smoothing_matters_if_a_picture_is_made_much_smaller():
    (picture,) = pictures(1, 300, 300)
    smooth, sharp = (prepared(picture, 16, antialias=antialias) for antialias in (True, False))
    # 29 pixels off each side: 300 * 0.09999999999999998 is below 30.
    np.testing.assert_allclose(sharp, bilinear(picture[29:271, 29:271] / 255, 16), atol=1e-6)
    assert smooth.std() < 0.5 * sharp.std()


@pytest.mark.parametrize(
    ("shape", "crop", "rows", "columns"),
    [
        ((20, 31), 0.8, slice(1, 19), slice(6, 24)),  # 20 * 0.09999999999999998 is below 2
        ((31, 20), 1.0, slice(5, 25), slice(0, 20)),
        ((9, 8), 0.8, slice(0, 8), slice(0, 8)),  # less than a pixel on each side
        ((40, 40), 0.5, slice(10, 30), slice(10, 30)),
    ],
)
def test_the_middle_is_kept(shape, crop, rows, columns):
    (picture,) = pictures(1, *shape)
    cut = picture[rows, columns]
    np.testing.assert_allclose(prepared(picture, len(cut), crop), cut / 255, atol=1e-6)


def test_values_are_mu_of_the_prepared_picture():
    network, shown = FaceVAEGAN(SMALL, seed=3).eval(), pictures(5, 60, 50)
    target = FaceLatents(network, crop=0.6)
    given = np.stack([prepared(one, 16, 0.6) for one in shown]).transpose(0, 3, 1, 2)
    with torch.no_grad():
        mu, _ = network.encoder(torch.from_numpy(given))
    found = target.encode(shown, batch_size=2)
    np.testing.assert_allclose(found, mu.numpy(), atol=1e-6)
    assert np.abs(found).max() < 1 and target.shape == (7,) and target.preprocessing["crop"][1] == 0.6
    assert np.abs(found - FaceLatents(network).encode(shown)).max() > 1e-3


def test_a_folder_is_opened_with_options(tmp_path):
    network = FaceVAEGAN(SMALL, seed=3).eval()
    network.save_pretrained(tmp_path)
    target, shown = FaceLatents.from_pretrained(tmp_path, antialias=False), pictures(2, 60, 50)
    np.testing.assert_array_equal(target.encode(shown), FaceLatents(network, antialias=False).encode(shown))


@pytest.mark.parametrize(("options", "said"), [({"crop": 0}, "crop is 0"), ({"antialias": "no"}, "antialias is 'no'")])
def test_options_that_cannot_be_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        FaceLatents(FaceVAEGAN(SMALL), **options)
