"""The CLIP targets against the published formula and open_clip's own embeddings, on a random tiny model."""

import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from stages.ground.errors import InputError
from stages.targets.clip import CLIPImageEmbedding, CLIPImageTokens, CLIPTextTokens, CLIPTextVector, choose_captions
from weights.store import CheckpointError

WORDS = ("<pad>", "<start>", "<unknown>", "a", "red", "green", "ball", "tree", "on", "the", "left", "<end>")
END = len(WORDS) - 1
CONFIG = {
    "model_cfg": {
        "embed_dim": 12,
        "vision_cfg": {"image_size": 32, "patch_size": 8, "layers": 2, "width": 16, "head_width": 8},
        "text_cfg": {
            "context_length": 9,
            "vocab_size": len(WORDS),
            "width": 16,
            "heads": 2,
            "layers": 2,
            "hf_tokenizer_name": "tokenizer.json",
        },
    },
    "preprocess_cfg": {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]},
}
CAPTIONS = [["a red ball", "", "the ball on the left"], ["a green tree"], ["a tree on the left", " ", "tree"]]


def write_model(folder, config=CONFIG):
    """Write a random open_clip folder, and return the plain model that open_clip itself makes of it."""
    folder.mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sections = dict(config["model_cfg"])
        text = {key: value for key, value in sections["text_cfg"].items() if key != "hf_tokenizer_name"}
        model = open_clip.CLIP(
            sections["embed_dim"], open_clip.CLIPVisionCfg(**sections["vision_cfg"]), open_clip.CLIPTextCfg(**text)
        )
        for norm in (model.visual.ln_post, model.ln_final):
            # As they are made, layer norms are identities up to scale and would hide a forgotten one.
            torch.nn.init.normal_(norm.weight, 1, 0.3)
            torch.nn.init.normal_(norm.bias, 0, 0.3)
    save_file(
        {key: value.half().contiguous() for key, value in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", END)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "pad_token": "<pad>",
                "unk_token": "<unknown>",
                "bos_token": "<start>",
                "eos_token": "<end>",
            }
        )
    )
    written = load_file(folder / "open_clip_model.safetensors")
    model.load_state_dict({key: value.float() for key, value in written.items()})
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip") / "model"
    write_model(folder)
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("clip") / "plain")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


