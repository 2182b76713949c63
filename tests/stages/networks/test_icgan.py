"""IC-GAN's generator: layout and counts of the published one, parts against torch's own, strict files."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from stages.ground.errors import InputError
from stages.networks.icgan import ICGAN, PUBLISHED_256, ICGANConfig, read_config, to_bytes, to_pictures
from stages.networks.icgan_blocks import BatchNorm, ConditionalBatchNorm, GeneratorBlock, SelfAttention
from stages.networks.spectral_norm import estimated_norm
from weights import store
from weights.store import CheckpointError

SMALL = ICGANConfig(image_size=64, channels=2, noise=12, instance_features=6, shared_features=4, attention=16)


def randomised(module, seed=0):
    """The module in evaluation mode, every parameter and statistic away from its first value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, values in module.state_dict().items():
            values.copy_(torch.randn(values.shape, generator=generator) * 0.5)
            if name.endswith("stored_var"):
                values.abs_().add_(0.5)
    return module.eval()


@pytest.fixture(scope="module")
def network():
    return randomised(ICGAN(SMALL)).requires_grad_(False)


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(3, SMALL.n_noise, generator=generator)
    return noise, functional.normalize(torch.randn(3, 6, generator=generator), dim=1)


# The published layout


@pytest.fixture(scope="module")
def published():
    with torch.device("meta"):
        return ICGAN(PUBLISHED_256)


def test_the_published_network_takes_119_values_of_noise_and_24576_of_the_dense_vector(published):
    assert PUBLISHED_256.n_noise == 119 and PUBLISHED_256.n_chunks == 7
    assert PUBLISHED_256.n_dense == 1536 * 4 * 4 == 24576
    assert published.linear.weight.shape == (24576, 17) and published.shared_feat.weight.shape == (512, 2048)
    meta = torch.device("meta")
    drawn = published(*(torch.empty(2, width, device=meta) for width in (119, 2048, 24576)))
    assert drawn.shape == (2, 3, 256, 256)


def test_the_published_names_and_shapes(published):
    shapes = {name: tuple(values.shape) for name, values in published.state_dict().items()}
    widths = [(1536, 1536), (1536, 768), (768, 768), (768, 384), (384, 192), (192, 96)]
    expected = {"shared_feat": (512, 2048), "linear": (24576, 17)}
    expected |= {f"blocks.3.1.{name}": shape for name, shape in (("theta", (48, 384, 1, 1)), ("phi", (48, 384, 1, 1)))}
    expected |= {"blocks.3.1.g": (192, 384, 1, 1), "blocks.3.1.o": (384, 192, 1, 1), "output_layer.2": (3, 96, 3, 3)}
    for i, (inputs, outputs) in enumerate(widths):
        expected |= {
            f"blocks.{i}.0.conv1": (outputs, inputs, 3, 3),
            f"blocks.{i}.0.conv2": (outputs, outputs, 3, 3),
            f"blocks.{i}.0.conv_sc": (outputs, inputs, 1, 1),
        }
        for norm, channels in (("bn1", inputs), ("bn2", outputs)):
            expected |= {f"blocks.{i}.0.{norm}.{part}": (channels, 512 + 17) for part in ("gain", "bias")}
    named = {f"{name}.weight": shape for name, shape in expected.items()}
    named |= {f"{name}.u0": (1, shape[0]) for name, shape in expected.items()} | {
        f"{name}.sv0": (1,) for name in expected
    }
    biased = [name for name in expected if not name.endswith((".gain", ".bias")) and not name.startswith("blocks.3.1.")]
    named |= {f"{name}.bias": expected[name][:1] for name in biased} | {"blocks.3.1.gamma": ()}
    norms = {f"blocks.{i}.0.{norm}": c for i, pair in enumerate(widths) for norm, c in zip(("bn1", "bn2"), pair)}
    norms["output_layer.0"] = 96
    named |= {f"{name}.{kind}": (c,) for name, c in norms.items() for kind in ("stored_mean", "stored_var")}
    named |= {f"output_layer.0.{kind}": (96,) for kind in ("gain", "bias")}
    assert shapes == named


