import dataclasses
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch.distributions import Normal, kl_divergence

from stages.ground.errors import InputError
from stages.networks.vdvae import VDVAE
from stages.networks.vdvae_presets import VDVAEConfig
from weights.store import CheckpointError

SMALL = VDVAEConfig(
    image_size=16,
    encoder_blocks="16x1,16d2,8d2,4d4,1",
    decoder_blocks="1x2,4m1,8m4,8x1,16m8",
    width=8,
    custom_widths="8:12,4:16,1:16",
    latent_channels=3,
    n_mixtures=2,
    no_bias_above=8,
    input_mean=120.0,
    input_std=60.0,
    target_layers=3,
)


@pytest.fixture(scope="module")
def network():
    """A network whose every parameter matters: at first, priors and biases are zero."""
    generator = torch.Generator().manual_seed(3)
    model = VDVAE(SMALL).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.15 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)


# --- the passes, against an independent reading of the paper


def reference_passes(state, images, given=None):
    """Encode (posterior means) and decode by plain functions over the state dict of ``SMALL``.

    Returns the posterior means and the head's parameters when every layer takes ``given`` where there is one
    and its posterior mean otherwise; with ``given`` = "prior" in place of a layer, its prior mean.
    """

    def block(name, x, residual=False):
        y = x
        for k in (1, 2, 3, 4):
            weight = state[f"{name}.c{k}.weight"]
            y = F.conv2d(F.gelu(y), weight, state[f"{name}.c{k}.bias"], padding=weight.shape[-1] // 2)
        return x + y if residual else y

    x = (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 120) / 60
    x = F.conv2d(x, state["encoder.in_conv.weight"], state["encoder.in_conv.bias"], padding=1)
    seen = {16: block("encoder.enc_blocks.0", x, True)}
    x = F.avg_pool2d(block("encoder.enc_blocks.1", seen[16], True), 2)
    seen[8] = torch.cat((x, torch.zeros(len(x), 4, 8, 8)), 1)  # 8 channels grow to 12
    x = F.avg_pool2d(block("encoder.enc_blocks.2", seen[8], True), 2)
    seen[4] = torch.cat((x, torch.zeros(len(x), 4, 4, 4)), 1)
    x = F.avg_pool2d(block("encoder.enc_blocks.3", seen[4], True), 4)
    seen[1] = block("encoder.enc_blocks.4", x, True)

    n = len(images)
    states = {r: state[f"decoder.bias_xs.{k}"].repeat(n, 1, 1, 1) for k, r in enumerate((1, 4, 8))}
    states[16] = torch.zeros(n, 8, 16, 16)
    means = []
    for layer, (resolution, source) in enumerate([(1, 0), (1, 0), (4, 1), (8, 4), (8, 0), (16, 8)]):
        name, x = f"decoder.dec_blocks.{layer}", states[resolution]
        if source:
            below = states[source][:, : x.shape[1]]
            factor = resolution // source
            x = x + below.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        prior = block(f"{name}.prior", x)
        means.append(block(f"{name}.enc", torch.cat((x, seen[resolution]), 1))[:, :3])
        z = means[-1] if given is None else prior[:, :3] if isinstance(given[layer], str) else given[layer]
        x = x + prior[:, 6:]
        x = x + F.conv2d(z, state[f"{name}.z_proj.weight"], state[f"{name}.z_proj.bias"])
        states[resolution] = block(f"{name}.resnet", x, True)
    x = states[16] * state["decoder.gain"] + state["decoder.bias"]
    head = "decoder.out_net.out_conv"
    return means, F.conv2d(x, state[f"{head}.weight"], state[f"{head}.bias"])


def head_parameters(network, latents):
    """What the decoder hands to the mixture when the layers beyond ``latents`` lie at their prior's mean."""

    def choose(layer, block, x, mean, log_std):
        return latents[layer] if layer < len(latents) else mean

    with torch.no_grad():
        return network.decoder(len(latents[0]), choose)


def test_encode_vs_reference(network, images):
    means, _ = reference_passes(network.state_dict(), images)
    latents = network.encode(images)
    assert [tuple(z.shape[1:]) for z in latents] == network.latent_shapes
    for z, mean in zip(latents, means):
        torch.testing.assert_close(z, mean, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("known", [1, 3, 6])
def test_decode_vs_reference(network, images, known):
    latents = network.encode(images)[:known]
    _, expected = reference_passes(network.state_dict(), images, latents + ["prior"] * (6 - known))
    torch.testing.assert_close(head_parameters(network, latents), expected, rtol=1e-4, atol=1e-4)
    pictures = network.decode(latents)
    assert pictures.shape == (5, 16, 16, 3) and pictures.dtype == np.uint8


def test_first_layers_do_not_depend_on_how_many_are_asked_for(network, images):
    for some, every in zip(network.encode(images, n_layers=4), network.encode(images)):
        torch.testing.assert_close(some, every)
    assert len(network.encode(images, n_layers=4)) == 4


def test_one_picture_equals_itself_in_a_batch(network, images):
    latents = network.encode(images)
    pictures = network.decode(latents[:3])
    for k in range(len(images)):
        alone = network.encode(images[k : k + 1])
        for z, batch in zip(alone, latents):
            torch.testing.assert_close(z[0], batch[k], rtol=1e-4, atol=1e-4)
        assert np.abs(network.decode(alone[:3])[0].astype(int) - pictures[k]).max() <= 1


def test_means_are_deterministic_and_draws_are_seeded(network, images):
    assert all(torch.equal(a, b) for a, b in zip(network.encode(images), network.encode(images)))
    seeded = [network.encode(images, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(seeded[0][5], seeded[1][5])
    assert not torch.equal(seeded[0][5], seeded[2][5])
    assert not torch.equal(seeded[0][0], network.encode(images)[0])


def test_a_generator_per_picture_makes_draws_independent_of_the_batch(network, images):
    def generators(numbers):
        return [torch.Generator().manual_seed(10 + k) for k in numbers]

    batch = network.encode(images, generator=generators(range(5)))
    alone = network.encode(images[2:3], generator=generators([2]))
    for z, of_batch in zip(alone, batch):
        torch.testing.assert_close(z[0], of_batch[2], rtol=1e-4, atol=1e-4)
    drawn = network.decode(batch[:2], temperature=0.8, generator=generators(range(5)), sample_pixels=True)
    again = network.decode(alone[:2], temperature=0.8, generator=generators([2]), sample_pixels=True)
    assert np.mean(np.abs(drawn[2].astype(int) - again[0]) <= 1) > 0.99


def test_temperature_spreads_what_is_not_given(network, images):
    latents = network.encode(images[:1], n_layers=1)
    rest = network.decode(latents)
    generator = torch.Generator().manual_seed(0)
    distances = []
    for temperature in (1e-4, 0.3, 1.0):
        drawn = [network.decode(latents, temperature, generator).astype(float) for _ in range(10)]
        distances.append(np.abs(np.stack(drawn) - rest).mean())
    assert distances[0] < 1 < distances[1] < distances[2]


def test_randomness_needs_a_generator(network, images):
    latents = network.encode(images)
    for options in ({"temperature": 1.0}, {"sample_pixels": True}):
        with pytest.raises(InputError, match="generator"):
            network.decode(latents, **options)


# --- the bound


def test_rate_vs_torch_distributions(network, images):
    """A single layer's cost against torch's own divergence; the first layer's posterior is not random."""
    tensor = torch.from_numpy(images)
    with torch.no_grad():
        transmission = network.transmit(tensor, torch.Generator().manual_seed(0))
        block = network.decoder.dec_blocks[0]
        x = block.enter({bias.shape[2]: bias for bias in network.decoder.bias_xs}, len(images))
        prior_mean, prior_log_std, _ = block.expect(x)
        values = (tensor.permute(0, 3, 1, 2).float() - 120) / 60
        mean, log_std = block.infer(x, network.encoder(values)[1])
        expected = kl_divergence(Normal(mean, log_std.exp()), Normal(prior_mean, prior_log_std.exp()))
    assert transmission.rate.shape == (5, 6)
    torch.testing.assert_close(transmission.rate[:, 0], expected.sum((1, 2, 3)) / (16 * 16 * 3))


def test_bound_is_distortion_plus_rate(network, images):
    tensor = torch.from_numpy(images)
    with torch.no_grad():
        nats = network.bound(tensor, torch.Generator().manual_seed(0))
        rate, parameters = network.transmit(tensor, torch.Generator().manual_seed(0))
    torch.testing.assert_close(nats, network.distortion(parameters, tensor) + rate.sum(1))
    assert (rate > 0).all()


def test_layers_that_are_not_told_cost_nothing(network, images):
    n_layers = torch.tensor([6, 3, 1, 3, 6])
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        rate, parameters = network.transmit(torch.from_numpy(images), generator, n_layers)
    assert torch.equal(rate > 0, torch.arange(6) < n_layers.unsqueeze(1))
    assert parameters.shape == (5, 20, 16, 16)


def test_bound_bears_gradients_to_every_parameter(network, images):
    network.zero_grad()
    network.bound(torch.from_numpy(images), torch.Generator().manual_seed(0)).mean().backward()
    reached = {name for name, value in network.named_parameters() if value.grad is not None and value.grad.any()}
    without = [name for name, _ in network.named_parameters() if name not in reached]
    network.zero_grad()
    assert without == []


def test_colours_at_reduced_precision(images):
    model = VDVAE(dataclasses.replace(SMALL, bits=5))
    colours = model.colours(torch.from_numpy(images))
    assert len(torch.unique(colours)) <= 32
    assert colours.min() >= -1 and colours.max() <= 1


# --- checkpoints


def test_float16_round_trip(network, images, tmp_path):
    network.save_pretrained(tmp_path / "vdvae")
    stored = load_file(tmp_path / "vdvae" / "model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}
    assert {path.name for path in (tmp_path / "vdvae").iterdir()} == {"config.json", "model.safetensors"}
    loaded = VDVAE.from_pretrained(tmp_path / "vdvae")
    assert loaded.config == network.config and not loaded.training
    for name, value in loaded.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, network.state_dict()[name].half().float(), rtol=0, atol=0)
    for z, original in zip(loaded.encode(images), network.encode(images)):
        torch.testing.assert_close(z, original, rtol=0.02, atol=0.02)


def test_float32_round_trip_is_exact(network, images, tmp_path):
    network.save_pretrained(tmp_path, dtype=torch.float32)
    assert np.array_equal(
        VDVAE.from_pretrained(tmp_path).decode(network.encode(images)), network.decode(network.encode(images))
    )


def test_names_with_the_prefix_of_parallel_training_load(network):
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    loaded = VDVAE.from_tensors(SMALL, state)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in loaded.state_dict().items())


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda state: state.pop("decoder.gain"), "missing: decoder.gain"),
        (lambda state: state.update({"decoder.extra": torch.zeros(1)}), "unexpected: decoder.extra"),
        (
            lambda state: state.update({"decoder.bias": torch.zeros(1, 9, 1, 1)}),
            r"misshapen: decoder.bias \(1, 9, 1, 1\) instead of \(1, 8, 1, 1\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused(network, tmp_path, damage, message):
    network.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    damage(state)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=message):
        VDVAE.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "config, message",
    [
        ("{", "is not JSON"),
        ("[]", "holds a list"),
        (json.dumps({"architecture": "VDVAE", **dataclasses.asdict(SMALL), "width": "wide"}), "width is 'wide'"),
        (
            json.dumps({"architecture": "VDVAE", **dataclasses.asdict(SMALL), "encoder_blocks": 3}),
            "encoder_blocks is 3",
        ),
        (json.dumps({"architecture": "VDVAE", "image_size": 16}), "does not describe"),
        (json.dumps({"architecture": "EvaluationNetwork"}), "another network"),
        (json.dumps({"architecture": "VDVAE", **dataclasses.asdict(SMALL), "depth": 3}), "depth"),
        (json.dumps({"architecture": "VDVAE", **dataclasses.asdict(SMALL), "decoder_blocks": "1q3"}), "1q3"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(network, tmp_path, config, message):
    network.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match=message):
        VDVAE.from_pretrained(tmp_path)


def test_absent_and_damaged_files_are_named(network, tmp_path):
    with pytest.raises(CheckpointError, match="config.json is absent"):
        VDVAE.from_pretrained(tmp_path)
    network.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not a safetensors file")
    with pytest.raises(CheckpointError, match="model.safetensors is damaged"):
        VDVAE.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model.safetensors is absent"):
        VDVAE.from_pretrained(tmp_path)


# --- what does not fit


@pytest.mark.parametrize(
    "shape, dtype", [((2, 3, 16, 16), "u1"), ((2, 8, 8, 3), "u1"), ((16, 16, 3), "u1"), ((2, 16, 16, 3), "f4")]
)
def test_pictures_that_do_not_fit_are_refused(network, shape, dtype):
    with pytest.raises(InputError, match=r"\(n, 16, 16, 3\)"):
        network.encode(np.zeros(shape, dtype))


def test_latents_that_do_not_fit_are_refused(network, images):
    latents = network.encode(images)
    with pytest.raises(InputError, match="Layer 1"):
        network.decode([latents[0], latents[2]])
    with pytest.raises(InputError, match="7 layers.*has 6"):
        network.decode(latents + latents[-1:])
    with pytest.raises(InputError, match="0 layers"):
        network.decode([])
    with pytest.raises(InputError, match="9 layers"):
        network.encode(images, n_layers=9)


# --- the published network, whole

ENCODER = "64x11,64d2,32x20,32d2,16x9,16d2,8x8,8d2,4x7,4d4,1x5"
DECODER = "1x2,4m1,4x3,8m4,8x7,16m8,16x15,32m16,32x31,64m32,64x12"


def published_passes(state, images, n_given):
    """The imagenet64 network by plain functions over its state dict, from its block strings as they are printed.

    Returns the posterior means of the first `n_given` layers, and the head's parameters when the others lie at their
    prior's mean.
    """

    def block(name, x, residual=True):
        y = x
        for k in (1, 2, 3, 4):
            weight = state[f"{name}.c{k}.weight"]
            y = F.conv2d(F.gelu(y), weight, state[f"{name}.c{k}.bias"], padding=weight.shape[-1] // 2)
        return x + y if residual else y

    x = (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 115.92961967) / 69.37404
    x = F.conv2d(x, state["encoder.in_conv.weight"], state["encoder.in_conv.bias"], padding=1)
    seen, number = {}, 0
    for part in ENCODER.split(","):
        pool = int(part.split("d")[1]) if "d" in part else None
        for _ in range(1 if pool else int(part.split("x")[1])):
            x = block(f"encoder.enc_blocks.{number}", x)
            x = F.avg_pool2d(x, pool) if pool else x  # within the block: what it had before is seen by nobody
            seen[x.shape[-1]] = x
            number += 1
    assert number == 65

    bases = (state[f"decoder.bias_xs.{k}"].expand(len(images), -1, -1, -1) for k in range(6))
    states = {base.shape[-1]: base for base in bases}
    means, layer = [], 0
    for part in DECODER.split(","):
        resolution = int(part.replace("m", "x").split("x")[0])
        source = int(part.split("m")[1]) if "m" in part else None
        for _ in range(1 if source else int(part.split("x")[1])):
            name, x = f"decoder.dec_blocks.{layer}", states[resolution]
            if source:
                x = x + F.interpolate(states[source], scale_factor=resolution // source)
            prior = block(f"{name}.prior", x, residual=False)
            if layer < n_given:
                means.append(block(f"{name}.enc", torch.cat((x, seen[resolution]), 1), residual=False)[:, :16])
            z = means[layer] if layer < n_given else prior[:, :16]
            x = x + prior[:, 32:] + F.conv2d(z, state[f"{name}.z_proj.weight"], state[f"{name}.z_proj.bias"])
            states[resolution] = block(f"{name}.resnet", x)
            layer += 1
    assert layer == 75
    x = states[64] * state["decoder.gain"] + state["decoder.bias"]
    head = "decoder.out_net.out_conv"
    return means, F.conv2d(x, state[f"{head}.weight"], state[f"{head}.bias"])


@pytest.mark.slow
def test_imagenet64_vs_the_published_formula_at_full_size():
    """From a state dict as training in parallel leaves it: 75 layers, 125 M parameters, 91,168 values of 31 layers."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, value in VDVAE("imagenet64").state_dict().items():
        # What starts at zero would hide whatever reads it.
        noise = 0.02 * torch.randn(value.shape, generator=generator)
        state[f"module.{name}"] = value + noise if not value.any() else value
    assert sum(value.numel() for value in state.values()) / 1e6 == pytest.approx(125, abs=0.75)
    model = VDVAE.from_tensors("imagenet64", state)
    assert len(model.latent_shapes) == 75

    picture = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    state = {name.removeprefix("module."): value for name, value in state.items()}
    with torch.no_grad():
        means, parameters = published_passes(state, picture, 31)
    latents = model.encode(picture, n_layers=31)
    assert [z[0].numel() for z in latents] == [16] * 2 + [256] * 4 + [1024] * 8 + [4096] * 16 + [16384]
    assert sum(z[0].numel() for z in latents) == 91_168
    for z, mean in zip(latents, means, strict=True):
        assert (z - mean).abs().max() <= 1e-4 * mean.abs().max()
    assert (head_parameters(model, latents) - parameters).abs().max() <= 1e-4 * parameters.abs().max()
    assert model.decode(latents).shape == (1, 64, 64, 3)
    # All of it came into play: other latents give another picture.
    assert (parameters - head_parameters(model, [z + 1 for z in latents])).abs().max() > 1e-2 * parameters.abs().max()
