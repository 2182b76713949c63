"""Latents by optimisation: they redraw the picture, whoever shares their batch, and go on after an interruption."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional

from brainrecon.features.store import FeatureStore
from stages.ground.errors import InputError
from stages.inverters.latent_search import Inversion, InversionSettings
from stages.inverters.searched_latents import InvertedLatents
from stages.networks.icgan import ICGAN, ICGANConfig, to_bytes, to_pictures

CONFIG = ICGANConfig(image_size=64, channels=2, noise=10, instance_features=6, shared_features=4, attention=0)
SETTINGS = InversionSettings(noise_steps=2, dense_steps=3)


class Colours:
    """Instance features for tests: mean and spread of each channel."""

    size, n_targets, preprocessing = 64, 6, {"features": "colours"}

    def features(self, pictures):
        parts = [pictures.mean(dim=(2, 3)) + 0.1, pictures.std(dim=(2, 3))]
        return functional.normalize(torch.cat(parts, dim=1), dim=1)


@pytest.fixture(scope="module")
def network():
    generator = torch.Generator().manual_seed(0)
    network = ICGAN(CONFIG)
    with torch.no_grad():
        for name, values in network.state_dict().items():
            if not name.endswith("stored_var"):
                values.copy_(torch.randn(values.shape, generator=generator) * 0.3)
    return network.eval().requires_grad_(False).divide()


@pytest.fixture(scope="module")
def images():
    """What a network like it can draw."""
    return np.random.default_rng(3).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)


@pytest.fixture
def inversion(network):
    return Inversion(network, Colours(), SETTINGS)


def equal(found, expected):
    return all(np.array_equal(found[name], expected[name]) for name in ("noise", "dense"))


def rows(latents, chosen):
    return {name: values[chosen] for name, values in latents.items()}


def test_a_picture_of_the_generators_own_is_found_again(network):
    generator = torch.Generator().manual_seed(4)
    noise = torch.randn(2, CONFIG.n_noise, generator=generator)
    instance = functional.normalize(torch.randn(2, 6, generator=generator), dim=1)
    shown = to_bytes(network(noise, instance)).numpy()

    def error(**settings):
        inversion = Inversion(network, Colours(), InversionSettings(batch_size=2, **settings))
        latents = inversion.latents(shown)
        pictures = to_pictures(torch.from_numpy(shown).permute(0, 3, 1, 2))
        drawn = network(
            *(torch.from_numpy(latents["noise"]), Colours().features(pictures), torch.from_numpy(latents["dense"]))
        )
        return (drawn - pictures).square().mean().item()

    untouched = error(noise_steps=0, dense_steps=0)
    by_noise = error(noise_steps=40, dense_steps=0)
    assert by_noise < 0.7 * untouched
    assert error(noise_steps=40, dense_steps=60) < 0.5 * by_noise


def test_the_first_steps_are_adam_on_the_stated_loss(network, images):
    settings = InversionSettings(noise_steps=1, dense_steps=1, learning_rate=0.05, start=1.0, batch_size=1)
    inversion = Inversion(network, Colours(), settings)
    start = torch.from_numpy(inversion._start(images[0]))[None].requires_grad_()
    shown = to_pictures(torch.from_numpy(images[:1]).permute(0, 3, 1, 2))
    instance = Colours().features(shown)

    def loss(noise, dense=None):
        drawn = network(noise, instance, dense)
        likeness = (Colours().features(drawn) * instance).sum()
        return ((drawn - shown) ** 2).mean() + 0.1 * (1 - likeness) + 0.001 * (noise**2).mean()

    # Adam's first step goes by the learning rate against the sign of the gradient.
    (slope,) = torch.autograd.grad(loss(start), start)
    noise = (start - 0.05 * slope.sign()).detach().requires_grad_()
    dense = network.dense(noise).detach().requires_grad_()
    slopes = torch.autograd.grad(loss(noise, dense), (noise, dense))
    found = inversion.latents(images[:1])
    # Where the slope is large against Adam's own small number.
    moved = slopes[0].abs() > 1e-4
    assert moved.sum() > 4
    np.testing.assert_allclose(found["noise"][moved], (noise - 0.05 * slopes[0].sign()).detach()[moved], atol=1e-5)
    # What the linear layer made of the first chunk is in the dense vector; nothing pulls on it any more.
    expected = dense - 0.05 * network.dense_spread() * slopes[1].sign()
    moved = slopes[1].abs() > 1e-4
    assert moved.sum() > 100
    np.testing.assert_allclose(found["dense"][moved], expected.detach()[moved], atol=1e-5)


def test_a_picture_has_its_latents_whoever_shares_its_batch(inversion, images):
    together = inversion.latents(images)
    assert together["noise"].shape == (5, 10) and together["dense"].shape == (5, 512)
    assert equal(inversion.latents(images[3:4]), rows(together, slice(3, 4)))
    assert equal(inversion.latents(images[::-1]), rows(together, slice(None, None, -1)))
    assert equal(inversion.latents(images[[2, 2, 0, 2]]), rows(together, [2, 2, 0, 2]))
    assert inversion.latents(images[:0])["dense"].shape == (0, 512)


def test_a_batch_is_searched_as_well_as_each_picture_alone(network, images):
    """Latents differ in a batch, since Adam's first steps go by the sign of a slope, however small it is."""

    def losses(batch_size):
        inversion = Inversion(network, Colours(), dataclasses.replace(SETTINGS, batch_size=batch_size))
        latents = {name: torch.from_numpy(values) for name, values in inversion.latents(images).items()}
        shown = to_pictures(torch.from_numpy(images).permute(0, 3, 1, 2))
        return inversion._loss(shown, Colours().features(shown), latents["noise"], latents["dense"]).numpy()

    np.testing.assert_allclose(losses(3), losses(1), rtol=0.02)


