"""Attention of an autoencoder under the names that diffusers gave it before 0.15, and under today's."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

_TODAYS = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def with_todays_attention_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename query, key, value and proj_attn of every attention, and make linear layers of convolutions of 1 x 1.

    >>> import torch
    >>> old = {"mid_block.attentions.0.proj_attn.weight": torch.zeros(8, 8, 1, 1), "conv_in.bias": torch.zeros(8)}
    >>> {name: tuple(value.shape) for name, value in with_todays_attention_names(old).items()}
    {'mid_block.attentions.0.to_out.0.weight': (8, 8), 'conv_in.bias': (8,)}

    Parameters
    ----------
    tensors : mapping of str to tensor
        Those that bear other names stay as they are.

    Returns
    -------
    tensors : dict of str to tensor
        In the order given, of the same values.
    """
    found = {}
    for name, value in tensors.items():
        attention, _, kind = name.rpartition(".")
        place, _, layer = attention.rpartition(".")
        if ".attentions." in f".{name}" and layer in _TODAYS:
            name = f"{place}.{_TODAYS[layer]}.{kind}"
            if kind == "weight" and tuple(value.shape[2:]) == (1, 1):
                value = value[..., 0, 0]
        found[name] = value
    return found
