"""MindEye's second network for several subjects: the latent of a blurry picture, as NeuralDiffuser decodes it (Li et al. 2025).

A layer of each subject's own, with its normalisation, leads into the residual blocks, the small map and the upward half of
`stages.networks.voxel_mlp.BlurryLatent`, which all subjects share.
"""

from __future__ import annotations

from stages.adapters.subject_inputs import SubjectModules, tensors_of_parts
from stages.networks.mindeye import MindEyeLatent


class SubjectsLatent(MindEyeLatent):
    """The latent of a blurry picture as the one value that is asked for, and places for the teacher of its training.

    >>> import torch
    >>> voxels, gives = {"subj01": 50, "subj02": 40}, {"first_latent": (4, 8, 8)}
    >>> network = SubjectsLatent(voxels, gives, hidden=16, n_blocks=1, map_channels=8, channels=(32, 64))
    >>> found = network({"subj02": torch.zeros(1, 40), "subj01": torch.zeros(4, 50)})
    >>> found["first_latent"].shape, found["places"].shape
    (torch.Size([5, 4, 8, 8]), torch.Size([5, 16, 512]))
    >>> network.subject_tensors("subj02")["lin0.0.weight"]
    'lin0.1.0.weight'

    Parameters
    ----------
    n_voxels : mapping of str to int
        By subject.
    gives, hidden, n_blocks, map_channels, channels
        As `stages.networks.mindeye.MindEyeLatent` takes them.
    """

    reads_subjects = True

    @staticmethod
    def _first(n_voxels, hidden, dropout):
        return SubjectModules(n_voxels, lambda n: MindEyeLatent._first(n, hidden, dropout))

    def subject_tensors(self, subject):
        """Names of the tensors that belong to one subject alone: as they are stored, and in the state dict."""
        return tensors_of_parts(subject, {"lin0": self.lin0})

    def forward(self, patterns):
        """Of patterns by subject, each (n of the subject, n_voxels of the subject), the latents by their name, and `places`.

        Rows are in the order of `patterns`.
        """
        return super().forward(patterns)
