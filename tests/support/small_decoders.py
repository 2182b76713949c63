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


class SharedTrunk(torch.nn.Module):
    """Two heads on what a linear layer of every subject's own makes of its voxels."""

    reads_subjects = True

    def __init__(self, n_voxels, gives, width=8):
        super().__init__()
        self.places = {subject: place for place, subject in enumerate(n_voxels)}
        self.linears = torch.nn.ModuleList(torch.nn.Linear(n, width) for n in n_voxels.values())
        self.heads = TwoHeads(width, gives)

    def forward(self, patterns):
        hidden = [self.linears[self.places[subject]](values) for subject, values in patterns.items()]
        return self.heads(torch.cat(hidden))

    def subject_tensors(self, subject):
        return {name: f"linears.{self.places[subject]}.{name}" for name in ("weight", "bias")}


class AdaptedTrunk(SharedTrunk):
    """The same, with a number of each subject's own that is added, if it is adapted."""

    def __init__(self, n_voxels, gives, adapted=False):
        super().__init__(n_voxels, gives)
        own = {name: torch.nn.Parameter(torch.zeros(1)) for name in n_voxels} if adapted else {}
        self.adapters = torch.nn.ParameterDict(own)

    def forward(self, patterns):
        found, own = super().forward(patterns), self.adapters
        added = [(own[name] if name in own else torch.zeros(1)).expand(len(rows)) for name, rows in patterns.items()]
        return {name: values + torch.cat(added).reshape(-1, *[1] * (values.ndim - 1)) for name, values in found.items()}

    def subject_tensors(self, subject):
        own = {"adapter": f"adapters.{subject}"} if subject in self.adapters else {}
        return super().subject_tensors(subject) | own


class EncodedHead(torch.nn.Module):
    """A small encoder of patches, and a linear layer behind the mean of its tokens."""

    def __init__(self, n_voxels, gives, **sizes):
        super().__init__()
        # Takes a moment to import.
        from stages.networks.masked_brain import BrainEncoder

        self.gives, self.encoder = gives, BrainEncoder(n_voxels, **sizes)
        self.heads = torch.nn.ModuleDict(
            {name: torch.nn.Linear(self.encoder.width, torch.Size(shape).numel()) for name, shape in gives.items()}
        )

    def forward(self, patterns):
        hidden = self.encoder.encode(patterns, pooled=True)[:, 0]
        return {name: head(hidden).unflatten(1, self.gives[name]) for name, head in self.heads.items()}
