"""A decoder: a network of your own in torch. Training resumes, validates and is plotted without a line of yours."""

import torch
from torch import nn

from stages.decoders.trained import TrainedDecoder
from stages.training.recipe import Recipe


class Perceptron(nn.Module):
    """One hidden layer, and a head for every target."""

    def __init__(self, n_voxels, gives, width=64):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(n_voxels, width), nn.GELU(), nn.Dropout(0.2))
        self.heads = nn.ModuleDict(
            {name: nn.Linear(width, int(torch.tensor(shape).prod())) for name, shape in gives.items()}
        )
        self.gives = gives

    def forward(self, patterns):
        """Standardised patterns (n, n_voxels) to a tensor (n, *shape) for each target."""
        hidden = self.trunk(patterns)
        return {name: head(hidden).unflatten(1, self.gives[name]) for name, head in self.heads.items()}


def perceptron(device="cpu"):
    """The decoder, not yet fitted."""
    return TrainedDecoder(Perceptron, Recipe(steps=60, batch_size=16, validation=0.1), device=device)
