"""Guidance by features: its gradient by finite differences, its formula written out, and how many steps it takes part in."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages.generators.diffusion.feature_guidance import FeatureGuidance
from stages.generators.diffusion.feature_guidance_settings import FeatureGuidanceSettings
from stages.generators.diffusion.sampler import Predicted, Sampling, denoised
from stages.generators.diffusion.schedulers import last_timesteps, make_scheduler
from stages.ground.errors import InputError

CONFIG = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
CONFIG |= {"set_alpha_to_one": False, "timestep_spacing": "leading"}
KINDS = ("epsilon", "v_prediction")
ALONE = FeatureGuidanceSettings(scale=1.0, share=1.0, multipliers=(1.0,), self_attention=0.0)


class Smooth(torch.nn.Module):
    """A denoising network of double precision, nonlinear in the latents and the tokens; counts how often it is asked."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = torch.nn.Conv2d(2, 2, 3, padding=1).double().requires_grad_(False)
        self.asked = []

    def forward(self, rows, timestep, tokens, return_dict=False):
        self.asked.append((len(rows), torch.is_grad_enabled()))
        return (torch.tanh(self.layer(rows) + tokens.mean(dim=(1, 2))[:, None, None, None] + timestep / 1000),)


class Space:
    """A linear decoder: pictures are the latents times a matrix over their channels."""

    matrix = torch.tensor([[1.0, -0.5], [0.3, 2.0], [0.7, 0.2]], dtype=torch.double)

    def decode(self, latents):
        return torch.einsum("oc,nchw->nohw", self.matrix, latents)


def scheduler_of(kind="epsilon"):
    return make_scheduler(CONFIG | {"prediction_type": kind}, "ddim")


def guidance(settings=ALONE, kind="epsilon", distance_from=None):
    def squared(values):
        wanted = torch.as_tensor(values["feature"], dtype=torch.double)
        return lambda pixels: (pixels.mean(dim=(0, 2, 3)) - wanted).square().sum()

    return FeatureGuidance(("feature",), distance_from or squared, Space(), scheduler_of(kind), settings)


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.double)


def sampling_of(n, scheduler, steps=37, of=50, scale=3.0):
    kept = dict.fromkeys(("dtype", "latent_dtype"), torch.double)
    timesteps = last_timesteps(scheduler, of, steps)
    sampling = Sampling(random=(), latents=drawn(n, 2, 3, 3), timesteps=timesteps, guidance_scale=scale, **kept)
    return sampling.with_context(drawn(n, 4, 5), torch.zeros(1, 4, 5, dtype=torch.double))


def features(n):
    return [(np.float32([row, 1.0, -1.0]),) for row in range(n)]


def predicted_of(sampling, number=0, n_steps=37):
    value = drawn(*sampling.latents.shape)
    return Predicted(number, n_steps, sampling.timesteps[0], sampling.latents, value, value, value)


@torch.no_grad()
def denoise(network, led, sampling):
    """Latents after all steps."""
    return denoised(network, led._scheduler, sampling)


# The gradient


