"""NeuroPictor's network as a decoder of several subjects: pictures of responses in, what a diffusion model reads out.

After Huo et al. (ECCV 2024). Responses become pictures of the flattened cortex, of which an encoder makes tokens; these become
tokens in the place of a text, and a map of features. With the network goes the control branch that reads both, which is trained
with it and draws afterwards.
"""

from __future__ import annotations

from torch import nn

from stages.adapters.subject_inputs import tensors_of_parts
from stages.adapters.subject_rasters import SubjectRasters
from stages.ground.errors import InputError
from stages.networks.brain_context import FeatureMap, TextLikeTokens
from stages.networks.feature_control import feature_branch
from stages.networks.surface_autoencoder import SurfaceEncoder


class NeuroPictorNetwork(nn.Module):
    """Rasters of the subjects' own; an encoder, two heads and a control branch that they share.

    >>> import torch
    >>> branch = {"block_out_channels": (8,), "down_block_types": ("CrossAttnDownBlock2D",), "norm_num_groups": 4,
    ...           "attention_head_dim": 2, "cross_attention_dim": 6, "conditioning_embedding_out_channels": (1, 1)}
    >>> sizes = {"size": 16, "patch_size": 4, "width": 8, "depth": 1, "n_heads": 2, "hidden": 10}
    >>> gives = {"clip_text": (7, 6), "control_map": (8, 4, 4)}
    >>> network = NeuroPictorNetwork({"subj01": 50, "subj02": 40}, gives, branch, **sizes)
    >>> found = network({"subj02": torch.zeros(1, 40), "subj01": torch.zeros(4, 50)})
    >>> found["clip_text"].shape, found["control_map"].shape
    (torch.Size([5, 7, 6]), torch.Size([5, 8, 4, 4]))
    >>> network.subject_tensors("subj02")["rasters.pixels"]
    'rasters.pixels_1'

    Parameters
    ----------
    n_voxels : mapping of str to int
        By subject. What each pixel is made of is said by ``rasters.put`` afterwards, or read with the weights.
    gives : mapping of str to tuple of int
        A name of tokens (n_tokens, width), and one of a map (channels, height, width).
    branch : mapping
        Configuration of the control branch, see `stages.networks.feature_control.branch_config`.
    size, patch_size, width, depth, n_heads, mlp_ratio
        Of the encoder, see `stages.networks.surface_autoencoder.SurfaceEncoder`.
    hidden : int
        See `stages.networks.brain_context.TextLikeTokens`.
    """

    reads_subjects = True

    def __init__(
        self,
        n_voxels,
        gives,
        branch,
        size=256,
        patch_size=16,
        width=1024,
        depth=24,
        n_heads=16,
        mlp_ratio=4.0,
        hidden=128,
    ):
        super().__init__()
        self._tokens, self._map = _asked_for(gives)
        self.rasters = SubjectRasters(n_voxels, size)
        self.encoder = SurfaceEncoder(size, patch_size, width, depth, n_heads, mlp_ratio)
        n_tokens = self.encoder.n_tokens
        self.high_level = TextLikeTokens(n_tokens, width, tuple(gives[self._tokens]), hidden)
        self.low_level = FeatureMap(n_tokens, width, tuple(gives[self._map]))
        self.control_model = feature_branch(branch)

    def subject_tensors(self, subject):
        """Names of the tensors that belong to one subject alone: as they are stored, and in the state dict."""
        return tensors_of_parts(subject, {"rasters": self.rasters})

    def forward(self, patterns):
        """Tokens and map, dict by name, of patterns (n of the subject, n_voxels) by subject, in the order of these."""
        return self.of_pictures(self.rasters(patterns))

    def of_pictures(self, pictures):
        """Tokens and map of pictures (n, 1, size, size) of responses."""
        values = self.encoder(pictures)
        return {self._tokens: self.high_level(values), self._map: self.low_level(values)}


def _asked_for(gives):
    """The names of the tokens and of the map."""
    by_axes = {len(shape): name for name, shape in gives.items()}
    if len(gives) != 2 or set(by_axes) != {2, 3}:
        raise InputError(
            f"The network gives tokens (n_tokens, width) and a map (channels, height, width), but is asked for {dict(gives)}."
        )
    return by_axes[2], by_axes[3]
