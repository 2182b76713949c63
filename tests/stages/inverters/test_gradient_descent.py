"""Gradient descent, step by step, against the same written out in NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from stages.inverters.gradient_descent import descend
from stages.inverters.picture_search import search
from stages.inverters.picture_search_presets import BDPY_PIXELS
from stages.inverters.picture_search_settings import PictureSearchSettings

# A linear "generator" of 5 values, and two "layers" that read from what it gives.
RANDOM = np.random.default_rng(0)
GENERATOR, FIRST, SECOND = (RANDOM.standard_normal(shape) for shape in ((7, 5), (4, 7), (3, 7)))
WANTED = {"first": RANDOM.standard_normal((1, 4)), "second": RANDOM.standard_normal((1, 3))}
WEIGHTS, START, BOUND = {"first": 0.3, "second": 0.7}, RANDOM.standard_normal(5), np.array([2.0, 3.0, 6.0, 2.0, 0.5])


def found(settings, bound=BOUND, seen=None):
    """Picture and losses; the generator's inputs are put into `seen`."""
    matrix, first, second = (torch.from_numpy(each) for each in (GENERATOR, FIRST, SECOND))

    def draw(latent):
        if seen is not None:
            seen.append(latent.detach().numpy()[0].copy())
        return latent @ matrix.T

    def look(picture):
        return {"first": picture @ first.T, "second": picture @ second.T}

    wanted = {name: torch.from_numpy(values) for name, values in WANTED.items()}
    bounds = None if bound is None else (torch.zeros(()), torch.from_numpy(bound))
    picture, losses = search(draw, look, wanted, WEIGHTS, torch.from_numpy(START)[None], settings, bounds)
    return picture, losses[0]


def written_out(steps, bound=BOUND, momentum=0.9, decay=0.01, rates=(2.0, 1e-10)):
    """Inputs before each step, with the gradient of a sum of squares by hand."""
    latent, velocity, seen, losses = START.copy(), np.zeros(5), [], []
    for step in range(steps):
        seen.append(latent.copy())
        gradient, loss = np.zeros(5), 0.0
        for name, layer in (("first", FIRST), ("second", SECOND)):
            error = layer @ GENERATOR @ latent - WANTED[name][0]
            loss += WEIGHTS[name] * error @ error
            gradient += 2 * WEIGHTS[name] * (layer @ GENERATOR).T @ error
        losses.append(loss)
        gradient /= np.abs(gradient).mean()
        velocity = momentum * velocity + gradient
        rate = rates[0] + step * (rates[1] - rates[0]) / steps
        latent = latent - rate * velocity
        latent = (1 - decay) * latent
        if bound is not None:
            latent = np.minimum(np.maximum(latent, 0), bound)
    return seen, losses


@pytest.mark.parametrize("bound", [None, BOUND])
@pytest.mark.parametrize("steps", [1, 3, 40])
def test_steps_vs_numpy(steps, bound):
    """Gradient by its mean size, then momentum, then the step, then decay, then bounds."""
    seen = []
    picture, losses = found(PictureSearchSettings(steps=steps), bound, seen)
    expected, expected_losses = written_out(steps, bound)
    np.testing.assert_allclose(seen, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-9)
    # One step old.
    np.testing.assert_allclose(picture[0].numpy(), GENERATOR @ expected[-1], rtol=1e-9, atol=1e-9)


def test_another_order_of_the_steps_would_be_seen():
    """Decay before the step, or momentum before the gradient is divided, end elsewhere: what is compared above is the order."""
    seen = []
    found(PictureSearchSettings(steps=4), None, seen)
    latent, velocity = START.copy(), np.zeros(5)
    for step in range(3):
        gradient = sum(
            2 * WEIGHTS[name] * (layer @ GENERATOR).T @ (layer @ GENERATOR @ latent - WANTED[name][0])
            for name, layer in (("first", FIRST), ("second", SECOND))
        )
        velocity = 0.9 * velocity + gradient
        latent = 0.99 * latent - (2 - step * 0.5) * velocity / np.abs(velocity).mean()
    assert np.abs(latent - seen[-1]).max() > 0.1


def test_rates_and_bounds():
    settings = PictureSearchSettings()
    assert settings.rate(0) == 2 and settings.rate(199) == pytest.approx(2 / 200, abs=1e-9)
    seen = []
    found(PictureSearchSettings(steps=30), seen=seen)
    # The first is the start, as it is drawn.
    assert min(seen[0]) < 0
    assert all((latent >= 0).all() and (latent <= BOUND).all() for latent in seen[1:])


def test_at_the_target_nothing_is_left_to_do():
    wanted = {
        name: torch.from_numpy(layer @ GENERATOR @ START)[None]
        for name, layer in (("first", FIRST), ("second", SECOND))
    }
    matrix, first, second = (torch.from_numpy(each) for each in (GENERATOR, FIRST, SECOND))
    picture, losses = search(
        lambda latent: latent @ matrix.T,
        lambda picture: {"first": picture @ first.T, "second": picture @ second.T},
        wanted,
        WEIGHTS,
        torch.from_numpy(START)[None],
        PictureSearchSettings(steps=1),
    )
    assert losses == [[pytest.approx(0, abs=1e-20)]]
    np.testing.assert_allclose(picture[0].numpy(), GENERATOR @ START)


