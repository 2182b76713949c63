"""The search, step by step, against the same written out in NumPy; its bounds, its start, and how a picture is shown."""

import numpy as np
import pytest
import torch

from stages.generators.generator import Item
from stages.ground.errors import InputError
from stages.inverters.picture_search import displayed, first_input, search
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
    bound = None if bound is None else torch.from_numpy(bound)
    return search(draw, look, wanted, WEIGHTS, torch.from_numpy(START)[None], settings, bound)


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
    assert losses[0] == pytest.approx(0, abs=1e-20)
    np.testing.assert_allclose(picture[0].numpy(), GENERATOR @ START)


def test_a_gradient_of_zero_is_no_nan():
    settings = PictureSearchSettings(steps=3)
    picture, losses = search(
        lambda z: z * 0, lambda x: {"a": x}, {"a": torch.zeros(1, 2)}, {"a": 1.0}, torch.ones(1, 2), settings
    )
    assert picture.tolist() == [[0, 0]] and losses == [0, 0, 0]


def test_it_searches_where_gradients_are_switched_off():
    with torch.no_grad():
        inside = found(PictureSearchSettings(steps=3))
    assert inside[1] == found(PictureSearchSettings(steps=3))[1] and not inside[0].requires_grad


def test_starts():
    one, other = Item("nsd00042"), Item("nsd00043")
    own = PictureSearchSettings()
    first = first_input(own, 2000, 0, one)
    assert torch.equal(first, first_input(own, 2000, 0, one)) and abs(float(first.std()) - 1) < 0.1
    others = ((1, one), (0, other), (0, Item("nsd00042", sample=1)))
    for seed, item in others:
        assert not torch.equal(first, first_input(own, 2000, seed, item))
    shared = PictureSearchSettings(start="shared noise")
    assert torch.equal(first_input(shared, 9, 0, one), first_input(shared, 9, 5, other))
    assert not torch.equal(
        first_input(shared, 9, 0, one),
        first_input(PictureSearchSettings(start="shared noise", start_seed=1), 9, 0, one),
    )
    assert first_input(PictureSearchSettings(start="zeros"), 9, 0, one).tolist() == [0.0] * 9


@pytest.mark.parametrize("clip", [4.0, 10.0])
def test_so_many_percent_of_different_values_are_cut_off(clip):
    values = np.random.default_rng(1).permutation(3000).reshape(20, 50, 3).astype(float)
    low, high = np.sort(values.ravel())[[round(30 * clip / 2), -1 - round(30 * clip / 2)]]
    shown = displayed(values, clip)
    assert shown.dtype == np.uint8 and shown.min() == 0 and shown.max() == 255
    # Both ends, half and half, of the three colours together.
    limits = np.percentile(values, [clip / 2, 100 - clip / 2])
    assert ((values < limits[0]) | (values > limits[1])).sum() == pytest.approx(30 * clip, abs=2)
    expected = 255 * (np.clip(values, *limits) - limits[0]) / (limits[1] - limits[0])
    assert np.abs(shown - np.floor(expected)).max() <= 1
    assert np.abs(displayed(values, clip, rounded=True) - expected).max() <= 0.5 + 1e-9
    assert (shown[values < low] == 0).all() and (shown[values > high] >= 254).all()


def test_a_picture_of_one_value_is_black():
    assert displayed(np.full((4, 4, 3), 90.0)).max() == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 0}, "search.steps is 0"),
        ({"learning_rate": 0.0}, "search.learning_rate is 0"),
        ({"momentum": 1.0}, "search.momentum is 1"),
        ({"start": "grey"}, "search.start is 'grey'"),
        ({"scaling": "std"}, "search.scaling is 'std'"),
        ({"clip": 100.0}, "search.clip is 100"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        PictureSearchSettings(**options)
