"""MindEye2's network as a decoder of several subjects: patterns of each in, named values out (Scotti et al. 2024).

A layer of each subject's own leads into a width that all share. What lies behind makes rough tokens, tokens for retrieval and,
if it is asked for one, the latent of a blurry picture. Names of parameters are those of the published weights.
"""

from __future__ import annotations

import math

from torch import nn

from stages.adapters.subject_inputs import SubjectLinears, tensors_of_parts
from stages.ground.checks import Number, OneOf, check
from stages.ground.errors import InputError
from stages.networks.named_tokens import named_tokens
from stages.networks.token_prior import TokenPrior
from stages.networks.voxel_mlp import place_projector, token_projector, upward_half

PLACES = "places"
MIXERS = ("published", "linear", "residual", "tokens")
# Of the layers that mix, and of the map of a blurry picture.
_DROPOUT, _MAP_DROPOUT = 0.15, 0.3


def _as_it_is(place, values):
    return values


class MindEye2Network(nn.Module):
    """Layers of the subjects' own, the layers that they share, and the network of the prior.

    >>> import torch
    >>> gives = {"clip_rough": (3, 8), "clip_retrieval": (3, 8)}
    >>> voxels = {"subj01": 50, "subj02": 40}
    >>> network = MindEye2Network(voxels, gives, hidden=16, prior_depth=1, prior_heads=2, prior_head_width=4)
    >>> found = network({"subj02": torch.zeros(1, 40), "subj01": torch.zeros(4, 50)})
    >>> found["clip_retrieval"].shape
    torch.Size([5, 3, 8])
    >>> network.subject_tensors("subj02")["ridge.bias"]
    'ridge.linears.1.bias'

    Parameters
    ----------
    n_voxels : mapping of str to int
        By subject.
    gives : mapping of str to tuple of int
        As `stages.networks.named_tokens.named_tokens` reads it; the map before the latent has a part of its sides.
    hidden : int
        Values that subjects share. Published: 4096; of the light version, 1024.
    mixer : {"published", "linear", "residual", "tokens"}
        See `Backbone`.
    mixer_tokens : int
        See `Backbone`.
    map_channels, channels : int, sequence of int
        Of the map before the latent, and of the upward half behind it (`stages.networks.voxel_mlp.upward_half`).
    prior_depth, prior_heads, prior_head_width : int
        See `stages.networks.token_prior.TokenPrior`.
    prior : {"tokens", "none"}
        Whether the network of a prior belongs to it, as `diffusion_prior.net`.
    """

    reads_subjects = True

    def __init__(
        self,
        n_voxels,
        gives,
        hidden=4096,
        mixer="published",
        mixer_tokens=16,
        map_channels=64,
        channels=(32, 64, 128),
        prior_depth=6,
        prior_heads=32,
        prior_head_width=52,
        prior="tokens",
    ):
        super().__init__()
        check("prior", prior, OneOf("tokens", "none"))
        self._names, tokens, latent = named_tokens(gives)
        self.ridge = SubjectLinears(n_voxels, hidden)
        self.backbone = Backbone(hidden, tokens, latent, mixer, mixer_tokens, map_channels, channels)
        if prior == "tokens":
            self.diffusion_prior = nn.ModuleDict(
                {"net": TokenPrior(*tokens, prior_depth, prior_heads, prior_head_width)}
            )

    @property
    def parts(self):
        """The part of the backbone, "rough", "retrieval" or "latent", that each name is for."""
        return {name: part for part, name in self._names.items()}

    def subject_tensors(self, subject):
        """Names of the tensors that belong to one subject alone: as they are stored, and in the state dict."""
        return tensors_of_parts(subject, {"ridge": self.ridge})

    def forward(self, patterns):
        """Find the values that are asked for, and `places` beside a latent.

        Parameters
        ----------
        patterns : mapping of str to tensor of shape (n of the subject, n_voxels of the subject)
            Of some or all of the subjects.

        Returns
        -------
        values : dict of str to tensor of shape (n of all, ...)
            Rows in the order of `patterns`.
        """
        return self.named(self.backbone(self.ridge(patterns)))

    def named(self, found):
        """What the backbone finds, by the names that were asked for."""
        return {self._names.get(part, part): values for part, values in found.items() if part in (*self._names, PLACES)}