@pytest.mark.parametrize("noise_taken", ["by its deviation", "by its variance"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_equals_finite_differences(kind, noise_taken):
    settings = FeatureGuidanceSettings(noise_taken=noise_taken, multipliers=(1.0,))
    led, network = guidance(settings, kind), Smooth()
    sampling = sampling_of(2, led._scheduler)

    def distance(pixels):
        return torch.tanh(pixels).square().mean() + pixels.flatten()[3]

    (one, other) = (led.gradient(network, sampling, predicted_of(sampling), row, distance) for row in range(2))
    for row, found in enumerate((one, other)):
        expected = torch.zeros_like(found)
        for place in np.ndindex(*found.shape):
            step = torch.zeros_like(found)
            step[place] = 1e-6
            ends = []
            for sign in (1, -1):
                at = sampling.latents[row : row + 1] + sign * step
                ends.append(distance(Space().decode(led.looked_at(network, sampling, sampling.timesteps[0], at, row))))
            expected[place] = (ends[0] - ends[1]) / 2e-6
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)
        assert float(found.abs().max()) > 1e-3


@pytest.mark.parametrize("noise_taken", ["by its deviation", "by its variance"])
def test_what_is_looked_at_is_the_formula(noise_taken):
    """Clean latents, mixed with the noisy ones, under the conditions alone: by NumPy."""
    led, network = guidance(FeatureGuidanceSettings(noise_taken=noise_taken, multipliers=(1.0,))), Smooth()
    sampling = sampling_of(2, led._scheduler)
    timestep, x = sampling.timesteps[0], sampling.latents[1].numpy()
    assert int(timestep) == 721
    share = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)[721]
    noise = network(sampling.latents[1:], timestep, sampling.contexts[0].tokens[1:])[0][0].numpy()
    taken = 1 - share if noise_taken == "by its variance" else np.sqrt(1 - share)
    clean, mix = (x - taken * noise) / np.sqrt(share), np.sqrt(1 - share)
    found = led.looked_at(network, sampling, timestep, sampling.latents[1:], 1)[0]
    np.testing.assert_allclose(found, mix * clean + (1 - mix) * x, rtol=1e-5)


def test_a_network_that_predicts_v_is_looked_at_and_led_alike():
    """Of v that says the same noise, the same is looked at, and the noise is changed by as much."""
    led = {kind: guidance(kind=kind) for kind in KINDS}
    sampling, noise = sampling_of(1, led["epsilon"]._scheduler), drawn(1, 2, 3, 3)
    share = led["epsilon"]._scheduler.alphas_cumprod[721].double()
    x = sampling.latents
    clean = (x - (1 - share).sqrt() * noise) / share.sqrt()
    said = {"epsilon": noise, "v_prediction": share.sqrt() * noise - (1 - share).sqrt() * clean}
    looked, moved = [], []
    for kind, value in said.items():

        def network(rows, *more, value=value, **others):
            return (value + 0 * rows,)

        looked.append(led[kind].looked_at(network, sampling, sampling.timesteps[0], x, 0))
        (correct,) = led[kind].prepare(features(1), sampling).corrections
        at = Predicted(0, 37, sampling.timesteps[0], x, value, value, value)
        change = correct(network, sampling, at) - value
        moved.append(change if kind == "epsilon" else share.sqrt() * change)
    torch.testing.assert_close(*looked, rtol=1e-5, atol=1e-6)
    assert float(looked[0].std()) > 0.1 and float(moved[0].abs().max()) > 0.01
    # Of another v the derivative by x is another too: only the change's direction and scale are compared where it is constant.
    assert torch.sign(moved[0]).equal(torch.sign(moved[1]))


# A step


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_leads_down_the_distance(kind):
    """A small step of DDIM with guidance ends nearer to the wanted feature than one without."""
    away = {}
    for scale in (0.0, 0.5):
        led = guidance(FeatureGuidanceSettings(scale=scale, share=1.0, multipliers=(1.0,)), kind)
        network, sampling = Smooth(), sampling_of(1, led._scheduler, steps=1, of=2)
        found = denoise(network, led, led.prepare(features(1), sampling))
        wanted = torch.tensor([0.0, 1.0, -1.0], dtype=torch.double)
        away[scale] = float((Space().decode(found).mean(dim=(0, 2, 3)) - wanted).square().sum())
    assert away[0.5] < away[0.0]


@pytest.mark.parametrize(("share", "steps", "guided"), [(0.2, 37, 7), (0.0, 37, 0), (1.0, 37, 37), (0.2, 4, 0)])
def test_so_many_steps_are_guided(share, steps, guided):
    led, network = guidance(FeatureGuidanceSettings(scale=1.0, share=share, multipliers=(1.0,))), Smooth()
    sampling = led.prepare(features(2), sampling_of(2, led._scheduler, steps))
    denoise(network, led, sampling)
    # Of each step four rows without a gradient, and then one picture at a time with it, in the first steps.
    assert network.asked == guided * [(4, False), (1, True), (1, True)] + (steps - guided) * [(4, False)]


