"""The generator's weights before training.

The image context has a token for every place of the latent map, and linear regression from a place's own token
tells most of what is there. A network that must first find out which token belongs to which place spends most of a
short training on that. So two attention heads of every image transformer on the large map start out looking at the
token of their own place: map and tokens carry a code of the place, queries read that code, and keys are its
regression on the tokens.
"""

import numpy as np
import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from stages.networks.dual_context_unet import DualContextTransformer, DualContextUNet2DConditionModel

ALIGNED_HEADS = 2
SHARPNESS = 12.0  # difference of the logits of the own place and of one that shares neither row nor column


def initialised(config, encoded, rows=1000):
    """Build the untrained network.

    Every residual branch starts at zero, the contexts' keys and values start at unit size, however small the tokens
    are, and some heads start aligned.

    Parameters
    ----------
    config : dict
        The network's arguments.
    encoded : EncodedPool
        Tells sizes of tokens, and where positions show in image tokens.
    rows : int
        Pictures to look at.

    Returns
    -------
    DualContextUNet2DConditionModel
    """
    torch.manual_seed(0)  # diffusers' constructors take no generator.
    model = DualContextUNet2DConditionModel(**config)
    rows = np.arange(min(rows, len(encoded)))
    image_tokens = torch.from_numpy(encoded.image_tokens[rows].astype(np.float32))
    text_tokens = torch.from_numpy(encoded.text_tokens(rows))
    _unit_size(model, [tokens.square().mean().sqrt() for tokens in (image_tokens, text_tokens)])
    _align(model, image_tokens)
    _silence_branches(model)
    return model


def place_code(size):
    """One-hot row and one-hot column of every place: (2 · size, size, size)."""
    row = torch.eye(size)[:, :, None].expand(size, size, size)
    column = torch.eye(size)[:, None, :].expand(size, size, size)
    return torch.cat([row, column])


@torch.no_grad()
def _unit_size(model, token_sizes):
    for block in _transformers(model):
        for transformer, size in zip(block.transformers, token_sizes):
            for layer in transformer.transformer_blocks:
                layer.attn2.to_k.weight /= size
                layer.attn2.to_v.weight /= size


@torch.no_grad()
def _align(model, image_tokens):
    """Point the first heads of the image transformers on the large map at the token of their own place."""
    size, channels = model.config.sample_size, model.config.block_out_channels[0]
    code = place_code(size)
    n_code = len(code)
    # Directions of the residual stream that carry the code, at about the size of the first convolution's output.
    directions = torch.linalg.qr(torch.randn(channels, n_code))[0]
    centred = code - code.mean(dim=(1, 2), keepdim=True)
    model.conv_in.position.copy_(torch.einsum("cp,phw->chw", directions, centred) * 0.6 * (channels / 2) ** 0.5)
    # And the tokens carry it at their own size, whatever CLIP tells of their place.
    places = torch.linalg.qr(torch.randn(image_tokens.shape[-1], n_code))[0] @ centred.flatten(1)
    model.token_position[1 : image_tokens.shape[1]] = places.T * (image_tokens.std() / places.std())
    image_tokens = image_tokens + model.token_position[: image_tokens.shape[1]]
    keys = _regression(image_tokens, centred)
    for block in (model.down_blocks[0], model.up_blocks[-1]):
        for resnet in block.resnets:
            if resnet.conv_shortcut is not None:
                # Upwards, the second half of the input is the way down's output; it passes unchanged.
                resnet.conv_shortcut.weight[:, -channels:, 0, 0] = torch.eye(channels)
        for attention in block.attentions:
            transformer = attention.transformers[0]
            transformer.proj_in.weight.copy_(torch.eye(channels))
            attn = transformer.transformer_blocks[0].attn2
            width = channels // attn.heads
            for head in range(ALIGNED_HEADS):
                part = slice(head * width, head * width + n_code)
                attn.to_q.weight[part] = directions.T
                attn.to_k.weight[part] = keys
            _sharpen(model, attn, directions, centred, keys, image_tokens, width, n_code)


def _sharpen(model, attn, directions, centred, keys, image_tokens, width, n_code):
    """Scale the aligned queries so that the own place's mean logit stands out by ``SHARPNESS``."""
    stream = model.conv_in.position.flatten(1).T
    query = nn.functional.layer_norm(stream, stream.shape[1:]) @ directions
    logits = query @ (image_tokens[:, 1:] @ keys.T).transpose(1, 2) / width**0.5
    own = logits.diagonal(dim1=1, dim2=2).mean()
    scale = SHARPNESS / (own - logits.mean())
    for head in range(ALIGNED_HEADS):
        attn.to_q.weight[head * width : head * width + n_code] *= scale


def _regression(image_tokens, centred, penalty=1e-2):
    """Weights (n_code, width) that tell the place's code from a token; the class token has none."""
    n_code = len(centred)
    targets = torch.cat([torch.zeros(1, n_code), centred.flatten(1).T])
    tokens = image_tokens.flatten(0, 1)
    targets = targets.repeat(len(image_tokens), 1)
    gram = tokens.T @ tokens
    gram.diagonal().add_(penalty * gram.diagonal().mean())
    return torch.linalg.solve(gram, tokens.T @ targets).T


@torch.no_grad()
def _silence_branches(model):
    ends = [model.conv_out]
    ends += [module.conv2 for module in model.modules() if isinstance(module, ResnetBlock2D)]
    ends += [transformer.proj_out for block in _transformers(model) for transformer in block.transformers]
    for layer in ends:
        layer.weight.zero_()
        layer.bias.zero_()


def _transformers(model):
    return [module for module in model.modules() if isinstance(module, DualContextTransformer)]
