"""A bridge from tokens of one network of pictures to the states of another, whose language model writes from them.

So MindEye2 (Scotti et al. 2024) makes of 256 tokens of CLIP's ViT-bigG/14 the 257 states of GIT's vision transformer, by two
linear layers: one over tokens, the same for every value, and one over values, the same for every state.
"""

from __future__ import annotations

import torch
from torch import nn

from stages.checkpoints.pretrained import WEIGHTS_FILE, fill_network, read_network_tensors
from weights.manifest import CheckpointError


class CaptionBridge(nn.Module):
    """Tokens of a picture to states that a captioner reads.

    >>> bridge = CaptionBridge((256, 1664), (257, 1024))
    >>> sum(each.numel() for each in bridge.parameters())
    1771009
    >>> bridge(torch.zeros(2, 256, 1664)).shape
    torch.Size([2, 257, 1024])

    With tokens :math:`X` (n_tokens, width), the states are :math:`(A X + a) B^T + b`. Of them :math:`A` (n_states, n_tokens) and
    :math:`a` (n_states, 1) are ``linear1``, :math:`B` and :math:`b` are ``linear2``, as in the published file.

    Parameters
    ----------
    tokens, states : (int, int)
        How many, and values of each.
    """

    def __init__(self, tokens, states):
        super().__init__()
        self.tokens, self.states = tuple(tokens), tuple(states)
        self.linear1 = nn.Linear(tokens[0], states[0])
        self.linear2 = nn.Linear(tokens[1], states[1])

    def forward(self, tokens):
        """States (n, n_states, width) of tokens (n, n_tokens, width)."""
        return self.linear2(self.linear1(tokens.transpose(1, 2)).transpose(1, 2))


def load_caption_bridge(folder):
    """Load a bridge whose sizes are those of its tensors.

    >>> from weights import store
    >>> bridge = load_caption_bridge(store.path("tiny-caption-bridge"))
    >>> bridge.tokens, bridge.states
    ((64, 128), (65, 128))

    Parameters
    ----------
    folder : path
        Holds ``model.safetensors``: ``linear1`` and ``linear2``, each with weight and bias; ``bigG_to_L_epoch8.pth``, converted.

    Returns
    -------
    bridge : CaptionBridge
        In float32, in evaluation mode, on the CPU, without gradients.

    Raises
    ------
    CheckpointError
        The file is absent or damaged, or a tensor missing, unexpected or misshapen.
    """
    stored = read_network_tensors(folder)
    shapes = [tuple(stored[name].shape) if name in stored else () for name in ("linear1.weight", "linear2.weight")]
    if not all(len(shape) == 2 for shape in shapes):
        raise CheckpointError(
            f"{folder}/{WEIGHTS_FILE} has weights of shapes {shapes[0]} and {shapes[1]} as linear1 and linear2, but two matrices "
            "were expected; give the folder of bigG_to_L_epoch8.pth."
        )
    (n_states, n_tokens), (state, token) = shapes
    with torch.device("meta"):
        bridge = CaptionBridge((n_tokens, token), (n_states, state))
    return fill_network(bridge, stored, folder, described="of two linear layers").requires_grad_(False)
