"""The text half of the embedded Stable Diffusion: the text tower of the embedded CLIP, in transformers' layout.

Published Stable Diffusion reads captions with the text tower of a CLIP, whose tokenizer builds words of letters by merging
pairs. The embedded CLIP knows whole words. So the merges here make each of its words one token, under the number that it
had; a piece of a word that is none of them stands where the unknown word does.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel

from tiny_networks.clip import WORDS
from weights.whole_files import make_folder, write_text

END = "</w>"
SPECIAL = ("<pad>", "<start>", "<unknown>", "<end>")
UNKNOWN = WORDS.index("<unknown>")
_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def write_text_half(clip_folder, folder):
    """Write ``text_encoder/`` (float16) and ``tokenizer/`` of a Stable Diffusion folder from an open_clip folder.

    Parameters
    ----------
    clip_folder : path
        The embedded CLIP.
    folder : path
    """
    clip_folder, folder = Path(clip_folder), Path(folder)
    text = json.loads((clip_folder / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]
    vocabulary, merges = vocabulary_and_merges()
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=text["width"],
        intermediate_size=4 * text["width"],
        num_hidden_layers=text["layers"],
        num_attention_heads=text["heads"],
        max_position_embeddings=text["context_length"],
        hidden_act="gelu",
        bos_token_id=vocabulary["<start>"],
        eos_token_id=vocabulary["<end>"],
        pad_token_id=vocabulary["<pad>"],
    )
    encoder = CLIPTextModel(config)
    encoder.load_state_dict(converted(load_file(clip_folder / "open_clip_model.safetensors"), len(vocabulary)))
    encoder.half().save_pretrained(folder / "text_encoder")
    make_folder(folder / "tokenizer")
    pairs = "".join(f"{left} {right}\n" for left, right in merges)
    roles = {"pad_token": "<pad>", "bos_token": "<start>", "eos_token": "<end>", "unk_token": "<unknown>"}
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": text["context_length"]} | roles
    write_text(folder / "tokenizer" / "vocab.json", json.dumps(vocabulary, indent=0) + "\n")
    write_text(folder / "tokenizer" / "merges.txt", "#version: 0.2\n" + pairs)
    write_text(folder / "tokenizer" / "tokenizer_config.json", json.dumps(settings, indent=1) + "\n")


def vocabulary_and_merges():
    """Numbers of all tokens, and the pairs that are merged, the first first.

    Returns
    -------
    vocabulary : dict of str to int
        The embedded CLIP's words under their own numbers, each but the special ones with the end of a word; then their
        letters and pieces.
    merges : list of tuple of two str
    """
    words = [word for word in WORDS if word not in SPECIAL]
    made = Tokenizer(models.BPE(end_of_word_suffix=END))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    # More merges than there are letters: training ends when every word is one token.
    trainer = trainers.BpeTrainer(vocab_size=10_000, min_frequency=1, end_of_word_suffix=END, show_progress=False)
    made.train_from_iterator(words, trainer)
    learned = json.loads(made.to_str())["model"]
    vocabulary = {word if word in SPECIAL else word + END: number for number, word in enumerate(WORDS)}
    for piece in sorted(learned["vocab"], key=learned["vocab"].get):
        vocabulary.setdefault(piece, len(vocabulary))
    return vocabulary, [tuple(pair) for pair in learned["merges"]]


def converted(state, vocabulary_size):
    """Rename the tensors of open_clip's text tower as transformers' ``CLIPTextModel`` names them.

    Parameters
    ----------
    state : dict of str to tensor
        Of the whole open_clip model, in any precision. Its projection is left out: a diffusion model reads the states
        before it.
    vocabulary_size : int
        Further tokens get the embedding of the unknown word.

    Returns
    -------
    dict of str to tensor, float32
    """
    words = state["token_embedding.weight"].float()
    further = words[UNKNOWN].expand(vocabulary_size - len(words), -1)
    found = {
        "embeddings.token_embedding.weight": torch.cat([words, further]),
        "embeddings.position_embedding.weight": state["positional_embedding"].float(),
        "final_layer_norm.weight": state["ln_final.weight"].float(),
        "final_layer_norm.bias": state["ln_final.bias"].float(),
    }
    for name, value in state.items():
        if not name.startswith("transformer.resblocks."):
            continue
        number, rest = name.removeprefix("transformer.resblocks.").split(".", 1)
        layer, kind = f"encoder.layers.{number}.", rest.rpartition(".")[2]
        if rest.startswith("attn.in_proj_"):
            for part, each in zip("qkv", value.float().chunk(3)):
                found[f"{layer}self_attn.{part}_proj.{kind.removeprefix('in_proj_')}"] = each.clone()
        else:
            found[f"{layer}{_LAYER[rest.rpartition('.')[0]]}.{kind}"] = value.float()
    return found
