import dataclasses
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from stages.errors import InputError
from stages.networks.vdvae import VDVAE
from stages.networks.vdvae_blocks import BlockSpec, match_channels, parse_blocks, parse_widths
from stages.networks.vdvae_presets import PRESETS, VDVAEConfig
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
    """A network whose every parameter matters: the published initialisation leaves priors and biases at zero."""
    generator = torch.Generator().manual_seed(3)
    model = VDVAE(SMALL).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.15 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)


# --- the block strings


@pytest.mark.parametrize(
    "text, blocks",
    [
        ("4", [BlockSpec(4)]),
        ("64x3", [BlockSpec(64)] * 3),
        ("64x2,64d2,32x1", [BlockSpec(64), BlockSpec(64), BlockSpec(64, pool=2), BlockSpec(32)]),
        ("1x2, 4m1,4", [BlockSpec(1), BlockSpec(1), BlockSpec(4, source=1), BlockSpec(4)]),
    ],
)
def test_block_strings(text, blocks):
    assert parse_blocks(text) == blocks


@pytest.mark.parametrize("text", ["", "64y2", "64x", "x3", "64x0", "64d2,,32", "-4x1", "64x1.5", "６４x1z"])
def test_broken_block_strings_are_refused(text):
    with pytest.raises(InputError, match="RxN"):
        parse_blocks(text)


def test_widths():
    assert parse_widths("64:32,32:48") == {64: 32, 32: 48}
    assert parse_widths("") == {}
    with pytest.raises(InputError, match="64-32"):
        parse_widths("64-32")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"encoder_blocks": "8x1,8d2,4d4,1"}, "start at the image size"),
        ({"encoder_blocks": "16x1,8d2,4d4,1"}, "start at the image size"),
        ({"encoder_blocks": "16d2,8d8,1"}, "works at resolution 4"),
        ({"decoder_blocks": "1x2,4m1,8m4"}, "ends at resolution 8"),
        ({"decoder_blocks": "1x2,8m4,4m1,16m8"}, "8m4"),
        ({"decoder_blocks": "1x2,4m1,8d2,16m8"}, "only grow"),
        ({"custom_widths": "16:12"}, "width 12"),
        ({"target_layers": 7}, "has 6 layers"),
        ({"target_layers": 0}, "has 6 layers"),
    ],
)
def test_impossible_configurations_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(SMALL, **changes)


def test_unknown_preset_is_refused():
    with pytest.raises(InputError, match="imagenet65.*imagenet64"):
        VDVAE("imagenet65")


# --- the published layout


@pytest.mark.parametrize(
    "preset, layers, millions",
    [("imagenet64", 75, 125), ("imagenet32", 78, 119), ("cifar10", 45, 39), ("ffhq256", 62, 115)],
)
def test_published_presets(preset, layers, millions):
    """Layer and parameter counts of the paper's table, without holding the parameters."""
    with torch.device("meta"):
        model = VDVAE(preset)
    assert len(model.latent_shapes) == layers
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.75)


def test_imagenet64_layers_per_resolution():
    resolutions = [shape[1] for shape in PRESETS["imagenet64"].latent_shapes]
    assert [resolutions.count(r) for r in (1, 4, 8, 16, 32, 64)] == [2, 4, 8, 16, 32, 13]
    assert sum(int(np.prod(shape)) for shape in PRESETS["imagenet64"].latent_shapes) == 1_451_040


def test_imagenet64_published_names_and_shapes():
    """Spot checks at both ends of the published imagenet64 state dict."""
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in VDVAE("imagenet64").state_dict().items()}
    assert shapes["encoder.in_conv.weight"] == (512, 3, 3, 3)
    assert shapes["encoder.enc_blocks.0.c2.weight"] == (128, 128, 3, 3)
    assert shapes["encoder.enc_blocks.64.c3.weight"] == (128, 128, 1, 1)
    assert shapes["decoder.dec_blocks.0.enc.c1.weight"] == (128, 1024, 1, 1)
    assert shapes["decoder.dec_blocks.0.enc.c4.weight"] == (32, 128, 1, 1)
    assert shapes["decoder.dec_blocks.74.prior.c4.weight"] == (544, 128, 1, 1)
    assert shapes["decoder.dec_blocks.74.z_proj.weight"] == (512, 16, 1, 1)
    assert [shapes[f"decoder.bias_xs.{k}"] for k in range(6)] == [(1, 512, r, r) for r in (1, 4, 8, 16, 32, 64)]
    assert shapes["decoder.out_net.out_conv.weight"] == (100, 512, 1, 1)
    assert shapes["decoder.gain"] == shapes["decoder.bias"] == (1, 512, 1, 1)


