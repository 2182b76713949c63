"""MaskGIT's transformer: the tokens of a picture, some of them masked, to scores of every code at every place.

After Chang et al. (2022), in the form in which LEA (Qian et al. 2024) conditions it: the place of the class token holds a linear
map of an embedding of the picture. Names of parameters are those of LEA's code.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from stages.checkpoints.pretrained import CONFIG_FILE, fill_network, read_network_tensors, save_network
from stages.checkpoints.strict_loading import read_json_object, refusing_values
from stages.ground.checks import Number, OneOf, check_all
from stages.ground.errors import InputError
from weights.manifest import CheckpointError

ARCHITECTURE = "MaskedTokens"
# Of the layers and of the head. In bfloat16 and float16 it is nothing, so that both compute it in float32.
_EPSILON = 1e-12
_SPREAD = 0.02


@dataclass(frozen=True)
class MaskedTokensConfig:
    """The content of the network's ``config.json``; defaults are the sizes of MaskGIT's ImageNet weights under LEA's condition.

    >>> MaskedTokensConfig().n_tokens, MaskedTokensConfig().mask_token
    (2025, 2024)

    Attributes
    ----------
    n_codes : int
        Codes of the tokeniser.
    n_classes : int
        Class tokens behind the codes in the table. Nothing here reads them, and published weights have them.
    n_places : int
        Of a picture.
    context : int
        Values of the embedding that draws are conditioned on; 0 if there is none.
    class_place : bool
        Whether there is a place for a class without such an embedding, as in MaskGIT's own weights.
    width, depth, n_heads : int
    norm : {"after", "before"}
        Where a layer normalises: after each of its two halves has been added, as published, or before each.
    dropout : float
    """

    n_codes: int = 1024
    n_classes: int = 1000
    n_places: int = 256
    context: int = 1024
    class_place: bool = False
    width: int = 768
    depth: int = 24
    n_heads: int = 16
    norm: str = "after"
    dropout: float = 0.01

    def __post_init__(self):
        some = Number(1, whole=True)
        rules = dict.fromkeys(("n_codes", "n_places", "width", "n_heads"), some)
        rules |= dict.fromkeys(("n_classes", "context", "depth"), Number(0, whole=True))
        rules |= {"norm": OneOf("after", "before"), "dropout": Number(0, 1, below=True)}
        check_all(self, rules | {"class_place": OneOf(True, False)})
        if self.width % self.n_heads:
            raise InputError(
                f"width is {self.width}, no multiple of {self.n_heads} heads; make n_heads a divisor of it."
            )

    @property
    def n_tokens(self):
        """Rows of the table: codes, classes, and the mask."""
        return self.n_codes + self.n_classes + 1

    @property
    def has_first(self):
        """Whether a place comes before those of the picture."""
        return bool(self.context) or self.class_place

    @property
    def mask_token(self):
        """The token that stands where nothing is known."""
        return self.n_tokens - 1


class MaskedTokens(nn.Module):
    """The transformer; its head shares the table of the tokens, so that a token has to be like what is found in its place.

    >>> network = MaskedTokens(MaskedTokensConfig(8, 2, n_places=4, context=3, width=16, depth=1, n_heads=2)).eval()
    >>> network(torch.full((5, 4), network.config.mask_token), torch.zeros(5, 3)).shape
    torch.Size([5, 4, 8])

    Parameters
    ----------
    config : MaskedTokensConfig
    """

    def __init__(self, config):
        super().__init__()
        self.config, width = config, config.width
        n_places = config.n_places + config.has_first
        if config.context:
            self.decoder_embed = nn.Linear(config.context, width)
        self.token_emb = nn.Embedding(config.n_tokens, width)
        self.de_pos_emb = nn.Embedding(n_places, width)
        self.ln = nn.LayerNorm(width)
        self.dropout2 = nn.Dropout(config.dropout)
        self.decoder = nn.ModuleList(_Layer(config) for _ in range(config.depth))
        self.mlps = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width, eps=_EPSILON))
        self.mlps_bias = nn.Parameter(torch.zeros(config.n_tokens))
        self.apply(_begin)

    @property
    def device(self):
        """Where the network computes."""
        return self.mlps_bias.device

    def forward(self, tokens, context=None, soft=None):
        """Score the codes.

        Parameters
        ----------
        tokens : int tensor of shape (n, n_places)
            Codes, or `config.mask_token`.
        context : tensor of shape (n, context), optional
            Without it, and in place of a row of NaN, the mask's embedding is read, which published weights have not seen there.
        soft : tensor of shape (n, n_places, n_codes), optional
            Where a row is not all zeros, the mean of the codes' embeddings, so weighted, is read in place of the token's.

        Returns
        -------
        scores : tensor of shape (n, n_places, n_codes)
            Of the codes alone: what is a class or the mask is never drawn.
        """
        n_codes = self.config.n_codes
        values = self.token_emb(tokens)
        if soft is not None:
            mixed = soft @ self.token_emb.weight[:n_codes]
            values = torch.where(soft.any(dim=-1, keepdim=True), mixed, values)
        if self.config.has_first:
            values = torch.cat([self._context(tokens, context), values], dim=1)
        values = self.dropout2(self.ln(values + self.de_pos_emb.weight))
        for layer in self.decoder:
            values = layer(values)
        found = self.mlps(values[:, -self.config.n_places :])
        return found @ self.token_emb.weight[:n_codes].T + self.mlps_bias[:n_codes]

    def _context(self, tokens, context):
        none = self.token_emb(torch.full_like(tokens[:, :1], self.config.mask_token))
        if context is None:
            return none
        is_there = ~context.isnan().any(dim=1)[:, None, None]
        return torch.where(is_there, self.decoder_embed(context.nan_to_num()[:, None]), none)

    # Files

    def save_pretrained(self, folder, dtype=torch.float16):
        """Write ``config.json`` and ``model.safetensors``, each whole or not at all, tensors stored as `dtype`."""
        save_network(self, folder, {"architecture": ARCHITECTURE, **asdict(self.config)}, dtype)

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Load what `save_pretrained` wrote, for drawing: in evaluation mode, in float32, without gradients.

        Raises
        ------
        CheckpointError
            A file is absent or damaged, describes another network, or its tensors are others.
        """
        path = Path(folder) / CONFIG_FILE
        entries = read_json_object(path, ARCHITECTURE)
        with refusing_values(ARCHITECTURE, path):
            if (named := entries.pop("architecture", None)) != ARCHITECTURE:
                raise CheckpointError(f"architecture is {named!r}")
            config = MaskedTokensConfig(**entries)
        with torch.device("meta"):
            network = cls(config)
        return fill_network(network, read_network_tensors(folder), folder).to(device).requires_grad_(False)