class Backbone(nn.Module):
    """The layers that subjects share.

    >>> import torch
    >>> backbone = Backbone(hidden=16, tokens=(3, 8), latent=(4, 8, 8), map_channels=32, channels=(32, 64))
    >>> {name: tuple(values.shape) for name, values in backbone(torch.zeros(2, 16)).items()}
    {'rough': (2, 3, 8), 'retrieval': (2, 3, 8), 'latent': (2, 4, 8, 8), 'places': (2, 16, 512)}

    Parameters
    ----------
    hidden : int
    tokens : tuple of int
        Their number and their width. Published: (256, 1664).
    latent : tuple of int, optional
        Channels and sides of a blurry picture's. Published: (4, 28, 28).
    mixer : {"published", "linear", "residual", "tokens"}
        What four blocks make of the shared values. "published" mixes within a sequence of one, so that each block adds one number
        to all values, whatever these are, and its larger half learns nothing: what follows is a linear map. "linear" leaves the
        blocks out. "residual" goes through the larger halves alone, residual layers over the shared values. "tokens" does what a
        mixer is for: the values are `mixer_tokens` tokens, mixed over the values of each token and over tokens in turn.
    mixer_tokens : int
        Of mixer "tokens"; `hidden` is a multiple.
    map_channels, channels
        See `MindEye2Network`.
    n_blocks : int
    """

    def __init__(
        self,
        hidden=4096,
        tokens=(256, 1664),
        latent=None,
        mixer="published",
        mixer_tokens=16,
        map_channels=64,
        channels=(32, 64, 128),
        n_blocks=4,
    ):
        super().__init__()
        check("mixer", mixer, OneOf(*MIXERS))
        check("mixer_tokens", mixer_tokens, Number(1, whole=True, example=16))
        self.tokens, self._mixer = tuple(tokens), mixer
        self._sequence = mixer_tokens if mixer == "tokens" else 1
        if hidden % self._sequence:
            raise InputError(
                f"hidden is {hidden} but mixer_tokens {mixer_tokens}; expected tokens of equal width, for example "
                f"hidden={hidden + mixer_tokens - hidden % mixer_tokens}."
            )
        if mixer != "linear":
            width = hidden // self._sequence
            self.mixer_blocks1 = nn.ModuleList(_block(width) for _ in range(n_blocks))
        if mixer in ("published", "tokens"):
            self.mixer_blocks2 = nn.ModuleList(_block(self._sequence) for _ in range(n_blocks))
        self.backbone_linear = nn.Linear(hidden, math.prod(tokens))
        self.clip_proj = token_projector(tokens[1], tokens[1])
        self._map_shape = None
        if latent is not None:
            self._map_shape = _map_shape(latent, map_channels, channels)
            self.blin1 = nn.Linear(hidden, math.prod(self._map_shape))
            self.bdropout = nn.Dropout(_MAP_DROPOUT)
            self.bnorm = nn.GroupNorm(1, map_channels)
            self.bupsampler = upward_half(map_channels, latent[0], channels)
            self.b_maps_projector = place_projector(map_channels)

    @property
    def n_blocks(self):
        """How many blocks there are."""
        return 0 if self._mixer == "linear" else len(self.mixer_blocks1)

    def forward(self, values, join=_as_it_is):
        """Of shared values (n, hidden), tokens (n, n_tokens, width) and what belongs to a blurry picture, dict by part.

        ``join(place, values)`` says what values on the way, (n, width), become: "ridge", before the blocks; the number of a block
        over values, behind it; "rough", the tokens in one row.
        """
        values = self.mixed(join("ridge", values), join)
        rough = join("rough", self.backbone_linear(values)).unflatten(1, self.tokens)
        found = {"rough": rough, "retrieval": self.clip_proj(rough)}
        if self._map_shape is not None:
            small = self.bnorm(self.bdropout(self.blin1(values)).unflatten(1, self._map_shape))
            found["latent"] = self.bupsampler(small)
            found[PLACES] = self.b_maps_projector(small).flatten(2).transpose(1, 2)
        return found

    def mixed(self, values, join=_as_it_is):
        """What the blocks make of shared values, tensor of shape (n, hidden)."""
        if self._mixer == "linear":
            return values
        if self._mixer == "residual":
            for place, block in enumerate(self.mixer_blocks1):
                values = join(place, block(values) + values)
            return values
        values = values.unflatten(1, (self._sequence, -1))
        # Each kind of blocks has a residual of its own, which does not go through the other kind.
        by_token, by_value = values, values.transpose(1, 2)
        for place, (over_values, over_tokens) in enumerate(zip(self.mixer_blocks1, self.mixer_blocks2)):
            by_token = join(place, (over_values(values) + by_token).flatten(1)).unflatten(1, (self._sequence, -1))
            if self._sequence == 1:
                # What follows does not depend on it. PyTorch passes rounding errors back for a gradient that is exactly 0, which
                # Adam would divide by their own size.
                by_token = by_token.detach() + 0 * by_token
            by_value = over_tokens(by_token.transpose(1, 2)) + by_value
            values = by_value.transpose(1, 2)
        return values.flatten(1)


def _block(width):
    layers = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Dropout(_DROPOUT), nn.Linear(width, width))
    return nn.Sequential(nn.LayerNorm(width), layers)


def _map_shape(latent, map_channels, channels):
    _, height, width = latent
    smaller = 2 ** (len(channels) - 1)
    if height % smaller or width % smaller:
        raise InputError(
            f"The latent is {height} x {width}; expected multiples of {smaller} for {len(channels)} blocks of channels."
        )
    return map_channels, height // smaller, width // smaller
