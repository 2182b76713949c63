"""A control branch whose hint is a map of features: added behind the branch's first convolution, with no encoder of its own.

A ControlNet (Zhang et al., ICCV 2023) as NeuroPictor has it (Huo et al., ECCV 2024): the first half of a UNet, copied, whose
outputs go through convolutions that begin as zeros, and are added to what the UNet's second half reads.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager, nullcontext

import torch
from diffusers import ControlNetModel

from stages.checkpoints.strict_loading import refusing_values
from stages.ground.errors import InputError

# A branch that reads feature maps has no use for the encoder of pictures that diffusers makes beside it: the smallest one.
_NO_HINT = {"conditioning_embedding_out_channels": (1, 1), "conditioning_channels": 1}


class FeatureControlNetModel(ControlNetModel):
    """A control net without a hint encoder: what it reads is added behind its first convolution.

    Its arguments, its configuration and its tensors are those of diffusers' ``ControlNetModel`` but for
    ``controlnet_cond_embedding``, of which it has none.

    >>> sizes = {"block_out_channels": (8,), "down_block_types": ("DownBlock2D",), "norm_num_groups": 4, "layers_per_block": 1}
    >>> branch = FeatureControlNetModel(**sizes, cross_attention_dim=8, attention_head_dim=2)
    >>> [name for name in branch.state_dict() if name.startswith("controlnet_cond_embedding")]
    []
    """

    @functools.wraps(ControlNetModel.__init__)
    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self.controlnet_cond_embedding = torch.nn.Identity()


def branch_config(unet):
    """Configuration of the branch of a UNet, as plain data.

    Parameters
    ----------
    unet : diffusers.UNet2DConditionModel
        On any device; the meta device will do.

    Returns
    -------
    config : dict
        What `feature_branch` takes.
    """
    with torch.device("meta"):
        branch = FeatureControlNetModel.from_unet(unet, load_weights_from_unet=False, **_NO_HINT)
    return {name: value for name, value in branch.config.items() if not name.startswith("_") and value is not None}


def feature_branch(config):
    """A branch with random weights, but for its last convolutions, which are zero.

    >>> from diffusers import UNet2DConditionModel
    >>> unet = UNet2DConditionModel(
    ...     sample_size=8, block_out_channels=(8,), norm_num_groups=4, attention_head_dim=2, cross_attention_dim=8,
    ...     down_block_types=("CrossAttnDownBlock2D",), up_block_types=("CrossAttnUpBlock2D",),
    ... )
    >>> branch = feature_branch(branch_config(unet))
    >>> branch = with_first_half(branch, unet)
    >>> down, middle = branch(torch.randn(2, 4, 8, 8), 5, torch.randn(2, 7, 8), torch.randn(2, 8, 8, 8), return_dict=False)
    >>> len(down), all(not one.any() for one in (*down, middle))
    (3, True)

    Parameters
    ----------
    config : dict
        From `branch_config`.

    Returns
    -------
    branch : FeatureControlNetModel
        Its `controlnet_cond` is a map (n, channels of the first block, height, width).
    """
    with refusing_values(FeatureControlNetModel.__name__, "the settings of the control branch"):
        return FeatureControlNetModel.from_config(dict(config))


def with_first_half(branch, unet):
    """Copy the first half of a UNet into its branch, and return the branch; its last convolutions stay as they are."""
    tensors, own = unet.state_dict(), branch.state_dict()
    copied = {name: value for name, value in own.items() if not name.startswith("controlnet_")}
    if unfit := [name for name in copied if name not in tensors or tensors[name].shape != own[name].shape]:
        raise InputError(
            f"The control branch has a tensor {unfit[0]} of shape {tuple(own[unfit[0]].shape)} that its UNet does not have; "
            "make it of this UNet's configuration."
        )
    branch.load_state_dict({**own, **{name: tensors[name] for name in copied}})
    return branch


class ControlledDenoiser:
    """What a UNet predicts of noisy latents, under tokens and a map of features that goes through its branch.

    Neither network is held as a module: a learner that trains the branch has it already, and the UNet stays as it is.

    Parameters
    ----------
    unet : diffusers.UNet2DConditionModel
        It is frozen here.
    branch : FeatureControlNetModel
    first_half : {"without gradient", "with gradient"}
        Whether the tokens are trained through the attention of the UNet's first half. Published: without, as the authors run
        that half without a gradient; they are trained through the second half, and through the branch.
    """

    def __init__(self, unet, branch, first_half="without gradient"):
        self.unet, self.branch = unet.requires_grad_(False).eval(), branch
        self._detached = first_half == "without gradient"

    def __call__(self, noisy, timesteps, tokens, feature_map):
        """Predictions (n, channels, height, width), tensor.

        Parameters
        ----------
        noisy : tensor of shape (n, channels, height, width)
        timesteps : int tensor of shape (n,)
        tokens : tensor of shape (n, n_tokens, width)
        feature_map : tensor of shape (n, channels of the first block, height, width)
        """
        unet = self._beside(noisy)
        down, middle = self.branch(noisy, timesteps, tokens, feature_map, return_dict=False)
        with _first_half_alone(unet) if self._detached else nullcontext():
            found = unet(
                noisy,
                timesteps,
                tokens,
                down_block_additional_residuals=down,
                mid_block_additional_residual=middle,
                return_dict=False,
            )
        return found[0][:, : noisy.shape[1]]

    def _beside(self, tensor):
        """The UNet, on the device of a tensor."""
        if self.unet.device != tensor.device:
            self.unet.to(tensor.device)
        return self.unet


@contextmanager
def _first_half_alone(unet):
    """Let no gradient reach the tokens through the blocks of a UNet's first half."""

    def detach(block, positional, named):
        return positional, {name: value.detach() if torch.is_tensor(value) else value for name, value in named.items()}

    hooks = [block.register_forward_pre_hook(detach, with_kwargs=True) for block in (*unet.down_blocks, unet.mid_block)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