def normalised(images):
    mean, std = np.array(CONFIG["preprocess_cfg"]["mean"]), np.array(CONFIG["preprocess_cfg"]["std"])
    return torch.from_numpy(((images / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32))


def numbers(captions):
    rows = np.zeros((len(captions), 9), dtype=np.int64)
    for row, caption in zip(rows, captions):
        ids = [1, *(WORDS.index(word) for word in caption.split()), END]
        row[: len(ids)] = ids
    return torch.from_numpy(rows)


def tokens_by_hand(model, ids):
    x = model.token_embedding(ids) + model.positional_embedding
    causal = torch.full((9, 9), float("-inf")).triu(1)
    for block in model.transformer.resblocks:
        h = block.ln_1(x)
        x = x + block.attn(h, h, h, attn_mask=causal)[0]
        x = x + block.mlp(block.ln_2(x))
    return model.ln_final(x) @ model.text_projection


def image_tokens_by_hand(plain, images):
    x = plain.visual.conv1(normalised(images)).flatten(2).transpose(1, 2)
    first = plain.visual.class_embedding.expand(len(x), 1, -1)
    x = plain.visual.ln_pre(torch.cat([first, x], 1) + plain.visual.positional_embedding)
    for block in plain.visual.transformer.resblocks:
        h = block.ln_1(x)
        x = x + block.attn(h, h, h)[0]
        x = x + block.mlp(block.ln_2(x))
    tokens = plain.visual.ln_post(x) @ plain.visual.proj
    return (tokens / tokens[:, :1].norm(dim=-1, keepdim=True)).numpy()


def test_image_tokens_vs_the_formula(folder, plain, images):
    target = CLIPImageTokens.from_pretrained(folder)
    values = target.encode(images)
    assert target.shape == (17, 12) and target.n_targets == 204 and values.dtype == np.float32
    np.testing.assert_allclose(values.reshape(5, 17, 12), image_tokens_by_hand(plain, images), atol=2e-5)


def test_image_tokens_by_the_published_route_vs_the_formula(folder, plain):
    """425 pixels to 512 (bilinear), to −1..1 and back, cut off to 8 bit, to CLIP's size (bicubic), CLIP's normalisation."""
    random = np.random.default_rng(1)
    coarse = random.integers(0, 120, (3, 12, 12, 3), dtype=np.uint8)
    images = np.stack([np.asarray(Image.fromarray(one).resize((425, 425))) for one in coarse])
    prepared = []
    for image in images:
        large = np.asarray(Image.fromarray(image).resize((512, 512), Image.Resampling.BILINEAR))
        there = torch.from_numpy(large.copy()).float() / 255 * 2 - 1
        back = (((there + 1) / 2).numpy() * 255).astype(np.uint8)
        assert (back != large).mean() > 0.1
        prepared.append(np.asarray(Image.fromarray(back).resize((32, 32), Image.Resampling.BICUBIC)))
    target = CLIPImageTokens.from_pretrained(folder, pictures="enlarged")
    values = target.encode(images).reshape(3, 17, 12)
    np.testing.assert_allclose(values, image_tokens_by_hand(plain, np.stack(prepared)), atol=2e-5)
    direct = CLIPImageTokens.from_pretrained(folder)
    assert np.abs(values - direct.encode(images).reshape(3, 17, 12)).max() > 1e-3
    # Of other targets in a feature store; those that were stored before keep their key.
    assert target.preprocessing != direct.preprocessing and "before" not in direct.preprocessing
    with pytest.raises(InputError, match="pictures is 'smaller'; expected one of 'direct', 'enlarged'"):
        CLIPImageTokens.from_pretrained(folder, pictures="smaller")


def test_class_token_vs_open_clip(folder, plain, images):
    expected = plain.encode_image(normalised(images), normalize=True).numpy()
    values = CLIPImageTokens.from_pretrained(folder).encode(images).reshape(5, 17, 12)
    np.testing.assert_allclose(values[:, 0], expected, atol=1e-5)
    np.testing.assert_allclose(CLIPImageEmbedding.from_pretrained(folder).embed(images), expected, atol=1e-5)


def test_text_tokens_vs_the_formula_averaged_over_captions(folder, plain):
    expected = []
    for captions in CAPTIONS:
        ids = numbers([caption for caption in captions if caption.strip()])
        tokens = tokens_by_hand(plain, ids)
        end = tokens[torch.arange(len(ids)), (ids == END).int().argmax(1)]
        expected.append((tokens / end.norm(dim=-1)[:, None, None]).mean(0))
    target = CLIPTextTokens.from_pretrained(folder)
    values = target.encode(CAPTIONS)
    assert target.shape == (9, 12) and values.shape == (3, 108) and values.dtype == np.float32
    np.testing.assert_allclose(values.reshape(3, 9, 12), torch.stack(expected).numpy(), atol=2e-5)


def test_end_token_vs_open_clip(folder, plain):
    captions = ["a red ball", "tree", "the green ball on the left"]
    ids = numbers(captions)
    values = CLIPTextTokens.from_pretrained(folder).encode([[caption] for caption in captions]).reshape(3, 9, 12)
    pooled = values[np.arange(3), (ids == END).int().argmax(1).numpy()]
    np.testing.assert_allclose(pooled, plain.encode_text(ids, normalize=True).numpy(), atol=1e-5)


def test_a_caption_longer_than_the_context_keeps_its_end_token(folder):
    target = CLIPTextTokens.from_pretrained(folder)
    cut = target.encode([["a red ball on the left a green tree"]]).reshape(9, 12)
    np.testing.assert_allclose(np.linalg.norm(cut[8]), 1, atol=1e-5)
    np.testing.assert_array_equal(cut.ravel(), target.encode([["a red ball on the left a tree"]]).ravel())


def test_the_first_caption_alone_counts_if_it_is_to_be(folder):
    first = [[next(caption for caption in captions if caption.strip())] for captions in CAPTIONS]
    for kind in (CLIPTextTokens, CLIPTextVector):
        every, one = kind.from_pretrained(folder), kind.from_pretrained(folder, n_captions=1)
        np.testing.assert_allclose(one.encode(CAPTIONS), every.encode(first), atol=1e-6)
        assert not np.allclose(one.encode(CAPTIONS), every.encode(CAPTIONS), atol=1e-4)
        assert one.preprocessing != every.preprocessing
        with pytest.raises(InputError, match="n_captions is 0"):
            kind.from_pretrained(folder, n_captions=0)


def test_one_caption_by_its_number_and_the_first_again(folder):
    every = CLIPTextTokens.from_pretrained(folder)
    for number in range(5):
        kept = [[caption for caption in captions if caption.strip()] for captions in CAPTIONS]
        own = [[captions[number % len(captions)]] for captions in kept]
        one = CLIPTextTokens.from_pretrained(folder, caption=number)
        np.testing.assert_allclose(one.encode(CAPTIONS), every.encode(own), atol=1e-6)
        assert one.preprocessing["captions"] == f"number {number} of those not empty"
    with pytest.raises(InputError, match="caption is -1"):
        CLIPTextTokens.from_pretrained(folder, caption=-1)
    with pytest.raises(InputError, match="stimulus number 1"):
        one.encode([["a ball"], [" "]])


def test_text_vectors_vs_open_clip(folder, plain):
    captions = ["a red ball", "tree", "the green ball on the left"]
    target = CLIPTextVector.from_pretrained(folder)
    found = target.encode([[caption] for caption in captions])
    np.testing.assert_allclose(found, plain.encode_text(numbers(captions)).numpy(), atol=1e-5)
    assert target.shape == (12,) == found.shape[1:]


def test_another_size_is_resized_once(folder, images):
    large = np.random.default_rng(1).integers(0, 256, (2, 80, 80, 3), dtype=np.uint8)
    small = np.stack([np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC)) for image in large])
    target = CLIPImageTokens.from_pretrained(folder)
    np.testing.assert_allclose(target.encode(large), target.encode(small), atol=1e-6)


