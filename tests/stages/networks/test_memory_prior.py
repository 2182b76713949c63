"""A prior with a hidden memory: as many parameters as published, its layers written out, and what training hides."""

import math

import numpy as np
import pytest
import torch

from stages.ground.errors import InputError
from stages.networks.memory_prior import MemoryPrior

N_TOKENS, WIDTH, DEPTH, N_HEADS, FEED_FORWARD = 20, 12, 2, 3, 24


def small(**changed):
    torch.manual_seed(0)
    network = MemoryPrior(N_TOKENS, WIDTH, DEPTH, N_HEADS, FEED_FORWARD, **changed)
    # What starts at one or zero, or alike in all layers, hides much of what layers do.
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def given(n=3):
    random = torch.Generator().manual_seed(1)
    noisy, brain = (torch.randn(n, N_TOKENS, WIDTH, generator=random) for _ in range(2))
    return noisy, torch.tensor([0, 57, 99, 3][:n]), brain


# As published


def test_parameters_are_as_many_as_published():
    with torch.device("meta"):
        network = MemoryPrior()
    assert sum(one.numel() for one in network.parameters()) == 62_222_592
    assert all(one.requires_grad for one in network.parameters())
    assert (network.fewest_hidden, network.most_hidden) == (154, 167)
    with torch.device("meta"):
        transfer = MemoryPrior(hidden=(0.55, 0.6))
    assert (transfer.fewest_hidden, transfer.most_hidden) == (141, 154)


def test_there_is_nothing_behind_the_last_layer():
    names = {name.split(".")[0] for name in small().state_dict()}
    queries = {"learned_query", "learned_query_brain", "null_brain_embeds", "null_image_embed"}
    assert names == queries | {"to_time_embeds", "decoder"}
    assert not any(name.startswith("decoder.norm") for name in small().state_dict())


# Arithmetic


