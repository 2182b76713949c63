"""A tiny random GPT-2 in the layout in which it is published, and a tokenizer that knows all bytes and a few words."""

import json

import torch
from safetensors.torch import save_file

WORDS = "a the of and dog boat red blue square circle on Similar images show This image shows".split()


def vocabulary():
    """Bytes as GPT-2 writes them, and the pairs that make words of them: (token -> number, list of pairs)."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    tokens, pairs = list(bytes_to_unicode().values()), []
    for word in WORDS:
        for text in (word, f"Ġ{word}"):
            parts = list(text)
            while len(parts) > 1:
                pair = (parts[0], parts[1])
                if pair not in pairs:
                    pairs.append(pair)
                parts[:2] = ["".join(pair)]
                if parts[0] not in tokens:
                    tokens.append(parts[0])
    return {token: number for number, token in enumerate([*tokens, "<|endoftext|>"])}, pairs


def sizes():
    """Sizes of a tiny GPT-2."""
    n_words = len(vocabulary()[0])
    return {"vocab_size": n_words, "n_positions": 320, "n_embd": 16, "n_layer": 2, "n_head": 2}


def gpt2(seed=5):
    """A tiny GPT-2 whose captions differ."""
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = GPT2LMHeadModel(GPT2Config(**sizes(), initializer_range=0.3, bos_token_id=None, eos_token_id=None))
    # Whole words are likelier than bytes, of which some are no text by themselves.
    whole = torch.tensor([len(token) > 2 or token == "." for token in vocabulary()[0]])
    with torch.no_grad():
        network.transformer.wte.weight[~whole] *= 0.1
        network.transformer.wte.weight[whole] *= 2
    return network.eval()


def save_gpt2(folder, network=None):
    """Write a tiny GPT-2 and its tokenizer as they are published; returns the network."""
    network = network or gpt2()
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name.removeprefix("transformer."): value.clone()
        for name, value in network.state_dict().items()
        if name != "lm_head.weight"
    }
    # The published file holds masks among its tensors.
    tensors |= {f"h.{layer}.attn.bias": torch.ones(1, 1, 8, 8).tril() for layer in range(network.config.n_layer)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"} | sizes()))
    save_gpt2_tokenizer(folder)
    return network


def save_gpt2_tokenizer(folder):
    """Write the words of a tiny GPT-2."""
    tokens, pairs = vocabulary()
    (folder / "vocab.json").write_text(json.dumps(tokens))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{one} {two}\n" for one, two in pairs))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}))