def test_batches_change_nothing_but_rounding(folder, images):
    image, text = CLIPImageTokens.from_pretrained(folder), CLIPTextTokens.from_pretrained(folder)
    np.testing.assert_allclose(image.encode(images, batch_size=2), image.encode(images), atol=1e-5)
    np.testing.assert_allclose(text.encode(CAPTIONS, batch_size=2), text.encode(CAPTIONS), atol=1e-5)
    assert image.encode(images[:0]).shape == (0, 204)


def test_preprocessing_is_plain_data_with_the_folders_own_numbers(folder):
    used = CLIPImageTokens.from_pretrained(folder).preprocessing
    assert json.loads(json.dumps(used)) == used
    assert used["mean"] == [0.4, 0.5, 0.6] and used["size"] == [32, 32]


def test_choose_captions_takes_the_largest_cosine(folder, plain, images):
    candidates = ["a red ball", "a green tree", "the left"]
    cosines = plain.encode_image(normalised(images), normalize=True) @ plain.encode_text(numbers(candidates), True).T
    expected = [candidates[index] for index in cosines.argmax(1)]
    assert choose_captions(CLIPImageTokens.from_pretrained(folder), images, candidates) == expected


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((2, 32, 32, 3), np.float32),
        np.zeros((2, 32, 32), np.uint8),
        np.zeros((2, 32, 32, 4), np.uint8),
    ],
)
def test_anything_but_uint8_colour_pictures_is_refused(folder, bad):
    with pytest.raises(InputError, match="uint8"):
        CLIPImageTokens.from_pretrained(folder).encode(bad)


@pytest.mark.parametrize("bad", [[["a ball"], []], [["a ball"], ["", " "]], [["a ball"], "a ball"]])
def test_a_stimulus_without_captions_is_named(folder, bad):
    with pytest.raises(InputError, match="stimulus number 1"):
        CLIPTextTokens.from_pretrained(folder).encode(bad)


def test_no_candidates_are_refused(folder, images):
    with pytest.raises(InputError, match="candidates"):
        choose_captions(CLIPImageTokens.from_pretrained(folder), images, [])


def spoil_weights(folder, change):
    path = folder / "open_clip_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def test_loading_is_strict(tmp_path):
    changes = {
        "lacking": lambda tensors: tensors.pop("ln_final.weight"),
        "extra": lambda tensors: tensors.update(extra=torch.zeros(1)),
        "shape": lambda tensors: tensors.update(text_projection=torch.zeros(16, 13)),
        # These two open_clip resamples silently.
        "more patches": lambda tensors: tensors.update({"visual.positional_embedding": torch.zeros(26, 16)}),
        "more words": lambda tensors: tensors.update(positional_embedding=torch.zeros(12, 16)),
    }
    for name, change in changes.items():
        write_model(tmp_path / name)
        spoil_weights(tmp_path / name, change)
        with pytest.raises(CheckpointError):
            CLIPTextTokens.from_pretrained(tmp_path / name)


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="open_clip_config.json"):
        CLIPImageTokens.from_pretrained(tmp_path / "nowhere")
    write_model(tmp_path / "model")
    weights = tmp_path / "model" / "open_clip_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-50])
    with pytest.raises(CheckpointError, match="cannot be read"):
        CLIPImageTokens.from_pretrained(tmp_path / "model")
    weights.unlink()
    # Pickles are never read, not even when open_clip would.
    (tmp_path / "model" / "open_clip_pytorch_model.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match="safetensors"):
        CLIPImageTokens.from_pretrained(tmp_path / "model")
    weights.write_bytes(whole)
    (tmp_path / "model" / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError):
        CLIPTextTokens.from_pretrained(tmp_path / "model")


@pytest.mark.parametrize(
    "section, key, value",
    [
        ("vision_cfg", "timm_model_name", "vit_base_patch16_224"),
        ("vision_cfg", "pool_type", "avg"),
        ("text_cfg", "hf_model_name", "roberta-base"),
        ("text_cfg", "pool_type", "last"),
    ],
)
def test_other_families_are_refused_before_anything_is_built(tmp_path, section, key, value):
    config = json.loads(json.dumps(CONFIG))
    config["model_cfg"][section][key] = value
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=key):
        CLIPImageTokens.from_pretrained(tmp_path)