def test_a_gradient_of_zero_is_no_nan():
    settings = PictureSearchSettings(steps=3)
    picture, losses = search(
        lambda z: z * 0, lambda x: {"a": x}, {"a": torch.zeros(1, 2)}, {"a": 1.0}, torch.ones(1, 2), settings
    )
    assert picture.tolist() == [[0, 0]] and losses == [[0, 0, 0]]


def test_it_searches_where_gradients_are_switched_off():
    with torch.no_grad():
        inside = found(PictureSearchSettings(steps=3))
    assert inside[1] == found(PictureSearchSettings(steps=3))[1] and not inside[0].requires_grad


# Pixels, with all that keeps them smooth

WEIGHTED = RANDOM.standard_normal((9, 3 * 6 * 7))
SHOWN, SHIFTS = RANDOM.normal(0, 60, (3, 6, 7)), RANDOM.integers(-2, 3, (9, 2))


def pixels_written_out(settings):
    """icnn's and bdpy's loops on one picture, in the order of their steps; the gradient is that of a linear layer."""
    x, velocity, n, wanted = SHOWN.copy(), np.zeros_like(SHOWN), settings.steps, np.ones(9)
    for t in range(n):
        down, right = SHIFTS[t] if settings.jitter else (0, 0)
        x = np.roll(x, (down, right), (1, 2))
        if settings.jittered == "picture and velocity":
            velocity = np.roll(velocity, (down, right), (1, 2))
        gradient = (2 * WEIGHTED.T @ (WEIGHTED @ x.ravel() - wanted)).reshape(x.shape)
        gradient = gradient / np.abs(gradient).mean()
        velocity = 0.9 * velocity + gradient
        if settings.p_norm:
            regular = 3 * x**2 * np.sign(x)
            velocity = velocity + settings.p_norm * regular / np.abs(regular).mean()
        if settings.total_variation:
            pixels = torch.from_numpy(x).requires_grad_()
            variation = (pixels[:, 1:] - pixels[:, :-1]).square().sum() + (
                pixels[..., 1:] - pixels[..., :-1]
            ).square().sum()
            regular = torch.autograd.grad(variation, pixels)[0].numpy()
            velocity = velocity + settings.total_variation * regular / np.abs(regular).mean()
        x = x - (2 + t * (1e-10 - 2) / n) * velocity
        if settings.clip_extremes and (t + 1) % 4 == 0:
            half = settings.clip_extremes / 2
            x = np.clip(x, np.percentile(x, half), np.percentile(x, 100 - half))
        x = np.roll(x, (-down, -right), (1, 2))
        if settings.jittered == "picture and velocity":
            velocity = np.roll(velocity - gradient, (-down, -right), (1, 2)) + gradient
        x = (1 - (settings.decay + t * (settings.last_decay - settings.decay) / n)) * x
        if settings.blur:
            sigma = settings.blur + t * (settings.last_blur - settings.blur) / n
            x = np.stack([gaussian_filter(channel, sigma) for channel in x])
    return x


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"blur": 2.0, "last_blur": 0.5},
        {"jitter": 2},
        {"jitter": 2, "jittered": "picture and velocity"},
        {"p_norm": 0.5},
        {"total_variation": 0.5},
        {"clip_extremes": 20.0},
        {
            "jitter": 2,
            "jittered": "picture and velocity",
            "p_norm": 0.5,
            "total_variation": 0.5,
            "blur": 1.0,
            "last_blur": 0.5,
        },
    ],
)
def test_pixels_vs_numpy(changes):
    settings = replace(BDPY_PIXELS, steps=9, **changes)
    matrix = torch.from_numpy(WEIGHTED)
    shifts = (lambda step: [SHIFTS[step].tolist()]) if settings.jitter else None
    picture, _ = search(
        lambda x: x,
        lambda picture: {"a": picture.flatten(1) @ matrix.T},
        {"a": torch.ones(1, 9, dtype=torch.float64)},
        {"a": 1.0},
        torch.from_numpy(SHOWN)[None],
        settings,
        shifts=shifts,
    )
    expected = pixels_written_out(settings)
    np.testing.assert_allclose(picture[0], expected, rtol=1e-9, atol=1e-9)
    if changes:
        plain = pixels_written_out(replace(BDPY_PIXELS, steps=9))
        assert np.abs(plain - expected).max() > 1


def test_each_of_several_goes_its_own_way():
    """Gradients are divided by their own mean sizes, and shifts are their own."""
    settings = replace(BDPY_PIXELS, steps=5, jitter=2, jittered="picture and velocity", blur=1.0, total_variation=0.5)
    matrix = torch.from_numpy(WEIGHTED)
    starts = torch.from_numpy(np.stack([SHOWN, 1000 * SHOWN[:, ::-1].copy(), SHOWN[::-1].copy()]))

    def found(rows):
        return descend(
            lambda x: (x.flatten(1) @ matrix.T - 1).square().sum(1),
            starts[rows],
            settings,
            shifts=lambda step: [SHIFTS[step + row].tolist() for row in rows],
        )[1]

    together = found([0, 1, 2])
    for row in range(3):
        np.testing.assert_allclose(together[row], found([row])[0], rtol=1e-9, atol=1e-9)
