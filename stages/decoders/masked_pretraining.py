"""Pretraining of an encoder on responses alone: nobody has to know what was seen (MinD-Vis, Chen et al., CVPR 2023).

Of each subject all voxels have one mean and one standard deviation; patterns are wrapped to the longest of all subjects, and a
masked autoencoder tells most of their patches from the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import nn

from stages.adapters.fixed_length import wrapped, wrapped_to_multiple
from stages.checkpoints.pretrained import CONFIG_FILE, save_network
from stages.checkpoints.strict_loading import read_json_object
from stages.decoders.standardised import Voxels
from stages.ground.errors import InputError
from stages.ground.lazy_rows import Rows
from stages.ground.progress import SILENT
from stages.networks.masked_brain import MaskedBrainAutoencoder, identity_of, load_masked_brain
from stages.training.batches import Shuffled, held_out, random_state_kept, seed_all
from stages.training.cost import cost_of
from stages.training.curves import Curves
from stages.training.loop import train
from stages.training.reading_ahead import ReadingAhead
from stages.training.recipe import plain_recipe
from stages.training.state import remove_checkpoint
from stages.training.trouble import telling_of_short_memory
from weights.manifest import CheckpointError

LABEL = "pretraining on masked responses"


class UnpairedResponses:
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
        if not responses or not all(len(rows) for rows in responses.values()):
            raise InputError("There are no responses to learn from; give some of one subject or more.")
        self.responses = dict(responses)
        self.n_voxels = n_voxels or max(rows.shape[1] for rows in self.responses.values())
        self.length, self._patch_size = wrapped_to_multiple(self.n_voxels, patch_size), patch_size
        self._ends = np.cumsum([len(rows) for rows in self.responses.values()])
        self.scales, alone = {}, []
        for subject, rows in self.responses.items():
            *scale, share = _measured(subject, rows, patch_size)
            self.scales[subject] = tuple(scale)
            alone.append(share)
        self.of_the_mean = float(np.mean(alone))

    def __len__(self):
        return int(self._ends[-1])

    @property
    def are_read(self):
        """Whether any lie in files."""
        return not all(type(rows) is np.ndarray for rows in self.responses.values())

    def __getitem__(self, rows):
        """Some rows, float32 of shape (n, length)."""
        rows, found = np.asarray(rows), np.empty((len(rows), self.length), dtype=np.float32)
        whose = np.searchsorted(self._ends, rows, side="right")
        for place in np.unique(whose):
            (chosen,), subject = np.nonzero(whose == place), list(self.responses)[place]
            own = self.responses[subject]
            patterns = np.asarray(own[rows[chosen] - self._ends[place] + len(own)], dtype=np.float32)
            mean, scale = self.scales[subject]
            whole = wrapped((patterns - mean) / scale, wrapped_to_multiple(own.shape[1], self._patch_size))
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


class MaskedPretraining:
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

    def __init__(self, recipe, sizes=None, start=None, device="cpu", seconds_between_checkpoints=60.0):
        self.recipe, self.sizes, self.start, self.device = recipe, dict(sizes or {}), start, device
        self.seconds_between_checkpoints = seconds_between_checkpoints
        self._network, self._config, self._curves = None, {}, Curves()

    @property
    def network(self):
        """The pretrained autoencoder."""
        if self._network is None:
            raise InputError("This pretraining has not been fitted; call fit, or open one with from_pretrained.")
        return self._network

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
        kept_away = held_out(len(rows), recipe.validation, recipe.seed)
        learned = np.setdiff1d(np.arange(len(rows)), kept_away)
        order = Shuffled(len(learned), recipe.batch_size, recipe.seed)

        def read(step):
            return rows[learned[order(step)]]

        with telling_of_short_memory(recipe, self.device):
            learner = _Masked(network).to(self.device).requires_grad_(True)
            for fixed in (network.pos_embed, network.decoder_pos_embed):
                fixed.requires_grad_(False)
        described = [self.sizes, started, [(name, one.shape) for name, one in responses.items()], rows.scales]
        with ReadingAhead(read, recipe.steps) if rows.are_read else nullcontext() as ahead:
            self._curves = train(
                learner,
                ahead or read,
                recipe,
                folder,
                held_out=_Batches(rows, kept_away, recipe.batch_size, ahead),
                identity=hashlib.sha256(repr(described).encode()).hexdigest(),
                progress=progress,
                label=LABEL,
                seconds_between_checkpoints=self.seconds_between_checkpoints,
            )
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
        """How large the network is and what it reached: one row. An error of 1 is the variance of the responses."""
        parameters = sum(one.numel() for one in self.network.parameters())
        row = {"network": MaskedBrainAutoencoder.__name__, "parameters": parameters}
        if self._curves.lines:
            line = self._curves.lines[-1]
            row |= {"steps": line["step"], "masked error": line["loss"]}
            row |= {"validation error": line["validation"]} if line.get("validation") is not None else {}
            row |= {"error of the voxels' means": self._config["of the mean"]}
        return [row]

    def curves(self):
        """The course of training: dict of label to (steps, values)."""
        labels = {"loss": "masked error", "validation": "validation error", "gradient": "norm of the gradient"}
        return {labels.get(name, name): self._curves[name] for name in self._curves}

    def save_pretrained(self, folder):
        """Write ``model.safetensors`` and ``config.json``, a checkpoint folder; remove that of the training."""
        save_network(self.network, folder, self._config)
        remove_checkpoint(folder)

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


class _Batches:
    """Batches of the rows that are held out, made anew whenever they are gone through."""

    def __init__(self, rows, kept_away, batch_size, ahead):
        self._rows, self._kept_away, self._size, self._ahead = rows, kept_away, batch_size, ahead

    def __iter__(self):
        for start in range(0, len(self._kept_away), self._size):
            chosen = self._kept_away[start : start + self._size]
            yield self._rows[chosen] if self._ahead is None else self._ahead.now(self._rows.__getitem__, chosen)
