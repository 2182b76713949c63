"""MindFormer's network: counts at full size, arithmetic written out, whose gradients reach whom, tokens that tell subjects."""

import pytest
import torch
from torch.nn import functional

from stages.ground.errors import InputError
from stages.networks.mindformer import MindFormerNetwork
from stages.objectives.regression import MeanAbsoluteError
from stages.objectives.retrieval import HardContrast

VOXELS = {"subj02": 9, "subj01": 7, "subj05": 5}
SMALL = {"depth": 2, "n_heads": 2, "feed_forward": 12}
# Of nsdgeneral.
PUBLISHED = {"subj01": 15724, "subj02": 14278, "subj05": 13039, "subj07": 12682}


def small(**changed):
    torch.manual_seed(0)
    network = MindFormerNetwork(VOXELS, {"ip_tokens": (3, 8)}, **{**SMALL, **changed})
    # What starts at one or zero hides much of what layers do.
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim < 2:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def rows_of(*subjects, n=2):
    random = torch.Generator().manual_seed(1)
    return {name: torch.randn(n + place, VOXELS[name], generator=random) for place, name in enumerate(subjects)}


# At full size


def test_parameters_at_the_default_sizes():
    with torch.device("meta"):
        network = MindFormerNetwork(PUBLISHED, {"ip_tokens": (16, 768)})
    own = {
        name: sum(network.get_parameter(one).numel() for one in network.subject_tensors(name).values())
        for name in PUBLISHED
    }
    # A linear layer to 12,288 values, and a token of 768.
    assert own == {name: n * 12_288 + 12_288 + 768 for name, n in PUBLISHED.items()}
    assert own["subj01"] == 193_228_800 + 768
    layer = 4 * 768**2 + 4 * 768 + 2 * 768 * 3072 + 3072 + 768 + 4 * 768
    shared = 2 * layer + 16 * 768 + 2 * 768 + 768**2 + 768
    assert sum(one.numel() for one in network.parameters()) - sum(own.values()) == shared == 14_780_160


def test_its_names():
    names = set(small().state_dict())
    both = ("weight", "bias")
    expected = {f"linear.linears.{place}.{kind}" for place in range(3) for kind in both} | {"positions"}
    expected |= {f"subject.tokens.{place}" for place in range(3)}
    expected |= {f"{layer}.{kind}" for layer in ("norm", "output") for kind in both}
    for place in range(2):
        inside = [
            f"{layer}.{kind}"
            for layer in ("self_attn.out_proj", "linear1", "linear2", "norm1", "norm2")
            for kind in both
        ]
        expected |= {f"layers.{place}.{one}" for one in (*inside, "self_attn.in_proj_weight", "self_attn.in_proj_bias")}
    assert names == expected


# Arithmetic


def linear(x, weights, name):
    return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def normed(x, weights, name):
    return functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def attended(x, weights, name):
    both = functional.linear(x, weights[f"{name}.in_proj_weight"], weights[f"{name}.in_proj_bias"])
    q, k, v = (each.unflatten(-1, (2, 4)).transpose(1, 2) for each in both.chunk(3, dim=-1))
    shares = (q @ k.transpose(-1, -2) / 2).softmax(-1)
    return linear((shares @ v).transpose(1, 2).flatten(2), weights, f"{name}.out_proj")


def widened(x, weights, name):
    return linear(functional.gelu(linear(x, weights, f"{name}.linear1")), weights, f"{name}.linear2")


@pytest.mark.parametrize("norm", ["before", "after"])
@pytest.mark.parametrize("subject_token", ["prepended", "added", "none"])
def test_the_network_vs_its_layers_written_out(norm, subject_token):
    network = small(norm=norm, subject_token=subject_token).eval()
    weights, patterns = network.state_dict(), rows_of("subj01", "subj02")
    places = {"subj02": 0, "subj01": 1}
    x = torch.cat([linear(rows, weights, f"linear.linears.{places[name]}") for name, rows in patterns.items()])
    x = x.reshape(5, 3, 8) + weights["positions"]
    if subject_token != "none":
        tokens = torch.stack(
            [weights[f"subject.tokens.{places[name]}"] for name, rows in patterns.items() for _ in rows]
        )
        x = x + tokens[:, None] if subject_token == "added" else torch.cat([tokens[:, None], x], dim=1)
    for place in range(2):
        name = f"layers.{place}"
        if norm == "before":
            x = x + attended(normed(x, weights, f"{name}.norm1"), weights, f"{name}.self_attn")
            x = x + widened(normed(x, weights, f"{name}.norm2"), weights, name)
        else:
            x = normed(x + attended(x, weights, f"{name}.self_attn"), weights, f"{name}.norm1")
            x = normed(x + widened(x, weights, name), weights, f"{name}.norm2")
    x = x[:, 1:] if subject_token == "prepended" else x
    expected = linear(normed(x, weights, "norm"), weights, "output")
    for context in (torch.no_grad, torch.enable_grad):
        with context():
            torch.testing.assert_close(network(patterns)["ip_tokens"], expected, atol=1e-5, rtol=1e-5)


