"""A network for a new subject of whom there is little: small layers of each subject's own, a trunk and heads that all share.

After the abstracts of MindShot (Jiang et al. 2024), which are all that could be read: that an adapter of few parameters stands
before a network of several subjects, and that a teacher's features are held against it by their frequencies. Sizes, layers and
places are guesses, most of them MindBridge's (Wang et al., CVPR 2024).
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from stages.adapters.fixed_length import KINDS as POOLINGS
from stages.adapters.fixed_length import pooled
from stages.adapters.response_adapter import KERNELS, KINDS, ResponseAdapter
from stages.adapters.spectra import with_mixed_amplitudes
from stages.adapters.subject_inputs import SubjectModules, tensors_of_parts
from stages.ground.checks import Number, OneOf, check
from stages.ground.devices import sent_to
from stages.ground.errors import InputError

FEATURES = "trunk_features"
MIXED = "mixed_{}"
READS = ("pooled", "own layer")
ADAPTERS = (*KINDS, "none")
_DROPOUT, _BLOCK_DROPOUT = 0.5, 0.15


class MindShotNetwork(nn.Module):
    """Inputs of the subjects' own, a residual trunk, and a head for each value.

    >>> gives = {"image": (3, 8), "text": (2, 8)}
    >>> network = MindShotNetwork({"subj01": 50, "subj02": 40}, gives, length=20, hidden=16).eval()
    >>> patterns = {"subj02": torch.zeros(1, 40), "subj01": torch.zeros(4, 50)}
    >>> {name: tuple(values.shape) for name, values in network(patterns).items()}
    {'trunk_features': (5, 16), 'image': (5, 3, 8), 'text': (5, 2, 8)}
    >>> list(network(patterns, torch.zeros(5, 16)))[3:]
    ['mixed_image', 'mixed_text']
    >>> network.subject_tensors("subj02")["inputs.adapter.gain"]
    'inputs.1.adapter.gain'

    Parameters
    ----------
    n_voxels : mapping of str to int
        By subject.
    gives : mapping of str to tuple of int
        Values and their shapes.
    reads : {"pooled", "own layer"}
        Each subject's voxels are pooled to one length, and one layer that all share leads from there into the trunk; or a linear
        layer of each subject's own does.
    length : int
        Parts of the voxels that are pooled (`stages.adapters.fixed_length.pooled`).
    pooling : {"max", "mean"}
    adapter : {"convolution", "film", "none"}
        Of each subject, behind the pooling or its own layer; see `stages.adapters.response_adapter.ResponseAdapter`.
    kernel_length, kernel
        See there.
    hidden, n_blocks : int
        Width and residual blocks of the trunk.
    largest_share, low_pass : float
        Of a teacher's amplitudes in mixed features: each sample draws its share from 0 to the largest, and validation takes
        half of that. See `stages.adapters.spectra.with_mixed_amplitudes`.
    """

    reads_subjects = True
    reads_in_training = (FEATURES,)

    def __init__(
        self,
        n_voxels,
        gives,
        reads="pooled",
        length=8192,
        pooling="max",
        adapter="convolution",
        kernel_length=7,
        kernel="delta",
        hidden=2048,
        n_blocks=4,
        largest_share=0.5,
        low_pass=1.0,
    ):
        super().__init__()
        check("reads", reads, OneOf(*READS))
        check("pooling", pooling, OneOf(*POOLINGS))
        check("adapter", adapter, OneOf(*ADAPTERS))
        check("kernel", kernel, OneOf(*KERNELS))
        check("largest_share", largest_share, Number(0, 1))
        for name, size in {"length": length, "hidden": hidden, "n_blocks": n_blocks}.items():
            check(name, size, Number(1, whole=True))
        if reads == "pooled" and adapter == "none":
            raise InputError(
                "Pooled voxels without an adapter leave nothing of a subject's own; give each subject an adapter with "
                "adapter='convolution', or a layer with reads='own layer'."
            )
        self._shapes = {name: tuple(shape) for name, shape in gives.items()}
        if unknown := [name for name in gives if name.startswith(MIXED.format("")) or name == FEATURES]:
            raise InputError(f"The network gives {unknown[0]!r} besides; call the value that is asked for otherwise.")
        self.largest_share, self.low_pass = largest_share, low_pass
        width = length if reads == "pooled" else hidden

        def own(n):
            lead = _Pool(length, pooling) if reads == "pooled" else nn.Linear(n, hidden)
            adapts = nn.Identity() if adapter == "none" else ResponseAdapter(width, adapter, kernel_length, kernel)
            return nn.Sequential(OrderedDict(lead=lead, adapter=adapts))

        self.inputs = SubjectModules(n_voxels, own)
        shared = [nn.Linear(length, hidden)] if reads == "pooled" else []
        self.entry = nn.Sequential(*shared, nn.LayerNorm(hidden), nn.GELU(), nn.Dropout(_DROPOUT))
        self.blocks = nn.ModuleList(_block(hidden) for _ in range(n_blocks))
        self.heads = nn.ModuleDict({name: nn.Linear(hidden, _size(shape)) for name, shape in self._shapes.items()})

    def subject_tensors(self, subject):
        """Names of the tensors that belong to one subject alone: as they are stored, and in the state dict."""
        return tensors_of_parts(subject, {"inputs": self.inputs})

    def features(self, patterns):
        """Features of the trunk, tensor of shape (n of all, hidden), rows in the order of `patterns`."""
        values = self.entry(self.inputs(patterns))
        for block in self.blocks:
            values = values + block(values)
        return values

    def forward(self, patterns, teacher=None):
        """Find the trunk's features and the values that are asked for; with a teacher, those of mixed features too.

        Parameters
        ----------
        patterns : mapping of str to tensor of shape (n of the subject, n_voxels of the subject)
            Of some or all of the subjects.
        teacher : tensor of shape (n of all, hidden), optional
            Features of samples of other subjects, one for each row.

        Returns
        -------
        values : dict of str to tensor of shape (n of all, ...)
            Rows in the order of `patterns`.
        """
        features = self.features(patterns)
        found = {FEATURES: features} | self._decoded(features)
        if teacher is not None and self.largest_share > 0:
            mixed = with_mixed_amplitudes(features, teacher, self._shares(features), self.low_pass)
            found |= {MIXED.format(name): values for name, values in self._decoded(mixed.to(features)).items()}
        return found

    def _decoded(self, features):
        return {name: head(features).unflatten(1, self._shapes[name]) for name, head in self.heads.items()}

    def _shares(self, features):
        if not self.training:
            return features.new_full((len(features),), self.largest_share / 2)
        # On the CPU, so that a step draws the same numbers on every device.
        return sent_to(features.device, self.largest_share * torch.rand(len(features)))


class _Pool(nn.Module):
    """`stages.adapters.fixed_length.pooled`, as a layer."""

    def __init__(self, length, kind):
        super().__init__()
        self.length, self.kind = length, kind

    def forward(self, patterns):
        return pooled(patterns, self.length, self.kind)


def _block(width):
    return nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width), nn.GELU(), nn.Dropout(_BLOCK_DROPOUT))


def _size(shape):
    return torch.Size(shape).numel()
