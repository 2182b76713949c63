"""One search, whichever way its loss is lowered: where it starts, what it keeps to, and which picture it gives."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from stages.inverters.picture_search import search
from stages.inverters.picture_search_settings import PictureSearchSettings

RANDOM = np.random.default_rng(0)
DRAWING, LOOKING = (torch.from_numpy(RANDOM.standard_normal(shape)) for shape in ((7, 5), (4, 7)))
WANTED, STARTS = torch.from_numpy(RANDOM.standard_normal((3, 4))), torch.from_numpy(RANDOM.standard_normal((3, 5)))
BOUNDS = (torch.zeros(()), torch.tensor([0.5, 1.0, 2.0, 0.1, 3.0]).double())
STEPPED = PictureSearchSettings(steps=6)
ADAMW = replace(STEPPED, optimiser="AdamW", learning_rate=0.1, last_learning_rate=0.1, found="after the last step")
QUASI_NEWTON = replace(STEPPED, optimiser="L-BFGS-B", steps=30)
WAYS = {"gradient descent": STEPPED, "AdamW": ADAMW, "L-BFGS-B": QUASI_NEWTON}


def found(settings, rows=(0, 1, 2), wanted=WANTED, bounds=BOUNDS, weights=None, **options):
    rows = list(rows)
    return search(
        lambda x: x @ DRAWING.T,
        lambda picture: {"a": picture @ LOOKING.T},
        {"a": wanted[rows]},
        weights or {"a": 1.0},
        STARTS[rows],
        settings,
        bounds,
        **options,
    )


def latents(pictures):
    return np.linalg.lstsq(DRAWING.numpy(), pictures.numpy().T, rcond=None)[0].T


@pytest.mark.parametrize("way", WAYS)
def test_losses_fall_within_the_bounds(way):
    settings = replace(WAYS[way], steps=60, found="after the last step", decay=0.0, learning_rate=0.1)
    pictures, losses = found(replace(settings, last_learning_rate=1e-3))
    assert len(pictures) == len(losses) == 3
    for one, latent in zip(losses, latents(pictures)):
        assert one[-1] < 0.9 * one[0]
        assert (latent > -1e-9).all() and (latent < BOUNDS[1].numpy() + 1e-9).all()


@pytest.mark.parametrize("way", WAYS)
def test_items_are_independent(way):
    weights = torch.tensor([0.2, 1.0, 3.0]).double()
    together, losses = found(WAYS[way], weights={"a": weights})
    for row in range(3):
        alone, own = found(WAYS[way], [row], weights={"a": weights[row : row + 1]})
        np.testing.assert_allclose(together[row], alone[0], rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(losses[row], own[0], rtol=1e-8)


def test_bounded_quasi_newton_vs_scipy():
    """The whole search, by hand: gradient through both matrices."""
    pictures, _ = found(QUASI_NEWTON, [1], weights={"a": 0.5})
    matrix, wanted = (LOOKING @ DRAWING).numpy(), WANTED[1].numpy()

    def value_and_gradient(x):
        error = matrix @ x - wanted
        return 0.5 * error @ error, matrix.T @ error

    limits = {"method": "L-BFGS-B", "bounds": [(0, high) for high in BOUNDS[1].tolist()], "options": {"maxiter": 30}}
    expected = minimize(value_and_gradient, STARTS[1].numpy(), jac=True, **limits)
    np.testing.assert_allclose(latents(pictures)[0], expected.x, rtol=1e-6, atol=1e-8)


def test_adamw_vs_torchs():
    settings = replace(ADAMW, last_learning_rate=0.02)
    x = STARTS[:1].clone().requires_grad_()
    optimiser = torch.optim.AdamW([x], lr=0.1)
    for step in range(6):
        optimiser.param_groups[0]["lr"] = 0.1 + step * (0.02 - 0.1) / 6
        optimiser.zero_grad()
        (x @ DRAWING.T @ LOOKING.T - WANTED[:1]).square().sum().backward()
        optimiser.step()
        x.data = torch.minimum(x.data.clamp(min=0), BOUNDS[1])
    np.testing.assert_allclose(latents(found(settings, [0])[0]), x.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("way", ["gradient descent", "AdamW"])
def test_the_picture_before_the_last_step_and_after_it(way):
    """After n steps is before the last of n + 1, as long as all go at one rate."""
    settings = replace(WAYS[way], learning_rate=0.1, last_learning_rate=0.1)
    after, losses = found(replace(settings, found="after the last step"))
    before, more = found(replace(settings, found="before the last step", steps=7))
    np.testing.assert_allclose(after, before, rtol=1e-9)
    np.testing.assert_allclose(losses[0], more[0][:-1], rtol=1e-9)


def test_bounds_when_used_change_what_is_drawn_alone():
    """Gradients pass as if there were no bounds, so that what left them may come back."""
    settings = replace(ADAMW, bounds_hold="when used", steps=40)
    low = (torch.zeros(()), None)
    x = STARTS[:1].clone().requires_grad_()
    optimiser, drawn = torch.optim.AdamW([x], lr=0.1), []
    for _ in range(40):
        optimiser.zero_grad()
        used = x.detach().clamp(min=0).requires_grad_()
        (used @ DRAWING.T @ LOOKING.T - WANTED[:1]).square().sum().backward()
        x.grad = used.grad
        optimiser.step()
        drawn.append(x.detach().clone())
    pictures, _ = found(settings, [0], bounds=low)
    np.testing.assert_allclose(latents(pictures), drawn[-1].clamp(min=0), rtol=1e-8, atol=1e-9)
    assert drawn[-1].min() < -0.01
    held, _ = found(replace(settings, bounds_hold="after each step"), [0], bounds=low)
    assert np.abs(latents(held) - latents(pictures)).max() > 1e-3


def test_distances_know_their_layers():
    settings = replace(STEPPED, distance="DISTS and squares", steps=4)
    with_shares = found(settings, layers={"a": "conv5_4"})[1]
    assert with_shares != found(settings, layers={"a": "conv2_1"})[1]
    assert found(settings)[1] == found(settings, layers={"a": "nothing known"})[1]


def test_without_an_optimiser_the_start_is_drawn():
    settings = replace(STEPPED, optimiser="none")
    pictures, losses = search(lambda x: x @ DRAWING.T, lambda picture: {}, {}, {}, STARTS, settings)
    assert torch.equal(pictures, STARTS @ DRAWING.T) and losses == [[], [], []]


@pytest.mark.parametrize("way", WAYS)
def test_only_the_item_whose_loss_is_not_finite_is_lost(way):
    wanted = WANTED.clone()
    wanted[1, 0] = torch.nan
    pictures, _ = found(WAYS[way], wanted=wanted)
    assert pictures.isfinite().all(1).tolist() == [True, False, True]


@pytest.mark.parametrize("way", ["gradient descent", "AdamW"])
def test_each_step_tells_the_losses_without_waiting(way):
    told = []
    _, losses = found(WAYS[way], stepped=told.append)
    assert [one.tolist() for one in told] == np.array(losses).T.tolist()
