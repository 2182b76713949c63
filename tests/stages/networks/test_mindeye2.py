"""MindEye2's network: as many parameters as published, under their names, and what its dead mixer does, shown and not assumed."""

import pytest
import torch
from torch.nn import functional

from stages.ground.errors import InputError
from stages.networks.mindeye2 import Backbone, MindEye2Network
from stages.objectives.retrieval import MixedThenSoft

GIVES = {"clip_rough": (3, 8), "clip_retrieval": (3, 8), "sd_latent": (4, 8, 8)}
VOXELS = {"subj02": 20, "subj01": 14, "subj05": 9}
SMALL = {
    "hidden": 16,
    "map_channels": 32,
    "channels": (32, 32),
    "prior_depth": 1,
    "prior_heads": 2,
    "prior_head_width": 4,
}


def small(gives=None, **changed):
    torch.manual_seed(0)
    network = MindEye2Network(VOXELS, gives or GIVES, **{**SMALL, **changed})
    # What starts at one or zero hides much of what layers do.
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad and parameter.ndim < 2:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def n_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def published(**changed):
    gives = {"clip_rough": (256, 1664), "clip_retrieval": (256, 1664), "sd_latent": (4, 28, 28)}
    with torch.device("meta"):
        return MindEye2Network({"subj01": 15724}, gives, **changed)


# As published


def test_parameters_are_as_many_as_published():
    network = published()
    assert n_parameters(network) == 2_227_294_844
    assert n_parameters(network.ridge) == 64_409_600
    assert n_parameters(network.backbone) == 1_903_020_028
    assert n_parameters(network.backbone.mixer_blocks1) == 134_283_264
    assert n_parameters(network.backbone.bupsampler) == 1_750_692
    assert n_parameters(network.diffusion_prior) == 259_865_216
    # Frequencies of the rotary embedding, which attention of every layer reads.
    frozen = {name: one.numel() for name, one in network.named_parameters() if not one.requires_grad}
    assert list(frozen.values()) == [16] and all(name.endswith("rotary_emb.freqs") for name in frozen)
    with torch.device("meta"):
        light = Backbone(1024)
    assert n_parameters(light) == 453_360_280


def names_of_the_sheet():
    """Names in the released file's `model_state_dict`, without the noise process and without the inside of the decoder."""
    both = ("weight", "bias")
    names = {f"ridge.linears.0.{kind}" for kind in both}
    for blocks in ("mixer_blocks1", "mixer_blocks2"):
        names |= {f"{blocks}.{k}.{layer}.{kind}" for k in range(4) for layer in ("0", "1.0", "1.3") for kind in both}
    names |= {f"{layer}.{kind}" for layer in ("backbone_linear", "blin1", "bnorm") for kind in both}
    names |= {f"clip_proj.{layer}.{kind}" for layer in (0, 2, 3, 5, 6, 8) for kind in both}
    names |= {f"b_maps_projector.{layer}.{kind}" for layer in (1, 4, 6) for kind in both}
    names |= {"b_maps_projector.0.weight", "b_maps_projector.3.weight"}
    names = {name if name.startswith("ridge.") else f"backbone.{name}" for name in names}
    prior = {"learned_query", "null_brain_embeds", "null_image_embed"}
    prior |= {f"to_time_embeds.0.1.net.{layer}.{kind}" for layer in ("0.0", "1.0", "2") for kind in both}
    inside = {"rel_pos_bias.relative_attention_bias.weight", "norm.g", "project_out.weight"}
    attention = (
        "norm.g",
        "null_kv",
        "to_q.weight",
        "to_kv.weight",
        "rotary_emb.freqs",
        "to_out.0.weight",
        "to_out.1.g",
    )
    for layer in range(6):
        inside |= {f"layers.{layer}.0.{one}" for one in attention}
        inside |= {f"layers.{layer}.1.{one}" for one in ("0.g", "1.weight", "5.weight")}
    prior |= {f"causal_transformer.{one}" for one in inside}
    return names | {f"diffusion_prior.net.{one}" for one in prior}


def test_names_are_the_published_ones():
    own = published().state_dict()
    assert {name for name in own if not name.startswith("backbone.bupsampler.")} == names_of_the_sheet()
    upward = {name.removeprefix("backbone.bupsampler.") for name in own if name.startswith("backbone.bupsampler.")}
    assert {"conv_in.weight", "conv_out.bias", "mid_block.attentions.0.to_out.0.weight"} <= upward
    assert {int(name.split(".")[1]) for name in upward if name.startswith("up_blocks.")} == {0, 1, 2}
    shapes = {name: tuple(own[f"backbone.{name}"].shape) for name in ("blin1.weight", "mixer_blocks2.3.1.0.weight")}
    assert shapes == {"blin1.weight": (3136, 4096), "mixer_blocks2.3.1.0.weight": (1, 1)}