def test_the_manifest_writes_the_published_configuration(tmp_path):
    entry = store.checkpoints()["icgan-biggan-imagenet256"]
    (tmp_path / "config.json").write_text(json.dumps(dict(entry.writes["config.json"])))
    assert read_config(tmp_path / "config.json") == PUBLISHED_256
    assert [file.converted for file in entry.files] == ["model.safetensors"] and "NC" in entry.licence


# Parts


def divided(layer):
    return layer.weight / estimated_norm(layer.weight, layer.u0)[0]


def test_conditional_batch_norm_is_batch_norm_with_a_gain_about_one():
    norm = randomised(ConditionalBatchNorm(5, 7))
    x, condition = torch.randn(2, 5, 3, 3), torch.randn(2, 7)
    for row in range(2):
        gain = 1 + divided(norm.gain) @ condition[row]
        bias = divided(norm.bias) @ condition[row]
        expected = functional.batch_norm(x[row : row + 1], norm.stored_mean, norm.stored_var, gain, bias, eps=1e-5)
        torch.testing.assert_close(norm(x, condition)[row : row + 1], expected)


def test_batch_norm_in_training_is_torchs():
    ours, theirs = BatchNorm(4).train(), torch.nn.BatchNorm2d(4).train()
    x = torch.randn(6, 4, 5, 5) * 3 + 1
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.stored_mean, theirs.running_mean)
    torch.testing.assert_close(ours.stored_var, theirs.running_var)


def test_attention_place_by_place():
    attention = randomised(SelfAttention(8))
    x = torch.randn(1, 8, 4, 4)
    maps = {name: functional.conv2d(x, divided(getattr(attention, name)))[0] for name in ("theta", "phi", "g")}
    phi, g = (functional.max_pool2d(maps[name][None], 2)[0] for name in ("phi", "g"))
    expected = torch.empty_like(x[0])
    for row in range(4):
        for column in range(4):
            scores = torch.stack([maps["theta"][:, row, column] @ phi[:, i, j] for i in range(2) for j in range(2)])
            values = torch.stack([g[:, i, j] for i in range(2) for j in range(2)])
            seen = torch.softmax(scores, dim=0) @ values
            expected[:, row, column] = divided(attention.o)[:, :, 0, 0] @ seen
    torch.testing.assert_close(attention(x)[0], x[0] + attention.gamma * expected)


def test_a_block_doubles_before_its_first_convolution():
    block = randomised(GeneratorBlock(4, 3, 5))
    x, condition = torch.randn(2, 4, 3, 3), torch.randn(2, 5)

    def twice(values):
        return values.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    def convolved(values, layer):
        padding = layer.weight.shape[-1] // 2
        return functional.conv2d(values, divided(layer), layer.bias, padding=padding)

    hidden = convolved(twice(block.bn1(x, condition).relu()), block.conv1)
    expected = convolved(block.bn2(hidden, condition).relu(), block.conv2) + convolved(twice(x), block.conv_sc)
    torch.testing.assert_close(block(x, condition), expected)


# The whole


def test_the_first_chunk_makes_the_dense_vector_and_each_other_one_conditions_a_block(network, inputs):
    noise, instance = inputs
    chunk, shared = SMALL.n_noise // 5, network.shared_feat(instance)
    x = functional.linear(noise[:, :chunk], divided(network.linear), network.linear.bias).reshape(3, 32, 4, 4)
    for i, parts in enumerate(network.blocks):
        condition = torch.cat([shared, noise[:, chunk * (i + 1) : chunk * (i + 2)]], dim=1)
        for part in parts:
            x = part(x, condition)
    assert [len(parts) for parts in network.blocks] == [1, 2, 1, 1]
    torch.testing.assert_close(network(noise, instance), torch.tanh(network.output_layer(x)))


