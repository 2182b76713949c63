"""STTM's network: its parameters and names at full size, its layers written out, and where its gradients go."""

import math

import pytest
import torch
from torch.nn import functional

from stages.ground.errors import InputError
from stages.networks.sttm import STTMNetwork, TokenAttention

GIVES = {"clip_rough": (6, 8), "clip_retrieval": (6, 8), "sd_latent": (4, 8, 8)}
VOXELS = {"subj02": 20, "subj01": 14, "subj05": 9}
SMALL = {
    **{"hidden": 16, "n_blocks": 2, "narrow": 4, "attention_heads": 2, "attention_width": 6, "between": 10},
    **{"projected": 12, "prior_depth": 1, "prior_heads": 2, "prior_feed_forward": 16, "map_channels": 32},
    **{"channels": (32, 32), "latent_blocks": 1, "hidden_memory": (0.5, 0.6)},
}


def small(gives=None, **changed):
    torch.manual_seed(0)
    network = STTMNetwork(VOXELS, gives or GIVES, **{**SMALL, **changed})
    # What starts at one or zero hides much of what layers do.
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim < 2:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def n_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def published(**changed):
    gives = {"clip_rough": (257, 768), "clip_retrieval": (257, 768)}
    with torch.device("meta"):
        return STTMNetwork({"subj01": 15724, "subj02": 14278, "subj05": 13039, "subj07": 12682}, gives, **changed)


# As published


def test_parameters_at_the_published_size():
    network = published()
    counts = {name: n_parameters(part) for name, part in network.named_children()}
    assert counts["net"] == 62_222_592
    # Of 55,723 voxels of four subjects: 4,096 weights each; of each subject a bias and a norm, and one block.
    assert counts["input_proj"] == 55_723 * 4096 + 4 * 3 * 4096
    assert counts["input_res_block"] == 4 * (4096 * 4096 + 3 * 4096) == counts["mlp"]
    assert counts["hidd2token"] == 2 * 4096 + 4097 * 257 * 128
    assert counts["token_attention"] == 2 * 128 + 3 * 129 * 768 + 769 * 128
    assert counts["to_tokens"] == 2 * 128 + 129 * 1536 + 2 * 1536 + 1537 * 768
    assert counts["projector"] == 7_354_624
    assert n_parameters(network) == sum(counts.values()) == 568_744_704
    linear = published(head="linear", prior="none")
    assert n_parameters(linear) == 568_744_704 - 62_222_592 - counts["token_attention"] - 2 * 128


def test_names_are_those_of_the_authors_parts():
    network = published(prior="none")
    both, names = ("weight", "bias"), set()
    for place in range(4):
        names |= {
            f"{part}.{place}.{k}.{one}" for part in ("input_proj", "input_res_block") for k in (0, 1) for one in both
        }
        names |= {f"mlp.{place}.{k}.{one}" for k in (0, 1) for one in both}
    names |= {f"hidd2token.{k}.{one}" for k in (0, 2) for one in both}
    names |= {f"token_attention.{part}.{one}" for part in ("norm", "to_q", "to_k", "to_v", "to_out") for one in both}
    names |= {f"to_tokens.{k}.{one}" for k in (0, 1, 2, 5) for one in both}
    names |= {f"projector.{k}.{one}" for k in (0, 2, 3, 5, 6, 8) for one in both}
    assert set(network.state_dict()) == names


# Arithmetic


def linear(x, weights, name):
    return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def norm(x, weights, name):
    return functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def attended(x, weights, factor):
    """Tokens after attention, head by head and token by token."""
    normed = norm(x, weights, "token_attention.norm")
    q, k, v = (linear(normed, weights, f"token_attention.to_{one}") for one in "qkv")
    found = torch.zeros(*x.shape[:2], 12)
    for row in range(len(x)):
        for head in (slice(0, 6), slice(6, 12)):
            for place in range(x.shape[1]):
                logits = torch.tensor([float(q[row, place, head] @ other) for other in k[row, :, head]]) * factor
                shares = (logits - logits.max()).exp()
                found[row, place, head] = (shares / shares.sum()) @ v[row, :, head]
    return x + linear(found, weights, "token_attention.to_out")


@pytest.mark.parametrize(("head", "scale"), [("attention", "mended"), ("attention", "published"), ("linear", "mended")])
def test_the_network_vs_its_layers_written_out(head, scale):
    network = small(head=head, attention_scale=scale).eval()
    weights, patterns = network.state_dict(), {"subj01": torch.randn(2, 14), "subj02": torch.randn(3, 20)}

    def layer(x, name):
        return functional.gelu(norm(linear(x, weights, f"{name}.0"), weights, f"{name}.1"))

    rows = []
    for name, place in (("subj01", 1), ("subj02", 0)):
        x = layer(patterns[name], f"input_proj.{place}")
        rows.append(layer(x, f"input_res_block.{place}") + x)
    x = torch.cat(rows)
    for place in range(2):
        x = layer(x, f"mlp.{place}") + x
    shared = x
    x = linear(functional.gelu(norm(x, weights, "hidd2token.0")), weights, "hidd2token.2").reshape(5, 6, 4)
    first = 0
    if head == "attention":
        x = norm(attended(x, weights, 6**-0.5 if scale == "mended" else 6**0.5), weights, "to_tokens.0")
        first = 1
    x = functional.gelu(norm(linear(x, weights, f"to_tokens.{first}"), weights, f"to_tokens.{first + 1}"))
    rough = linear(x, weights, f"to_tokens.{first + 4}")
    retrieval = rough
    for one, other in ((0, 2), (3, 5), (6, 8)):
        retrieval = linear(functional.gelu(norm(retrieval, weights, f"projector.{one}")), weights, f"projector.{other}")
    with torch.inference_mode():
        found, latent = network(patterns), network.low_level(patterns, shared)
    assert found.keys() == GIVES.keys()
    torch.testing.assert_close(found["clip_rough"], rough, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found["clip_retrieval"], retrieval, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found["sd_latent"], latent, atol=1e-5, rtol=1e-5)


