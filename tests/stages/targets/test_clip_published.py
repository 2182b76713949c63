"""Targets of published CLIP models: what they are by formula, the activation, and the published sizes."""

import json
import resource
import time

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from stages.checkpoints.open_clip_folder import write_config
from stages.ground.errors import InputError
from stages.targets.clip import CLIPClassToken, CLIPImageTokens, CLIPImageVector, CLIPPatchTokens, CLIPTextTokens
from weights.manifest import read_manifest
from weights.store import CheckpointError

SMALL = {
    "embed_dim": 12,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "layers": 3, "width": 16, "head_width": 8},
    # open_clip's own tokenizer, as all published models of the family have it.
    "text_cfg": {"context_length": 11, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
END = 49407
CAPTIONS = ["a red ball", "trees", "two dogs on a sofa"]
MEAN, STD = (np.array(values) for values in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD))


def write_folder(folder, config, dtype=torch.float32):
    """Write a random model as open_clip lays it out; its tensors."""
    folder.mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.CustomTextCLIP(**config)
        for module in model.modules():
            if isinstance(module, torch.nn.LayerNorm):
                # As they are made, layer norms are identities up to scale and would hide a forgotten one.
                torch.nn.init.normal_(module.weight, 1, 0.3)
                torch.nn.init.normal_(module.bias, 0, 0.3)
    state = {key: value.to(dtype).contiguous() for key, value in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    return {key: value.float() for key, value in state.items()}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip") / "small"
    return folder, write_folder(folder, SMALL)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


def prepared(images):
    return torch.from_numpy(((images / 255 - MEAN) / STD).transpose(0, 3, 1, 2).astype(np.float32))


def transformer(state, prefix, x, heads, gelu, causal=False):
    """The blocks of a tower, written out over its tensors."""
    n, tokens, width = x.shape
    blocks = {int(key.removeprefix(prefix).split(".")[0]) for key in state if key.startswith(prefix)}
    for number in range(max(blocks) + 1):
        block = {
            k.removeprefix(f"{prefix}{number}."): v for k, v in state.items() if k.startswith(f"{prefix}{number}.")
        }
        h = norm(block, "ln_1", x) @ block["attn.in_proj_weight"].T + block["attn.in_proj_bias"]
        q, k, v = (part.reshape(n, tokens, heads, -1).transpose(1, 2) for part in h.chunk(3, -1))
        scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
        if causal:
            scores = scores + torch.full((tokens, tokens), float("-inf")).triu(1)
        h = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, tokens, width)
        x = x + h @ block["attn.out_proj.weight"].T + block["attn.out_proj.bias"]
        h = gelu(norm(block, "ln_2", x) @ block["mlp.c_fc.weight"].T + block["mlp.c_fc.bias"])
        x = x + h @ block["mlp.c_proj.weight"].T + block["mlp.c_proj.bias"]
    return x


def norm(state, name, x):
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])


def quick_gelu(x):
    return x * torch.sigmoid(1.702 * x)


def image_formula(state, images, heads, gelu=quick_gelu):
    """Tokens of the image tower after its last block, the class token first."""
    weight = state["visual.conv1.weight"]
    x = F.conv2d(prepared(images), weight, stride=weight.shape[-1]).flatten(2).transpose(1, 2)
    x = torch.cat([state["visual.class_embedding"].expand(len(x), 1, -1), x], 1) + state["visual.positional_embedding"]
    return transformer(state, "visual.transformer.resblocks.", norm(state, "visual.ln_pre", x), heads, gelu)


def text_formula(state, ids, heads, gelu=quick_gelu):
    """Projected tokens divided by the norm of the first end token's."""
    x = state["text.token_embedding.weight"][ids] + state["text.positional_embedding"]
    x = transformer(state, "text.transformer.resblocks.", x, heads, gelu, causal=True)
    x = norm(state, "text.ln_final", x) @ state["text.text_projection"]
    end = x[torch.arange(len(ids)), (ids == END).int().argmax(1)]
    return x / end.norm(dim=-1)[:, None, None]


def numbers(captions, length, padding=0):
    ids = open_clip.SimpleTokenizer(context_length=length)(captions)
    after = torch.arange(length) > ids.argmax(1, keepdim=True)
    return torch.where(after, padding, ids)