def test_outputs_are_the_image_places_and_the_subjects_token_is_left_out():
    """A row of the linear layer moves the place that it belongs to most, and places can be told apart."""
    network, patterns = small().eval(), rows_of("subj01")
    before = network(patterns)["ip_tokens"]
    assert before.shape == (2, 3, 8)
    for place in range(3):
        changed = small().eval()
        with torch.no_grad():
            changed.linear.linears[1].bias[8 * place : 8 * place + 8] += 1 * torch.arange(8.0)
        moved = (changed(patterns)["ip_tokens"] - before).abs().sum(dim=(0, 2))
        assert moved.argmax() == place and (moved > 0).all()
    # Without the layers between, only that place would move: the token before them is none of the three.
    network.layers = torch.nn.ModuleList()
    plain = network(patterns)["ip_tokens"]
    weights = network.state_dict()
    values = linear(patterns["subj01"], weights, "linear.linears.1").reshape(2, 3, 8) + weights["positions"]
    torch.testing.assert_close(plain, linear(normed(values, weights, "norm"), weights, "output"))


def test_linear_layers_and_tokens_of_absent_subjects_get_no_gradient():
    network = small()
    outputs = network(rows_of("subj01", "subj05"))
    targets = {"ip_tokens": torch.randn(5, 3, 8)}
    sum(one(outputs, targets, 0)[0] for one in (MeanAbsoluteError("ip_tokens"), HardContrast("ip_tokens"))).backward()
    reached = {name for name, one in network.named_parameters() if one.grad is not None and one.grad.abs().max() > 0}
    absent = set(network.subject_tensors("subj02").values())
    assert reached == {name for name, _ in network.named_parameters()} - absent
    assert all(network.get_parameter(name).grad is None for name in absent)


def test_outputs_of_a_subject_do_not_depend_on_who_else_is_there():
    network, patterns = small().eval(), rows_of("subj01", "subj02")
    with torch.no_grad():
        alone, together = network({"subj02": patterns["subj02"]})["ip_tokens"], network(patterns)["ip_tokens"]
    torch.testing.assert_close(together[2:], alone)


@pytest.mark.parametrize("subject_token", ["prepended", "added"])
def test_tokens_tell_subjects_of_opposite_mappings_apart(subject_token):
    """Two subjects share their linear layer here and answer with opposite signs, so that the token alone can tell who it is."""
    torch.manual_seed(0)
    sizes = {"depth": 1, "n_heads": 2, "feed_forward": 24, "dropout": 0.0, "subject_token": subject_token}
    network = MindFormerNetwork({"a": 4, "b": 4}, {"ip_tokens": (2, 8)}, **sizes)
    network.linear.linears[1] = network.linear.linears[0]
    optimiser, mapping = torch.optim.AdamW(network.parameters(), 1e-2), torch.randn(4, 16)

    def batch(n=32):
        rows = torch.randn(n, 4)
        return rows, (rows @ mapping).unflatten(1, (2, 8))

    for _ in range(150):
        rows, true = batch()
        found = network({"a": rows, "b": rows})["ip_tokens"]
        loss = functional.l1_loss(found, torch.cat([true, -true]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    rows, true = batch(200)
    with torch.no_grad():
        own = network({"a": rows})["ip_tokens"]
        network.subject.tokens[0], network.subject.tokens[1] = network.subject.tokens[1], network.subject.tokens[0]
        swapped = network({"a": rows})["ip_tokens"]

    def correlation(found):
        return float(torch.corrcoef(torch.stack([found.flatten(), true.flatten()]))[0, 1])

    assert correlation(own) > 0.8 and correlation(swapped) < -0.8


def test_the_loss_falls_to_nothing_on_an_identity():
    """Responses are the tokens themselves, apart from the layer norm's mean and scale, which they have already."""
    torch.manual_seed(0)
    sizes = {"depth": 1, "n_heads": 2, "feed_forward": 12, "dropout": 0.0, "subject_token": "none"}
    network = MindFormerNetwork({"a": 16}, {"ip_tokens": (2, 8)}, **sizes)
    true = functional.layer_norm(torch.randn(6, 2, 8), (8,))
    optimiser, losses = torch.optim.Adam(network.parameters(), 1e-2), []
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 250)
    for _ in range(250):
        loss, _ = MeanAbsoluteError("ip_tokens")(network({"a": true.flatten(1)}), {"ip_tokens": true}, 0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    assert losses[-1] < 0.02 * losses[0]


@pytest.mark.parametrize(
    "gives, changed, said",
    [
        ({"ip_tokens": (3, 8), "more": (3, 8)}, {}, "gives one value of shape"),
        ({"ip_tokens": (24,)}, {}, "gives one value of shape"),
        ({"ip_tokens": (3, 8)}, {"n_heads": 3}, "n_heads is 3 but tokens have 8 values"),
        ({"ip_tokens": (3, 8)}, {"norm": "between"}, "norm is 'between'"),
        ({"ip_tokens": (3, 8)}, {"subject_token": "behind"}, "subject_token is 'behind'"),
        ({"ip_tokens": (3, 8)}, {"depth": 0}, "depth is 0"),
    ],
)
def test_what_cannot_be_is_refused(gives, changed, said):
    with pytest.raises(InputError, match=said):
        MindFormerNetwork(VOXELS, gives, **{**SMALL, **changed})
