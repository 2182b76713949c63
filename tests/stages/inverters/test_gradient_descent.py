"""Gradient descent, step by step, against the same written out in NumPy."""

import numpy as np
import pytest
import torch

from stages.inverters.picture_search import search
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
