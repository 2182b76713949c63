"""Brain-Diffuser's way of a picture to CLIP, against its libraries' steps written out."""

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import functional

from stages.targets.enlarged_pictures import CUT_OFF, enlarged


def by_the_scripts(picture):
    """`clipvision_extract_features.py`, `clip_encode_vision` of Versatile Diffusion, `to_pil_image` of transformers 4.19."""
    image = functional.resize(Image.fromarray(picture), (512, 512))
    image = functional.to_tensor(image).float() * 2 - 1
    shares = ((image[None] + 1) / 2).numpy().transpose(0, 2, 3, 1)[0]
    return (shares * 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(425, 425), (512, 512), (64, 64), (300, 451)])
def test_pictures_vs_the_scripts(shape):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = enlarged(picture)
    assert found.shape == (512, 512, 3) and found.dtype == np.uint8
    np.testing.assert_array_equal(found, by_the_scripts(picture))


def test_the_darkest_quarter_loses_a_grey_level():
    ladder = np.repeat(np.arange(256, dtype=np.uint8), 1024)[:, None].repeat(3, axis=1).reshape(512, 512, 3)
    np.testing.assert_array_equal(CUT_OFF[ladder], by_the_scripts(ladder))
    lost = np.arange(256) - CUT_OFF
    np.testing.assert_array_equal(lost, (np.arange(256) >= 1) & (np.arange(256) <= 63))
