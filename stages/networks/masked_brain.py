"""A masked autoencoder of responses, as MinD-Vis has it (Chen et al., CVPR 2023): patches of voxels, most of them masked.

Names of parameters are those of the authors' `fmri_encoder.pth`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

from stages.adapters.fixed_length import wrapped, wrapped_to_multiple
from stages.checkpoints.outlines import outlining
from stages.checkpoints.pretrained import CONFIG_FILE, fill_network, read_network_tensors
from stages.checkpoints.strict_loading import read_json_object, refusing_values
from stages.ground.checks import Number, check
from stages.ground.errors import InputError
from stages.networks.brain_transformer import (
    begin_linears,
    blocks_of,
    kept_by_lot,
    resampled,
    waves,
    with_class_row,
)
from stages.networks.region_encoder import check_sizes
from weights.manifest import CheckpointError

_PLACES = ("pos_embed", "decoder_pos_embed")
_ENCODER_SIZES = ("patch_size", "width", "depth", "n_heads", "mlp_ratio")
_OF_THE_DECODER = ("decoder_", "mask_token")
_SPREAD = 0.02


class BrainEncoder(nn.Module):
    """Patches of voxels to tokens.

    Voxels are wrapped to whole patches (`stages.adapters.fixed_length`), each patch is a token, waves tell its place, and
    blocks of a transformer read the tokens beside one that stands for all.

    >>> encoder = BrainEncoder(n_voxels=40, patch_size=16, width=32, depth=2, n_heads=4)
    >>> encoder.n_patches, encoder.encode(torch.zeros(5, 40)).shape
    (3, torch.Size([5, 3, 32]))

    Parameters
    ----------
    n_voxels : int
        Of a pattern, before it is wrapped.
    patch_size : int
        Voxels of a token. Published, as all that follow: 16.
    width, depth, n_heads : int
    mlp_ratio : float
    """

    def __init__(self, n_voxels, patch_size=16, width=1024, depth=24, n_heads=16, mlp_ratio=1.0):
        super().__init__()
        check_sizes(patch_size=patch_size, width=width, n_heads=n_heads, depth=depth)
        check("mlp_ratio", mlp_ratio, Number(0, above=True, example=1.0))
        self.n_voxels, self.patch_size = n_voxels, patch_size
        self.sizes = {
            "patch_size": patch_size,
            "width": width,
            "depth": depth,
            "n_heads": n_heads,
            "mlp_ratio": mlp_ratio,
        }
        self.n_patches = wrapped_to_multiple(n_voxels, patch_size) // patch_size
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv1d(1, width, patch_size, stride=patch_size)})
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(with_class_row(waves(self.n_patches, width)), requires_grad=False)
        self.blocks = blocks_of(depth, width, n_heads, mlp_ratio)
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.cls_token, std=_SPREAD)
        nn.init.normal_(self.patch_embed["proj"].weight, std=_SPREAD)
        nn.init.zeros_(self.patch_embed["proj"].bias)

    @property
    def width(self):
        """Values of a token."""
        return self.norm.normalized_shape[0]

    def padded(self, patterns):
        """Patterns (n, n_voxels) wrapped to whole patches; those that have been wrapped stay as they are."""
        if patterns.shape[-1] == self.n_patches * self.patch_size:
            return patterns
        if patterns.shape[-1] != self.n_voxels:
            raise InputError(
                f"Patterns have {patterns.shape[-1]:,} voxels but the encoder reads {self.n_voxels:,}; load it for so many."
            )
        return wrapped(patterns, self.n_patches * self.patch_size)

    def encode(self, patterns, pooled=False):
        """Tokens of all patches, without the one that stands for all.

        Parameters
        ----------
        patterns : tensor of shape (n, n_voxels)
        pooled : bool
            Take the mean of the patches before the last normalisation.

        Returns
        -------
        tensor of shape (n, n_patches, width); (n, 1, width) if it is pooled
        """
        tokens = self._read(self._placed(self.padded(patterns)))[:, 1:]
        return self.norm(tokens.mean(dim=1, keepdim=True) if pooled else tokens)

    def _placed(self, padded):
        """Tokens of patches, with their places: (n, n_patches, width)."""
        return self.patch_embed["proj"](padded[:, None]).transpose(1, 2) + self.pos_embed[:, 1:]

    def _read(self, tokens):
        """What the blocks make of tokens, behind the one that stands for all."""
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        tokens = torch.cat([first, tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


class MaskedBrainAutoencoder(BrainEncoder):
    """The encoder, and a decoder that tells masked patches from those that are kept.

    loss = sum over masked patches of mean((predicted - patch)^2) / number of masked patches

    >>> sizes = {"width": 32, "depth": 1, "n_heads": 4, "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    >>> network = MaskedBrainAutoencoder(120, **sizes)
    >>> loss, predicted, masked = network(torch.zeros(5, 120))
    >>> predicted.shape, masked.sum(dim=1).tolist()
    (torch.Size([5, 8, 16]), [6, 6, 6, 6, 6])

    Parameters
    ----------
    n_voxels, patch_size, width, depth, n_heads, mlp_ratio
        See `BrainEncoder`.
    decoder_width, decoder_depth, decoder_heads : int
        Published: 512, 8 and 16.
    mask_ratio : float
        Share of the patches that are masked. Published: 0.75.
    focus : tuple of two ints, optional
        Voxels (first, and the one after the last) whose patches are masked rather than others. Published: none.
    focus_rate : float
        Weight of a patch there in the lots that say which are masked; of the others, 1 minus it. Published: 0.6.
    """

    def __init__(
        self,
        n_voxels,
        patch_size=16,
        width=1024,
        depth=24,
        n_heads=16,
        mlp_ratio=1.0,
        decoder_width=512,
        decoder_depth=8,
        decoder_heads=16,
        mask_ratio=0.75,
        focus=None,
        focus_rate=0.6,
    ):
        super().__init__(n_voxels, patch_size, width, depth, n_heads, mlp_ratio)
        check("mask_ratio", mask_ratio, Number(0, 1, above=True, below=True, example=0.75))
        check("focus_rate", focus_rate, Number(0, 1, above=True, below=True, example=0.6))
        self.mask_ratio, self._weights = mask_ratio, None
        self.sizes |= {"decoder_width": decoder_width, "decoder_depth": decoder_depth, "decoder_heads": decoder_heads}
        self.sizes |= {"mask_ratio": mask_ratio, "focus": focus and list(focus), "focus_rate": focus_rate}
        if focus is not None:
            first, behind = (voxel // patch_size for voxel in focus)
            if not 0 <= first < behind <= self.n_patches:
                raise InputError(
                    f"focus is {tuple(focus)}, which holds no patch of {self.n_patches} with {patch_size} voxels each; expected "
                    "the first voxel and the one after the last."
                )
            self._weights = torch.full((self.n_patches,), 1 - focus_rate, device="cpu")
            self._weights[first:behind] = focus_rate
        self.decoder_embed = nn.Linear(width, decoder_width)
        self.mask_token = nn.Parameter(torch.empty(1, 1, decoder_width))
        self.decoder_pos_embed = nn.Parameter(with_class_row(waves(self.n_patches, decoder_width)), requires_grad=False)
        self.decoder_blocks = blocks_of(decoder_depth, decoder_width, decoder_heads, mlp_ratio)
        self.decoder_norm = nn.LayerNorm(decoder_width)
        self.decoder_pred = nn.Linear(decoder_width, patch_size)
        nn.init.normal_(self.mask_token, std=_SPREAD)
        begin_linears(nn.ModuleList([self.decoder_embed, self.decoder_pred]))

    def patches(self, patterns):
        """Voxels of every patch: (n, n_patches, patch_size)."""
        return self.padded(patterns).unflatten(1, (self.n_patches, self.patch_size))

    def forward(self, patterns, order=None):
        """Mask patches by lot, and tell them from the others.

        Parameters
        ----------
        patterns : tensor of shape (n, n_voxels)
        order : int tensor of shape (n, n_patches), optional
            Numbers of the patches, kept ones first, in place of lots.

        Returns
        -------
        loss : tensor of shape ()
        predicted : tensor of shape (n, n_patches, patch_size)
        masked : bool tensor of shape (n, n_patches)
        """
        drawn, n_kept = kept_by_lot(
            len(patterns), self.n_patches, self.mask_ratio, patterns.device, weights=self._weights
        )
        order = drawn if order is None else order
        tokens = self._placed(self.padded(patterns))
        tokens = self.norm(self._read(tokens.gather(1, _wide(order[:, :n_kept], tokens.shape[-1]))))
        predicted = self._decoded(tokens, order)
        masked = torch.ones_like(order, dtype=torch.bool).scatter(1, order[:, :n_kept], False)
        errors = (predicted.float() - self.patches(patterns)).square().mean(dim=-1)
        return (errors * masked).sum() / (errors.numel() - len(order) * n_kept), predicted, masked

    def _decoded(self, tokens, order):
        tokens = self.decoder_embed(tokens)
        missing = order.shape[1] + 1 - tokens.shape[1]
        shuffled = torch.cat([tokens[:, 1:], self.mask_token.to(tokens).expand(len(tokens), missing, -1)], dim=1)
        in_place = shuffled.gather(1, _wide(order.argsort(dim=1), tokens.shape[-1]))
        tokens = torch.cat([tokens[:, :1], in_place], dim=1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            tokens = block(tokens)
        return self.decoder_pred(self.decoder_norm(tokens))[:, 1:]


def _wide(rows, width):
    return rows[..., None].expand(-1, -1, width)


def load_masked_brain(folder, n_voxels, device="cpu", masking=None):
    """Open a pretrained autoencoder for patterns of so many voxels: places of its patches become those of their nearest.

    >>> from tempfile import TemporaryDirectory
    >>> from stages.checkpoints.pretrained import save_network
    >>> sizes = {"width": 32, "depth": 1, "n_heads": 2, "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    >>> network = MaskedBrainAutoencoder(100, **sizes)
    >>> with TemporaryDirectory() as folder:
    ...     save_network(network, folder, {"n_voxels": 100, "sizes": sizes})
    ...     opened = load_masked_brain(folder, n_voxels=40)
    >>> network.n_patches, opened.n_patches
    (7, 3)

    Parameters
    ----------
    folder : path
        Of a pretraining of one's own, or with the authors' file as it was pulled: `model.safetensors`, and `config.json` if
        the network has other sizes than the published ones.
    n_voxels : int
        Of the responses that are to be read; None for as many as it was pretrained on.
    device : str
    masking : dict, optional
        `mask_ratio`, `focus` or `focus_rate`, if they are to be other ones.

    Returns
    -------
    MaskedBrainAutoencoder
        In evaluation mode.

    Raises
    ------
    CheckpointError
        A file is absent or damaged, or tensors are missing, unexpected or misshapen.
    """
    return _loaded(MaskedBrainAutoencoder, folder, n_voxels, device, masking or {})


def load_brain_encoder(folder, n_voxels, device="cpu"):
    """Open the encoder of a pretrained autoencoder alone; as `load_masked_brain`, without what decodes.

    >>> from tempfile import TemporaryDirectory
    >>> from stages.checkpoints.pretrained import save_network
    >>> sizes = {"width": 32, "depth": 1, "n_heads": 2, "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    >>> network = MaskedBrainAutoencoder(100, **sizes)
    >>> with TemporaryDirectory() as folder:
    ...     save_network(network, folder, {"n_voxels": 100, "sizes": sizes})
    ...     opened = load_brain_encoder(folder, n_voxels=40)
    >>> network.n_patches, opened.n_patches
    (7, 3)
    """
    return _loaded(BrainEncoder, folder, n_voxels, device, {})


def put_encoder(encoder, pretrained):
    """Put the weights of one encoder into another, for patterns of as many voxels as that reads.

    >>> sizes = {"width": 32, "depth": 1, "n_heads": 2}
    >>> encoder, pretrained = BrainEncoder(40, **sizes), BrainEncoder(100, **sizes)
    >>> identity = put_encoder(encoder, pretrained)
    >>> torch.equal(encoder.cls_token, pretrained.cls_token)
    True

    Parameters
    ----------
    encoder, pretrained : BrainEncoder
        Of the same sizes; what decodes is left out.

    Returns
    -------
    identity : str
        Of what the encoder is then.

    Raises
    ------
    InputError
        The sizes are others.
    """
    own, theirs = ({name: one.sizes[name] for name in _ENCODER_SIZES} for one in (encoder, pretrained))
    if other := [name for name in own if own[name] != theirs[name]]:
        raise InputError(
            f"The encoder has {other[0]} {own[other[0]]} but the pretrained one {theirs[other[0]]}; give both the same sizes."
        )
    tensors = {name: one for name, one in pretrained.state_dict().items() if not name.startswith(_OF_THE_DECODER)}
    tensors["pos_embed"] = resampled(tensors["pos_embed"], encoder.n_patches)
    encoder.load_state_dict(encoder.state_dict() | tensors)
    return identity_of(encoder)


def encoder_sizes(folder):
    """Sizes of the pretrained encoder in a folder, dict of arguments of `BrainEncoder`; empty for the published ones.

    Raises
    ------
    CheckpointError
        Its configuration is damaged.
    """
    path = Path(folder) / CONFIG_FILE
    config = read_json_object(path, BrainEncoder.__name__) if path.exists() else {}
    return {name: value for name, value in dict(config.get("sizes", {})).items() if name in _ENCODER_SIZES}


def identity_of(network):
    """A hash of all tensors of a network by their names."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + np.ascontiguousarray(value.cpu().numpy()).tobytes())
    return digest.hexdigest()


def _loaded(kind, folder, n_voxels, device, more):
    folder = Path(folder)
    tensors, config = read_network_tensors(folder), {}
    if (folder / CONFIG_FILE).exists():
        config = read_json_object(folder / CONFIG_FILE, kind.__name__)
    sizes = dict(config.get("sizes", {}))
    n_voxels = n_voxels or config.get("n_voxels") or _fewest_voxels(folder, tensors, sizes)
    if kind is BrainEncoder:
        sizes = {name: value for name, value in sizes.items() if name in _ENCODER_SIZES}
        tensors = {name: value for name, value in tensors.items() if not name.startswith(_OF_THE_DECODER)}
    with refusing_values(kind.__name__, folder / CONFIG_FILE), torch.device("meta"):
        network = kind(n_voxels, **sizes | more)
    for name in _PLACES:
        if name in tensors and tensors[name].ndim == 3:
            tensors[name] = resampled(tensors[name].float(), network.n_patches)
    network = fill_network(network, tensors, folder)
    return network if outlining() else network.to(device)


def _fewest_voxels(folder, tensors, sizes):
    """Voxels that fill as many patches as stored places are of: the last one is wrapped."""
    places = tensors.get("pos_embed")
    if places is None or places.ndim != 3 or places.shape[1] < 2:
        raise CheckpointError(f"{folder} holds no pos_embed, places of patches; give the file as it was published.")
    return max((places.shape[1] - 2) * sizes.get("patch_size", 16), 1)
