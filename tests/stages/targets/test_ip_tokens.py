"""Image tokens as targets: the states before CLIP's last block, by hand, and through the resampler as it was published."""

import numpy as np
import pytest
import torch
from random_checkpoints import adapter_plus_state, save_adapter_plus, save_open_clip
from safetensors.torch import save_file
from torch.nn import functional

from stages.checkpoints.outlines import outlines
from stages.networks.ip_resampler import hidden_states
from stages.targets.ip_tokens import IPTokens


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("target")
    return save_open_clip(root / "clip", layers=3), save_adapter_plus(root / "adapter")


@pytest.fixture(scope="module")
def target(folders):
    clip, adapter = folders
    return IPTokens.from_pretrained(clip, adapter=adapter)


def pictures(n=3):
    return np.random.default_rng(0).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)


def test_states_are_those_between_the_last_two_blocks(target):
    caught, visual = [], target.model.visual
    hook = visual.transformer.resblocks[1].register_forward_hook(lambda module, given, states: caught.append(states))
    with torch.no_grad():
        visual(target._prepared(pictures()))
        hook.remove()
        found = hidden_states(visual, target._prepared(pictures()))
    states = caught[0] if visual.transformer.batch_first else caught[0].transpose(0, 1)
    assert found.shape == (3, 5, 16)
    torch.testing.assert_close(found, states)


def norm(x, state, name):
    return functional.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])


def written_out(states, state, n_heads):
    """The published resampler (Ye and others, 2023) by its own names; queries and keys are each scaled by half of the root."""
    state = {name.removeprefix("image_proj."): value for name, value in state.items()}
    x = functional.linear(states, state["proj_in.weight"], state["proj_in.bias"])
    latents = state["latents"].expand(len(states), -1, -1)
    for place in range(4):
        first, second = f"layers.{place}.0", f"layers.{place}.1"
        seen, asking = norm(x, state, f"{first}.norm1"), norm(latents, state, f"{first}.norm2")
        q = asking @ state[f"{first}.to_q.weight"].T
        k, v = (torch.cat([seen, asking], dim=1) @ state[f"{first}.to_kv.weight"].T).chunk(2, dim=-1)
        q, k, v = (each.unflatten(-1, (n_heads, -1)).transpose(1, 2) for each in (q, k, v))
        shares = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        latents = latents + (shares @ v).transpose(1, 2).flatten(2) @ state[f"{first}.to_out.weight"].T
        wide = functional.gelu(norm(latents, state, f"{second}.0") @ state[f"{second}.1.weight"].T)
        latents = latents + wide @ state[f"{second}.3.weight"].T
    return norm(functional.linear(latents, state["proj_out.weight"], state["proj_out.bias"]), state, "norm_out")


def test_tokens_vs_the_resampler_written_out(target):
    with torch.no_grad():
        expected = written_out(
            hidden_states(target.model.visual, target._prepared(pictures())), adapter_plus_state(), 2
        )
    found = target.encode(pictures())
    assert target.shape == (3, 16) and found.shape == (3, 48)
    np.testing.assert_allclose(found.reshape(3, 3, 16), expected.numpy(), atol=1e-5)


def test_a_pickle_of_tensors_gives_the_same(folders, target, tmp_path):
    groups = {"image_proj": {}, "ip_adapter": {}}
    for name, value in adapter_plus_state().items():
        part, rest = name.split(".", 1)
        groups[part][rest] = value
    torch.save(groups, tmp_path / "ip-adapter-plus_sd15.bin")
    again = IPTokens.from_pretrained(folders[0], adapter=tmp_path / "ip-adapter-plus_sd15.bin")
    assert np.array_equal(again.encode(pictures()), target.encode(pictures()))


def test_half_precision_is_computed_in_float32(folders, tmp_path):
    save_file({name: value.half() for name, value in adapter_plus_state().items()}, tmp_path / "half.safetensors")
    target = IPTokens.from_pretrained(folders[0], adapter=tmp_path / "half.safetensors")
    assert {each.dtype for each in target.resampler.parameters()} == {torch.float32}


def test_an_outline_has_shapes_and_no_values(folders, target):
    clip, adapter = folders
    with outlines():
        outline = IPTokens.from_pretrained(clip, "meta", adapter=adapter)
    assert (outline.shape, outline.preprocessing) == (target.shape, target.preprocessing)
    assert {each.device.type for each in outline.resampler.parameters()} == {"meta"}