# --- the vector and the patches


def test_the_vector_is_the_class_token_after_the_layer_norm_times_the_projection(written, images):
    folder, state = written
    first = image_formula(state, images, heads=2)[:, 0]
    expected = (norm(state, "visual.ln_post", first) @ state["visual.proj"]).numpy()
    target = CLIPImageVector.from_pretrained(folder)
    values = target.encode(images)
    assert (target.name, target.takes, target.shape, target.n_targets) == ("clip_image", "images", (12,), 12)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, expected, atol=2e-5)
    assert np.abs(np.linalg.norm(values, axis=1) - 1).min() > 1e-2
    unit = CLIPImageVector.from_pretrained(folder, normalise=True)
    np.testing.assert_allclose(unit.encode(images), expected / np.linalg.norm(expected, axis=1)[:, None], atol=2e-5)
    assert unit.preprocessing != target.preprocessing
    assert json.loads(json.dumps(target.preprocessing)) == target.preprocessing


def test_the_class_token_is_that_of_the_last_block(written, images):
    folder, state = written
    target = CLIPClassToken.from_pretrained(folder)
    expected = image_formula(state, images, heads=2)[:, 0]
    assert (target.takes, target.shape) == ("images", tuple(expected.shape[1:]))
    np.testing.assert_allclose(target.encode(images), expected.numpy(), atol=2e-5)


def test_the_vector_is_what_open_clip_encodes(written, images):
    folder, state = written
    plain = open_clip.CustomTextCLIP(**SMALL).eval()
    plain.load_state_dict(state)
    with torch.no_grad():
        expected = plain.encode_image(prepared(images)).numpy()
    np.testing.assert_allclose(CLIPImageVector.from_pretrained(folder).encode(images), expected, atol=2e-5)
    batched = CLIPImageVector.from_pretrained(folder).encode(images, batch_size=2)
    np.testing.assert_allclose(batched, expected, atol=2e-5)


def test_patch_tokens_vs_the_formula_before_and_after_the_last_layer_norm(written, images):
    folder, state = written
    raw = image_formula(state, images, heads=2)[:, 1:]
    for layer_norm, expected in ((True, norm(state, "visual.ln_post", raw)), (False, raw)):
        target = CLIPPatchTokens.from_pretrained(folder, layer_norm=layer_norm)
        assert target.shape == (16, 16) and target.n_targets == 256
        np.testing.assert_allclose(target.encode(images).reshape(5, 16, 16), expected.numpy(), atol=3e-5)
    assert CLIPPatchTokens.from_pretrained(folder).preprocessing != target.preprocessing


def test_patch_tokens_are_open_clips_output_tokens(written, images):
    folder, state = written
    plain = open_clip.CustomTextCLIP(**SMALL).eval()
    plain.load_state_dict(state)
    plain.visual.output_tokens = True
    with torch.no_grad():
        expected = plain.visual(prepared(images))[1].flatten(1).numpy()
    np.testing.assert_allclose(CLIPPatchTokens.from_pretrained(folder).encode(images), expected, atol=2e-5)


# --- padding of captions


def test_text_tokens_vs_the_formula_under_both_paddings(written):
    folder, state = written
    for padding, number in (("zero", 0), ("end", END)):
        values = CLIPTextTokens.from_pretrained(folder, padding=padding).encode([[caption] for caption in CAPTIONS])
        expected = text_formula(state, numbers(CAPTIONS, 11, number), heads=2)
        np.testing.assert_allclose(values.reshape(3, 11, 12), expected.numpy(), atol=3e-5)


def test_paddings_agree_up_to_the_end_token_and_not_behind_it(written):
    folder, _ = written
    zero, end = (
        CLIPTextTokens.from_pretrained(folder, padding=padding).encode([["a red ball"]]).reshape(11, 12)
        for padding in ("zero", "end")
    )
    np.testing.assert_allclose(zero[:5], end[:5], atol=1e-5)
    assert np.abs(zero[5:] - end[5:]).max() > 0.1


