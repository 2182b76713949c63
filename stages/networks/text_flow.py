"""Versatile Diffusion's text flow: a UNet over one vector of a text, under the image flow's own contexts.

Xu et al. (2023) denoise an Optimus latent of 768 values as 320 channels and more of 4 × 1 places each. Every layer of the image
flow has a flat one here: residual blocks convolve with kernels of one place, and one linear layer stands where a map is halved or
doubled. The transformers belong to the context, not to what is denoised: both flows attend by the same ones. So does the
embedding of time, which is the image flow's.

`TextFlow` is built from a joined UNet of `stages.networks.dual_context_unet` and has its tensors under the names of
``text_unet/`` in diffusers' layout.
"""

from pathlib import Path

import torch
from torch import nn

from stages.checkpoints.stored_tensors import StoredTensors
from stages.checkpoints.strict_loading import check_tensors
from stages.networks.versatile_diffusion_unet import FLAT_PLACES, TEXT_FLOW, flat_width, read_text_config

# Names in the file of what this network has from the image flow.
_OF_THE_IMAGE_FLOW = ("time_embedding.",)
_TRANSFORMERS = ".attentions."


class FlatBlock(nn.Module):
    """A residual block without places: norm, SiLU and a matrix twice, the time's embedding between them.

    Parameters
    ----------
    inputs, outputs : int
        Values, places and channels together.
    time : int
        Width of the time's embedding.
    groups : int
        Of the norms.
    eps : float
    places : int
        Of a map.
    """

    def __init__(self, inputs, outputs, time, groups, eps, places=FLAT_PLACES):
        super().__init__()
        self.places = places
        self.norm1, self.norm2 = nn.GroupNorm(groups, inputs, eps), nn.GroupNorm(groups, outputs, eps)
        self.conv1, self.conv2 = nn.Conv2d(inputs, outputs, 1), nn.Conv2d(outputs, outputs, 1)
        self.time_emb_proj = nn.Linear(time, outputs)
        self.conv_shortcut = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        _nothing(self.conv2)

    def forward(self, hidden, time):
        """Map (n, channels, 4, 1) to (n, other channels, 4, 1)."""
        flat = hidden.flatten(1)[:, :, None, None]
        updated = self.conv1(nn.functional.silu(self.norm1(flat)))
        updated = updated + self.time_emb_proj(nn.functional.silu(time))[:, :, None, None]
        updated = self.conv2(nn.functional.silu(self.norm2(updated)))
        kept = flat if self.conv_shortcut is None else self.conv_shortcut(flat)
        return (kept + updated).reshape(len(hidden), -1, self.places, 1)


class FlatLinear(nn.Linear):
    """A linear layer from maps of a few places in a column, 4 as published, or from a vector, to such maps."""

    def __init__(self, inputs, outputs, places=FLAT_PLACES):
        super().__init__(inputs, outputs)
        self.places = places

    def forward(self, hidden):
        return super().forward(hidden.flatten(1)).reshape(len(hidden), -1, self.places, 1)


class FlatLevel(nn.Module):
    """What a block of the image flow is without places.

    Parameters
    ----------
    block : diffusers' down, middle or up block
    places : int
    **sizes
        As `FlatBlock` takes them.
    """

    def __init__(self, block, places=FLAT_PLACES, **sizes):
        super().__init__()
        self.attends = bool(getattr(block, "has_cross_attention", False))
        self.resnets = nn.ModuleList(
            FlatBlock(places * one.in_channels, places * one.out_channels, places=places, **sizes)
            for one in block.resnets
        )
        for name in ("downsamplers", "upsamplers"):
            if found := getattr(block, name, None):
                widths = [places * one.out_channels for one in found]
                setattr(self, name, nn.ModuleList(FlatLinear(width, width, places) for width in widths))
            else:
                setattr(self, name, None)


