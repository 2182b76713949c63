"""A ConvNeXt that looks at places of a picture, with the projector that VICRegL trains on them (Bardes et al. 2022).

The blocks are torchvision's, without their layer scales, of which the published network has none.
"""

from __future__ import annotations

import re

from torch import nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

# Names of a block's parts in the published files, and their places in torchvision's block.
_PARTS = {"dwconv": "block.0", "norm": "block.2", "pwconv1": "block.3", "pwconv2": "block.5"}
# Of no use for the places: what training had besides.
_SPARE = ("projector.", "classifier.")


class ConvNeXtMaps(nn.Module):
    """Pictures to values of their places, one place for 32 x 32 pixels.

    >>> import torch
    >>> network = ConvNeXtMaps(depths=(1, 1, 2, 1), widths=(8, 8, 12, 16), projected=(10, 10, 6))
    >>> network(torch.zeros(2, 3, 64, 96)).shape
    torch.Size([2, 6, 6])

    Parameters
    ----------
    depths, widths : sequence of four ints
        Blocks and channels of each stage. Published: (3, 3, 27, 3) and (256, 512, 1024, 2048).
    projected : sequence of int
        Values of each place after each layer of the projector; the last one has no bias. Published: (512, 512, 512).
    """

    def __init__(self, depths=(3, 3, 27, 3), widths=(256, 512, 1024, 2048), projected=(512, 512, 512)):
        super().__init__()
        after = [*widths[1:], None]
        stages = [CNBlockConfig(width, next_one, depth) for width, next_one, depth in zip(widths, after, depths)]
        # What classifies pictures stays behind.
        self.features = ConvNeXt(stages, num_classes=1).features
        for stage in self.features[1::2]:
            for block in stage:
                # The published network has none.
                del block.layer_scale
                block.layer_scale = 1.0
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
        layers, before = [], widths[-1]
        for width in projected[:-1]:
            layers += [nn.Linear(before, width), nn.LayerNorm(width), nn.ReLU()]
            before = width
        self.maps_projector = nn.Sequential(*layers, nn.Linear(before, projected[-1], bias=False))
        self.width = projected[-1]

    def forward(self, pictures):
        """Find the values of places.

        Parameters
        ----------
        pictures : tensor of shape (n, 3, height, width)
            Normalised; sides are multiples of 32.

        Returns
        -------
        places : tensor of shape (n, n_places, projected)
            Row by row.
        """
        return self.maps_projector(self.norm(self.features(pictures).flatten(2).transpose(1, 2)))


def own_name(name: str) -> str | None:
    """Return what a tensor of the published file is called here; None for one that no place needs.

    >>> own_name("module.backbone.stages.2.26.pwconv1.weight")
    'features.5.26.block.3.weight'
    >>> own_name("backbone.downsample_layers.0.1.bias"), own_name("backbone.downsample_layers.3.0.bias")
    ('features.0.1.bias', 'features.6.0.bias')
    >>> own_name("maps_projector.6.weight"), own_name("backbone.norm.weight"), own_name("classifier.bias")
    ('maps_projector.6.weight', 'norm.weight', None)

    Layer scales (``gamma``), of which the published network has none, are passed over, as the authors' code does.
    """
    name = name.removeprefix("module.")
    if name.startswith(_SPARE) or name.endswith(".gamma"):
        return None
    name = name.removeprefix("backbone.")
    if found := re.fullmatch(r"downsample_layers\.(\d+)\.(.+)", name):
        return f"features.{2 * int(found[1])}.{found[2]}"
    if found := re.fullmatch(r"stages\.(\d+)\.(\d+)\.(\w+)\.(.+)", name):
        return f"features.{2 * int(found[1]) + 1}.{found[2]}.{_PARTS.get(found[3], found[3])}.{found[4]}"
    return name
