"""GPT-2 with narrow cross-attention to the states of an encoder, as SMALLCAP adds it (Ramos et al. 2023).

The language model stays as it is. Layers between its own are trained, whose inner width is a sixteenth of its width. Names of
parameters are those of transformers' GPT-2 with cross-attention, which SMALLCAP's checkpoints have behind ``decoder.``.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.models.gpt2.modeling_gpt2 import GPT2Attention
from transformers.pytorch_utils import Conv1D

from stages.checkpoints.pretrained import CONFIG_FILE, read_network_tensors
from stages.checkpoints.strict_loading import check_tensors, read_json_object
from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from weights.manifest import CheckpointError

# Of GPT-2's configuration: what its tensors and their use follow from.
SIZES = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "layer_norm_epsilon", "activation_function")
CROSS = ("crossattention.", "ln_cross_attn.")


class NarrowCrossAttention(GPT2Attention):
    """Cross-attention whose queries, keys and values are narrower than what it reads and gives.

    Parameters
    ----------
    config : transformers.GPT2Config
    factor : int
        By which the inner width is divided.
    layer_idx : int
    n_values : int, optional
        Of a state that is attended to; those of a token by default.
    """

    def __init__(self, config, factor, layer_idx, n_values=None):
        super().__init__(config, is_cross_attention=True, layer_idx=layer_idx)
        check("factor", factor, Number(1, whole=True, example=16))
        if self.head_dim % factor:
            raise InputError(
                f"Heads have {self.head_dim} values, which {factor} does not divide; make factor a divisor of them."
            )
        width = self.embed_dim
        # The authors' own layer divides by the root of what a narrow head has.
        self.scaling *= factor**0.5
        self.head_dim, self.split_size = self.head_dim // factor, width // factor
        self.c_attn = Conv1D(2 * self.split_size, n_values or width)
        self.q_attn, self.c_proj = Conv1D(self.split_size, width), Conv1D(width, self.split_size)


def small_captioner(sizes=None, factor=16, n_values=None):
    """Make a GPT-2 with narrow cross-attention, of which that alone is to be trained; its weights are random.

    >>> network = small_captioner({"vocab_size": 11, "n_positions": 8, "n_embd": 32, "n_layer": 1, "n_head": 2}, factor=4)
    >>> sorted(name for name, one in network.named_parameters() if one.requires_grad)[:2]
    ['transformer.h.0.crossattention.c_attn.bias', 'transformer.h.0.crossattention.c_attn.weight']
    >>> network.transformer.h[0].crossattention.c_attn.weight.shape
    torch.Size([32, 16])

    Parameters
    ----------
    sizes : mapping, optional
        Some of transformers' GPT2Config, see `read_sizes`; those of the smallest published GPT-2 by default.
    factor : int
        Published: 16, which makes 1,780,416 parameters that are trained beside GPT-2's 124,439,808.
    n_values : int, optional
        See `NarrowCrossAttention`.

    Returns
    -------
    network : transformers.GPT2LMHeadModel
    """
    # Whoever writes with it says where a sentence ends; the published numbers are no words of a smaller vocabulary.
    ends = {"bos_token_id": None, "eos_token_id": None}
    config = GPT2Config(**(sizes or {}), **ends, add_cross_attention=True, attn_implementation="sdpa")
    network = GPT2LMHeadModel(config)
    network.requires_grad_(False)
    for number, block in enumerate(network.transformer.h):
        block.crossattention = NarrowCrossAttention(network.config, factor, number, n_values)
    return network


def next_scores(network, words, states):
    """Scores of the word that follows each: what the network itself gives, with masks that outlines have, too.

    >>> network = small_captioner({"vocab_size": 11, "n_positions": 8, "n_embd": 32, "n_layer": 1, "n_head": 2}, factor=4)
    >>> next_scores(network, torch.tensor([[3, 5, 2]]), torch.zeros(1, 6, 32)).shape
    torch.Size([1, 3, 11])

    Parameters
    ----------
    network : transformers.GPT2LMHeadModel
    words : int tensor of shape (n, length)
    states : tensor of shape (n, n_states, n_values)

    Returns
    -------
    scores : tensor of shape (n, length, n_words)
    """
    length, n_states = words.shape[1], states.shape[1]
    # transformers makes masks by asking for values, which outlines have not.
    before = torch.ones(1, 1, length, length, dtype=torch.bool, device=words.device).tril()
    everything = torch.ones(1, 1, length, n_states, dtype=torch.bool, device=words.device)
    masks = {"attention_mask": before, "encoder_attention_mask": everything}
    return network(words, encoder_hidden_states=states, use_cache=False, **masks).logits


def read_sizes(folder):
    """Read the sizes of the GPT-2 in a folder, as `small_captioner` takes them; CheckpointError if it is none."""
    path = Path(folder) / CONFIG_FILE
    stored = read_json_object(path, "GPT2LMHeadModel")
    if stored.get("model_type") != "gpt2":
        raise CheckpointError(
            f"{path} describes a {stored.get('model_type')!r}, but the model_type 'gpt2' was expected; give the folder of "
            "a GPT-2."
        )
    return {name: stored[name] for name in SIZES if name in stored}


def fill_language(network, folder):
    """Put the weights of a folder into `small_captioner`: of GPT-2 alone, or with the cross-attention of a trained one.

    Parameters
    ----------
    network : transformers.GPT2LMHeadModel
    folder : path
        Holds ``model.safetensors`` under the names of transformers, with or without ``transformer.`` before them, or under those
        of SMALLCAP's checkpoints, whose encoder is left out.

    Raises
    ------
    CheckpointError
        A tensor is missing, unexpected or misshapen; the message names it.
    """
    stored = language_names(read_network_tensors(folder))
    expected = {name: value for name, value in network.state_dict().items() if name != "lm_head.weight"}
    if not any(part in name for name in stored for part in CROSS):
        expected = {name: value for name, value in expected.items() if not any(part in name for part in CROSS)}
    check_tensors("GPT2LMHeadModel", folder, stored, expected)
    with torch.no_grad():
        for name, value in stored.items():
            expected[name].copy_(value)


def language_names(tensors):
    """Rename tensors to those of GPT2LMHeadModel; tables that follow from the sizes, and what is shared, are left out.

    >>> sorted(language_names({"h.0.attn.bias": 0, "wte.weight": 1, "lm_head.weight": 1}))
    ['transformer.wte.weight']
    >>> sorted(language_names({"decoder.transformer.h.3.crossattention.q_attn.weight": 0, "encoder.embeddings.x": 1}))
    ['transformer.h.3.crossattention.q_attn.weight']
    """
    if any(name.startswith("decoder.") for name in tensors):
        tensors = {name.removeprefix("decoder."): one for name, one in tensors.items() if name.startswith("decoder.")}
    named = {f"transformer.{name.removeprefix('transformer.')}": one for name, one in tensors.items()}
    tables = re.compile(r"transformer\.(lm_head\.weight|h\.\d+\.(attn|crossattention)\.(masked_)?bias)")
    return {name: one for name, one in named.items() if not tables.fullmatch(name)}
