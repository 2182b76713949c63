"""A shallow adapter for each subject: a wide layer from its voxels, and one residual block.

After Liu et al. (AAAI 2025), "See Through Their Minds". Names of parameters are those of the authors' file.
"""

from __future__ import annotations

import torch
from torch import nn

from stages.adapters.subject_inputs import SubjectModules, tensors_of_parts
from stages.ground.checks import Number, check

_BLOCK_DROPOUT = 0.15


class SubjectAdapter(nn.Module):
    """Voxels of any number in, values of one width out: x = layer(voxels), and then block(x) + x.

    >>> adapter = SubjectAdapter({"subj01": 50, "subj02": 40}, hidden=8)
    >>> adapter({"subj02": torch.zeros(3, 40), "subj01": torch.zeros(2, 50)}).shape
    torch.Size([5, 8])
    >>> adapter.subject_tensors("subj02")["input_proj.0.bias"]
    'input_proj.1.0.bias'

    Parameters
    ----------
    n_voxels : mapping of str to int
        By subject.
    hidden : int
        Published: 4096.
    dropout : float
        Of the values behind the first layer, that training leaves out. Published: 0.5; for the transfer to another dataset 0.65.
    """

    def __init__(self, n_voxels, hidden=4096, dropout=0.5):
        super().__init__()
        check("hidden", hidden, Number(1, whole=True, example=4096))
        check("dropout", dropout, Number(0, 1, below=True, example=0.5))
        self.input_proj = SubjectModules(n_voxels, lambda n: dense(n, hidden, dropout))
        self.input_res_block = SubjectModules(n_voxels, lambda n: dense(hidden, hidden, _BLOCK_DROPOUT))

    @property
    def subjects(self):
        """Their names, in the order of the adapters."""
        return self.input_proj.subjects

    def subject_tensors(self, subject):
        """Names of the tensors that belong to one subject alone: without its place among the others, and in the state dict."""
        parts = {"input_proj": self.input_proj, "input_res_block": self.input_res_block}
        return tensors_of_parts(subject, parts)

    def forward(self, patterns):
        """As `adapted`."""
        return self.adapted(patterns)

    def adapted(self, patterns):
        """Bring rows (n of the subject, n_voxels) of some or all of the subjects to one width, in the order of `patterns`."""
        values = {name: self.input_proj.of(name)(rows) for name, rows in patterns.items()}
        return torch.cat([self.input_res_block.of(name)(rows) + rows for name, rows in values.items()])


def dense(inputs, outputs, dropout):
    """A linear layer, layer norm, GELU and dropout."""
    return nn.Sequential(nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.GELU(), nn.Dropout(dropout))
