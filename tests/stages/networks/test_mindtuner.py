"""MindTuner's network: MindEye2's without adapters, as many weights as were reckoned, and what learns and what cannot."""

import pytest
import torch
from torch.nn import functional

from stages.ground.errors import InputError
from stages.networks.mindeye2 import MindEye2Network
from stages.networks.mindtuner import AdaptiveProjector, MindTunerNetwork
from stages.objectives.skip_correlation import SkipCorrelation

GIVES = {"clip_rough": (3, 8), "clip_retrieval": (3, 8), "sd_latent": (4, 8, 8)}
VOXELS = {"subj02": 20, "subj01": 14}
SMALL = {
    "hidden": 16,
    "mixer": "residual",
    "map_channels": 32,
    "channels": (32, 32),
    "prior_depth": 1,
    "prior_heads": 2,
    "prior_head_width": 4,
}
EVERY = ("blocks", "align", "final")
PATTERNS = {"subj01": torch.linspace(-1, 2, 42).reshape(3, 14), "subj02": torch.linspace(2, -1, 20).reshape(1, 20)}


def made(make=MindTunerNetwork, voxels=VOXELS, **changed):
    torch.manual_seed(0)
    return make(voxels, GIVES, **{**SMALL, **changed})


def moved(network):
    """With adapters that are not where they begin."""
    with torch.no_grad():
        for name, one in network.named_parameters():
            if "lora" in name:
                one.copy_(0.2 * torch.randn(one.shape))
    return network


def n_parameters(module, part=""):
    return sum(one.numel() for name, one in module.named_parameters() if part in name)


# What is published, or reckoned


def test_weights_are_as_many_as_were_reckoned():
    gives = {"clip_rough": (256, 1664), "clip_retrieval": (256, 1664), "sd_latent": (4, 28, 28)}
    with torch.device("meta"):
        network = MindTunerNetwork(
            {"subj01": 15724}, gives, adapted=True, mixer="residual", skips=EVERY, text_width=1280
        )
    own = {name: network.state_dict()[place].numel() for name, place in network.subject_tensors("subj01").items()}
    by_part = {"ridge.": 64_409_600, "backbone.backbone_linear.": 8 * (4096 + 425_984)}
    by_part |= {"backbone.clip_proj.": 3 * 8 * 2 * 1664, "backbone.mixer_blocks1.": 8 * 8 * 2 * 4096}
    by_part |= {f"skips.{k}.": 158_560 for k in range(4)}
    by_part |= {"skips.ridge.": 158_560, "skips.rough.": 8 * (15_724 + 425_984)}
    assert {part: sum(n for name, n in own.items() if name.startswith(part)) for part in by_part} == by_part
    assert by_part["backbone.backbone_linear."] == 3_440_640
    assert sum(own.values()) == sum(by_part.values()) == 72_780_864
    assert n_parameters(network.adaptive_projector) == 1664 * 1280
    # A mixer that works is without the blocks over a sequence of one: 6 weights each.
    shared = n_parameters(network) - sum(own.values()) - 1664 * 1280
    assert shared == 2_227_294_844 - 64_409_600 - 4 * 6


def test_what_is_shared_has_the_names_of_mindeye2():
    base, plain, adapted = made(MindEye2Network), made(), made(adapted=True, skips=EVERY)
    assert list(plain.state_dict()) == list(base.state_dict())
    own = {place for subject in VOXELS for place in adapted.subject_tensors(subject).values()}
    ridge = {name for name in base.state_dict() if name.startswith("ridge.")}
    assert set(adapted.state_dict()) - own == set(base.state_dict()) - ridge and ridge < own
    assert list(adapted.subject_tensors("subj01")) == list(adapted.subject_tensors("subj02"))


# Before training