def test_the_prediction_is_changed_by_the_slope_times_its_factors():
    settings = FeatureGuidanceSettings(scale=40.0, share=1.0, multipliers=(1.0,))
    led, network = guidance(settings), Smooth()
    sampling = led.prepare(features(2), sampling_of(2, led._scheduler))
    at = predicted_of(sampling)
    found = sampling.corrections[0](network, sampling, at)
    share = led._scheduler.alphas_cumprod[721]
    for row, (wanted,) in enumerate(features(2)):
        distance = led._distance_from({"feature": wanted})
        slope = led.gradient(network, sampling, at, row, distance)
        torch.testing.assert_close(
            found[row], at.value[row] + 40 * (1 - share).sqrt() * slope, rtol=1e-6, atol=1e-6, check_dtype=False
        )
    assert found is not at.value and float((found - at.value).abs().min()) > 0


def test_rows_do_not_see_each_other_and_absent_values_lead_nowhere():
    led, network = guidance(FeatureGuidanceSettings(scale=30.0, multipliers=(1.0,))), Smooth()
    both = sampling_of(2, led._scheduler)
    given = [(None,), features(2)[1]]
    together = denoise(network, led, led.prepare(given, both))
    unled = denoise(network, led, both)
    assert together[0].equal(unled[0]) and float((together[1] - unled[1]).abs().max()) > 1e-3
    for nothing in ([(None,), (None,)],):
        assert led.prepare(nothing, both) is both
    assert guidance(FeatureGuidanceSettings(scale=0.0, multipliers=(1.0,))).prepare(given, both) is both


def test_pictures_of_several_seeds_come_nearer_to_each_other_with_the_scale():
    """Spread over 12 noises of the features that are led, at three scales."""
    spreads = []
    for scale in (0.0, 0.02, 0.05):
        led, network = guidance(FeatureGuidanceSettings(scale=scale, share=1.0, multipliers=(1.0,))), Smooth()
        sampling = sampling_of(12, led._scheduler, steps=10, of=10)
        same = sampling.contexts[0].tokens[:1].expand(12, -1, -1)
        sampling = Sampling(**(vars(sampling) | {"contexts": ()})).with_context(same, torch.zeros_like(same))
        found = denoise(network, led, led.prepare([features(1)[0]] * 12, sampling))
        spreads.append(float(Space().decode(found).mean(dim=(2, 3)).std(dim=0).mean()))
    assert spreads[0] > 1.2 * spreads[1] > 1.2 * spreads[2]


# Refusals


@pytest.mark.parametrize(
    "scheduler",
    [
        SimpleNamespace(config=SimpleNamespace(prediction_type="sample"), alphas_cumprod=1, init_noise_sigma=1.0),
        SimpleNamespace(config=SimpleNamespace(prediction_type="epsilon"), alphas_cumprod=1, init_noise_sigma=14.6),
        SimpleNamespace(config=SimpleNamespace(prediction_type="epsilon"), init_noise_sigma=1.0),
    ],
)
def test_schedules_of_another_kind_are_refused(scheduler):
    with pytest.raises(InputError, match="pass scheduler='ddim'"):
        FeatureGuidance(("feature",), None, None, scheduler, ALONE)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scale": -1.0}, "scale is -1"),
        ({"share": 1.5}, "share is 1.5"),
        ({"multipliers": (1.0, -2.0)}, "multipliers is"),
        ({"noise_taken": "by half"}, "noise_taken is 'by half'"),
        ({"self_attention": float("nan")}, "self_attention is nan"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        FeatureGuidanceSettings(**settings)