def test_end_padding_is_what_transformers_computes(written):
    """The published text encoder of Versatile Diffusion is transformers' class under its own tokenizer's padding."""
    folder, state = written
    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=16, intermediate_size=64, projection_dim=12, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=11, hidden_act="quick_gelu", bos_token_id=END - 1,
        eos_token_id=END,
    )  # fmt: skip
    theirs = CLIPTextModelWithProjection(config).eval()
    names = {
        "embeddings.token_embedding.weight": state["text.token_embedding.weight"],
        "embeddings.position_embedding.weight": state["text.positional_embedding"],
        "text_projection.weight": state["text.text_projection"].T,
    }
    for kind in ("weight", "bias"):
        names[f"final_layer_norm.{kind}"] = state[f"text.ln_final.{kind}"]
        for layer in range(2):
            ours, own = f"text.transformer.resblocks.{layer}.", f"encoder.layers.{layer}."
            parts = state[f"{ours}attn.in_proj_{kind}"].chunk(3)
            names |= {f"{own}self_attn.{part}_proj.{kind}": value for part, value in zip("qkv", parts)}
            for theirs_name, name in (
                ("self_attn.out_proj", "attn.out_proj"), ("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"),
                ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"),
            ):  # fmt: skip
                names[f"{own}{theirs_name}.{kind}"] = state[f"{ours}{name}.{kind}"]
    keys = {key.removeprefix("text_model."): key for key in theirs.state_dict()}
    theirs.load_state_dict({keys[name]: value for name, value in names.items()})
    with torch.no_grad():
        found = theirs(numbers(CAPTIONS, 11, END))
        expected = theirs.text_projection(found.last_hidden_state) / found.text_embeds.norm(dim=-1)[:, None, None]
    values = CLIPTextTokens.from_pretrained(folder, padding="end").encode([[caption] for caption in CAPTIONS])
    np.testing.assert_allclose(values.reshape(3, 11, 12), expected.numpy(), atol=3e-5)


def test_another_padding_is_refused(written):
    with pytest.raises(InputError, match="'left'.*'end'"):
        CLIPTextTokens.from_pretrained(written[0], padding="left")


# --- the activation


def test_the_configuration_decides_about_the_activation(tmp_path, images):
    vectors = {}
    for name, quick in (("quick", {"quick_gelu": True}), ("plain", {"quick_gelu": False}), ("silent", {})):
        config = {key: value for key, value in SMALL.items() if key != "quick_gelu"} | quick
        state = write_folder(tmp_path / name, config)
        vectors[name] = CLIPImageVector.from_pretrained(tmp_path / name).encode(images)
        gelu = quick_gelu if name == "quick" else F.gelu
        first = image_formula(state, images, 2, gelu)[:, 0]
        expected = norm(state, "visual.ln_post", first) @ state["visual.proj"]
        np.testing.assert_allclose(vectors[name], expected.numpy(), atol=2e-5)
    np.testing.assert_array_equal(vectors["plain"], vectors["silent"])
    assert np.abs(vectors["quick"] - vectors["plain"]).max() > 1e-3


@pytest.mark.parametrize("quick", [{"quick_gelu": False}, {}])
def test_openais_weights_without_openais_activation_are_refused(tmp_path, images, quick, save_archive):
    config = {key: value for key, value in SMALL.items() if key != "quick_gelu"} | quick
    state = write_folder(tmp_path / "model", config)
    path = tmp_path / "model" / "open_clip_config.json"
    path.write_text(json.dumps({"model_cfg": config, "pretrained": "openai"}))
    with pytest.raises(CheckpointError, match="quick_gelu to true"):
        CLIPImageVector.from_pretrained(tmp_path / "model")
    path.write_text(json.dumps({"model_cfg": config}))
    CLIPImageVector.from_pretrained(tmp_path / "model")
    save_archive(state, tmp_path / "model" / "ViT-L-14.pt")
    with pytest.raises(CheckpointError, match="ViT-L-14.pt.*quick_gelu to true"):
        CLIPImageVector.from_pretrained(tmp_path / "model")
    path.write_text(json.dumps({"model_cfg": config | {"quick_gelu": True}, "pretrained": "openai"}))
    assert np.isfinite(CLIPImageVector.from_pretrained(tmp_path / "model").encode(images)).all()