@pytest.mark.parametrize("mixer", ["residual", "published", "tokens"])
@pytest.mark.parametrize("init", ["b_normal", "peft"])
def test_an_adapted_network_begins_as_the_base_bit_for_bit(mixer, init):
    base = made(MindEye2Network, mixer=mixer).eval()
    adapted = made(adapted=True, skips=EVERY, init=init, mixer=mixer).eval()
    adapted.load_state_dict(adapted.state_dict() | base.state_dict())
    with torch.inference_mode():
        expected, found = base(PATTERNS), adapted(PATTERNS)
    for name, values in expected.items():
        assert torch.equal(found[name], values), name


# Arithmetic


def test_the_residual_network_vs_its_layers_written_out():
    network = moved(made(adapted=True, skips=EVERY, rank=2, alpha=3.0)).eval()
    tensors = {name: one.detach() for name, one in network.state_dict().items()}
    subject, rows = "subj01", PATTERNS["subj01"]

    def linear(x, name, adapted=True):
        weight = tensors[f"{name}.weight"]
        if adapted:
            a, b = (tensors[f"{name}.{factor}.{subject}.weight"] for factor in ("lora_A", "lora_B"))
            weight = weight + 1.5 * b @ a
        return functional.linear(x, weight, tensors[f"{name}.bias"])

    def skip(place):
        a, b = (tensors[f"skips.1.{place}.{factor}.weight"] for factor in ("lora_A", "lora_B"))
        return functional.gelu(1.5 * rows @ a.T @ b.T)

    def norm(x, name):
        return functional.layer_norm(x, x.shape[-1:], tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    x = linear(rows, "ridge.linears.1", adapted=False)
    beside, paths = [x], [skip("ridge")]
    x = x + skip("ridge")
    for k in range(4):
        block = f"backbone.mixer_blocks1.{k}"
        x = x + linear(functional.gelu(linear(norm(x, f"{block}.0"), f"{block}.1.0")), f"{block}.1.3")
        beside, paths = [*beside, x], [*paths, skip(k)]
        x = x + skip(k)
    rough = (linear(x, "backbone.backbone_linear") + skip("rough")).reshape(3, 3, 8)
    retrieval = rough
    for first, second in ((0, 2), (3, 5), (6, 8)):
        retrieval = functional.gelu(norm(retrieval, f"backbone.clip_proj.{first}"))
        retrieval = linear(retrieval, f"backbone.clip_proj.{second}")
    with torch.inference_mode():
        found = network({subject: rows})
    torch.testing.assert_close(found["clip_rough"], rough, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found["clip_retrieval"], retrieval, atol=1e-5, rtol=1e-4)
    # The tokens' path is not compared.
    torch.testing.assert_close(found["beside_skips"], torch.stack(beside, 1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found["skips"], torch.stack(paths, 1), atol=1e-6, rtol=1e-5)


def test_rows_of_a_subject_do_not_depend_on_others_and_their_adapters():
    network = moved(made(adapted=True, skips=EVERY)).eval()
    with torch.inference_mode():
        together, alone = network(PATTERNS), network({"subj01": PATTERNS["subj01"]})
        for place in network.subject_tensors("subj02").values():
            network.state_dict()[place].add_(1.0)
        after = network(PATTERNS)
    for name, values in alone.items():
        torch.testing.assert_close(together[name][:3], values, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(after[name][:3], values, atol=1e-5, rtol=1e-4)
        assert not torch.allclose(after[name][3:], together[name][3:], atol=1e-3), name


# What learns


def gradients(network, after=0):
    """Gradients of the adapters, after some steps of gradient descent over the network's tokens."""
    adapters = {name: one for name, one in network.named_parameters() if "lora" in name}
    optimiser = torch.optim.SGD(adapters.values(), lr=0.1)
    torch.manual_seed(1)
    weights = torch.randn(4, 3, 8), torch.randn(4, 3, 8)
    for _ in range(after + 1):
        network.zero_grad()
        found = network(PATTERNS)
        loss = (found["clip_rough"] * weights[0]).sum() + (found["clip_retrieval"] * weights[1]).sum()
        loss.backward()
        if after:
            optimiser.step()
            after -= 1
    return {name: one.grad for name, one in adapters.items()}


def test_every_adapter_of_a_working_mixer_learns():
    found = gradients(made(adapted=True, skips=EVERY).eval(), after=1)
    assert len(found) == 2 * (2 * (8 + 3 + 1) + 2 * 6)
    assert all(one is not None and one.abs().max() > 0 for one in found.values())


def test_adapters_of_the_published_blocks_learn_nothing():
    """The third-party arrangement, kept as an option: exactly no gradient behind a mixer of one element."""
    found = gradients(moved(made(adapted=True, mixer="published")).eval())
    dead = {name: one for name, one in found.items() if "mixer_blocks1" in name or name.startswith("skips.")}
    assert len(dead) == 2 * (2 * 8 + 2 * 4)
    assert all(one is None or not one.any() for one in dead.values())
    alive = [one for name, one in found.items() if "backbone_linear" in name or "clip_proj" in name]
    assert alive and all(one.abs().max() > 0 for one in alive)
    # What leads past the blocks is alive there, too.
    others = gradients(moved(made(adapted=True, mixer="published", skips=("align", "final"))).eval())
    paths = [one for name, one in others.items() if name.startswith("skips.")]
    assert len(paths) == 2 * 2 * 2 and all(one.abs().max() > 0 for one in paths)


@pytest.mark.parametrize("reaches, learns", [("skips", True), ("both", True), ("neither", False)])
def test_the_penalty_reaches_paths_unless_its_tensors_are_cut_off(reaches, learns):
    network = moved(made(adapted=True))
    loss, _ = SkipCorrelation(reaches=reaches)(network(PATTERNS), {}, 0)
    assert loss.requires_grad == learns and 0 < float(loss.detach()) < 1.5
    if learns:
        loss.backward()
        assert all(one.grad.abs().max() > 0 for one in network.skips.parameters())
        assert (network.ridge.linears[0].weight.grad is not None) == (reaches == "both")


def test_there_is_nothing_to_compare_without_paths():
    for options in ({}, {"adapted": True, "skips": ()}, {"adapted": True, "skips": ("final",)}):
        network = made(**options)
        assert not network.correlates and "skips" not in network(PATTERNS)
    assert made(adapted=True, skips=("align",)).correlates


# From pictures to texts


def test_the_projector_is_the_mean_token_and_one_matrix():
    projector, tokens = AdaptiveProjector(8, 5), torch.randn(4, 3, 8)
    torch.testing.assert_close(projector(tokens), torch.einsum("ntw,wo->no", tokens, projector.weight) / 3)
    assert abs(float(AdaptiveProjector(300, 300).weight.detach().std()) - 1) < 0.02


def test_the_projector_learns_from_true_tokens_or_from_decoded_ones():
    true = torch.randn(4, 3, 8)
    network = made(text_width=5).eval()
    assert network.reads_in_training == ("clip_retrieval",)
    assert torch.equal(network(PATTERNS, true)["projected_text"], network.adaptive_projector(true))
    decoded = network(PATTERNS)
    expected = network.adaptive_projector(decoded["clip_retrieval"])
    assert torch.equal(decoded["projected_text"], expected)
    network = made(text_width=5, text_from="decoded tokens")
    assert network.reads_in_training == ()
    network(PATTERNS)["projected_text"].sum().backward()
    assert network.ridge.linears[0].weight.grad.any()


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"skips": ("blocks", "rough")}, "skips is 'rough'"),
        ({"mixer": "linear"}, "there are no blocks; .*decoder.mixer=residual"),
        ({"text_from": "words", "text_width": 5}, "text_from is 'words'"),
        ({"text_width": 0}, "n_out is 0"),
    ],
)
def test_what_cannot_be_is_refused(changed, said):
    with pytest.raises(InputError, match=said):
        made(adapted=True, **changed)
