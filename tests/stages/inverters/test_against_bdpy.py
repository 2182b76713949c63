"""Searches through small networks against KamitaniLab's own, step by step: bdpy's loop of gradient descent and its task."""

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from random_vgg19 import generator, vgg19

from stages.inverters.feature_scaling import layer_weights
from stages.inverters.picture_search import search
from stages.inverters.picture_search_presets import ADAMW, BDPY_PIXELS, DIR_GENERATOR
from stages.networks.vgg19_names import PLACES

icnn = pytest.importorskip("bdpy.recon.torch.icnn")
# Of SciPy's names and of a tensor with an axis of one, in bdpy.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

LAYERS = ("conv1_2", "conv3_4", "fc7")
RANDOM = np.random.default_rng(0)


class Plain(torch.nn.Module):
    """The network as bdpy takes it: pictures in, and hooks at parts."""

    def __init__(self, network):
        super().__init__()
        self.features, self.classifier = network.features, network.classifier

    def forward(self, pictures):
        return self.classifier(self.features(pictures).flatten(1))


@pytest.fixture(scope="module")
def wanted():
    true = vgg19()(torch.from_numpy(RANDOM.normal(0, 60, (1, 3, 32, 32)).astype(np.float32)), LAYERS)
    return {name: values.numpy() for name, values in true.items()}


def theirs(tmp_path, wanted, **options):
    """Picture and losses of bdpy, whose shifts come from NumPy's global generator."""
    mapping = {name: "{}[{}]".format(*PLACES[name]) for name in LAYERS}
    state = np.random.get_state()
    np.random.seed(5)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return icnn.reconstruct(
                wanted,
                Plain(vgg19()),
                layer_mapping=mapping,
                layer_weights=layer_weights(wanted),
                image_size=(32, 32, 3),
                return_loss=True,
                output_dir=str(tmp_path),
                save_snapshot=False,
                disp_interval=1000,
                **options,
            )
    finally:
        np.random.set_state(state)


def ours(wanted, start, settings, draw=lambda x: x, bounds=None, shifts=None):
    network = vgg19()
    pictures, losses = search(
        draw,
        lambda pictures: network(pictures, LAYERS),
        {name: torch.from_numpy(values) for name, values in wanted.items()},
        layer_weights(wanted),
        torch.from_numpy(start)[None],
        settings,
        bounds,
        shifts,
    )
    return pictures[0].numpy(), losses[0]


@pytest.mark.parametrize("steps", [1, 8])
def test_a_generators_input_by_gradient_descent(tmp_path, wanted, steps):
    start, upper = RANDOM.standard_normal(6).astype(np.float32), np.float32([2, 3, 4, 5, 6, 2])
    draws, settings = generator(), replace(DIR_GENERATOR, steps=steps)
    expected, expected_losses = theirs(
        tmp_path,
        wanted,
        generator=draws,
        n_iter=steps,
        decay=(0.01, 0.01),
        initial_feature=start,
        initial_image=np.zeros((32, 32, 3)),
        feature_lower_bound=0.0,
        feature_upper_bound=upper,
    )
    found, losses = ours(
        wanted,
        start,
        settings,
        lambda latent: draws(latent)[..., 16:48, 16:48],
        (torch.zeros(()), torch.from_numpy(upper)),
    )
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-4)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=0.02)
    assert found.std() > 10


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({}, {}),
        ({"blurring": True, "sigma": (2.0, 0.5)}, {"blur": 2.0, "last_blur": 0.5}),
        ({"jittering": True, "jitter_size": 4}, {"jitter": 4}),
        ({"gradient_normalization": False, "lr": (2e-3, 1e-10)}, {"gradient": "as it is", "learning_rate": 2e-3}),
    ],
)
def test_pixels_by_gradient_descent(tmp_path, wanted, options, changes):
    start = RANDOM.normal(0, 60, (3, 32, 32)).astype(np.float32)
    expected, expected_losses = theirs(
        tmp_path,
        wanted,
        n_iter=6,
        initial_image=start,
        initial_feature=np.zeros(1, np.float32),
        **options,
    )
    drawn = np.random.RandomState(5)
    # To the right first.
    moves = [drawn.randint(-4, 5, 2)[::-1].tolist() for _ in range(6)]
    shifts = (lambda step: [moves[step]]) if "jitter" in changes else None
    found, losses = ours(wanted, start, replace(BDPY_PIXELS, steps=6, **changes), shifts=shifts)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-4)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=0.02)
    assert np.abs(found - start).mean() > 1


def test_a_generators_input_by_adamw(wanted):
    """bdpy's task with its critic of normalised squares; the other half of the distance is the authors' own file."""
    modules = pytest.importorskip("bdpy.recon.torch.modules")
    task = pytest.importorskip("bdpy.recon.torch.task")
    start, draws, network = torch.from_numpy(RANDOM.standard_normal((1, 6)).astype(np.float32)), generator(), vgg19()
    critic = modules.TargetNormalizedMSE()

    class Encoder(modules.BaseEncoder):
        def encode(self, images):
            return network(images, LAYERS)

    found_by_them = task.FeatureInversionTask(
        encoder=Encoder(),
        generator=modules.build_generator(torch.nn.Sequential(draws, Middle())),
        latent=modules.ArbitraryLatent((1, 6), lambda latent: latent.data.copy_(start)),
        critic=lambda features, others: critic(features, others).sum(),
        optimizer_factory=modules.build_optimizer_factory(torch.optim.AdamW, lr=0.1),
        num_iterations=12,
    )({name: torch.from_numpy(values) for name, values in wanted.items()})
    # Squares by those of what is wanted, as shares of squares.
    sizes = {name: 1 / (3 * float((values**2).sum())) for name, values in wanted.items()}
    found, losses = search(
        lambda latent: draws(latent)[..., 16:48, 16:48],
        lambda pictures: network(pictures, LAYERS),
        {name: torch.from_numpy(values) for name, values in wanted.items()},
        sizes,
        start,
        replace(ADAMW, steps=12, distance="squares"),
    )
    np.testing.assert_allclose(found, found_by_them, rtol=1e-3, atol=0.02)
    assert losses[0][-1] < losses[0][0]


class Middle(torch.nn.Module):
    def forward(self, pictures):
        return pictures[..., 16:48, 16:48]
