import numpy as np
import pytest

from brainrecon.simulation.brain.filters import (
    CHANNELS,
    MAP_SIDE,
    ORIENTATIONS,
    WAVELENGTHS,
    channel_maps,
    coarser,
    receptive_fields,
)


def grating(wavelength, angle, phase=0.0):
    down, across = np.mgrid[:64, :64]
    wave = np.cos(2 * np.pi / wavelength * (np.cos(angle) * across + np.sin(angle) * down) + phase)
    return np.repeat((127.5 + 100 * wave).astype(np.uint8)[..., None], 3, axis=-1)


@pytest.mark.parametrize("wavelength", WAVELENGTHS)
@pytest.mark.parametrize("k", range(ORIENTATIONS))
def test_a_grating_drives_its_own_filter_most_whatever_its_phase(wavelength, k):
    pictures = [grating(wavelength, np.pi * k / ORIENTATIONS, phase) for phase in (0.0, 1.0, 2.0)]
    maps = channel_maps(np.stack(pictures))[6:].mean(-1)
    assert CHANNELS[6 + maps[:, 0].argmax()] == f"gabor-{wavelength:g}-{k}"
    best = maps[maps[:, 0].argmax()]
    assert np.ptp(best) < 0.05 * best.mean()


@pytest.mark.parametrize(
    "colour, channel",
    [((255, 255, 255), "light"), ((0, 0, 0), "dark"), ((255, 0, 0), "red"), ((0, 255, 0), "green"),
     ((0, 0, 255), "blue"), ((255, 255, 0), "yellow")],
)  # fmt: skip
def test_flat_colours_drive_their_channel_and_no_gabor(colour, channel):
    picture = np.full((1, 64, 64, 3), colour, np.uint8)
    maps = channel_maps(picture)[:, 0].mean(-1)
    assert maps[CHANNELS.index(channel)] > 0.4
    assert maps[6:].max() < 1e-5


def test_pictures_of_any_size_give_like_maps():
    small = channel_maps(grating(16, 0.3)[None])
    large = channel_maps(np.repeat(np.repeat(grating(16, 0.3), 3, 0), 3, 1)[None])
    np.testing.assert_allclose(small, large, atol=1e-6)


def test_receptive_fields_point_where_they_should():
    fields = receptive_fields(np.array([3.0, -3.0]), np.array([3.0, 0.0]), np.array([0.5, 0.5]), 8.4, MAP_SIDE)
    np.testing.assert_allclose(fields.sum(0), 1, rtol=1e-5)
    down, across = np.divmod(fields.argmax(0), MAP_SIDE)
    assert down[0] < 8 and across[0] > 24, "up and to the right"
    assert 14 <= down[1] <= 17 and across[1] < 8, "left on the horizontal meridian"
    picture = np.zeros((1, 64, 64, 3), np.uint8)
    picture[:, :16, 48:] = 255
    light = channel_maps(picture)[0]
    assert (light @ fields)[0, 0] > 0.3 and (light @ fields)[0, 1] < 0.01


def test_coarser_halves_both_sides():
    maps = np.random.default_rng(0).random((2, 3, MAP_SIDE**2), np.float32)
    expected = maps.reshape(2, 3, MAP_SIDE, MAP_SIDE)[..., :2, 4:6].mean((-1, -2))
    np.testing.assert_allclose(coarser(maps)[..., 2], expected, rtol=1e-5)
