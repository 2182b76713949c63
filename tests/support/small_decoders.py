"""A small network for trained decoders; in a module, so that it is found again by name."""

import torch


class TwoHeads(torch.nn.Module):
    """A hidden layer with dropout and a head for each value."""

    def __init__(self, n_voxels, gives, width=16):
        super().__init__()
        self.gives = gives
        self.trunk = torch.nn.Sequential(torch.nn.Linear(n_voxels, width), torch.nn.GELU(), torch.nn.Dropout(0.2))
        self.heads = torch.nn.ModuleDict(
            {name: torch.nn.Linear(width, torch.Size(shape).numel()) for name, shape in gives.items()}
        )

    def forward(self, patterns):
        hidden = self.trunk(patterns)
        return {name: head(hidden).unflatten(1, self.gives[name]) for name, head in self.heads.items()}
