"""The transformer inside the networks of diffusion priors, written out in numpy, value by value.

Weights are a mapping of names to float64 arrays.
"""

import math

import numpy as np


def silu(x):
    return x / (1 + np.exp(-x))


def gain(x, weights, name, divides=False):
    rows = []
    for row in x:
        row = row / row.max() if divides else row
        rows.append((row - row.mean()) / math.sqrt(((row - row.mean()) ** 2).mean() + 1e-5))
    return np.array(rows) * weights[f"{name}.g"]


def bucket_of(distance):
    if distance < 16:
        return max(distance, 0)
    return min(31, 16 + int(math.log(distance / 16) / math.log(8) * 16))


def turned(x):
    """Rows of places turned, pair by pair."""
    n_rotated = min(32, x.shape[1])
    result = x.copy()
    for place, row in enumerate(x):
        for pair in range(n_rotated // 2):
            angle = place * 10_000 ** (-2 * pair / n_rotated)
            first, second = row[2 * pair], row[2 * pair + 1]
            result[place, 2 * pair] = first * math.cos(angle) - second * math.sin(angle)
            result[place, 2 * pair + 1] = first * math.sin(angle) + second * math.cos(angle)
    return result


def attention(x, weights, name, biases, causal=False):
    x = gain(x, weights, f"{name}.norm")
    query, both = x @ weights[f"{name}.to_q.weight"].T, x @ weights[f"{name}.to_kv.weight"].T
    head_width = both.shape[1] // 2
    key, value = both[:, :head_width], both[:, head_width:]
    null_key, null_value = weights[f"{name}.null_kv"]
    keys, values = np.vstack([null_key, turned(key)]), np.vstack([null_value, value])
    keys = np.array([4 * row / np.linalg.norm(row) for row in keys])
    heads = []
    for head in range(query.shape[1] // head_width):
        own = turned(16 * query[:, head * head_width : (head + 1) * head_width])
        rows = []
        for i, row in enumerate(own):
            row = 4 * row / np.linalg.norm(row)
            # The learned key stands before all tokens.
            seen = keys[: i + 2] if causal else keys
            logits = np.array([row @ other + biases[bucket_of(i - j), head] for j, other in enumerate(seen)])
            shares = np.exp(logits - logits.max())
            rows.append(shares / shares.sum() @ values[: len(seen)])
        heads.append(np.array(rows))
    return gain(np.hstack(heads) @ weights[f"{name}.to_out.0.weight"].T, weights, f"{name}.to_out.1")


def feed_forward(x, weights, name):
    inside = gain(x, weights, f"{name}.0") @ weights[f"{name}.1.weight"].T
    values, gates = np.split(inside, 2, axis=1)
    let_through = values * silu(gates)
    if f"{name}.3.g" in weights:
        let_through = gain(let_through, weights, f"{name}.3")
    return let_through @ weights[f"{name}.5.weight"].T


def transformer(tokens, weights, name, causal=False):
    """Tokens (n_tokens, width) through all of it."""
    biases = weights[f"{name}.rel_pos_bias.relative_attention_bias.weight"]
    layer = 0
    while f"{name}.layers.{layer}.0.null_kv" in weights:
        tokens = tokens + attention(tokens, weights, f"{name}.layers.{layer}.0", biases, causal)
        tokens = tokens + feed_forward(tokens, weights, f"{name}.layers.{layer}.1")
        layer += 1
    return gain(tokens, weights, f"{name}.norm", divides=True) @ weights[f"{name}.project_out.weight"].T
