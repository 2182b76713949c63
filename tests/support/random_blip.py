"""Tiny random BLIPs in the two layouts in which BLIP is published, and the words that they write with."""

import json

import torch

from weights import store
from weights.conversion import convert

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] a picture of photo boat cat dog on the grass blue red sky water man two and tree".split()
WORDS += ["##s", "##ing", "field"]
BLIP_SIZE, BLIP_PATCH = 32, 8


def blip_config():
    """A tiny BLIP whose states and tokens have different widths, as a transformers.BlipConfig."""
    from transformers import BlipConfig

    vision = dict(hidden_size=12, intermediate_size=20, num_hidden_layers=2, num_attention_heads=3, layer_norm_eps=1e-6)
    text = dict(
        hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2, encoder_hidden_size=12
    )
    numbers = dict(vocab_size=len(WORDS) + 2, bos_token_id=len(WORDS), sep_token_id=3, pad_token_id=0, eos_token_id=2)
    return BlipConfig(
        vision_config=vision | {"image_size": BLIP_SIZE, "patch_size": BLIP_PATCH},
        text_config=text | numbers | {"max_position_embeddings": 24},
    )


def blip(seed=5):
    """A tiny BLIP, as transformers makes it, whose captions differ from picture to picture."""
    from transformers import BlipForConditionalGeneration

    network = BlipForConditionalGeneration(blip_config()).eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if value.ndim > 1:
                size = 1 if "embed" in name else value[0].numel() ** -0.5
                value.copy_(torch.randn(value.shape, generator=random) * size)
        # The end is so likely that sentences have several lengths.
        network.text_decoder.cls.predictions.bias[3] = 6
    return network


def save_blip(folder, network=None):
    """Write a tiny BLIP and its tokenizer in the layout of Hugging Face; returns the network."""
    network = network or blip()
    network.save_pretrained(folder)
    save_bert_tokenizer(folder)
    return network


def save_bert_tokenizer(folder):
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS))
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 24}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def save_authors_blip(folder, network=None):
    """Write a tiny BLIP as its authors published it: the whole state of a pretraining; returns the network."""
    network = network or blip()
    stored = {authors_blip_name(name): value for name, value in network.state_dict().items()}
    stored["text_decoder.bert.embeddings.position_ids"] = torch.arange(24)[None]
    more = {"visual_encoder_m.cls_token": torch.ones(2), "text_encoder.bias": torch.ones(3), "temp": torch.ones(())}
    folder.mkdir(parents=True, exist_ok=True)
    (file,) = store.checkpoints()["blip-base-capfilt"].files
    torch.save({"model": stored | more, "optimizer": {"state": {0: {"step": 5}}}, "epoch": 19}, folder / file.path)
    return network


def convert_authors_blip(folder, network=None):
    """Write a tiny BLIP of the authors into `folder` as it lies there once it is pulled; returns the network."""
    origin = folder.with_name(f"origin of {folder.name}")
    network = save_authors_blip(origin, network)
    (file,) = store.checkpoints()["blip-base-capfilt"].files
    folder.mkdir()
    convert(origin / file.path, folder / file.converted, keeps=file.keeps, entry=file.entry)
    (folder / "config.json").write_text(blip_config().to_json_string())
    return network


def authors_blip_name(name):
    """The authors' name of a tensor of transformers' BLIP."""
    for ours, authors in (
        ("vision_model.embeddings.class_embedding", "visual_encoder.cls_token"),
        ("vision_model.embeddings.position_embedding", "visual_encoder.pos_embed"),
        ("vision_model.embeddings.patch_embedding", "visual_encoder.patch_embed.proj"),
        ("vision_model.post_layernorm", "visual_encoder.norm"),
        ("vision_model.encoder.layers", "visual_encoder.blocks"),
        ("layer_norm", "norm"),
        ("self_attn.qkv", "attn.qkv"),
        ("self_attn.projection", "attn.proj"),
    ):
        name = name.replace(ours, authors)
    return name
