"""Optimus' decoder (Li et al. 2020): GPT-2 that writes a sentence from one latent vector.

The latent z enters twice, by two matrices without a bias: E z is added to the embedding of every token, and the parts of M z, one
for each layer, are a key and at once a value that every token attends to besides those before it. The place of that memory is
counted: the first token has position 1.
"""

from __future__ import annotations

import torch
from torch import nn


class Conv1D(nn.Module):
    """x W + b, with the matrix stored as GPT-2's are, (inputs, outputs)."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(inputs, outputs) * 0.02), nn.Parameter(torch.zeros(outputs))

    def forward(self, hidden):
        return hidden @ self.weight + self.bias


class _Attention(nn.Module):
    def __init__(self, width, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.c_attn, self.c_proj = Conv1D(width, 3 * width), Conv1D(width, width)

    def forward(self, hidden, past):
        """Attend to what was before and to the tokens up to one's own; returns the update, and keys and values of all."""
        parts = self.c_attn(hidden).unflatten(2, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        query, *own = parts
        keys, values = (torch.cat(pair, dim=2) for pair in zip(past, own))
        seen = torch.ones(query.shape[2], keys.shape[2], dtype=torch.bool, device=hidden.device)
        seen = seen.tril(keys.shape[2] - query.shape[2])
        mixed = nn.functional.scaled_dot_product_attention(query, keys, values, attn_mask=seen)
        return self.c_proj(mixed.transpose(1, 2).flatten(2)), (keys, values)


class _Feedforward(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.c_fc, self.c_proj = Conv1D(width, 4 * width), Conv1D(4 * width, width)

    def forward(self, hidden):
        return self.c_proj(nn.functional.gelu(self.c_fc(hidden), approximate="tanh"))


class _Block(nn.Module):
    def __init__(self, width, n_heads):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.mlp = _Attention(width, n_heads), _Feedforward(width)

    def forward(self, hidden, past):
        update, kept = self.attn(self.ln_1(hidden), past)
        hidden = hidden + update
        return hidden + self.mlp(self.ln_2(hidden)), kept


class OptimusDecoder(nn.Module):
    """GPT-2 under a latent.

    >>> decoder = OptimusDecoder(vocabulary=11, latent=6, width=8, n_layers=2, n_heads=2, n_positions=16)
    >>> tokens, latents = torch.tensor([[9, 3, 4]]), torch.randn(1, 6)
    >>> scores, past = decoder(tokens, latents)
    >>> scores.shape
    torch.Size([1, 3, 11])
    >>> more, _ = decoder(torch.tensor([[5]]), latents, past)
    >>> whole, _ = decoder(torch.tensor([[9, 3, 4, 5]]), latents)
    >>> torch.allclose(more[:, 0], whole[:, 3], atol=1e-6)
    True

    Tensors have the names of Versatile Diffusion's ``optimus-vae.pth`` behind ``decoder.``.

    Parameters
    ----------
    vocabulary : int
        50,260 as published: those of GPT-2, and <PAD>, <BOS> and <EOS>.
    latent, width : int
        Values of the latent, and of a token's state.
    n_layers, n_heads, n_positions : int
    """

    def __init__(self, vocabulary=50260, latent=768, width=768, n_layers=12, n_heads=12, n_positions=1024):
        super().__init__()
        self.n_heads, self.n_layers = n_heads, n_layers
        self.transformer = nn.Module()
        self.transformer.wte, self.transformer.wpe = nn.Embedding(vocabulary, width), nn.Embedding(n_positions, width)
        self.transformer.h = nn.ModuleList(_Block(width, n_heads) for _ in range(n_layers))
        self.transformer.ln_f = nn.LayerNorm(width)
        self.transformer.linear = nn.Linear(latent, width * n_layers, bias=False)
        self.transformer.linear_emb = nn.Linear(latent, width, bias=False)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)

    @property
    def n_positions(self):
        """Tokens of the longest sentence, and the memory's place."""
        return self.transformer.wpe.num_embeddings

    def memory(self, latents):
        """Key, which is the value too, of each layer: list of tensors (n, n_heads, 1, width / n_heads)."""
        parts = self.transformer.linear(latents).unflatten(1, (self.n_layers, self.n_heads, -1))
        return [part[:, :, None] for part in parts.unbind(1)]

    def forward(self, tokens, latents, past=None):
        """Score every token of the vocabulary as the next one.

        Parameters
        ----------
        tokens : tensor of shape (n, n_tokens), int64
            A sentence from its beginning, or what follows the tokens of `past`.
        latents : tensor of shape (n, latent)
        past : list of (keys, values), optional
            Of each layer, as a call with the tokens before gave it.

        Returns
        -------
        scores : tensor of shape (n, n_tokens, vocabulary)
        past : list of (keys, values)
            With those of `tokens`.
        """
        parts = self.transformer
        past = [(one, one) for one in self.memory(latents)] if past is None else past
        begin = past[0][0].shape[2]
        positions = torch.arange(begin, begin + tokens.shape[1], device=tokens.device)
        hidden = parts.wte(tokens) + parts.wpe(positions) + parts.linear_emb(latents)[:, None]
        kept = []
        for block, before in zip(parts.h, past):
            hidden, own = block(hidden, before)
            kept.append(own)
        return self.lm_head(parts.ln_f(hidden)), kept
