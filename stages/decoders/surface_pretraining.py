"""Pretraining of an encoder of flattened cortices on responses alone, without a mask (NeuroPictor, Huo et al., ECCV 2024).

Every voxel of a subject has a mean and a standard deviation of its own; patterns become pictures, and an autoencoder draws these
from one vector.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from stages.adapters.subject_rasters import in_order
from stages.checkpoints.pretrained import CONFIG_FILE, fill_network, read_network_tensors
from stages.checkpoints.strict_loading import read_json_object, refusing_values
from stages.decoders.response_pretraining import ResponsePretraining, SubjectRows
from stages.decoders.standardised import Voxels
from stages.ground.errors import InputError
from stages.ground.progress import SILENT
from stages.networks.surface_autoencoder import SurfaceAutoencoder
from stages.training.batches import random_state_kept, seed_all
from stages.training.cost import cost_of
from stages.training.curves import Curves
from stages.training.recipe import plain_recipe
from stages.training.trouble import telling_of_short_memory
from weights.hashes import hash_file
from weights.manifest import CheckpointError

LABEL = "pretraining on pictures of responses"


class SurfacePictures(SubjectRows):
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
        super().__init__(responses)
        self.size = size
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

    def __getitem__(self, rows):
        """Some rows: `pictures` float32 (n, 1, size, size), and `masks` of that shape, bool."""
        rows = np.asarray(rows)
        shape = (len(rows), 1, self.size, self.size)
        pictures, masks = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=bool)
        for subject, chosen, patterns in self.by_subject(rows):
            raster = self.rasters[subject]
            pictures[chosen] = raster.to_raster(self.voxels[subject](torch.from_numpy(patterns))).numpy()
            masks[chosen] = raster.mask
        return {"pictures": pictures, "masks": masks}


class SurfacePretraining(ResponsePretraining):
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

    network_class, error, label = SurfaceAutoencoder, "error inside the mask", LABEL

    def __init__(self, recipe, sizes=None, start=None, device="cpu", rasters=None, seconds_between_checkpoints=60.0):
        super().__init__(recipe, sizes, start, device, seconds_between_checkpoints)
        self.rasters = dict(rasters or {})

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
        self.learn(learner, rows, digest.hexdigest(), folder, progress)
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