def test_the_published_configuration_sets_openais_activation():
    assert open_clip.get_model_config("ViT-L-14-quickgelu")["quick_gelu"] is True
    assert "quick_gelu" not in open_clip.get_model_config("ViT-L-14")
    ours = read_manifest()["clip-vit-l-14-quickgelu"].writes["open_clip_config.json"]
    assert ours["model_cfg"] == open_clip.get_model_config("ViT-L-14-quickgelu")
    assert ours["preprocess_cfg"]["mean"] == list(open_clip.OPENAI_DATASET_MEAN)


def test_a_configuration_is_written_by_name(tmp_path):
    write_config(tmp_path, "ViT-L-14-quickgelu")
    written = json.loads((tmp_path / "open_clip_config.json").read_text())
    assert written["model_cfg"] == open_clip.get_model_config("ViT-L-14-quickgelu")
    assert written["preprocess_cfg"]["std"] == pytest.approx(STD)
    with pytest.raises(InputError, match="exists"):
        write_config(tmp_path, "ViT-H-14")
    with pytest.raises(InputError, match="no model 'ViT-H-41'.*ViT-H-14"):
        write_config(tmp_path / "other", "ViT-H-41")
    with pytest.raises(CheckpointError, match="safetensors"):  # the weights are not there
        CLIPImageVector.from_pretrained(tmp_path)


# --- the published sizes


@pytest.mark.parametrize(
    "name, width, embed_dim, text_width, parameters",
    [
        ("ViT-L-14-quickgelu", 1024, 768, 768, 427_616_513),
        ("ViT-H-14", 1280, 1024, 1024, 986_109_441),
        ("ViT-bigG-14", 1664, 1280, 1280, 2_539_567_105),
    ],
)
def test_published_sizes(name, width, embed_dim, text_width, parameters):
    """Shapes of all targets, and the tensors that they need, without holding them."""
    with torch.device("meta"):
        model = open_clip.CustomTextCLIP(**open_clip.get_model_config(name))
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert shapes["visual.conv1.weight"] == (width, 3, 14, 14)
    assert shapes["visual.positional_embedding"] == (257, width)
    assert shapes["visual.proj"] == (width, embed_dim)
    assert shapes["text.positional_embedding"] == (77, text_width)
    assert shapes["text.token_embedding.weight"] == (49408, text_width)
    assert shapes["text.text_projection"] == (text_width, embed_dim)
    assert CLIPImageTokens(model, None, None).shape == (257, embed_dim)
    assert CLIPTextTokens(model, None, None).shape == (77, embed_dim)
    assert CLIPPatchTokens(model, None, None).shape == (256, width)
    assert CLIPImageVector(model, None, None).shape == (embed_dim,)


@pytest.mark.slow
def test_vit_l_14_quickgelu_at_full_size(tmp_path, capsys):
    config = open_clip.get_model_config("ViT-L-14-quickgelu")
    state = write_folder(tmp_path / "model", config, torch.float16)
    images = np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    with torch.no_grad():
        raw = image_formula(state, images, heads=16)
        expected = norm(state, "visual.ln_post", raw) @ state["visual.proj"]
        image = expected / expected[:, :1].norm(dim=-1, keepdim=True)
        text = text_formula(state, numbers(CAPTIONS, 77, END), heads=12)
    del state
    before = time.perf_counter()
    target = CLIPImageTokens.from_pretrained(tmp_path / "model")
    loaded = time.perf_counter()
    np.testing.assert_allclose(target.encode(images).reshape(2, 257, 768), image.numpy(), atol=1e-4)
    encoded = time.perf_counter()
    vector = CLIPImageVector(target.model, target._preprocess, target._tokenizer).encode(images)
    np.testing.assert_allclose(vector, expected[:, 0].numpy(), rtol=1e-3, atol=1e-3)
    texts = CLIPTextTokens(target.model, target._preprocess, target._tokenizer, padding="end")
    found = texts.encode([[caption] for caption in CAPTIONS])
    np.testing.assert_allclose(found.reshape(3, 77, 768), text.numpy(), atol=1e-4)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    with capsys.disabled():
        print(
            f"\nload {loaded - before:.1f} s, two pictures {encoded - loaded:.1f} s, peak of the process {peak:.1f} GB"
        )
