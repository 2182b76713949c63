"""The VAE-GAN of faces: sizes as published, TensorFlow's layers by their index formulas, names there and back."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from stages.checkpoints.pretrained import fill_network
from stages.ground.errors import InputError
from stages.networks.face_vaegan import (
    BatchNorm,
    FaceVAEGAN,
    FaceVAEGANConfig,
    SameConv2d,
    SameConvTranspose2d,
    divergence,
    n_parameters,
    sampled,
)
from stages.networks.face_vaegan_names import KNOWN_MOMENTS, own_name, own_tensors, published_name
from weights.manifest import CheckpointError

SMALL = FaceVAEGANConfig(picture=16, channels=(4, 5, 6), hidden=7, latents=8)


def network(seed=0):
    """A small network with statistics and biases that are not those it begins with."""
    made = FaceVAEGAN(SMALL, seed)
    random = torch.Generator().manual_seed(seed + 1)
    for name, value in made.state_dict().items():
        if value.dim() == 1:
            value.copy_(
                torch.rand(value.shape, generator=random) + (0.5 if "var" in name or "weight" in name else -0.5)
            )
    return made.eval()


def pictures(n=3, side=16):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(5))


# Sizes


def test_sizes_are_published():
    with torch.device("meta"):
        published = FaceVAEGAN()
        sides = []
        for part in (published.encoder, published.generator):
            for name, layer in part.named_children():
                if name.startswith("layer"):
                    layer.register_forward_hook(lambda _, given, output: sides.append(tuple(output.shape[1:])))
        mu, log_sigma = published.encoder(torch.zeros(2, 3, 128, 128))
        drawn = published.generator(mu)
    assert n_parameters(published.encoder) == 21_330_176
    assert n_parameters(published.generator) == 24_617_993
    assert mu.shape == log_sigma.shape == (2, 1024) and drawn.shape == (2, 3, 128, 128)
    assert sides[:5] == [(192, 64, 64), (256, 32, 32), (384, 16, 16), (512, 8, 8), (768, 4, 4)]
    assert sides[5:] == [(512, 8, 8), (384, 16, 16), (256, 32, 32), (192, 64, 64), (3, 128, 128)]
    assert published.encoder.fc.in_features == 12_288 and published.generator.fc.out_features == 16_384


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"picture": 40}, "picture is 40 pixels for 5 halvings; .* multiple of 32: pass picture=32"),
        ({"channels": ()}, "one halving or more"),
        ({"channels": (4, 0), "picture": 8}, "channels is 0"),
        ({"latents": 0}, "latents is 0"),
    ],
)
def test_sizes_that_cannot_be_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        FaceVAEGANConfig(**options)


# Layers, by index


def convolved(x, weight, bias):
    """y[i, j] = b + sum of w[k, l] x[2 i + k, 2 j + l], zero outside; arrays (n, channels, height, width)."""
    n, _, height, width = x.shape
    y = np.zeros((n, len(weight), height // 2, width // 2)) + bias[:, None, None]
    for i, j, k, l in np.ndindex(height // 2, width // 2, 3, 3):  # noqa: E741
        row, column = 2 * i + k, 2 * j + l
        if row < height and column < width:
            y[:, :, i, j] += x[:, :, row, column] @ weight[:, :, k, l].T
    return y


def spread_out(y, weight, bias):
    """x[2 i + k, 2 j + l] += w[k, l] y[i, j], and nothing outside."""
    n, _, height, width = y.shape
    x = np.zeros((n, weight.shape[1], 2 * height, 2 * width)) + bias[:, None, None]
    for i, j, k, l in np.ndindex(height, width, 3, 3):  # noqa: E741
        row, column = 2 * i + k, 2 * j + l
        if row < 2 * height and column < 2 * width:
            x[:, :, row, column] += y[:, :, i, j] @ weight[:, :, k, l]
    return x


@pytest.mark.parametrize(("kind", "formula"), [(SameConv2d, convolved), (SameConvTranspose2d, spread_out)])
def test_padding_vs_the_formula(kind, formula):
    torch.manual_seed(0)
    layer = kind(2, 3).double()
    x = torch.randn(2, 2, 8, 6, dtype=torch.float64)
    with torch.no_grad():
        found = layer(x).numpy()
    expected = formula(x.numpy(), layer.weight.detach().numpy(), layer.bias.detach().numpy())
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_transposed_layer_is_the_adjoint():
    torch.manual_seed(0)
    forward, back = SameConv2d(3, 5).double(), SameConvTranspose2d(5, 3).double()
    with torch.no_grad():
        back.weight.copy_(forward.weight)
        forward.bias.zero_()
        back.bias.zero_()
        x, y = (torch.randn(2, *shape, dtype=torch.float64) for shape in ((3, 8, 8), (5, 4, 4)))
        torch.testing.assert_close((forward(x) * y).sum(), (x * back(y)).sum(), rtol=1e-12, atol=0)


def normalised(x, state, layer):
    mean, variance, gamma, beta = (
        state[f"{layer}.bn.{name}"][:, None, None] for name in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(variance + 1e-6) * gamma + beta


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def test_networks_vs_their_layers_written_out():
    whole = network().double()
    state = {name: value.numpy() for name, value in whole.state_dict().items()}
    given = pictures().double()
    with torch.no_grad():
        mu, log_sigma = whole.encoder(given)
        drawn = whole.generator(mu)
    x = given.numpy()
    for layer in ("encoder.layer1", "encoder.layer2", "encoder.layer3"):
        weights = state[f"{layer}.conv2d.weight"], state[f"{layer}.conv2d.bias"]
        x = elu(normalised(convolved(x, *weights), state, layer))
    # Row by row, the channels of a place together.
    flat = np.stack([[one[c, i, j] for i in range(2) for j in range(2) for c in range(6)] for one in x])
    hidden = flat @ state["encoder.fc.weight"].T + state["encoder.fc.bias"]
    for name, found, factor in (("mu", mu, 1), ("log_sigma", log_sigma, 0.5)):
        linear = hidden @ state[f"encoder.variational.{name}.weight"].T + state[f"encoder.variational.{name}.bias"]
        np.testing.assert_allclose(found.numpy(), factor * np.tanh(linear), atol=1e-10)
    first = elu(mu.numpy() @ state["generator.fc.weight"].T + state["generator.fc.bias"])
    y = first.reshape(-1, 2, 2, 8).transpose(0, 3, 1, 2)
    for layer in ("generator.layer1", "generator.layer2", "generator.layer3"):
        weights = state[f"{layer}.deconv2d.weight"], state[f"{layer}.deconv2d.bias"]
        y = elu(normalised(spread_out(y, *weights), state, layer))
    np.testing.assert_allclose(drawn.numpy(), y, atol=1e-10)
    assert (drawn < 0).any() and drawn.shape == (3, 3, 16, 16)


def test_moving_averages_have_the_variance_of_tensorflow():
    layer, x = BatchNorm(3), pictures(2, 4) * 5
    twin = torch.nn.BatchNorm2d(3, eps=1e-6)
    torch.testing.assert_close(layer(x), twin(x))
    expected = 0.9 + 0.1 * x.numpy().var(axis=(0, 2, 3))
    np.testing.assert_allclose(layer.running_var.numpy(), expected, rtol=1e-6)
    torch.testing.assert_close(layer.running_mean, twin.running_mean)
    assert (layer.running_var < twin.running_var).all()


# Latents


def test_mu_and_the_logarithm_lie_in_their_ranges():
    with torch.no_grad():
        mu, log_sigma = network().encoder(pictures(20))
        wide, narrow = network().double().encoder(50 * pictures(20).double())
    assert mu.abs().max() < 1 and log_sigma.abs().max() < 0.5
    assert wide.abs().max() <= 1 and narrow.abs().max() <= 0.5 and wide.abs().max() > 0.9


def test_divergence_vs_torchs():
    zero = torch.zeros(2, 8)
    assert (divergence(zero, zero) == 0).all()
    with torch.no_grad():
        mu, log_sigma = network().encoder(pictures())
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mu, log_sigma.exp()), normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(divergence(mu, log_sigma), expected)
    assert (divergence(mu, log_sigma) > 0).all()


def test_latents_are_drawn_about_their_mean():
    mu, log_sigma = torch.full((20_000, 2), 0.3), torch.full((20_000, 2), -0.4)
    draws = sampled(mu, log_sigma, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(draws.mean(0), 0.3, atol=0.02)
    np.testing.assert_allclose(draws.std(0), np.exp(-0.4), rtol=0.02)
    assert torch.equal(draws, sampled(mu, log_sigma, torch.Generator().manual_seed(0)))


# Names and files


def test_names_there_and_back():
    with torch.device("meta"):
        own = list(FaceVAEGAN().state_dict())
    published = [published_name(name) for name in own]
    assert len(set(published)) == len(own) == 68
    assert [own_name(name) for name in published] == own
    assert published[:4] == [
        "encoder/layer1/conv2d/W", "encoder/layer1/conv2d/b", "encoder/layer1/bn/gamma", "encoder/layer1/bn/beta"
    ]  # fmt: skip
    assert {"encoder/fc/W", "encoder/variational/mu/b", "encoder/variational/log_sigma/W", "generator/fc/b"} <= {
        *published
    }
    assert "generator/layer5/deconv2d/W" in published
    older = ("moments/normalize/mean", "moments/normalize/variance")
    assert [own_name(published_name(name, older), older) for name in own] == own
    assert own_name(published_name("encoder.layer1.bn.running_mean", older)) is None


@pytest.mark.parametrize(
    "name",
    ["beta1_power", "encoder/layer1/conv2d/W/Adam", "encoder/layer0/conv2d/W", "generator/layer1/conv2d/W"]
    + [
        "encoder/layer1/deconv2d/W",
        "discriminator/fc/W",
        "encoder/variational/fc/W",
        "x/encoder/fc/W",
        "encoder/fc/W\n",
    ]
    + ["encoder/layer1/bn/encoder/layer2/bn/moments/Squeeze/ExponentialMovingAverage"],
)
def test_a_variable_of_neither_network_has_no_name(name):
    assert own_name(name) is None


def test_variables_in_tensorflows_layout_draw_the_same():
    """Kernels as TensorFlow stores them: (height, width, inputs, outputs), transposed (height, width, outputs, inputs)."""
    whole = network()
    published = {"global_step": np.zeros(())}
    for name, value in whole.state_dict().items():
        values = value.numpy()
        if values.ndim == 4:
            values = np.moveaxis(values, (0, 1), (3, 2))
        published[published_name(name)] = values.T if values.ndim == 2 else values
    assert published["encoder/layer1/conv2d/W"].shape == (3, 3, 3, 4)
    assert published["generator/layer1/deconv2d/W"].shape == (3, 3, 5, 8)
    again = fill_network(FaceVAEGAN(SMALL, seed=9), own_tensors(published), "the test")
    with torch.no_grad():
        torch.testing.assert_close(
            again.generator(again.encoder(pictures())[0]), whole.generator(whole.encoder(pictures())[0])
        )


def test_saved_and_loaded_it_is_the_same(tmp_path):
    whole = network()
    whole.save_pretrained(tmp_path)
    again = FaceVAEGAN.from_pretrained(tmp_path)
    assert again.config == SMALL and not again.training
    assert not any(value.requires_grad for value in again.parameters())
    for name, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


@pytest.mark.parametrize("moments", KNOWN_MOMENTS)
def test_a_converted_published_file_is_loaded(tmp_path, moments):
    whole = network()
    whole.save_pretrained(tmp_path)
    published = {"encoder/fc/W/Adam": torch.zeros(2)}
    for name, value in whole.state_dict().items():
        axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(value.ndim, (0,))
        published[published_name(name, moments)] = value.permute(axes).contiguous()
    save_file(published, tmp_path / "model.safetensors")
    again = FaceVAEGAN.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in whole.state_dict().items())


def test_what_does_not_fit_is_refused(tmp_path):
    network().save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file({n: v for n, v in tensors.items() if n != "generator.fc.bias"}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"generator\.fc\.bias"):
        FaceVAEGAN.from_pretrained(tmp_path)
    config = (tmp_path / "config.json").read_text()
    for changed in (config.replace("FaceVAEGAN", "ICGAN"), config.replace('"picture": 16', '"picture": 17')):
        (tmp_path / "config.json").write_text(changed)
        with pytest.raises(CheckpointError, match="does not describe a FaceVAEGAN"):
            FaceVAEGAN.from_pretrained(tmp_path)


def test_initial_weights_are_glorots_and_follow_from_the_seed():
    first, same, other = (FaceVAEGAN(SMALL, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], same[name]) for name in first)
    kernel = first["encoder.layer3.conv2d.weight"]
    bound = np.sqrt(6 / (9 * (5 + 6)))
    assert 0.9 * bound < kernel.abs().max() <= bound and not torch.equal(kernel, other["encoder.layer3.conv2d.weight"])
    assert all((value == 0).all() for name, value in first.items() if name.endswith(".bias"))
