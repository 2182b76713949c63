"""Control nets: copies of a UNet's way down that read a map and add to what the UNet passes on.

Zhang, Rao and Agrawala, 2023 ("Adding Conditional Control to Text-to-Image Diffusion Models"), as diffusers has them. Of several,
the residuals are added, each times its scale:

    skip_k = encoder_k + Σ_i scale_i · branch_i,k        middle = middle + Σ_i scale_i · branch_i,middle
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from diffusers import ControlNetModel

from stages.checkpoints.strict_loading import load_strictly
from stages.generators.diffusion.conditioners import Conditioner, stacked
from stages.generators.diffusion.control_maps import Control, scales_of, stacked_maps
from stages.generators.diffusion.sampler import padded
from stages.networks.feature_control import FeatureControlNetModel
from weights.manifest import CheckpointError

HINTS = {"pixels": ControlNetModel, "values": ControlNetModel, "features": FeatureControlNetModel}


@dataclass(frozen=True)
class ControlBranch:
    """A control net and the value that it reads.

    A branch whose configuration has no ``class_embed_type`` reads the time without the class labels that its UNet may add to
    it, as CMVDM's does; one that has it is given the UNet's.

    Attributes
    ----------
    network : diffusers.ControlNetModel
    control : Control
        The value's name, shape and form; its folder is not looked at.
    """

    network: ControlNetModel
    control: Control

    @property
    def takes(self):
        """Shape of the value."""
        if self.control.hint == "features" and len(self.control.shape) < 3:
            return (self.network.config.block_out_channels[0], None, None)
        return self.control.shape

    def maps(self, rows, size):
        """What the network reads of the rows, float32; see `stacked_maps`."""
        if self.control.hint != "pixels":
            given = next(torch.as_tensor(row) for row in rows if row is not None)
            return stacked(rows, torch.zeros(given.shape))
        return stacked_maps(rows, self.network.config.conditioning_channels, size, self.control.enlarged)


class ControlBranches(Conditioner):
    """One or more control nets, each by the scale of its value.

    Both halves of guidance read the same maps, unless a `Control` says otherwise. A scale of 0 in all rows leaves a branch out;
    their order does not matter but for rounding. An absent map has scale 0.

    >>> from weights import store
    >>> network = ControlNetModel.from_pretrained(store.path("tiny-control"))
    >>> contour = Control("contour", store.path("tiny-control"), (64, 64))
    >>> branches = ControlBranches([ControlBranch(network, contour)], image_size=64)
    >>> branches.reads, branches.takes
    (('contour',), {'contour': (64, 64)})

    Parameters
    ----------
    branches : sequence of ControlBranch
    image_size : int
        Side of the picture in pixels.

    Attributes
    ----------
    takes : dict of str to tuple
        Shapes of what is read.
    networks : tuple of torch.nn.Module
    """

    takes_weights = "the scale of the control net's residuals (0: none, 1: as trained)"

    def __init__(self, branches: Sequence[ControlBranch], image_size):
        self.branches, self._image_size = tuple(branches), image_size
        self.reads = tuple(branch.control.reads for branch in self.branches)
        self.takes = {branch.control.reads: branch.takes for branch in self.branches}
        self.networks = tuple(branch.network for branch in self.branches)

    def prepare(self, value, sampling):
        steered = []
        for branch, rows in zip(self.branches, zip(*value)):
            scales = scales_of(branch.control.reads, sampling)
            if scales is not None:
                maps = branch.maps(rows, self._image_size).to(sampling.device, sampling.dtype)
                nothing = scales if branch.control.unconditional == "kept" else torch.zeros_like(scales)
                steered.append((branch.network, maps, torch.cat([nothing, scales]) if sampling.guided else scales))
        if not steered:
            return sampling
        return replace(sampling, controls=(*sampling.controls, Residuals(tuple(steered), sampling.guided)))


@dataclass(frozen=True)
class Residuals:
    """What control nets add to a UNet's skips and to its middle, at one step after the other.

    Attributes
    ----------
    steered : tuple of (ControlNetModel, tensor of shape (n, channels, height, width), tensor (n or 2 · n, 1, 1, 1))
        Networks, their maps, and the scale of each row, where the networks compute.
    guided : bool
        Whether unconditional rows stand in front of the n rows.
    """

    steered: tuple
    guided: bool

    def of_fixed_shape(self, n):
        """Return this with the last row repeated until there are n."""
        halves = 2 if self.guided else 1
        steered = (
            (network, padded(maps, n), torch.cat([padded(half, n) for half in scales.chunk(halves)]))
            for network, maps, scales in self.steered
        )
        return replace(self, steered=tuple(steered))

    def __call__(self, rows, timestep, tokens, arguments):
        """Compute them for noisy rows; returns arguments of the UNet.

        Parameters
        ----------
        rows : tensor of shape (n, channels, size, size), or (2 · n, …) under guidance
        timestep : tensor
        tokens : tensor of shape (len(rows), n_tokens, width), or None
        arguments : mapping
            What else the UNet is called with.
        """
        down, middle = None, None
        for network, maps, scales in self.steered:
            if self.guided:
                maps = torch.cat([maps, maps])
            found, found_middle = network(
                rows, timestep, tokens, controlnet_cond=maps, **read_by(network, arguments), return_dict=False
            )
            found = [each * scales for each in found]
            down = found if down is None else [before + each for before, each in zip(down, found)]
            middle = found_middle * scales if middle is None else middle + found_middle * scales
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}


def read_by(network, arguments):
    """Those of a UNet's arguments that a control net's configuration asks for: class labels, and what is added to the time."""
    config, found = network.config, {}
    if network.class_embedding is not None:
        found["class_labels"] = arguments["class_labels"]
    if config.addition_embed_type is not None:
        found["added_cond_kwargs"] = arguments["added_cond_kwargs"]
    return found


def load_control_branches(controls: Sequence[Control], unet, dtype, image_size):
    """Load control nets strictly from their folders, and refuse those of another UNet.

    Parameters
    ----------
    controls : sequence of Control
    unet : diffusers.UNet2DConditionModel
        That they steer.
    dtype : torch.dtype
    image_size : int

    Returns
    -------
    ControlBranches

    Raises
    ------
    CheckpointError
        A file is absent or damaged, or a tensor missing, unexpected or misshapen; or the network fits another UNet.
    """
    branches = []
    for control in controls:
        network = load_strictly(HINTS[control.hint], control.folder, dtype)
        for name in ("in_channels", "block_out_channels", "layers_per_block", "cross_attention_dim"):
            ours, theirs = network.config[name], unet.config[name]
            if _plain(ours) != _plain(theirs):
                raise CheckpointError(
                    f"The control net in {control.folder} has {name} {ours}, but the UNet that it is to steer has {theirs}; "
                    "give the folder of a control net of this generator."
                )
        branches.append(ControlBranch(network.requires_grad_(False), control))
    return ControlBranches(branches, image_size)


def _plain(value):
    return list(value) if isinstance(value, (tuple, list)) else value
