"""What early visual cortex is given: maps of light, colour and oriented contrast.

Light and colour are split into their two signs, as on and off cells do. Oriented contrast is the amplitude of
a quadrature pair of Gabor filters, which does not depend on phase, as in complex cells (Kay et al. 2008,
Nature 452).
"""

import numpy as np
from PIL import Image
from scipy import fft

SIDE = 64
"""Pictures are seen at this size, pixels."""

MAP_SIDE = 32
"""Side of a channel map."""

ORIENTATIONS = 4
"""Orientations of the Gabor filters, 45 degrees apart."""

WAVELENGTHS = (4.0, 8.0, 16.0)
"""Wavelengths of the Gabor filters, pixels."""

LIGHT = ("light", "dark")
COLOUR = ("red", "green", "blue", "yellow")
CHANNELS = (*LIGHT, *COLOUR, *(f"gabor-{w:g}-{k}" for w in WAVELENGTHS for k in range(ORIENTATIONS)))
"""Names of the channels, in the order of the maps."""

_BORDER = 8


def _gabor_bank(side):
    """One-sided transfer functions (n_filters, side, side); an inverse transform holds both of a pair."""
    down, across = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij")
    bank = []
    for wavelength in WAVELENGTHS:
        for k in range(ORIENTATIONS):
            angle = np.pi * k / ORIENTATIONS
            # An octave and a half of bandwidth along the axis of modulation, about 40 degrees across it.
            along = across * np.cos(angle) + down * np.sin(angle) - 1 / wavelength
            beside = down * np.cos(angle) - across * np.sin(angle)
            bank.append(2 * np.exp(-0.5 * ((along * wavelength / 0.4) ** 2 + (beside * wavelength / 0.4) ** 2)))
    bank = np.array(bank, np.float32)
    bank[:, 0, 0] = 0
    return bank


_BANK = _gabor_bank(SIDE + 2 * _BORDER)


def seen_image(image: np.ndarray) -> np.ndarray:
    """Resize one picture to the 64 × 64 × 3 at which it is seen."""
    if image.shape[:2] == (SIDE, SIDE):
        return image
    return np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BOX))


def channel_maps(images: np.ndarray) -> np.ndarray:
    """Filter pictures into the maps that receptive fields pool.

    Parameters
    ----------
    images : array of shape (n, height, width, 3), uint8
        Pictures of any size; they are resized to 64 × 64.

    Returns
    -------
    maps : array of shape (n_channels, n, 32 * 32), float32
        Not negative, in the order of `CHANNELS`; rows run from top to bottom, columns from left to right.
    """
    pixels = np.stack([seen_image(image) for image in images]).astype(np.float32) / 255
    red, green, blue = np.moveaxis(pixels, -1, 0)
    light = 0.3 * red + 0.59 * green + 0.11 * blue
    signed = (light - 0.5, red - green, blue - (red + green) / 2)
    maps = [np.maximum(sign * channel, 0) for channel in signed for sign in (1, -1)]
    padded = np.pad(light, ((0, 0), (_BORDER, _BORDER), (_BORDER, _BORDER)), mode="edge")
    spectrum = fft.fft2(padded)
    inside = slice(_BORDER, _BORDER + SIDE)
    maps += [np.abs(fft.ifft2(spectrum * transfer))[:, inside, inside] for transfer in _BANK]
    step = SIDE // MAP_SIDE
    pooled = np.stack(maps).reshape(len(CHANNELS), len(images), MAP_SIDE, step, MAP_SIDE, step).mean((3, 5))
    return pooled.reshape(len(CHANNELS), len(images), MAP_SIDE**2)


def coarser(maps: np.ndarray) -> np.ndarray:
    """Halve the resolution of channel maps: (n_channels, n, 32 * 32) to (n_channels, n, 16 * 16)."""
    half = MAP_SIDE // 2
    return maps.reshape(*maps.shape[:2], half, 2, half, 2).mean((3, 5)).reshape(*maps.shape[:2], half**2)


def receptive_fields(x: np.ndarray, y: np.ndarray, sigma: np.ndarray, degrees: float, side: int) -> np.ndarray:
    """Gaussian population receptive fields over a square map.

    Parameters
    ----------
    x, y, sigma : arrays of shape (n_voxels,)
        Centre (right and up are positive) and standard deviation, degrees of visual angle.
    degrees : float
        Width of the picture in degrees.
    side : int
        Side of the map.

    Returns
    -------
    array of shape (side * side, n_voxels), float32
        Each column sums to one, also where a field reaches over the border.
    """
    centres = ((np.arange(side) + 0.5) / side - 0.5) * degrees
    spread = np.maximum(sigma, degrees / side / 2)
    across = np.exp(-0.5 * ((centres[:, None] - x) / spread) ** 2)
    down = np.exp(-0.5 * ((-centres[:, None] - y) / spread) ** 2)
    fields = (down[:, None, :] * across[None, :, :]).reshape(side * side, -1)
    # Denormal numbers in the tails would make the pooling twenty times slower.
    fields[fields < 1e-9] = 0
    return (fields / np.maximum(fields.sum(0), 1e-12)).astype(np.float32)
