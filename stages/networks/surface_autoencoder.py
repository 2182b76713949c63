"""An autoencoder of flattened cortices whose whole picture goes through one vector, trained without a mask.

After Huo et al. (ECCV 2024), "NeuroPictor", who trained it on UK Biobank: patches of a picture of responses are tokens of a
vision transformer, beside a class token, which alone passes the bottleneck. A decoder draws the picture from that. What is used
of it afterwards are the encoder's tokens, before the bottleneck.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from stages.checkpoints.pretrained import fill_network, read_network_tensors
from stages.ground.errors import InputError
from stages.networks.brain_transformer import begin_linears, blocks_of, plane_waves, with_class_row

_SPREAD = 0.02


class SurfaceEncoder(nn.Module):
    """From pictures of responses to tokens: the first half of the autoencoder, with its names.

    >>> encoder = SurfaceEncoder(size=32, patch_size=8, width=16, depth=1, n_heads=2)
    >>> encoder(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 17, 16])

    Parameters
    ----------
    size : int
        Height and width of a picture in pixels.
    patch_size : int
        Of which it is a multiple.
    width : int
        Values of a token; a multiple of 4.
    depth, n_heads : int
        Blocks, and attention heads in each. Published: in a file that is not read here.
    mlp_ratio : float
        Values inside a block's feed-forward layers, in widths.
    """

    def __init__(self, size=256, patch_size=16, width=1024, depth=24, n_heads=16, mlp_ratio=4.0):
        super().__init__()
        if patch_size < 1 or size < patch_size or size % patch_size:
            raise InputError(
                f"A picture of {size} pixels cannot be cut into patches of {patch_size}; give a size that is a multiple, such as "
                f"{max(size // max(patch_size, 1), 1) * max(patch_size, 1)}."
            )
        self.size, self.patch_size, self.width = size, patch_size, width
        self.sizes = {"size": size, "patch_size": patch_size, "width": width, "depth": depth, "n_heads": n_heads}
        self.sizes["mlp_ratio"] = mlp_ratio
        self.side = size // patch_size
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, width, patch_size, patch_size)})
        nn.init.xavier_uniform_(self.patch_embed["proj"].weight.data.flatten(1))
        self.cls_token = nn.Parameter(_spread(torch.empty(1, 1, width)))
        self.pos_embed = nn.Parameter(with_class_row(plane_waves(self.side, self.side, width)), requires_grad=False)
        self.blocks = blocks_of(depth, width, n_heads, mlp_ratio)
        self.norm = nn.LayerNorm(width)

    @property
    def n_tokens(self):
        """Tokens of a picture, with the class token: 257."""
        return 1 + self.side**2

    def forward(self, pictures):
        """Tokens (n, n_tokens, width) of pictures (n, 1, size, size), the class token first."""
        if tuple(pictures.shape[1:]) != (1, self.size, self.size):
            raise InputError(
                f"Pictures have shape {tuple(pictures.shape)} but the encoder reads (n, 1, {self.size}, {self.size}); bring the "
                "responses to that raster."
            )
        patches = self.patch_embed["proj"](pictures).flatten(2).transpose(1, 2) + self.pos_embed[:, 1:]
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(patches), -1, -1)
        tokens = torch.cat([first, patches], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)


class SurfaceAutoencoder(SurfaceEncoder):
    """The encoder with the bottleneck and the decoder that it is trained with.

    >>> network = SurfaceAutoencoder(size=32, patch_size=8, width=16, depth=1, n_heads=2, bottleneck=8, decoder_width=8,
    ...                              decoder_depth=1, decoder_heads=2)
    >>> pictures, mask = torch.randn(3, 1, 32, 32), torch.ones(32, 32)
    >>> network.reconstructed(pictures).shape, network.error(pictures, mask).shape
    (torch.Size([3, 1, 32, 32]), torch.Size([]))

    Parameters
    ----------
    size, patch_size, width, depth, n_heads, mlp_ratio
        See `SurfaceEncoder`.
    bottleneck : int
        Values that the class token becomes. Published: 2048.
    decoder_width, decoder_depth, decoder_heads : int
        Published: in a file that is not read here.
    """

    def __init__(
        self,
        size=256,
        patch_size=16,
        width=1024,
        depth=24,
        n_heads=16,
        mlp_ratio=4.0,
        bottleneck=2048,
        decoder_width=512,
        decoder_depth=8,
        decoder_heads=16,
    ):
        super().__init__(size, patch_size, width, depth, n_heads, mlp_ratio)
        self.bottleneck = nn.Linear(width, bottleneck)
        self.decoder_embed = nn.Linear(bottleneck, decoder_width)
        self.mask_token = nn.Parameter(_spread(torch.empty(1, 1, decoder_width)))
        places = with_class_row(plane_waves(self.side, self.side, decoder_width))
        self.decoder_pos_embed = nn.Parameter(places, requires_grad=False)
        self.decoder_blocks = blocks_of(decoder_depth, decoder_width, decoder_heads, mlp_ratio)
        self.decoder_norm = nn.LayerNorm(decoder_width)
        self.decoder_pred = nn.Linear(decoder_width, patch_size**2)
        for layer in (self.bottleneck, self.decoder_embed, self.decoder_pred):
            begin_linears(layer)

    def encode(self, pictures):
        """Tokens before the bottleneck (n, n_tokens, width), the class token first."""
        return self(pictures)

    def decode(self, tokens):
        """Pictures (n, 1, size, size) from tokens (n, n_tokens, width), of which the class token alone is read."""
        first = self.decoder_embed(self.bottleneck(tokens[:, :1]))
        others = self.mask_token.expand(len(first), self.side**2, -1)
        values = torch.cat([first, others], dim=1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            values = block(values)
        patches = self.decoder_pred(self.decoder_norm(values[:, 1:]))
        grid = patches.unflatten(1, (self.side, self.side)).unflatten(3, (self.patch_size, self.patch_size))
        # (n, rows of patches, columns, rows of pixels, columns) -> pixels row by row.
        return grid.transpose(2, 3).reshape(len(patches), 1, self.size, self.size)

    def reconstructed(self, pictures):
        """What the decoder makes of pictures (n, 1, size, size) through the bottleneck."""
        return self.decode(self.encode(pictures))

    def error(self, pictures, mask):
        """Mean squared error of the reconstruction over the pixels inside a mask, a tensor without dimensions.

            error = Σ mask (picture − reconstruction)² / Σ mask

        Parameters
        ----------
        pictures : tensor of shape (n, 1, size, size)
        mask : tensor of shape (size, size), or like `pictures`
            0 or 1, or bool.
        """
        squares = (self.reconstructed(pictures) - pictures).square()
        inside = mask.to(squares).expand_as(squares)
        return (squares * inside).sum() / inside.sum()


def read_encoder(encoder, folder):
    """Put the encoder of a pretrained autoencoder into one of the same sizes.

    Parameters
    ----------
    encoder : SurfaceEncoder
        Its tensors are changed.
    folder : path
        Holds `model.safetensors`, of the whole autoencoder or of the encoder alone.

    Raises
    ------
    CheckpointError
        The file is absent or damaged, or tensors of the encoder are missing, unexpected or misshapen.
    """
    kept = {
        name: value
        for name, value in read_network_tensors(folder).items()
        if not name.startswith(("bottleneck.", "decoder_", "mask_token"))
    }
    with torch.device("meta"):
        outline = SurfaceEncoder(**encoder.sizes)
    encoder.load_state_dict(fill_network(outline, kept, Path(folder)).state_dict())


def _spread(values):
    return nn.init.normal_(values, std=_SPREAD)