def test_no_bias_above():
    with torch.device("meta"):
        names = VDVAE("ffhq256").state_dict()
    assert "decoder.bias_xs.5" in names and "decoder.bias_xs.6" not in names  # 1, 4, 8, 16, 32, 64, not 128


def test_parameter_names_by_hand():
    config = dataclasses.replace(
        SMALL, image_size=4, encoder_blocks="4d4", decoder_blocks="1,4m1", custom_widths="", target_layers=None
    )
    convolutions = ["encoder.in_conv", "decoder.out_net.out_conv"]
    convolutions += [f"encoder.enc_blocks.0.c{k}" for k in (1, 2, 3, 4)]
    for layer in (0, 1):
        convolutions.append(f"decoder.dec_blocks.{layer}.z_proj")
        for part in ("enc", "prior", "resnet"):
            convolutions += [f"decoder.dec_blocks.{layer}.{part}.c{k}" for k in (1, 2, 3, 4)]
    expected = {f"{name}.{kind}" for name in convolutions for kind in ("weight", "bias")}
    expected |= {"decoder.bias_xs.0", "decoder.bias_xs.1", "decoder.gain", "decoder.bias"}
    assert set(VDVAE(config).state_dict()) == expected


@pytest.mark.slow
def test_imagenet64_runs_whole():
    model = VDVAE("imagenet64").eval()
    picture = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    latents = model.encode(picture, n_layers=31)
    assert sum(z[0].numel() for z in latents) == 91_168
    assert model.decode(latents).shape == (1, 64, 64, 3)


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
    seen[1] = block("encoder.enc_blocks.4", F.avg_pool2d(block("encoder.enc_blocks.3", seen[4], True), 4), True)

    n = len(images)
    states = {r: state[f"decoder.bias_xs.{k}"].repeat(n, 1, 1, 1) for k, r in enumerate((1, 4, 8))}
    states[16] = torch.zeros(n, 8, 16, 16)
    means = []
    for layer, (resolution, source) in enumerate([(1, 0), (1, 0), (4, 1), (8, 4), (8, 0), (16, 8)]):
        name, x = f"decoder.dec_blocks.{layer}", states[resolution]
        if source:
            below = states[source][:, : x.shape[1]]
            x = x + below.repeat_interleave(resolution // source, 2).repeat_interleave(resolution // source, 3)
        prior = block(f"{name}.prior", x)
        means.append(block(f"{name}.enc", torch.cat((x, seen[resolution]), 1))[:, :3])
        z = means[-1] if given is None else prior[:, :3] if isinstance(given[layer], str) else given[layer]
        x = x + prior[:, 6:]
        x = x + F.conv2d(z, state[f"{name}.z_proj.weight"], state[f"{name}.z_proj.bias"])
        states[resolution] = block(f"{name}.resnet", x, True)
    x = states[16] * state["decoder.gain"] + state["decoder.bias"]
    return means, F.conv2d(x, state["decoder.out_net.out_conv.weight"], state["decoder.out_net.out_conv.bias"])


def head_parameters(network, latents):
    """What the decoder hands to the mixture when the layers beyond ``latents`` lie at their prior's mean."""
    with torch.no_grad():
        return network.decoder(
            len(latents[0]), lambda layer, block, x, mean, log_std: latents[layer] if layer < len(latents) else mean
        )


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
    distances = [
        np.mean([np.abs(network.decode(latents, t, generator).astype(float) - rest).mean() for _ in range(10)])
        for t in (1e-4, 0.3, 1.0)
    ]
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
        expected = torch.distributions.kl_divergence(
            torch.distributions.Normal(mean, log_std.exp()), torch.distributions.Normal(prior_mean, prior_log_std.exp())
        )
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
        rate, parameters = network.transmit(torch.from_numpy(images), torch.Generator().manual_seed(0), n_layers)
    assert torch.equal(rate > 0, torch.arange(6) < n_layers.unsqueeze(1))
    assert parameters.shape == (5, 20, 16, 16)


def test_bound_bears_gradients_to_every_parameter(network, images):
    network.zero_grad()
    network.bound(torch.from_numpy(images), torch.Generator().manual_seed(0)).mean().backward()
    without = [
        name for name, value in network.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0
    ]
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
    assert sorted(path.name for path in (tmp_path / "vdvae").iterdir()) == ["config.json", "model.safetensors"]
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
        ("{", "does not describe"),
        ("[]", "another network"),
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
    "shape, dtype", [((2, 3, 16, 16), np.uint8), ((2, 8, 8, 3), np.uint8), ((16, 16, 3), np.uint8), ((2, 16, 16, 3), "f4")]
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


def test_match_channels():
    x = torch.arange(6.0).reshape(1, 3, 1, 2)
    assert torch.equal(match_channels(x, 2), x[:, :2])
    assert torch.equal(match_channels(x, 5)[:, :3], x) and not match_channels(x, 5)[:, 3:].any()
