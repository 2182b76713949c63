"""The search through a diffusion: its gradient by finite differences, its steps written out, and where it begins."""

import dataclasses

import numpy as np
import pytest
import torch
from random_checkpoints import save_generator

from stages.generators.diffusion.latent_diffusion import Row
from stages.generators.diffusion.sampler import Sampling, denoised
from stages.generators.diffusion.schedulers import last_timesteps, make_scheduler, noised
from stages.generators.diffusion.stable_diffusion import StableDiffusionGenerator
from stages.generators.diffusion.start_rule import StartRule
from stages.generators.generator import Item, in_order
from stages.ground.errors import InputError
from stages.ground.item_seeds import item_generator
from stages.inverters.diffusion_search import DiffusionSearch, _checkpointed
from stages.inverters.diffusion_search_settings import DiffusionSearchSettings
from stages.inverters.masked_features import masked_loss
from stages.targets.clip_layers import layers_of
from weights import store

LAYERS = {"clip_block_1": "block 1", "clip_block_3": "block 3", "clip_image": "embedding"}
SETTINGS = DiffusionSearchSettings(iterations=3, multipliers=(1.5, 1.2))
ITEM, STEPS = Item("nsd00003"), 4
DRAWN = {"num_inference_steps": STEPS, "strength": 0.5, "guidance_scale": 3.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_generator("sd", tmp_path_factory.mktemp("generator"))


@pytest.fixture(scope="module")
def load(folder):
    def make(settings=SETTINGS, **options):
        given = {"clip": store.path("tiny-clip"), "layers": LAYERS, "normalise": "own"} | options
        return DiffusionSearch.from_pretrained(folder, scheduler="ddim", settings=settings, **given)

    return make


@pytest.fixture(scope="module")
def values():
    draws = np.random.default_rng(0)
    shapes = {
        "clip_text": (7, 16),
        "first_latent": (4, 8, 8),
        "clip_block_1": (65, 128),
        "clip_block_3": (65, 128),
        "clip_image": (64,),
    }
    return {name: draws.standard_normal((2, *shape)).astype(np.float32) for name, shape in shapes.items()}


def row(generator, values, number=0, item=ITEM):
    own = {name: values[name][number] if name in values else None for name in generator.takes}
    return Row(item.stimulus_id, item.sample, own, {"clip_text": 1.0}, 0.5)


def with_settings(**changes):
    return dataclasses.replace(SETTINGS, **changes)


# The gradient


class _Smooth(torch.nn.Module):
    """A denoising network of double precision, nonlinear in the latents and the tokens."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = torch.nn.Conv2d(2, 2, 3, padding=1).double()

    def forward(self, rows, timestep, tokens, return_dict=False):
        return (torch.tanh(self.layer(rows) + tokens.mean(dim=(1, 2))[:, None, None, None] + timestep / 1000),)


@pytest.mark.parametrize("recomputed", [False, True])
def test_the_gradient_through_two_steps_equals_finite_differences(recomputed):
    scheduler = make_scheduler({"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}, "ddim")
    random = torch.Generator().manual_seed(0)
    latent, noise, wanted = (torch.randn(1, 2, 3, 3, generator=random, dtype=torch.double) for _ in range(3))
    tokens = torch.randn(1, 4, 5, generator=random, dtype=torch.double)
    mask = (wanted > 0).double().flatten()
    network = _Smooth()

    def loss(latent):
        timesteps = last_timesteps(scheduler, 4, 2)
        started = noised(scheduler, latent, noise, timesteps)
        sampling = Sampling(
            random=(), dtype=torch.double, latents=started, timesteps=timesteps, guidance_scale=3.0
        ).with_context(tokens, torch.zeros(1, 4, 5, dtype=torch.double))
        found = denoised(_checkpointed(network) if recomputed else network, scheduler, sampling).flatten()
        layer = {"itself": found}
        pair = (found[:5].exp(), wanted.flatten()[:5])
        return masked_loss(layer, {"itself": mask * wanted.flatten()}, {"itself": mask}, {"itself": 1.5}, pair, 0.4)

    leaf = latent.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf), leaf)
    expected, small = torch.zeros_like(latent), 1e-6
    with torch.no_grad():
        for place in np.ndindex(*latent.shape):
            step = torch.zeros_like(latent)
            step[place] = small
            expected[place] = (loss(latent + step) - loss(latent - step)) / (2 * small)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-9)
    assert float(gradient.abs().max()) > 1e-3


def test_recomputing_activations_changes_nothing(load, values):
    found = [load(with_settings(checkpointing=kept)) for kept in (True, False)]
    one, other = (search.search(row(search, values), 0, STEPS, 3.0) for search in found)
    torch.testing.assert_close(one[0], other[0], rtol=1e-5, atol=1e-5)
    assert one[1] == pytest.approx(other[1], rel=1e-5)


# Where it begins, and its steps


def stage_one(folder, values, **options):
    generator = StableDiffusionGenerator.from_pretrained(folder, scheduler="ddim", **options)
    given = {name: values[name][:1] for name in ("clip_text", "first_latent")}
    return in_order(generator.draw(given, [ITEM], **DRAWN))[0]


@pytest.mark.parametrize("start", [StartRule(), StartRule(noised_to="step before")])
@pytest.mark.parametrize("changes", [{"iterations": 1}, {"learning_rate": 0.0, "noise": "fixed"}])
def test_without_a_step_and_with_one_noise_it_is_stage_one(folder, load, values, changes, start):
    given = {name: rows[:1] for name, rows in values.items()}
    (found,) = in_order(load(with_settings(**changes), start=start).draw(given, [ITEM], **DRAWN))
    expected = stage_one(folder, values, start=start)
    assert np.abs(found.astype(int) - expected).max() <= 1 and expected.std() > 5


def test_fresh_noise_is_another_at_each_iteration(folder, load, values):
    given = {name: rows[:1] for name, rows in values.items()}
    (found,) = in_order(load(with_settings(learning_rate=0.0)).draw(given, [ITEM], **DRAWN))
    assert np.abs(found.astype(int) - stage_one(folder, values)).max() > 3


def test_the_steps_written_out(load, values):
    """Noise, DDIM, decoder, CLIP, loss, learning rate before the step, Adam: by plain torch, for two steps."""
    masks = {name: np.random.default_rng(1).random(65 * 128) > 0.75 for name in ("clip_block_1", "clip_block_3")}
    search = load(masks=masks)
    found, losses = search.search(row(search, values), 0, STEPS, 3.0)
    pipeline, visual = search.pipeline, search.looking.model.visual
    alphas = pipeline.scheduler.alphas_cumprod
    random = item_generator(0, ITEM.stimulus_id, ITEM.sample)
    latent = torch.from_numpy(values["first_latent"][:1])
    moment, square = torch.zeros_like(latent), torch.zeros_like(latent)
    wanted = {name: torch.from_numpy(values[name][0].ravel() * masks[name]) for name in masks}
    by_norm = {name: 1 / float(each.norm()) for name, each in wanted.items()}
    shares = {name: by * by_norm[name] / sum(by_norm.values()) for name, by in zip(masks, SETTINGS.multipliers)}
    whole = sorted(last_timesteps(pipeline.scheduler, STEPS, STEPS).tolist())
    for step in range(3):
        latent = latent.detach().requires_grad_()
        a = alphas[whole[1]]
        x = a.sqrt() * latent + (1 - a).sqrt() * torch.randn(latent.shape, generator=random)
        for index in (1, 0):
            a, before = alphas[whole[index]], alphas[whole[index - 1]] if index else alphas[0]
            text = torch.from_numpy(values["clip_text"][:1])
            nothing, under = (
                pipeline.unet(x, whole[index], tokens).sample for tokens in (search.empty_text[None], text)
            )
            e = nothing + 3.0 * (under - nothing)
            x = before.sqrt() * (x - (1 - a).sqrt() * e) / a.sqrt() + (1 - before).sqrt() * e
        picture = (pipeline.vae.decode(x / 0.7).sample / 2 + 0.5).clamp(0, 1)
        picture = torch.nn.functional.interpolate(picture, size=(64, 64), mode="bicubic", align_corners=False)
        seen = layers_of(visual, (picture - 0.5) / 0.25, tuple(LAYERS.values()))
        loss = (
            0.1
            * 0.5
            * (1 - torch.cosine_similarity(seen["embedding"][0], torch.from_numpy(values["clip_image"][0]), dim=0))
        )
        for name in masks:
            own = seen[LAYERS[name]][0].flatten() * torch.from_numpy(masks[name])
            loss = loss + 0.5 * shares[name] * ((own - wanted[name]) ** 2).sum() / (65 * 128)
        assert losses[step] == pytest.approx(loss.item(), rel=1e-3)
        if step == 2:
            break
        (gradient,) = torch.autograd.grad(loss, latent)
        moment = 0.9 * moment + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        # The first step is made at 0.00999.
        rate = 0.01 * 0.999 ** (step + 1)
        corrected = (square / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8
        latent = latent.detach() - rate * moment / (1 - 0.9 ** (step + 1)) / corrected
    torch.testing.assert_close(found, x.detach(), rtol=1e-3, atol=2e-3)


def test_learning_rates_fall_before_each_step():
    rates = [DiffusionSearchSettings().rate_of(step) for step in (0, 1, 298)]
    assert rates == pytest.approx([0.00999, 0.01 * 0.999**2, 0.01 * 0.999**299])


def test_the_first_step_of_adam_is_the_learning_rate(load, values):
    """Whatever the gradient, Adam's first step goes as far as the learning rate: 0.00999."""
    search, seen = load(with_settings(iterations=2)), []
    kept = search._drawn_from
    search._drawn_from = lambda latent, *more: seen.append(latent.detach().clone()) or kept(latent, *more)
    search.search(row(search, values), 0, STEPS, 3.0)
    moved = (seen[1] - seen[0]).abs()
    assert float(moved.max()) == pytest.approx(0.00999, rel=1e-3)


def test_the_loss_falls(load, values):
    settings = with_settings(iterations=12, learning_rate=0.1, noise="fixed")
    search = load(settings)
    _, losses = search.search(row(search, values), 0, STEPS, 3.0)
    assert losses[-1] < losses[0]


def test_text_is_changed_too_if_it_is_asked_for(load, values):
    search = load(with_settings(optimised="latent and text"))
    both, _ = search.search(row(search, values), 0, STEPS, 3.0)
    alone, _ = load().search(row(search, values), 0, STEPS, 3.0)
    assert float((both - alone).abs().max()) > 1e-5


# Neighbours and refusals


def test_a_picture_is_the_same_alone_and_beside_another(load, values):
    items, search = [Item("a"), Item("b", 1)], load()
    together = in_order(search.draw(values, items, batch_size=2, **DRAWN))
    alone = in_order(search.draw({name: rows[1:] for name, rows in values.items()}, items[1:], **DRAWN))
    np.testing.assert_array_equal(together[1], alone[0])


def test_fewer_tokens_of_text(load, values):
    search = load(text_length=5)
    assert search.takes["clip_text"] == (5, 16)
    shorter = {name: rows[:1, :5] if name == "clip_text" else rows[:1] for name, rows in values.items()}
    assert len(in_order(search.draw(shorter, [ITEM], **DRAWN))) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"settings": DiffusionSearchSettings()}, "6 multipliers"),
        ({"layers": {"clip_block_1": "block 1", "clip_block_2": "block 2"}}, "0 embeddings"),
        ({"masks": {"clip_block_1": np.ones(7, dtype=bool)}}, "has 7 units but the layer has 8,320"),
    ],
)
def test_what_does_not_fit_is_refused(load, options, said):
    with pytest.raises(InputError, match=said):
        load(**options)


def test_without_a_latent_there_is_nothing_to_search_from(load, values):
    given = {name: None if name == "first_latent" else rows[:1] for name, rows in values.items()}
    with pytest.raises(InputError, match="needs first_latent"):
        load().draw(given, [ITEM], **DRAWN)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iterations", 0),
        ("decay", 0.0),
        ("embedding_weight", 1.5),
        ("rate", 100),
        ("noise", "none"),
        ("multipliers", ()),
    ],
)
def test_settings_that_make_no_sense_are_refused(name, value):
    with pytest.raises(InputError, match=f"search.{name} is"):
        DiffusionSearchSettings(**{name: value})