def test_where_the_search_starts_is_a_matter_of_seed_and_picture(network, images):
    def started(seed, which):
        settings = dataclasses.replace(SETTINGS, noise_steps=0, dense_steps=0, start=1.0, seed=seed)
        return Inversion(network, Colours(), settings).latents(images[which : which + 1])["noise"]

    assert np.array_equal(started(0, 1), started(0, 1))
    assert not np.array_equal(started(0, 1), started(1, 1)) and not np.array_equal(started(0, 1), started(0, 2))


class Killed(BaseException):
    pass


def stopped_after(batches, inversion, monkeypatch):
    """Let the inversion stop after so many batches, as a killed process does."""
    whole, done = inversion.optimise, []

    def optimise(pictures):
        if len(done) == batches:
            raise Killed
        done.append(len(pictures))
        return whole(pictures)

    monkeypatch.setattr(inversion, "optimise", optimise)
    return done


def test_an_interrupted_inversion_goes_on_and_ends_with_the_same_bytes(network, images, tmp_path, monkeypatch):
    def fill(folder):
        inversion = Inversion(network, Colours(), SETTINGS, "weights")
        inversion.keep_in(folder)
        return inversion

    def bytes_of(folder):
        return {path.name: path.read_bytes() for path in folder.rglob("*.safetensors")}

    fill(tmp_path / "whole").prepare(images)
    stopped = fill(tmp_path / "stopped")
    stopped_after(1, stopped, monkeypatch)
    with pytest.raises(Killed):
        stopped.prepare(images)
    assert len(bytes_of(tmp_path / "stopped")) == 1
    resumed, told = fill(tmp_path / "stopped"), []
    done = stopped_after(9, resumed, monkeypatch)
    resumed.prepare(images, lambda *step: told.append(step))
    assert done == [1] * 4 and told[-1] == ("inverting pictures", 5, 5)
    assert bytes_of(tmp_path / "stopped") == bytes_of(tmp_path / "whole") and len(bytes_of(tmp_path / "whole")) == 5


def test_a_damaged_file_is_written_anew(inversion, images, tmp_path):
    inversion.keep_in(tmp_path)
    whole = inversion.latents(images)
    files = sorted(tmp_path.rglob("*.safetensors"))
    before = files[0].read_bytes()
    files[0].write_bytes(before[:50])
    assert equal(inversion.latents(images), whole) and files[0].read_bytes() == before


def test_other_settings_and_weights_have_other_folders(network, tmp_path):
    folders = set()
    for settings, weights in ((SETTINGS, "a"), (SETTINGS, "b"), (dataclasses.replace(SETTINGS, dense_steps=4), "a")):
        inversion = Inversion(network, Colours(), settings, weights)
        inversion.keep_in(tmp_path)
        folders.add(inversion.folder)
    assert len(folders) == 3


def test_both_targets_of_a_store_share_one_search(inversion, images, tmp_path, monkeypatch):
    done = stopped_after(9, inversion, monkeypatch)
    names, told = [f"s{i}" for i in range(5)], []
    tables = {
        name: FeatureStore(tmp_path).encode(
            InvertedLatents(name, inversion),
            images,
            names,
            dataset="d",
            checkpoint="c",
            progress=lambda *step: told.append(step),
        )
        for name in ("noise", "dense")
    }
    assert done == [1] * 5
    assert {label for label, *_ in told} >= {"inverting pictures", "encoding noise", "encoding dense"}
    expected = inversion.latents(images)
    for name, table in tables.items():
        np.testing.assert_array_equal(np.asarray(table), expected[name])


@pytest.mark.parametrize(
    "changes", [{"noise_steps": -1}, {"learning_rate": 0}, {"batch_size": 0}, {"start": float("nan")}]
)
def test_impossible_settings_are_refused(changes):
    with pytest.raises(InputError, match=f"inversion.{next(iter(changes))}"):
        InversionSettings(**changes)


def test_networks_that_do_not_belong_together_are_refused(network):
    class Other(Colours):
        n_targets = 2048

    with pytest.raises(InputError, match="2,048 values but the generator reads 6"):
        Inversion(network, Other(), SETTINGS)
    with pytest.raises(InputError, match="no latent 'style'"):
        InvertedLatents("style", None)
