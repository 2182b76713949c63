"""T2I-adapters: small networks that turn a map into features, which are added to the UNet's own on its way down.

Mou and others, 2023 ("T2I-Adapter"), as diffusers has them. The features do not depend on the time, so they are computed once
for each picture; of several adapters they are added, each times its scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from diffusers import T2IAdapter

from stages.checkpoints.strict_loading import load_strictly
from stages.generators.diffusion.conditioners import Conditioner
from stages.generators.diffusion.control_maps import Control, scales_of, stacked_maps
from stages.generators.diffusion.sampler import padded
from weights.manifest import CheckpointError


class T2IAdapters(Conditioner):
    """One or more T2I-adapters, each by the scale of its value; else as `stages.generators.diffusion.controls.ControlBranches`.

    >>> from weights import store
    >>> colours = Control("colours", store.path("tiny-colour-adapter"), (8, 8, 3), enlarged="nearest")
    >>> network = T2IAdapter.from_pretrained(store.path("tiny-colour-adapter"))
    >>> T2IAdapters([(network, colours)], image_size=64).takes
    {'colours': (8, 8, 3)}

    Parameters
    ----------
    adapters : sequence of (diffusers.T2IAdapter, Control)
    image_size : int
        Side of the picture in pixels.

    Attributes
    ----------
    takes : dict of str to tuple
        Shapes of what is read.
    networks : tuple of torch.nn.Module
    """

    takes_weights = "the scale of the adapter's features (0: none, 1: as trained)"

    def __init__(self, adapters: Sequence[tuple[T2IAdapter, Control]], image_size):
        self.adapters, self._image_size = tuple(adapters), image_size
        self.reads = tuple(control.reads for _, control in self.adapters)
        self.takes = {control.reads: control.shape for _, control in self.adapters}
        self.networks = tuple(network for network, _ in self.adapters)

    def prepare(self, value, sampling):
        features = None
        for (network, control), rows in zip(self.adapters, zip(*value)):
            scales = scales_of(control.reads, sampling)
            if scales is None:
                continue
            maps = stacked_maps(rows, network.config.in_channels, self._image_size, control.enlarged)
            found = [each * scales for each in network(maps.to(sampling.device, sampling.dtype))]
            features = found if features is None else [before + each for before, each in zip(features, found)]
        if features is None:
            return sampling
        return replace(sampling, controls=(*sampling.controls, Features(tuple(features), sampling.guided)))


@dataclass(frozen=True)
class Features:
    """What adapters add to a UNet on its way down, the same at every step.

    Attributes
    ----------
    features : tuple of tensor of shape (n, channels, size, size)
        One for each level of the UNet.
    guided : bool
        Whether unconditional rows stand in front of the n rows.
    """

    features: tuple
    guided: bool

    def of_fixed_shape(self, n):
        """Return this with the last row repeated until there are n."""
        return replace(self, features=padded(self.features, n))

    def __call__(self, rows, timestep, tokens, arguments):
        """Return arguments of the UNet; a list of its own, for diffusers' UNet empties it."""
        found = [torch.cat([each, each]) if self.guided else each for each in self.features]
        return {"down_intrablock_additional_residuals": found}


def load_t2i_adapters(adapters: Sequence[Control], unet, dtype, image_size):
    """Load T2I-adapters strictly from their folders, and refuse those of another UNet.

    Arguments and errors as of `stages.generators.diffusion.controls.load_control_branches`.

    Returns
    -------
    T2IAdapters
    """
    loaded = []
    for control in adapters:
        network = load_strictly(T2IAdapter, control.folder, dtype)
        ours, theirs = list(network.config.channels), list(unet.config.block_out_channels)
        if ours[: len(theirs)] != theirs[: len(ours)]:
            raise CheckpointError(
                f"The adapter in {control.folder} has features of {ours} channels, but the UNet that it is to steer has "
                f"{theirs}; give the folder of an adapter of this generator."
            )
        loaded.append((network.requires_grad_(False), control))
    return T2IAdapters(loaded, image_size)
