"""Pretraining of an encoder on responses alone: nobody has to know what was seen (MinD-Vis, Chen et al., CVPR 2023).

Of each subject all voxels have one mean and one standard deviation; patterns are wrapped to the longest of all subjects, and a
masked autoencoder tells most of their patches from the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from stages.adapters.fixed_length import wrapped, wrapped_to_multiple
from stages.checkpoints.pretrained import CONFIG_FILE
from stages.checkpoints.strict_loading import read_json_object
from stages.decoders.response_pretraining import ResponsePretraining, SubjectRows
from stages.decoders.standardised import Voxels
from stages.ground.errors import InputError
from stages.ground.lazy_rows import Rows
from stages.ground.progress import SILENT
from stages.networks.masked_brain import MaskedBrainAutoencoder, identity_of, load_masked_brain
from stages.training.batches import random_state_kept, seed_all
from stages.training.cost import cost_of
from stages.training.curves import Curves
from stages.training.recipe import plain_recipe
from stages.training.trouble import telling_of_short_memory
from weights.manifest import CheckpointError

LABEL = "pretraining on masked responses"


class UnpairedResponses(SubjectRows):
    """Responses of one or several subjects, at one length and on one scale, by the rows of all.

    >>> few = {"subj01": np.float32([[1, 2, 3], [3, 4, 5]]), "subj02": np.float32([[0, 10]])}
    >>> responses = UnpairedResponses(few, patch_size=2)
    >>> responses.length, responses.n_voxels, responses.scales["subj02"]
    (4, 3, (5.0, 5.0))
    >>> responses[[2, 0]].round(1)
    array([[-1. ,  1. , -1. ,  1. ],
           [-1.3, -0.6,  0.2, -1.3]], dtype=float32)

    Parameters
    ----------
    responses : mapping of str to rows of shape (n_trials, n_voxels)
        By subject.
    patch_size : int
        Every subject's voxels are wrapped to whole patches, over which its mean and its standard deviation are taken.
    n_voxels : int, optional
        Voxels that the network reads; by default those of the subject with most. A longer pattern is cut.

    Attributes
    ----------
    length : int
        Of a row.
    scales : dict of str to tuple of two floats
        Mean and standard deviation by subject.
    of_the_mean : float
        Error of every voxel's own mean, in units of the variance: who knows no more of a response reaches it. Mean over subjects.

    Raises
    ------
    InputError
        There is no subject or no row, or nothing varies in those of one.
    """

    def __init__(self, responses: Mapping[str, Rows | np.ndarray], patch_size, n_voxels=None):
        super().__init__(responses)
        self.n_voxels = n_voxels or max(rows.shape[1] for rows in self.responses.values())
        self.length, self._patch_size = wrapped_to_multiple(self.n_voxels, patch_size), patch_size
        self.scales, alone = {}, []
        for subject, rows in self.responses.items():
            *scale, share = _measured(subject, rows, patch_size)
            self.scales[subject] = tuple(scale)
            alone.append(share)
        self.of_the_mean = float(np.mean(alone))

    def __getitem__(self, rows):
        """Some rows, float32 of shape (n, length)."""
        rows, found = np.asarray(rows), np.empty((len(rows), self.length), dtype=np.float32)
        for subject, chosen, patterns in self.by_subject(rows):
            mean, scale = self.scales[subject]
            whole = wrapped((patterns - mean) / scale, wrapped_to_multiple(patterns.shape[1], self._patch_size))
            found[chosen] = wrapped(whole, self.length)
        return found


def _measured(subject, rows, patch_size):
    """Mean and standard deviation of all voxels, wrapped to whole patches; and the share of the variance within voxels."""
    voxels = Voxels()
    try:
        voxels.measure(rows, np.arange(len(rows)))
    except InputError as error:
        raise InputError(f"{subject}: {error}") from None
    n_voxels = rows.shape[1]
    place = np.arange(wrapped_to_multiple(n_voxels, patch_size)) % n_voxels
    # What does not vary has no end of a scale.
    mean, spread = (np.where(np.isfinite(one), one, 0)[place].astype(float) for one in (voxels.mean, voxels.scale))
    within = (spread**2).mean()
    variance = within + mean.var()
    if not variance > 0:
        raise InputError(f"All responses of {subject} are one number, from which nothing can be learned; leave it out.")
    return float(mean.mean()), float(np.sqrt(variance)), float(within / variance)


class MaskedPretraining(ResponsePretraining):
    """The training of a masked autoencoder on responses alone.

    >>> from stages.training.recipe import Recipe
    >>> sizes = {"width": 32, "depth": 1, "n_heads": 2, "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    >>> responses = {"subj01": np.random.default_rng(0).standard_normal((20, 100)).astype(np.float32)}
    >>> pretraining = MaskedPretraining(Recipe(steps=3, batch_size=8), sizes).fit(responses)
    >>> pretraining.network.encode(torch.zeros(1, 100)).shape
    torch.Size([1, 7, 32])

    Parameters
    ----------
    recipe : stages.training.recipe.Recipe
        Its `validation` is the share of the responses that are held out.
    sizes : dict, optional
        Arguments of `stages.networks.masked_brain.MaskedBrainAutoencoder` but the number of voxels, as JSON keeps them.
    start : path, optional
        Folder of an autoencoder that is gone on with, see `load_masked_brain`: patterns are wrapped, or cut, to its length.
    device : str
    seconds_between_checkpoints : float
        Of a training that is given a folder.
    """

    network_class, error, label = MaskedBrainAutoencoder, "masked error", LABEL

    def fit(self, responses, *, folder=None, progress=SILENT):
        """Train.

        Parameters
        ----------
        responses : mapping of str to rows of shape (n_trials, n_voxels)
            By subject.
        folder : path, optional
            Where checkpoints are written, and read to go on with a training that was interrupted.
        progress : callable
            Called with (label, done, total).

        Returns
        -------
        self
        """
        recipe, network, started = self.recipe, self._begun(), ""
        patch_size = self.sizes.get("patch_size", 16) if network is None else network.patch_size
        rows = UnpairedResponses(responses, patch_size, network and network.n_voxels)
        if network is None:
            with random_state_kept():
                seed_all(recipe.seed)
                network = MaskedBrainAutoencoder(rows.n_voxels, **self.sizes)
        else:
            started = identity_of(network)
        with telling_of_short_memory(recipe, self.device):
            learner = _Masked(network).to(self.device).requires_grad_(True)
            for fixed in (network.pos_embed, network.decoder_pos_embed):
                fixed.requires_grad_(False)
        described = [self.sizes, started, [(name, one.shape) for name, one in responses.items()], rows.scales]
        self.learn(learner, rows, hashlib.sha256(repr(described).encode()).hexdigest(), folder, progress)
        self._network = network.requires_grad_(False)
        self._config = {
            "architecture": MaskedBrainAutoencoder.__name__,
            "n_voxels": network.n_voxels,
            "sizes": self.sizes,
            "recipe": plain_recipe(recipe),
            "of the mean": rows.of_the_mean,
            "responses": {
                name: {
                    "n": len(one),
                    "n_voxels": one.shape[1],
                    "mean": rows.scales[name][0],
                    "sd": rows.scales[name][1],
                }
                for name, one in responses.items()
            },
            "curves": self._curves.lines,
        }
        return self

    def _begun(self):
        """The autoencoder that is gone on with, whose sizes are taken but for what is masked; None without one."""
        if self.start is None:
            return None
        own = {name: self.sizes[name] for name in ("mask_ratio", "focus", "focus_rate") if name in self.sizes}
        try:
            network = load_masked_brain(self.start, None, masking=own)
        except CheckpointError as error:
            raise InputError(f"The pretraining cannot go on from {self.start} ({error}); name another.") from None
        self.sizes = network.sizes
        return network

    def cost(self, n_voxels):
        """Count what a fit will take, on outlines: `stages.training.cost.Cost`, or None if it cannot be counted.

        Parameters
        ----------
        n_voxels : int
            Of the subject with most; that of an autoencoder that is gone on with comes first.
        """
        sizes = self.sizes
        if (begun := self._begun()) is not None:
            n_voxels, sizes = begun.n_voxels, begun.sizes
        length = wrapped_to_multiple(n_voxels, sizes.get("patch_size", 16))
        return cost_of(
            lambda: _Masked(MaskedBrainAutoencoder(n_voxels, **sizes)), lambda n: torch.empty(n, length), self.recipe
        )

    def summary(self):
        (row,) = super().summary()
        return [row | ({"error of the voxels' means": self._config["of the mean"]} if self._curves.lines else {})]

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Open what `save_pretrained` wrote.

        Raises
        ------
        InputError
            A file is absent or damaged.
        """
        try:
            opened = cls(None, device=device)
            opened._config = read_json_object(Path(folder) / CONFIG_FILE, cls.__name__)
            opened._network = load_masked_brain(folder, None, device).requires_grad_(False)
            opened.sizes, opened._curves = opened._network.sizes, Curves(opened._config.get("curves", ()))
        except CheckpointError as error:
            raise InputError(f"No pretraining can be opened in {folder} ({error}); pretrain again.") from None
        return opened


class _Masked(nn.Module):
    """What is trained: the autoencoder with its loss, `stages.training.loop.Learner`."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, batch):
        loss, _, _ = self.network(batch)
        return loss, {}
