"""The prior's network over one vector against its description written out in numpy, and laws of its parts."""

import numpy as np
import pytest
import torch
from prior_written_out import transformer
from safetensors.torch import save_file

from stages.ground.errors import InputError
from stages.networks.vector_prior import VectorPrior, begin_from_texts
from weights.manifest import CheckpointError

WIDTH, N_TIMES, N_TEXT = 12, 30, 5


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = VectorPrior(WIDTH, depth=2, n_heads=3, head_width=8, n_times=N_TIMES, n_text=N_TEXT).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(".g"):
                parameter.copy_(1 + 0.3 * torch.randn_like(parameter))
    return network


def given(n=2, seed=1):
    random = torch.Generator().manual_seed(seed)
    noisy, brain = (torch.randn(n, WIDTH, generator=random) for _ in range(2))
    return noisy, torch.tensor([0, 29, 7, 3][:n]), brain


def test_the_network_vs_its_description(network):
    weights = {name: value.double().numpy() for name, value in network.state_dict().items()}
    noisy, times, brain = given()
    with torch.inference_mode():
        found = network(noisy, times, brain).numpy()
    for row, time in enumerate(times.tolist()):
        rows = [
            weights["null_text_encodings"][0],
            brain[row].double().numpy(),
            weights["to_time_embeds.0.weight"][time],
        ]
        tokens = np.vstack([*rows, noisy[row].double().numpy(), weights["learned_query"]])
        expected = transformer(tokens, weights, "causal_transformer", causal=True)[-1]
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(found[row], expected, atol=1e-5 * np.abs(expected).max())


def test_parameters_bear_the_published_names_and_fill_the_published_file():
    with torch.device("meta"):
        network = VectorPrior()
    names = network.state_dict().keys()
    learned = {"null_text_encodings", "null_text_embeds", "null_image_embed"}
    layers = ("norm.g", "null_kv", "to_q.weight", "to_kv.weight", "rotary_emb.freqs", "to_out.0.weight", "to_out.1.g")
    expected = learned | {"learned_query", "to_time_embeds.0.weight"}
    expected |= {"causal_transformer.rel_pos_bias.relative_attention_bias.weight"}
    expected |= {f"causal_transformer.layers.{layer}.0.{name}" for layer in range(12) for name in layers}
    inside = ("0.g", "1.weight", "3.g", "5.weight")
    expected |= {f"causal_transformer.layers.{layer}.1.{name}" for layer in range(12) for name in inside}
    expected |= {"causal_transformer.norm.g", "causal_transformer.project_out.weight"}
    assert names == expected
    assert network.null_text_encodings.shape == (1, 256, 768) and network.null_image_embed.shape == (1, 768)
    # The file that training begins from has none of those that are learned for nothing, and CLIP ViT-L/14 beside the prior:
    # 389,207,040 values in float16, 38,409,473 in float32.
    own = sum(value.numel() for name, value in network.named_parameters() if name not in learned)
    assert own == 101_695_888
    assert round((4 * own + 2 * 389_207_040 + 4 * 38_409_473) / 1e9, 2) == 1.34


def test_one_alone_as_with_others(network):
    noisy, times, brain = given(4)
    with torch.inference_mode():
        together = network(noisy, times, brain)
        alone = [network(noisy[row, None], times[row, None], brain[row, None]) for row in range(4)]
    torch.testing.assert_close(torch.cat(alone), together, atol=1e-5, rtol=1e-5)


def test_what_is_left_out_is_replaced_by_learned_vectors(network):
    noisy, times, brain = given()
    first = torch.tensor([True, False])
    with torch.inference_mode():
        expected_brain = torch.stack([network.null_text_embeds[0, 0], brain[1]])
        expected_noisy = torch.stack([noisy[0], network.null_image_embed[0]])
        torch.testing.assert_close(
            network(noisy, times, brain, without_brain=first, without_image=~first),
            network(expected_noisy, times, expected_brain),
        )


def test_a_token_sees_none_that_comes_after_it(network):
    tokens = torch.randn(1, 6, WIDTH, generator=torch.Generator().manual_seed(2))
    other = tokens.clone()
    other[:, 4:] = other[:, 4:].flip(-1)
    with torch.inference_mode():
        before, after = network.causal_transformer(tokens), network.causal_transformer(other)
    torch.testing.assert_close(before[:, :4], after[:, :4], atol=1e-6, rtol=1e-6)
    assert ((before - after)[:, 4:].abs().amax(dim=-1) > 1e-3).all()


def test_half_precision(network):
    noisy, times, brain = given()
    with torch.inference_mode():
        whole = network(noisy, times, brain)
        half = network.bfloat16()(noisy.bfloat16(), times, brain.bfloat16())
    assert half.dtype == torch.bfloat16 and (half.float() - whole).abs().max() < 0.2 * whole.std()


@pytest.mark.parametrize("name, value", [("width", 0), ("n_times", 0), ("n_text", -1), ("head_width", 7)])
def test_sizes_that_cannot_be_are_refused(name, value):
    with pytest.raises(InputError, match=f"{name} is {value}"):
        VectorPrior(**{name: value})


# Weights to begin from


def stored(network, *left_out, **others):
    """As the published file has them: those of a whole prior, CLIP among them."""
    tensors = {f"net.{name}": value for name, value in network.state_dict().items() if name not in left_out}
    # Rotations are one for all layers, and safetensors stores no tensor twice.
    return {name: value.clone() for name, value in tensors.items()} | {"clip.clip.logit_scale": torch.ones(1)} | others


LEARNED_FOR_NOTHING = ("null_text_encodings", "null_text_embeds", "null_image_embed")


@pytest.mark.parametrize("left_out", [(), LEARNED_FOR_NOTHING])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_it_begins_from_published_weights(network, tmp_path, left_out, suffix):
    tensors = stored(network, *left_out)
    save = save_file if suffix == ".safetensors" else torch.save
    save(tensors, tmp_path / f"prior{suffix}")
    torch.manual_seed(9)
    other = VectorPrior(WIDTH, depth=2, n_heads=3, head_width=8, n_times=N_TIMES, n_text=N_TEXT)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    begin_from_texts(other, tmp_path)
    for name, value in other.state_dict().items():
        assert torch.equal(value, before[name] if name in left_out else network.state_dict()[name]), name


@pytest.mark.parametrize(
    "left_out, others, said",
    [
        (("learned_query",), {}, "missing: learned_query"),
        ((), {"net.more": torch.zeros(1)}, "unexpected: more"),
        ((), {"net.learned_query": torch.zeros(3)}, r"misshapen: learned_query \(3,\) instead of \(12,\)"),
    ],
)
def test_weights_of_another_network_are_refused(network, tmp_path, left_out, others, said):
    save_file(stored(network, *left_out, **others), tmp_path / "prior.safetensors")
    with pytest.raises(CheckpointError, match=said):
        begin_from_texts(network, tmp_path)