class TextFlow(nn.Module):
    """Predict the noise in a text's latent under an image context and a text context.

    >>> from stages.networks.dual_context_unet import DualContextUNet2DConditionModel
    >>> sizes = {"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1, "attention_head_dim": 2}
    >>> blocks = {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D")}
    >>> blocks |= {"up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}
    >>> contexts = {"cross_attention_dim": 6, "image_context_tokens": 5, "text_context_tokens": 3}
    >>> unet = DualContextUNet2DConditionModel(sample_size=8, **sizes, **blocks, **contexts)
    >>> flow = TextFlow(unet, width=12)
    >>> flow.contexts[0] is unet.down_blocks[0].attentions[0]
    True
    >>> weights = {"context_weights": torch.tensor([[0.6, 0.4]])}
    >>> noise = flow(torch.randn(1, 12, 1, 1), 21, torch.randn(1, 8, 6), cross_attention_kwargs=weights)[0]
    >>> noise.shape, bool((noise == 0).all())  # the last layer is 0 until it is trained
    (torch.Size([1, 12, 1, 1]), True)

    Parameters
    ----------
    unet : stages.networks.dual_context_unet.DualContextUNet2DConditionModel
        The joined UNet, whose transformers and embedding of time are taken, the same objects, and nothing else.
    width : int
        Values of a latent.
    norm_eps : float
        Of the residual blocks' norms and the last one.
    places : int
        Of a map; 4 as published. Every layer is this many times as wide as the image flow's.

    Attributes
    ----------
    contexts : torch.nn.ModuleList
        The transformers, in the order in which they are called.
    """

    def __init__(self, unet, width=768, norm_eps=1e-5, places=FLAT_PLACES):
        super().__init__()
        self.width, self.context_tokens = width, unet.context_tokens
        first, groups = unet.conv_in.out_channels, unet.config.norm_num_groups
        sizes = {"time": unet.time_embedding.linear_2.out_features, "groups": groups, "eps": norm_eps}
        sizes |= {"places": places}
        self.conv_in = FlatLinear(width, places * first, places)
        self.down_blocks = nn.ModuleList(FlatLevel(block, **sizes) for block in unet.down_blocks)
        self.mid_block = FlatLevel(unet.mid_block, **sizes)
        self.up_blocks = nn.ModuleList(FlatLevel(block, **sizes) for block in unet.up_blocks)
        self.conv_norm_out = nn.GroupNorm(groups, first, norm_eps)
        self.conv_out = nn.Linear(places * first, width)
        _nothing(self.conv_out)
        self._own = tuple(self.state_dict())
        self.time_proj, self.time_embedding = unet.time_proj, unet.time_embedding
        self.token_position = getattr(unet, "token_position", None)
        blocks = (*unet.down_blocks, unet.mid_block, *unet.up_blocks)
        self.contexts = nn.ModuleList(
            one for block in blocks if getattr(block, "has_cross_attention", False) for one in block.attentions
        )

    @property
    def dtype(self):
        """What it computes in."""
        return self.conv_in.weight.dtype

    def own_tensors(self):
        """Its tensors by their names in ``text_unet/``, without those that it has from the image flow."""
        state = self.state_dict()
        return {name: state[name] for name in self._own}

    def forward(self, sample, timestep, encoder_hidden_states, *, cross_attention_kwargs=None, return_dict=False):
        """Predict the noise.

        Parameters
        ----------
        sample : tensor of shape (n_rows, width, 1, 1)
        timestep : int, or tensor of shape () or (n_rows,)
        encoder_hidden_states : tensor of shape (n_rows, n_image_tokens + n_text_tokens, cross_attention_dim)
            Image tokens first, then text tokens.
        cross_attention_kwargs : dict
            As `stages.networks.dual_context_unet.DualContextUNet2DConditionModel` takes it.

        Returns
        -------
        (noise,) : tuple of one tensor, shaped as sample
        """
        if self.token_position is not None:
            encoder_hidden_states = encoder_hidden_states + self.token_position
        contexts = iter(self.contexts)

        def through(level, resnet, hidden):
            hidden = resnet(hidden, time)
            if not level.attends:
                return hidden
            return next(contexts)(hidden, encoder_hidden_states, cross_attention_kwargs=cross_attention_kwargs)[0]

        times = torch.as_tensor(timestep, device=sample.device).reshape(-1).expand(len(sample))
        time = self.time_embedding(self.time_proj(times).to(sample.dtype))
        hidden = self.conv_in(sample)
        kept = [hidden]
        for level in self.down_blocks:
            for resnet in level.resnets:
                hidden = through(level, resnet, hidden)
                kept.append(hidden)
            for layer in level.downsamplers or ():
                hidden = layer(hidden)
                kept.append(hidden)
        first, *others = self.mid_block.resnets
        hidden = through(self.mid_block, first, hidden)
        for resnet in others:
            hidden = resnet(hidden, time)
        for level in self.up_blocks:
            for resnet in level.resnets:
                hidden = through(level, resnet, torch.cat([hidden, kept.pop()], dim=1))
            for layer in level.upsamplers or ():
                hidden = layer(hidden)
        hidden = nn.functional.silu(self.conv_norm_out(hidden))
        return (self.conv_out(hidden.flatten(1)).reshape(sample.shape),)


def _nothing(layer):
    """Set a layer's tensors to 0, as blocks begin in training."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def load_text_flow(folder, unet, dtype=torch.float32):
    """Load the text flow's own layers, every tensor accounted for, and join them with the image flow's contexts.

    >>> flow = load_text_flow(folder, unet)  # doctest: +SKIP

    Parameters
    ----------
    folder : path
        Holds ``text_unet/`` in diffusers' layout, with or without its transformers, which the joined UNet has. Its configuration
        may say how many places a map has, ``flat_places``; diffusers has 4 always.
    unet : stages.networks.dual_context_unet.DualContextUNet2DConditionModel
    dtype : torch.dtype
        What its own layers are computed in, whatever they are stored in.

    Returns
    -------
    flow : TextFlow
        On the CPU, in evaluation mode, without gradients.

    Raises
    ------
    CheckpointError
        A file is absent or damaged, the configuration is another flow's, or a tensor is missing, unexpected or misshapen.
    """
    folder = Path(folder) / TEXT_FLOW
    config = read_text_config(folder, unet.config)
    with torch.device("meta"):
        width, places = flat_width(config["in_channels"]), config.get("flat_places", FLAT_PLACES)
        flow = TextFlow(unet, width, config.get("norm_eps", 1e-5), places)
    expected, stored = flow.own_tensors(), StoredTensors(folder)
    found = {
        name: tensor
        for name, tensor in stored.tensors.items()
        if _TRANSFORMERS not in name and not name.startswith(_OF_THE_IMAGE_FLOW)
    }
    check_tensors("the text flow", folder, found, expected)
    flow.load_state_dict(dict(stored.read(expected, dtype)), assign=True, strict=False)
    return flow.eval().requires_grad_(False)