def test_products_of_queries_and_keys_are_scaled_as_meant_or_96_times_higher():
    """Of unit vectors that are equal, the product is one."""
    unit = functional.normalize(torch.randn(1, 8, 5, 96), dim=-1)
    logits = {}
    with torch.device("meta"):
        for scale in ("mended", "published"):
            logits[scale] = TokenAttention(128, scale=scale).logits
    for scale, expected in (("mended", 1 / math.sqrt(96)), ("published", math.sqrt(96))):
        found = logits[scale](unit, unit)
        torch.testing.assert_close(found.diagonal(dim1=2, dim2=3), torch.full((1, 8, 5), expected))
    torch.testing.assert_close(logits["published"](unit, unit), 96 * logits["mended"](unit, unit))


def test_training_adds_noise_of_that_deviation_to_the_voxels():
    network, patterns = small(noise=0.1, prior="none"), {"subj01": torch.zeros(4000, 14)}
    seen = []
    network.adapted = lambda rows: seen.append(rows) or torch.zeros(1, 16)
    del network.low_level
    network._names.pop("latent")
    network.train()(patterns)
    assert abs(float(seen[0]["subj01"].std()) - 0.1) < 5 * 0.1 / math.sqrt(2 * 4000 * 14)
    assert not patterns["subj01"].any()
    network.eval()(patterns)
    assert torch.equal(seen[1]["subj01"], patterns["subj01"])


# Gradients


def test_the_latents_error_reaches_nothing_but_its_own_part():
    network = small()
    network.train()({"subj01": torch.randn(3, 14), "subj05": torch.randn(3, 9)})["sd_latent"].square().sum().backward()
    moved = {name for name, one in network.named_parameters() if one.grad is not None}
    assert moved and all(name.startswith("low_level.") for name in moved)
    network.zero_grad()
    found = network({"subj01": torch.randn(3, 14)})
    (found["clip_rough"].square().sum() + found["clip_retrieval"].square().sum()).backward()
    moved = {name for name, one in network.named_parameters() if one.grad is not None}
    assert moved and not any(name.startswith("low_level.") for name in moved)


# Subjects


def test_tensors_of_a_subject_are_those_that_no_other_reads():
    network = small()
    found = network({"subj05": torch.randn(2, 9)})
    sum(one.square().sum() for one in found.values()).backward()
    owned = {name: set(network.subject_tensors(name).values()) for name in VOXELS}
    everybody = set.union(*owned.values())
    assert len(everybody) == sum(map(len, owned.values())) == 3 * 16
    unread = {name for name, one in network.named_parameters() if name in everybody and one.grad is None}
    assert everybody - unread == owned["subj05"]
    assert network.subject_tensors("subj05")["low_level.adapter.input_proj.0.bias"] == (
        "low_level.adapter.input_proj.2.0.bias"
    )


def test_rows_do_not_depend_on_the_subjects_beside_them():
    network, patterns = small().eval(), {"subj05": torch.randn(2, 9), "subj02": torch.randn(3, 20)}
    with torch.inference_mode():
        together, alone = network(patterns), network({"subj02": patterns["subj02"]})
    for name, values in alone.items():
        torch.testing.assert_close(together[name][2:], values, atol=1e-5, rtol=1e-5)


# What is asked for


def test_parts_that_are_not_asked_for_are_not_there():
    alone = small({"clip_retrieval": (6, 8)}, prior="none")
    assert alone({"subj01": torch.zeros(1, 14)}).keys() == {"clip_retrieval"}
    assert not hasattr(alone, "net") and not hasattr(alone, "low_level")


@pytest.mark.parametrize(
    "gives", [{}, {"clip_rough": (6, 8)}, {"clip_retrieval": (8,)}, {"clip_retrieval": (6, 8), "colour": (3,)}]
)
def test_values_that_it_does_not_give_are_refused(gives):
    with pytest.raises(InputError, match="gives clip_rough and clip_retrieval of one shape"):
        STTMNetwork(VOXELS, gives, **SMALL)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"head": "mlp"}, "head is 'mlp'"),
        ({"attention_scale": "legacy"}, "scale is 'legacy'"),
        ({"noise": -1}, "noise is -1"),
    ],
)
def test_sizes_that_cannot_be_are_refused(changed, said):
    with pytest.raises(InputError, match=said):
        small(**changed)
