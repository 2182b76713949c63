"""The prior's network against its description written out in numpy, value by value, and laws of its parts."""

import math

import numpy as np
import pytest
import torch
from prior_written_out import bucket_of, silu, transformer

from stages.ground.errors import InputError
from stages.networks.prior_transformer import bucket
from stages.networks.token_prior import TokenPrior

N_TOKENS, WIDTH, DEPTH, N_HEADS, HEAD_WIDTH = 5, 12, 2, 3, 8


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = TokenPrior(N_TOKENS, WIDTH, DEPTH, N_HEADS, HEAD_WIDTH).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(".g"):
                parameter.copy_(1 + 0.3 * torch.randn_like(parameter))
    return network


def given(n=2, seed=1):
    random = torch.Generator().manual_seed(seed)
    noisy, brain = (torch.randn(n, N_TOKENS, WIDTH, generator=random) for _ in range(2))
    return noisy, torch.tensor([0, 57, 99, 3][:n]), brain


# Written out


def written_out(weights, noisy, time, brain):
    angles = [time * math.exp(-math.log(10_000) * k / (WIDTH // 2 - 1)) for k in range(WIDTH // 2)]
    hidden = np.array([math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles])
    layers = "to_time_embeds.0.1.net"
    for name in (f"{layers}.0.0", f"{layers}.1.0"):
        hidden = silu(weights[f"{name}.weight"] @ hidden + weights[f"{name}.bias"])
    hidden = weights[f"{layers}.2.weight"] @ hidden + weights[f"{layers}.2.bias"]
    tokens = np.vstack([brain, hidden, noisy + weights["learned_query"]])
    return transformer(tokens, weights, "causal_transformer")[-N_TOKENS:]


def test_the_network_vs_its_description(network):
    weights = {name: value.double().numpy() for name, value in network.state_dict().items()}
    noisy, times, brain = given()
    with torch.inference_mode():
        found = network(noisy, times, brain).numpy()
    for row, (values, time, other) in enumerate(zip(noisy.double().numpy(), times.tolist(), brain.double().numpy())):
        expected = written_out(weights, values, time, other)
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(found[row], expected, atol=1e-5 * np.abs(expected).max())


# Laws


def test_parameters_are_as_many_as_published_and_bear_their_names():
    with torch.device("meta"):
        network = TokenPrior()
    assert sum(parameter.numel() for parameter in network.parameters()) == 56_055_184
    assert not network.causal_transformer.layers[0][0].rotary_emb.freqs.requires_grad
    layers = ("norm.g", "null_kv", "to_q.weight", "to_kv.weight", "rotary_emb.freqs", "to_out.0.weight", "to_out.1.g")
    time = ("0.0.weight", "0.0.bias", "1.0.weight", "1.0.bias", "2.weight", "2.bias")
    expected = {"learned_query", "null_brain_embeds", "null_image_embed"}
    expected |= {f"to_time_embeds.0.1.net.{name}" for name in time}
    expected |= {"causal_transformer.rel_pos_bias.relative_attention_bias.weight"}
    expected |= {f"causal_transformer.layers.{layer}.0.{name}" for layer in range(6) for name in layers}
    expected |= {
        f"causal_transformer.layers.{layer}.1.{name}" for layer in range(6) for name in ("0.g", "1.weight", "5.weight")
    }
    expected |= {"causal_transformer.norm.g", "causal_transformer.project_out.weight"}
    assert network.state_dict().keys() == expected
    assert network.causal_transformer.rel_pos_bias.relative_attention_bias.weight.shape == (32, 12)


def test_places_matter_and_lengths_of_queries_do_not(network):
    noisy, times, brain = given()
    with torch.inference_mode():
        before = network(noisy, times, brain)
        assert not torch.allclose(network(noisy, times, brain[:, [1, 0, 2, 3, 4]]), before, atol=1e-3)
        for attention_layer, _ in network.causal_transformer.layers:
            attention_layer.to_q.weight.mul_(7.0)
        torch.testing.assert_close(network(noisy, times, brain), before, atol=1e-5, rtol=1e-5)


def test_one_alone_as_with_others(network):
    noisy, times, brain = given(4)
    with torch.inference_mode():
        together = network(noisy, times, brain)
        alone = [network(noisy[row, None], times[row, None], brain[row, None]) for row in range(4)]
    torch.testing.assert_close(torch.cat(alone), together, atol=1e-5, rtol=1e-5)


def test_what_is_left_out_is_replaced_by_learned_tokens(network):
    noisy, times, brain = given()
    first = torch.tensor([True, False])
    with torch.inference_mode():
        expected_brain = torch.stack([network.null_brain_embeds, brain[1]])
        expected_noisy = torch.stack([noisy[0], network.null_image_embed])
        torch.testing.assert_close(
            network(noisy, times, brain, without_brain=first, without_image=~first),
            network(expected_noisy, times, expected_brain),
        )


def test_distances_fall_into_the_published_buckets():
    distances = np.arange(-20, 600)
    assert bucket(torch.from_numpy(distances)).tolist() == [bucket_of(distance) for distance in distances.tolist()]


def test_half_precision_normalises_with_an_epsilon_of_its_own(network):
    noisy, times, brain = given()
    with torch.inference_mode():
        whole = network(noisy, times, brain)
        half = network.bfloat16()(noisy.bfloat16(), times, brain.bfloat16())
    assert half.dtype == torch.bfloat16 and (half.float() - whole).abs().max() < 0.1 * whole.std()


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="n_tokens is 0"):
        TokenPrior(n_tokens=0)
    with pytest.raises(InputError, match="width is 7"):
        TokenPrior(width=7)
