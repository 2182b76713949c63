"""The resampler of an IP-Adapter-Plus: the published layout, and files that do not have it."""

import pytest
import torch
from diffusers.models.embeddings import IPAdapterPlusImageProjection
from random_checkpoints import adapter_plus_state, adapter_state, save_open_clip
from safetensors.torch import save_file

from stages.checkpoints.open_clip_folder import load_image_tower
from stages.checkpoints.outlines import outlines
from stages.ground.errors import InputError
from stages.networks.ip_resampler import hidden_states, load_resampler, resampler_sizes, resampler_tensors
from weights.store import CheckpointError


def test_the_published_layout():
    """Of ip-adapter-plus_sd15: 16 queries of 768, four blocks of 12 heads, 1280 values in, 768 out."""
    tensors = resampler_tensors()
    with torch.device("meta"):
        own = IPAdapterPlusImageProjection(1280, 768, 768, depth=4, dim_head=64, heads=12, num_queries=16)
    # 4 * (4 * 768**2 + 8 * 768**2 + 6 * 768) of the blocks, and the layers before and behind them.
    assert (
        sum(each.numel() for each in tensors.values()) == 29_918_208 == sum(each.numel() for each in own.parameters())
    )
    both = ("weight", "bias")
    names = {"latents", *(f"{layer}.{kind}" for layer in ("proj_in", "proj_out", "norm_out") for kind in both)}
    for place in range(4):
        names |= {f"layers.{place}.{layer}.{kind}" for layer in ("0.norm1", "0.norm2", "1.0") for kind in both}
        names |= {f"layers.{place}.{layer}.weight" for layer in ("0.to_q", "0.to_kv", "0.to_out", "1.1", "1.3")}
    assert set(tensors) == names
    assert tuple(tensors["layers.3.0.to_kv.weight"].shape) == (1536, 768)
    assert resampler_sizes({f"image_proj.{name}": each for name, each in tensors.items()}, "here") == (
        16,
        768,
        768,
        1280,
        12,
    )


def test_the_published_file_in_outline(tmp_path):
    """Every name of the published layout finds its place in diffusers' class, at full size."""
    state = {
        f"image_proj.{name}": torch.empty(each.shape, dtype=torch.float16) for name, each in resampler_tensors().items()
    }
    save_file(state | {"ip_adapter.1.to_k_ip.weight": torch.zeros(1)}, tmp_path / "ip-adapter-plus_sd15.safetensors")
    with outlines():
        found = load_resampler(tmp_path)
    assert sum(each.numel() for each in found.parameters()) == 29_918_208
    assert (found.latents.shape, found.layers[0].attn.heads) == ((1, 16, 768), 12)


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda state: state.pop("image_proj.layers.2.0.norm2.weight"), "missing: layers.2.0.norm2.weight"),
        (lambda state: state.update({"image_proj.layers.0.0.to_q.weight": torch.zeros(65, 8)}), "no IP-Adapter-Plus"),
        (lambda state: state.update({"image_proj.latents": torch.zeros(3, 8)}), "no IP-Adapter-Plus"),
        (lambda state: state.update({"image_proj.more": torch.zeros(3)}), "unexpected: more"),
    ],
)
def test_files_of_another_layout_are_refused(tmp_path, change, said):
    state = adapter_plus_state()
    change(state)
    save_file(state, tmp_path / "adapter.safetensors")
    with pytest.raises(CheckpointError, match=said):
        load_resampler(tmp_path)


def test_a_pooled_adapter_is_refused(tmp_path):
    save_file(adapter_state(), tmp_path / "adapter.safetensors")
    with pytest.raises(CheckpointError, match="expected one such as ip-adapter-plus_sd15, not one that reads a pooled"):
        load_resampler(tmp_path)


def test_a_tower_of_one_block_is_refused(tmp_path):
    visual, _ = load_image_tower(save_open_clip(tmp_path / "clip", layers=1))
    with pytest.raises(InputError, match="has 1 block but .* expected 2 blocks or more"):
        hidden_states(visual, torch.zeros(1, 3, 8, 8))
