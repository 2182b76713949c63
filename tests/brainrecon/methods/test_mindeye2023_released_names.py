"""The published list of names of MindEye's released files, at its full size: every one is read, and none besides.

No released file was read: the list follows from the published description.
"""

import numpy as np
import pytest
import torch
from chains import chain_of
from released_mindeye import METHOD, noise_tables, released_latent, released_tokens
from safetensors.torch import load_file
from torch.nn import functional

from stages.checkpoints.mapped_tensors import create_tensors
from stages.networks.mindeye import MindEyeLatent, MindEyeTokens
from weights import store

BOTH = ("weight", "bias")


def published_shapes_of_tokens(
    n_voxels, width=768, n_tokens=257, hidden=4096, projected=2048, n_heads=12, head=64, depth=6
):
    """Names and shapes of the first file's model_state_dict, from the published description."""
    shapes = {f"voxel2clip.lin0.0.{kind}": (hidden, n_voxels)[: 2 if kind == "weight" else 1] for kind in BOTH}
    shapes |= {f"voxel2clip.lin0.1.{kind}": (hidden,) for kind in BOTH}
    for block in range(4):
        shapes |= {f"voxel2clip.mlp.{block}.0.weight": (hidden, hidden), f"voxel2clip.mlp.{block}.0.bias": (hidden,)}
        shapes |= {f"voxel2clip.mlp.{block}.1.{kind}": (hidden,) for kind in BOTH}
    shapes |= {"voxel2clip.lin1.weight": (n_tokens * width, hidden), "voxel2clip.lin1.bias": (n_tokens * width,)}
    for layer, (outputs, inputs) in {2: (projected, width), 5: (projected, projected), 8: (width, projected)}.items():
        shapes |= {
            f"voxel2clip.projector.{layer}.weight": (outputs, inputs),
            f"voxel2clip.projector.{layer}.bias": (outputs,),
        }
    for layer, size in {0: width, 3: projected, 6: projected}.items():
        shapes |= {f"voxel2clip.projector.{layer}.{kind}": (size,) for kind in BOTH}
    shapes |= {f"net.{name}": (n_tokens, width) for name in ("learned_query", "null_brain_embeds", "null_image_embed")}
    for layer, (outputs, inputs) in {"0.0": (2, 1), "1.0": (2, 2), "2": (1, 2)}.items():
        place = f"net.to_time_embeds.0.1.net.{layer}"
        shapes |= {f"{place}.weight": (outputs * width, inputs * width), f"{place}.bias": (outputs * width,)}
    transformer = "net.causal_transformer"
    shapes[f"{transformer}.rel_pos_bias.relative_attention_bias.weight"] = (32, n_heads)
    for layer in range(depth):
        attention, forward = f"{transformer}.layers.{layer}.0", f"{transformer}.layers.{layer}.1"
        shapes |= {f"{attention}.norm.g": (width,), f"{attention}.null_kv": (2, head)}
        shapes |= {f"{attention}.to_q.weight": (n_heads * head, width), f"{attention}.to_kv.weight": (2 * head, width)}
        shapes |= {f"{attention}.rotary_emb.freqs": (16,)}
        shapes |= {f"{attention}.to_out.0.weight": (width, n_heads * head), f"{attention}.to_out.1.g": (width,)}
        shapes |= {f"{forward}.0.g": (width,), f"{forward}.1.weight": (8 * width, width)}
        shapes |= {f"{forward}.5.weight": (width, 4 * width)}
    shapes |= {f"{transformer}.norm.g": (width,), f"{transformer}.project_out.weight": (width, width)}
    return shapes | {name: (100,) for name in noise_tables()}


@pytest.mark.parametrize(
    "subject, n_voxels", [("subj01", 15724), ("subj02", 14278), ("subj05", 13039), ("subj07", 12682)]
)
def test_every_published_name_and_shape_of_the_tokens_is_read(subject, n_voxels):
    step = chain_of(METHOD).steps[0]
    assert store.entry(f"mindeye2023-{subject}-tokens").n_voxels == n_voxels
    gives = {"clip_rough": (257, 768), "clip_retrieval": (257, 768)}
    with torch.device("meta"):
        network = step.decoder.make(n_voxels, gives, **step.decoder.arguments)
    published = published_shapes_of_tokens(n_voxels)
    # As the file holds them, but for the tables of the noise process, whose values are looked at.
    stored = {name: torch.empty(shape, device="meta") for name, shape in published.items()} | noise_tables()
    read = step._released.tensors(stored)
    assert {name: tuple(value.shape) for name, value in read.items()} == {
        name: tuple(value.shape) for name, value in network.state_dict().items()
    }
    assert read.keys() | noise_tables().keys() == published.keys()
    assert step._released.voxels in read and read[step._released.voxels].shape[-1] == n_voxels
    if subject == "subj01":
        # The 16 frequencies of the rotation are stored with each of six layers, which share them.
        assert sum(value.numel() for value in read.values()) == 947_579_904 + 56_055_184 + 5 * 16


