"""Pretraining of an encoder of flattened cortices on responses alone, without a mask (NeuroPictor, Huo et al., ECCV 2024).

Every voxel of a subject has a mean and a standard deviation of its own; patterns become pictures, and an autoencoder draws these
from one vector.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import nn

from stages.adapters.subject_rasters import in_order
from stages.checkpoints.pretrained import CONFIG_FILE, fill_network, read_network_tensors, save_network
from stages.checkpoints.strict_loading import read_json_object, refusing_values
from stages.decoders.standardised import Voxels
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from stages.networks.surface_autoencoder import SurfaceAutoencoder
from stages.training.batches import Shuffled, held_out, random_state_kept, seed_all
from stages.training.cost import cost_of
from stages.training.curves import Curves
from stages.training.loop import train
from stages.training.reading_ahead import ReadingAhead
from stages.training.recipe import plain_recipe
from stages.training.state import remove_checkpoint
from stages.training.trouble import telling_of_short_memory
from weights.hashes import hash_file
from weights.manifest import CheckpointError

LABEL = "pretraining on pictures of responses"


class SurfacePictures:
    """Responses of one or several subjects as pictures, by the rows of all, with the mask of each.

    >>> pictures = SurfacePictures({"subj01": np.float32([[1, 2, 3, 4], [3, 4, 5, 8]])}, size=2)
    >>> pictures[[1]]["pictures"].tolist(), pictures[[1]]["masks"].all()
    ([[[[1.0, 1.0], [1.0, 1.0]]]], np.True_)

    Parameters
    ----------
    responses : mapping of str to rows of shape (n_responses, n_voxels)
        By subject.
    size : int
        Height and width of a picture in pixels.
    rasters : mapping of str to stages.adapters.surface_raster.SurfaceRaster, optional
        Where voxels lie, by subject; those of others lie in their order.

    Raises
    ------
    InputError
        There is no subject or no row, or a raster is of something else.
    """

    def __init__(self, responses, size, rasters: Mapping | None = None):
        if not responses or not all(len(rows) for rows in responses.values()):
            raise InputError("There are no responses to learn from; give some of one subject or more.")
        self.responses, self.size = dict(responses), size
        self._ends = np.cumsum([len(rows) for rows in self.responses.values()])
        self.voxels, self.rasters = {}, {}
        for subject, rows in self.responses.items():
            raster = (rasters or {}).get(subject) or in_order(rows.shape[1], size)
            if len(raster) != rows.shape[1] or raster.side != size:
                raise InputError(
                    f"The raster of {subject} puts {len(raster):,} values into {raster.side} pixels square, but there are "
                    f"{rows.shape[1]:,} values for {size} pixels; make it of this subject's own places."
                )
            self.rasters[subject], self.voxels[subject] = raster, Voxels()
            self.voxels[subject].measure(rows, np.arange(len(rows)))

    def __len__(self):
        return int(self._ends[-1])

    @property
    def are_read(self):
        """Whether any lie in files."""
        return not all(type(rows) is np.ndarray for rows in self.responses.values())

    def __getitem__(self, rows):
        """Some rows: `pictures` float32 (n, 1, size, size), and `masks` of that shape, bool."""
        rows = np.asarray(rows)
        shape = (len(rows), 1, self.size, self.size)
        pictures, masks = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=bool)
        whose = np.searchsorted(self._ends, rows, side="right")
        for place in np.unique(whose):
            (chosen,), subject = np.nonzero(whose == place), list(self.responses)[place]
            own, raster = self.responses[subject], self.rasters[subject]
            patterns = np.asarray(own[rows[chosen] - self._ends[place] + len(own)], dtype=np.float32)
            pictures[chosen] = raster.to_raster(self.voxels[subject](torch.from_numpy(patterns))).numpy()
            masks[chosen] = raster.mask
        return {"pictures": pictures, "masks": masks}


class SurfacePretraining:
    """The training of an autoencoder of flattened cortices on responses alone.

    >>> from stages.training.recipe import Recipe
    >>> sizes = {"size": 16, "patch_size": 8, "width": 16, "depth": 1, "n_heads": 2, "bottleneck": 8, "decoder_width": 8,
    ...          "decoder_depth": 1, "decoder_heads": 2}
    >>> responses = {"subj01": np.random.default_rng(0).standard_normal((20, 100)).astype(np.float32)}
    >>> pretraining = SurfacePretraining(Recipe(steps=3, batch_size=8), sizes).fit(responses)
    >>> pretraining.network.encode(torch.zeros(1, 1, 16, 16)).shape
    torch.Size([1, 5, 16])

    Parameters
    ----------
    recipe : stages.training.recipe.Recipe
        Its `validation` is the share of the responses that are held out.
    sizes : dict, optional
        Arguments of `stages.networks.surface_autoencoder.SurfaceAutoencoder`, as JSON keeps them.
    start : path, optional
        Folder of an autoencoder of these sizes that is gone on with.
    device : str
    rasters : mapping of str to SurfaceRaster, optional
        See `SurfacePictures`.
    seconds_between_checkpoints : float
        Of a training that is given a folder.
    """

    def __init__(self, recipe, sizes=None, start=None, device="cpu", rasters=None, seconds_between_checkpoints=60.0):
        self.recipe, self.sizes, self.start, self.device = recipe, dict(sizes or {}), start, device
        self.rasters, self.seconds_between_checkpoints = dict(rasters or {}), seconds_between_checkpoints
        self._network, self._config, self._curves = None, {}, Curves()

    @property
    def network(self):
        """The pretrained autoencoder."""
        if self._network is None:
            raise InputError("This pretraining has not been fitted; call fit, or open one with from_pretrained.")
        return self._network

    def fit(self, responses, *, folder=None, progress=SILENT):
        """Train; arguments as of `stages.decoders.masked_pretraining.MaskedPretraining.fit`."""
        recipe, begun = self.recipe, ""
        with random_state_kept():
            seed_all(recipe.seed)
            network = SurfaceAutoencoder(**self.sizes)
        if self.start is not None:
            try:
                network = _filled(network, self.start)
            except CheckpointError as error:
                raise InputError(f"The pretraining cannot go on from {self.start} ({error}); name another.") from None
            begun = hash_file(Path(self.start) / "model.safetensors")
        rows = SurfacePictures(responses, network.size, self.rasters)
        kept_away = held_out(len(rows), recipe.validation, recipe.seed)
        learned = np.setdiff1d(np.arange(len(rows)), kept_away)
        order = Shuffled(len(learned), recipe.batch_size, recipe.seed)

        def read(step):
            return rows[learned[order(step)]]

        with telling_of_short_memory(recipe, self.device):
            learner = _InsideTheMask(network).to(self.device)
        described = repr([self.sizes, begun, [(name, one.shape) for name, one in responses.items()]]).encode()
        digest = hashlib.sha256(described)
        for name, raster in rows.rasters.items():
            for values in (
                raster.pixels,
                raster.sheets,
                rows.voxels[name].mean.numpy(),
                rows.voxels[name].scale.numpy(),
            ):
                digest.update(np.ascontiguousarray(values).tobytes())
        with ReadingAhead(read, recipe.steps) if rows.are_read else nullcontext() as ahead:
            self._curves = train(
                learner,
                ahead or read,
                recipe,
                folder,
                held_out=_Batches(rows, kept_away, recipe.batch_size, ahead),
                identity=digest.hexdigest(),
                progress=progress,
                label=LABEL,
                seconds_between_checkpoints=self.seconds_between_checkpoints,
            )
        self._network = network.requires_grad_(False)
        self._config = {
            "architecture": SurfaceAutoencoder.__name__,
            "sizes": self.sizes,
            "recipe": plain_recipe(recipe),
            "responses": {
                name: {"n": len(one), "n_voxels": one.shape[1], "raster": rows.rasters[name].origin}
                for name, one in responses.items()
            },
            "curves": self._curves.lines,
        }
        return self

    def cost(self, n_voxels):
        """Count what a fit will take, on outlines: `stages.training.cost.Cost`, or None; of whatever number of voxels."""
        size = self.sizes.get("size", 256)

        def batch(n):
            return {"pictures": torch.empty(n, 1, size, size), "masks": torch.empty(n, 1, size, size)}

        return cost_of(lambda: _InsideTheMask(SurfaceAutoencoder(**self.sizes)), batch, self.recipe)

    def summary(self):
        """How large the network is and what it reached: one row. An error of 1 is the variance of the responses."""
        row = {
            "network": SurfaceAutoencoder.__name__,
            "parameters": sum(one.numel() for one in self.network.parameters()),
        }
        if self._curves.lines:
            line = self._curves.lines[-1]
            row |= {"steps": line["step"], "error inside the mask": line["loss"]}
            row |= {"validation error": line["validation"]} if line.get("validation") is not None else {}
        return [row]

    def curves(self):
        """The course of training: dict of label to (steps, values)."""
        labels = {"loss": "error inside the mask", "validation": "validation error", "gradient": "norm of the gradient"}
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
        path = Path(folder) / CONFIG_FILE
        try:
            config = read_json_object(path, cls.__name__)
            with refusing_values(cls.__name__, path), torch.device("meta"):
                opened = cls(None, config["sizes"], device=device)
                network = SurfaceAutoencoder(**opened.sizes)
            opened._network = _filled(network, folder).to(device).requires_grad_(False)
            opened._config, opened._curves = config, Curves(config.get("curves", ()))
        except CheckpointError as error:
            raise InputError(f"No pretraining can be opened in {folder} ({error}); pretrain again.") from None
        return opened


def _filled(network, folder):
    """A network with the tensors of a folder."""
    return fill_network(network, read_network_tensors(folder), folder)


class _InsideTheMask(nn.Module):
    """What is trained: the autoencoder with its loss, `stages.training.loop.Learner`."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, batch):
        return self.network.error(batch["pictures"], batch["masks"]), {}


class _Batches:
    """Batches of the rows that are held out, made anew whenever they are gone through."""

    def __init__(self, rows, kept_away, batch_size, ahead):
        self._rows, self._kept_away, self._size, self._ahead = rows, kept_away, batch_size, ahead

    def __iter__(self):
        for start in range(0, len(self._kept_away), self._size):
            chosen = self._kept_away[start : start + self._size]
            yield self._rows[chosen] if self._ahead is None else self._ahead.now(self._rows.__getitem__, chosen)