# Arithmetic


def linear(x, weights, name):
    return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def norm(x, weights, name):
    return functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def block(x, weights, name):
    return linear(
        functional.gelu(linear(norm(x, weights, f"{name}.0"), weights, f"{name}.1.0")), weights, f"{name}.1.3"
    )


@pytest.mark.parametrize("mixer, n_tokens", [("published", 1), ("tokens", 4)])
def test_the_network_vs_its_layers_written_out(mixer, n_tokens):
    network = small(mixer=mixer, mixer_tokens=4).eval()
    weights, patterns = network.state_dict(), {"subj01": torch.randn(2, 14), "subj02": torch.randn(3, 20)}
    places = {"subj02": 0, "subj01": 1}
    x = torch.cat([linear(rows, weights, f"ridge.linears.{places[name]}") for name, rows in patterns.items()])
    x = x.reshape(5, n_tokens, 16 // n_tokens)
    r1, r2 = x, x.permute(0, 2, 1)
    for k in range(4):
        y = block(x, weights, f"backbone.mixer_blocks1.{k}") + r1
        r1 = y
        x = block(y.permute(0, 2, 1), weights, f"backbone.mixer_blocks2.{k}") + r2
        r2 = x
        x = x.permute(0, 2, 1)
    x = x.reshape(5, 16)
    rough = linear(x, weights, "backbone.backbone_linear").reshape(5, 3, 8)
    retrieval = rough
    for first, second in ((0, 2), (3, 5), (6, 8)):
        retrieval = norm(retrieval, weights, f"backbone.clip_proj.{first}")
        retrieval = linear(functional.gelu(retrieval), weights, f"backbone.clip_proj.{second}")
    small_map = linear(x, weights, "backbone.blin1").reshape(5, 32, 4, 4)
    small_map = functional.group_norm(small_map, 1, weights["backbone.bnorm.weight"], weights["backbone.bnorm.bias"])
    with torch.inference_mode():
        found = network(patterns)
        latent = network.backbone.bupsampler(small_map)
    assert found.keys() == {*GIVES, "places"}
    torch.testing.assert_close(found["clip_rough"], rough)
    torch.testing.assert_close(found["clip_retrieval"], retrieval, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found["sd_latent"], latent)
    assert latent.shape == (5, 4, 8, 8)
    places = small_map
    for layer in (0, 3, 6):
        bias = weights.get(f"backbone.b_maps_projector.{layer}.bias")
        places = functional.conv2d(places, weights[f"backbone.b_maps_projector.{layer}.weight"], bias)
        if layer < 6:
            of_norm = (weights[f"backbone.b_maps_projector.{layer + 1}.{kind}"] for kind in ("weight", "bias"))
            places = functional.group_norm(places, 1, *of_norm).relu()
    expected = torch.stack([places[:, :, row, column] for row in range(4) for column in range(4)], dim=1)
    torch.testing.assert_close(found["places"], expected, atol=1e-5, rtol=1e-5)


# The dead mixer


def affine_error(network):
    """How far the rough tokens of a sum of patterns are from the sum of what they give, beside their spread."""
    network, one, two = network.double().eval(), torch.randn(4, 16).double(), torch.randn(4, 16).double()

    def rough(values):
        return network.backbone(values)["rough"]

    with torch.inference_mode():
        origin = rough(torch.zeros(4, 16).double())
        expected = 0.3 * (rough(one) - origin) + 0.7 * (rough(two) - origin) + origin
        return float((rough(0.3 * one + 0.7 * two) - expected).abs().max() / expected.std())


def test_the_published_backbone_is_affine_and_a_working_one_is_not():
    errors = {
        name: affine_error(small(mixer=name, mixer_tokens=4)) for name in ("published", "linear", "residual", "tokens")
    }
    assert errors["published"] < 1e-6 and errors["linear"] < 1e-6, errors
    assert errors["residual"] > 1e-2 and errors["tokens"] > 1e-2, errors


def test_the_published_mixer_adds_a_number_to_each_row():
    network = small().eval()
    values = torch.randn(5, 16)
    with torch.inference_mode():
        added = network.backbone.mixed(values) - values
    torch.testing.assert_close(added, added[:1, :1].expand(5, 16), atol=1e-5, rtol=1e-5)
    assert added.abs().max() > 1e-2


def gradients(network, part):
    """Gradients of one part after a step that every value of a batch takes part in."""
    found = network.train()({"subj01": torch.randn(6, 14), "subj05": torch.randn(6, 9)})
    sum((values**2).sum() for values in found.values()).backward()
    return [one.grad for one in getattr(network.backbone, part).parameters()]


def test_the_larger_half_of_the_published_mixer_learns_exactly_nothing():
    assert all((one == 0).all() for one in gradients(small(), "mixer_blocks1"))
    for mixer in ("tokens", "residual"):
        assert all((one != 0).any() for one in gradients(small(mixer=mixer, mixer_tokens=4), "mixer_blocks1")), mixer


def test_a_mixer_of_none_has_none():
    names = set(small(mixer="linear").backbone.state_dict())
    assert not any(name.startswith("mixer_") for name in names)
    assert not any(name.startswith("mixer_blocks2") for name in small(mixer="residual").backbone.state_dict())


def test_mixing_before_the_subjects_layers_is_mixing_after_them():
    """Shares of a sample and its partner sum to one, and the layers are affine."""
    network, patterns = small().double(), {"subj02": torch.randn(4, 20).double(), "subj05": torch.randn(4, 9).double()}
    objective = MixedThenSoft("clip_retrieval", n_epochs=150, steps_per_epoch=714)
    torch.manual_seed(0)
    before = network.ridge(objective.before(patterns, step=0))
    after = objective._mixture.mix(network.ridge(patterns))
    assert not torch.equal(objective._mixture.shares, torch.ones(8))
    torch.testing.assert_close(before, after)


# Subjects


def test_tensors_of_a_subject_are_those_that_no_other_reads():
    network = small()
    assert network.subject_tensors("subj05") == {
        "ridge.weight": "ridge.linears.2.weight",
        "ridge.bias": "ridge.linears.2.bias",
    }
    network({"subj05": torch.randn(2, 9)})["clip_retrieval"].sum().backward()
    owned = {name for subject in VOXELS for name in network.subject_tensors(subject).values()}
    unread = {name for name, one in network.named_parameters() if name in owned and one.grad is None}
    assert owned - unread == set(network.subject_tensors("subj05").values())


def test_rows_do_not_depend_on_the_subjects_beside_them():
    network, patterns = small().eval(), {"subj05": torch.randn(2, 9), "subj02": torch.randn(3, 20)}
    with torch.inference_mode():
        together, alone = network(patterns), network({"subj02": patterns["subj02"]})
    for name, values in alone.items():
        torch.testing.assert_close(together[name][2:], values, atol=1e-5, rtol=1e-5)


# What is asked for


def test_parts_that_are_not_asked_for_are_not_there():
    tokens = {name: GIVES[name] for name in ("clip_rough", "clip_retrieval")}
    light = small(tokens, prior="none")
    assert light({"subj01": torch.zeros(1, 14)}).keys() == tokens.keys()
    assert not any(
        name.startswith(("backbone.b", "diffusion_prior"))
        for name in light.state_dict()
        if not name.startswith("backbone.backbone_linear")
    )
    alone = small({"clip_retrieval": (3, 8)}, prior="none")
    assert alone({"subj01": torch.zeros(1, 14)}).keys() == {"clip_retrieval"}


@pytest.mark.parametrize(
    "gives",
    [
        {},
        {"clip_rough": (3, 8)},
        {"clip_rough": (3, 8), "clip_retrieval": (3, 7)},
        {"clip_retrieval": (8,)},
        {"clip_retrieval": (3, 8), "colour": (3,)},
        {"clip_retrieval": (3, 8), "sd_latent": (256,)},
        {"clip_retrieval": (3, 8), "other_retrieval": (3, 8)},
    ],
)
def test_values_that_it_does_not_give_are_refused(gives):
    with pytest.raises(InputError, match="gives clip_rough and clip_retrieval of one shape"):
        MindEye2Network(VOXELS, gives, **SMALL)


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="latent is 9 x 9; expected multiples of 2"):
        MindEye2Network(VOXELS, {"clip_retrieval": (3, 8), "sd_latent": (4, 9, 9)}, **SMALL)
    with pytest.raises(InputError, match="hidden is 18 but mixer_tokens 4; .* hidden=20"):
        Backbone(18, (3, 8), mixer="tokens", mixer_tokens=4)
    with pytest.raises(InputError, match="mixer is 'mlp'"):
        Backbone(16, (3, 8), mixer="mlp")