class _Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_heads, self.dropout = config.n_heads, config.dropout
        self.key, self.query, self.value, self.proj = (nn.Linear(config.width, config.width) for _ in range(4))

    def forward(self, values):
        query, key, value = (
            layer(values).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        dropout = self.dropout if self.training else 0.0
        attended = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        return self.proj(attended.transpose(1, 2).flatten(2))


class _Layer(nn.Module):
    """A layer of the transformer; the published one normalises after each half, as BERT does."""

    def __init__(self, config):
        super().__init__()
        width = config.width
        self.self_attn = _Attention(config)
        self.linear1, self.linear2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=_EPSILON), nn.LayerNorm(width, eps=_EPSILON)
        self.dropout1, self.dropout2 = nn.Dropout(config.dropout), nn.Dropout(config.dropout)
        self.is_after = config.norm == "after"

    def forward(self, values):
        if self.is_after:
            values = self.norm1(values + self.dropout1(self.self_attn(values)))
            return self.norm2(values + self.dropout2(self._fed(values)))
        values = values + self.dropout1(self.self_attn(self.norm1(values)))
        return values + self.dropout2(self._fed(self.norm2(values)))

    def _fed(self, values):
        return self.linear2(functional.gelu(self.linear1(values)))


def _begin(module):
    """First weights: normal, cut off at two units, of spread 0.02; biases zero."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.trunc_normal_(module.weight, std=_SPREAD)
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)
