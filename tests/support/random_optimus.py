"""A tiny random Optimus in the layout that Versatile Diffusion published, and the words that it reads and writes with."""

import json
import string

import torch

from weights import store
from weights.conversion import convert

LATENT = 16
BERT = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *string.ascii_letters,
    *(f"##{one}" for one in string.ascii_letters),
]
BERT += ["dog", "two", "red", *string.digits]
# GPT-2 writes a space as this letter.
_SPACE = "Ġ"
_WORDS = ["dog", "cat", "red", "two", "boat", "grass"]
ENCODER = dict(vocab_size=len(BERT), hidden_size=12, num_hidden_layers=2, num_attention_heads=2, intermediate_size=20)
ENCODER |= dict(max_position_embeddings=96)


def gpt2_vocabulary():
    """Letters, and the words and what they are merged from; returns vocabulary and merges."""
    vocabulary, merges = [*string.ascii_lowercase, ".", ",", "!", _SPACE, f"{_SPACE}a"], [f"{_SPACE} a"]
    for word in _WORDS:
        # From the last letter on.
        tail = word[-1]
        for letter in (*reversed(word[:-1]), _SPACE):
            merges.append(f"{letter} {tail}")
            tail = letter + tail
            if tail not in vocabulary:
                vocabulary.append(tail)
    return [*vocabulary, "<|endoftext|>"], list(dict.fromkeys(merges))


def decoder_sizes():
    """Sizes of the decoder, three more tokens than GPT-2's among them."""
    return dict(vocabulary=len(gpt2_vocabulary()[0]) + 3, width=12, n_layers=2, n_heads=2, n_positions=40)


def config():
    """What ``config.json`` says."""
    return {"model_type": "optimus", "latent": LATENT, "encoder": ENCODER, "decoder": decoder_sizes()}


def optimus(seed=3):
    """A tiny Optimus whose sentences differ from latent to latent, and end sooner or later."""
    from stages.networks.optimus import Optimus

    network = Optimus(LATENT, ENCODER, decoder_sizes())
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if value.ndim > 1:
                spread = 1 if "embeddings" in name or "wte" in name else value.shape[-1] ** -0.5
                value.copy_(torch.randn(value.shape, generator=random) * spread)
        network.decoder.transformer.linear_emb.weight.mul_(2)
        network.decoder.lm_head.weight.copy_(network.decoder.transformer.wte.weight)
    return network.eval()


def save_authors_optimus(folder, network=None):
    """Write it as ``optimus-vae.pth``, with the masks that older GPT-2s keep among their tensors; returns the network."""
    network = network or optimus()
    (file,) = (one for one in store.checkpoints()["optimus"].files if one.holds_tensors)
    stored = dict(network.state_dict())
    for layer in range(network.decoder.n_layers):
        stored[f"decoder.transformer.h.{layer}.attn.bias"] = torch.ones(1, 1, 40, 40).tril()
    (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
    torch.save(stored, folder / file.path)
    return network


def convert_authors_optimus(folder, network=None):
    """Write it into `folder` as it lies there once it is pulled; returns the network."""
    origin = folder.with_name(f"origin of {folder.name}")
    network = save_authors_optimus(origin, network)
    (file,) = (one for one in store.checkpoints()["optimus"].files if one.holds_tensors)
    folder.mkdir(parents=True)
    convert(origin / file.path, folder / file.converted, keeps=file.keeps, entry=file.entry)
    (folder / "config.json").write_text(json.dumps(config()))
    return network


def save_cased_tokenizer(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in BERT))
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False, "model_max_length": 96}))
    return folder


def save_gpt2_tokenizer(folder):
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = gpt2_vocabulary()
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    return folder