def test_every_published_name_of_the_latent_is_read():
    step = chain_of(METHOD).steps[1]
    with torch.device("meta"):
        network = MindEyeLatent(15724, {"sd_latent": (4, 64, 64)}, **step.decoder.arguments)
    published = released_latent(network)
    assert {name.split(".")[0] for name in published} == {"lin0", "mlp", "lin1", "norm", "upsampler", "maps_projector"}
    attention = {name.split("attentions.0.")[1] for name in published if "attentions" in name}
    assert attention == {
        f"{layer}.{kind}" for layer in ("group_norm", "query", "key", "value", "proj_attn") for kind in BOTH
    }
    assert {name for name in published if name.startswith("maps_projector")} == {
        "maps_projector.0.weight", "maps_projector.3.weight",
        *(f"maps_projector.{layer}.{kind}" for layer in (1, 4, 6) for kind in BOTH),
    }  # fmt: skip
    read = step._released.tensors(published)
    assert {name: value.shape for name, value in read.items()} == {
        name: value.shape for name, value in network.state_dict().items()
    }
    assert sum(value.numel() for value in read.values()) == 206_065_604


def test_the_names_of_a_small_file_follow_the_same_list():
    small = dict(hidden=16, n_blocks=4, projected=24, prior_depth=2, prior_heads=3, prior_head_width=32)
    network = MindEyeTokens(9, {"clip_rough": (5, 12), "clip_retrieval": (5, 12)}, **small)
    sizes = dict(width=12, n_tokens=5, hidden=16, projected=24, n_heads=3, head=32, depth=2)
    assert {name: tuple(value.shape) for name, value in released_tokens(network).items()} == published_shapes_of_tokens(
        9, **sizes
    )


@pytest.mark.slow
def test_a_file_of_the_published_size_gives_what_its_layers_give_written_out(tmp_path):
    """4.0 GB of weights, which stay on the disk: memory holds pages of the file that the system may drop."""
    step, n_voxels = chain_of(METHOD).steps[0], 15724
    shapes = published_shapes_of_tokens(n_voxels)
    layout = {name: (shape, "float32") for name, shape in shapes.items()}
    written = create_tensors(tmp_path / "model.safetensors", layout)
    random, tables = np.random.default_rng(0).standard_normal(1 << 20).astype(np.float32), noise_tables()
    for name in shapes:
        flat = written[name].reshape(-1)
        if name in tables:
            flat[:] = tables[name].numpy()
            continue
        for start in range(0, len(flat), len(random)):
            flat[start : start + len(random)] = 0.02 * random[: len(flat) - start]
        if name.endswith("rotary_emb.freqs"):
            flat[:] = 10_000.0 ** -(np.arange(16) / 16)
    written[name].flush()
    del written, flat

    gives = {"clip_rough": (257, 768), "clip_retrieval": (257, 768)}
    decoder = step.decoder.take(tmp_path, "a name", step._released, n_voxels, gives)
    assert decoder.summary()[0]["parameters"] == 947_579_904 + 56_055_184
    patterns = np.random.default_rng(1).standard_normal((2, n_voxels)).astype(np.float32)
    found = {name: values for name, _, values in decoder.predict_blocks(patterns)}
    assert found["clip_rough"].shape == found["clip_retrieval"].shape == (2, 257 * 768)

    stored = load_file(tmp_path / "model.safetensors")

    def linear(x, name):
        return functional.linear(x, stored[f"{name}.weight"], stored[f"{name}.bias"])

    def layer(x, name):
        x = linear(x, f"{name}.0")
        mean, variance = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
        x = (x - mean) / (variance + 1e-5).sqrt() * stored[f"{name}.1.weight"] + stored[f"{name}.1.bias"]
        return x * 0.5 * (1 + torch.erf(x / 2**0.5))

    x = layer(torch.from_numpy(patterns), "voxel2clip.lin0")
    for block in range(4):
        x = layer(x, f"voxel2clip.mlp.{block}") + x
    x = linear(x, "voxel2clip.lin1").numpy()
    # Sums of 15,724 and 4,096 products in another order.
    np.testing.assert_allclose(found["clip_rough"], x, rtol=1e-3, atol=1e-4 * float(x.std()))