def test_a_dense_vector_stands_in_for_the_linear_layer(network, inputs):
    noise, instance = inputs
    torch.testing.assert_close(network(noise, instance, network.dense(noise)), network(noise, instance))
    chunk = SMALL.n_noise // 5
    other = torch.cat([torch.randn(3, chunk), noise[:, chunk:]], dim=1)
    dense = network.dense(noise)
    assert torch.equal(network(other, instance, dense), network(noise, instance, dense))
    assert not torch.allclose(network(noise, instance, dense + 1), network(noise, instance, dense))


def test_the_spread_of_dense_vectors_is_that_under_standard_normal_noise(network):
    noise = torch.randn(20000, SMALL.n_noise, generator=torch.Generator().manual_seed(2))
    measured = network.dense(noise).var(dim=0).mean().sqrt().item()
    assert network.dense_spread() == pytest.approx(measured, rel=0.02)


def test_bytes_and_pictures_are_each_others_inverse():
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).repeat(1, 3, 1, 1)
    assert torch.equal(to_bytes(to_pictures(levels)), levels.permute(0, 2, 3, 1))
    assert to_bytes(torch.tensor([-3.0, 3.0, 0.999]).reshape(1, 3, 1, 1)).flatten().tolist() == [0, 255, 255]


@pytest.mark.parametrize(
    "changes, match",
    [({"image_size": 100}, "64, 128, 256"), ({"noise": 4}, "noise is 4"), ({"attention": 128}, "8 to 64")],
)
def test_impossible_configurations_are_refused(changes, match):
    with pytest.raises(InputError, match=match):
        dataclasses.replace(SMALL, **changes)


# Files


@pytest.fixture
def folder(network, tmp_path):
    network.save_pretrained(tmp_path / "icgan", dtype=torch.float32)
    return tmp_path / "icgan"


def test_what_was_saved_draws_the_same(network, folder, inputs):
    loaded = ICGAN.from_pretrained(folder)
    assert loaded.config == SMALL and not any(values.requires_grad for values in loaded.parameters())
    torch.testing.assert_close(loaded(*inputs), network(*inputs), atol=1e-5, rtol=1e-4)
    with pytest.raises(InputError, match="lost their spectral norms"):
        loaded.save_pretrained(folder)


def test_a_published_pickle_with_the_classes_it_never_reads(network, folder, inputs):
    state = load_file(folder / "model.safetensors") | {"shared.weight": torch.zeros(1000, 128)}
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "G_ema_best0.pth")
    torch.testing.assert_close(ICGAN.from_pretrained(folder)(*inputs), network(*inputs), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "change, named",
    [
        (lambda state: state.pop("blocks.1.1.gamma"), "missing: blocks.1.1.gamma"),
        (lambda state: state.update(extra=torch.zeros(1)), "unexpected: extra"),
        (
            lambda state: state.update({"linear.u0": torch.zeros(1, 3)}),
            r"misshapen: linear.u0 \(1, 3\) instead of \(1, 512\)",
        ),
    ],
)
def test_a_state_that_does_not_fit_is_named(folder, change, named):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=named):
        ICGAN.from_pretrained(folder)


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"architecture": "VDVAE"},
        {"image_size": 64, "channels": "two"},
        {"image_size": 64, "channels": 2, "depth": 1},
    ],
)
def test_a_configuration_of_something_else_is_refused(folder, entries):
    (folder / "config.json").write_text(json.dumps(entries))
    with pytest.raises(CheckpointError, match="does not describe a ICGAN"):
        ICGAN.from_pretrained(folder)


def test_gradients_reach_the_inputs_of_a_loaded_network(folder, inputs):
    noise, instance = inputs
    noise.requires_grad_()
    ICGAN.from_pretrained(folder)(noise, instance).sum().backward()
    assert np.isfinite(noise.grad.numpy()).all() and (noise.grad != 0).any(dim=0).all()