def linear(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def norm(x, weights, name):
    centred = x - x.mean(-1, keepdims=True)
    return (
        centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * weights[f"{name}.weight"]
        + weights[f"{name}.bias"]
    )


def attention(x, memory, weights, name):
    stacked, bias = weights[f"{name}.in_proj_weight"], weights[f"{name}.in_proj_bias"]
    q, k, v = (
        rows @ stacked[place * WIDTH : (place + 1) * WIDTH].T + bias[place * WIDTH : (place + 1) * WIDTH]
        for place, rows in enumerate((x, memory, memory))
    )
    found, head = [], WIDTH // N_HEADS
    for first in range(0, WIDTH, head):
        own = slice(first, first + head)
        logits = q[:, own] @ k[:, own].T / math.sqrt(head)
        shares = np.exp(logits - logits.max(1, keepdims=True))
        found.append(shares / shares.sum(1, keepdims=True) @ v[:, own])
    return linear(np.concatenate(found, axis=1), weights, f"{name}.out_proj")


def gelu(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def written_out(weights, noisy, time, memory):
    """Of one sample, with the brain tokens that are left, to which their queries are added already."""
    angles = [time * math.exp(-math.log(10_000) * k / (WIDTH // 2 - 1)) for k in range(WIDTH // 2)]
    hidden = np.array([math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles])
    layers = "to_time_embeds.0.1.net"
    for name in (f"{layers}.0.0", f"{layers}.1.0"):
        hidden = linear(hidden, weights, name)
        hidden = hidden / (1 + np.exp(-hidden))
    x = np.vstack([linear(hidden, weights, f"{layers}.2"), noisy + weights["learned_query"]])
    for layer in range(DEPTH):
        name = f"decoder.layers.{layer}"
        x = norm(x + attention(x, x, weights, f"{name}.self_attn"), weights, f"{name}.norm1")
        x = norm(x + attention(x, memory, weights, f"{name}.multihead_attn"), weights, f"{name}.norm2")
        inside = gelu(linear(x, weights, f"{name}.linear1"))
        x = norm(x + linear(inside, weights, f"{name}.linear2"), weights, f"{name}.norm3")
    return x[-N_TOKENS:]


def test_in_use_it_is_its_layers_written_out_over_the_whole_memory():
    network = small().eval()
    weights, (noisy, times, brain) = (
        {name: one.double().numpy() for name, one in network.state_dict().items()},
        given(),
    )
    with torch.inference_mode():
        found = network(noisy, times, brain).numpy()
    for row in range(3):
        memory = brain[row].double().numpy() + weights["learned_query_brain"]
        expected = written_out(weights, noisy[row].double().numpy(), times[row].item(), memory)
        np.testing.assert_allclose(found[row], expected, atol=1e-5 * np.abs(expected).max())


def test_in_training_it_is_so_over_the_tokens_that_are_left_in_their_order():
    network = small().train()
    weights, (noisy, times, brain) = (
        {name: one.double().numpy() for name, one in network.state_dict().items()},
        given(),
    )
    torch.manual_seed(5)
    found = network(noisy, times, brain).detach().numpy()
    torch.manual_seed(5)
    hidden = network.draw_hidden(3).numpy()
    for row in range(3):
        left = (brain[row].double().numpy() + weights["learned_query_brain"])[~hidden[row]]
        assert 7 <= len(left) <= 8
        expected = written_out(weights, noisy[row].double().numpy(), times[row].item(), left)
        np.testing.assert_allclose(found[row], expected, atol=1e-5 * np.abs(expected).max())


# What is hidden


def test_of_257_tokens_90_to_103_are_left_each_number_as_likely():
    with torch.device("meta"):
        network = MemoryPrior(depth=1)
    torch.manual_seed(0)
    hidden = network.draw_hidden(14_000)
    left = (~hidden).sum(1)
    numbers, counts = left.unique(return_counts=True)
    assert numbers.tolist() == list(range(90, 104))
    # Five standard errors of a share of one in fourteen.
    assert (counts - 1000).abs().max() < 5 * math.sqrt(14_000 / 14 * 13 / 14)
    # Each token is hidden as often as the others, and each sample has its own.
    shares = hidden.float().mean(0)
    assert (shares - shares.mean()).abs().max() < 5 * math.sqrt(0.25 / 14_000)
    assert len({row.numpy().tobytes() for row in hidden[:200]}) == 200


def test_what_is_hidden_follows_from_the_seed_and_nothing_is_hidden_in_use():
    network, (noisy, times, brain) = small(), given()

    def found(seed):
        torch.manual_seed(seed)
        return network(noisy, times, brain).detach()

    assert torch.equal(found(1), found(1)) and not torch.equal(found(1), found(2))
    network.eval()
    assert torch.equal(found(1), found(2))
    whole = small(hidden=(0, 0)).train()
    torch.testing.assert_close(whole(noisy, times, brain), network(noisy, times, brain))


def test_memory_may_change_places_together_with_its_queries_and_not_otherwise():
    network, (noisy, times, brain), order = (
        small().eval(),
        given(),
        torch.randperm(N_TOKENS, generator=torch.Generator()),
    )
    with torch.inference_mode():
        found = network(noisy, times, brain)
        other = network(noisy, times, brain[:, order])
        network.learned_query_brain.copy_(network.learned_query_brain[order].clone())
        together = network(noisy, times, brain[:, order])
    assert (other - found).abs().max() > 1e-3
    torch.testing.assert_close(together, found)


def test_samples_without_brain_or_picture_do_not_look_at_it():
    network, (noisy, times, brain) = small().eval(), given()
    none, every = torch.zeros(3, dtype=torch.bool), torch.ones(3, dtype=torch.bool)
    with torch.inference_mode():
        torch.testing.assert_close(network(noisy, times, brain, none, none), network(noisy, times, brain))
        blind = network(noisy, times, brain, every, none)
        torch.testing.assert_close(network(noisy, times, -brain, every, none), blind)
        assert (network(-noisy, times, brain, every, none) - blind).abs().max() > 1e-3
        empty = network(noisy, times, brain, none, every)
        torch.testing.assert_close(network(-noisy, times, brain, none, every), empty)
        assert (network(noisy, times, -brain, none, every) - empty).abs().max() > 1e-3


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"hidden": (0.6,)}, r"hidden is \[0.6\]"),
        ({"hidden": (0.7, 0.6)}, r"hidden is \[0.7, 0.6\]"),
        ({"hidden": (0.6, 1.0)}, "below 1, for example"),
        ({"n_heads": 5}, "width is 768 and n_heads 5"),
        ({"depth": 0}, "depth is 0"),
        ({"feed_forward": 0.5}, "feed_forward is 0.5"),
    ],
)
def test_sizes_that_cannot_be_are_refused(changed, said):
    with torch.device("meta"), pytest.raises(InputError, match=said):
        MemoryPrior(**changed)
