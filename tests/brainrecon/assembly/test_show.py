"""First pictures: what each setting of stage one changes, and that nothing else does."""

import numpy as np
import pytest

from brainrecon.assembly.show import Show
from brainrecon.assembly.targets import TargetSource
from brainrecon.assembly.values import Item
from brainrecon.assembly.vdvae_settings import VDVAESettings
from stages.targets.vdvae import VDVAELatents
from weights import store

ITEMS = [Item("subj01", name) for name in "abc"]


@pytest.fixture(scope="module")
def target():
    return VDVAELatents.from_pretrained(store.path("tiny-vdvae"))


@pytest.fixture(scope="module")
def latents(target):
    return target.encode(np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8))


def shown(target, latents, items=ITEMS, seed=0, **settings):
    settings = VDVAESettings(**settings)
    step = Show("vdvae", TargetSource(lambda: target, ()), options=settings.showing, draws=settings.draws)
    return step.run(items, {"vdvae": list(latents)}, seed=seed)["first_picture"].astype(int)


def test_at_the_defaults_nothing_is_drawn_by_lot(target, latents):
    usual = shown(target, latents)
    np.testing.assert_array_equal(usual, target.decode(latents, batch_size=1))
    np.testing.assert_array_equal(usual, shown(target, latents, seed=1))
    np.testing.assert_array_equal(usual, shown(target, latents, [Item("subj02", "z")] * 3))


@pytest.mark.parametrize(
    "settings", [{"temperature": 1.0}, {"sample_pixels": True}, {"temperature": 0.5, "sample_pixels": True}], ids=str
)
def test_draws_follow_from_seed_and_stimulus_alone(target, latents, settings):
    usual = shown(target, latents, **settings)
    assert np.abs(usual - shown(target, latents)).max() > 1
    np.testing.assert_array_equal(usual, shown(target, latents, **settings))
    # Not on who is drawn with it, on the order, on the sample or on the subject.
    np.testing.assert_array_equal(usual[::-1], shown(target, latents[::-1], ITEMS[::-1], **settings))
    np.testing.assert_array_equal(usual[1:2], shown(target, latents[1:2], [Item("subj02", "b", 4)], **settings))
    assert np.abs(usual - shown(target, latents, seed=1, **settings)).max() > 1
    assert np.abs(usual[0] - shown(target, latents[:1], [Item("subj01", "b")], **settings)[0]).max() > 1


def test_settings_differ_from_one_another(target, latents):
    ways = [{}, {"temperature": 1.0}, {"temperature": 0.5}, {"sample_pixels": True}, {"greys": "cut off"}]
    pictures = [shown(target, latents, **settings) for settings in ways]
    assert all((one != other).any() for row, one in enumerate(pictures) for other in pictures[:row])
    darker = pictures[0] - pictures[-1]
    assert set(np.unique(darker)) <= {0, 1} and darker.any()


def test_what_differs_from_the_defaults_is_told(target):
    settings = VDVAESettings(temperature=0.5, greys="cut off")
    step = Show("vdvae", TargetSource(lambda: target, ()), options=settings.showing, draws=settings.draws)
    assert step.told(frozenset()) == {"temperature": 0.5, "greys": "cut off"}
    assert VDVAESettings().showing == {} and not VDVAESettings(greys="cut off", sample_seed=1).draws
