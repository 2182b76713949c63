"""What CLIP's image tower has inside: the hidden layers of its blocks, and the embedding, as targets that can be differentiated.

Lu and others (2023, MindDiffuser) decode what the second linear layer of a block's perceptron gives, before it is added to the
block's stream: ``c_proj`` in OpenAI's names, 50 x 768 in each block of ViT-B/32. The same function of a picture serves as a
target and, within a search, as the features of a picture that is being made; so it is one of torch's operations from pixels on.
"""

import re

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from stages.ground.checks import Number, OneOf, check
from stages.ground.errors import InputError
from stages.targets.clip_names import EMBEDDING, NORMALISATIONS, RESAMPLINGS, block_name
from stages.targets.open_clip_target import OpenCLIPImageTarget

# Mean and deviation of red, green and blue.
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class CLIPLayer(OpenCLIPImageTarget):
    """A hidden layer of CLIP's image tower, or its embedding.

    >>> from weights import store
    >>> target = CLIPLayer.from_pretrained(store.path("tiny-clip"), layer="block 2", normalise="own")
    >>> pictures = np.zeros((2, 64, 64, 3), dtype=np.uint8)
    >>> target.encode(pictures).shape, target.shape
    ((2, 8320), (65, 128))

    Parameters
    ----------
    model, preprocess, tokenizer
        As for `stages.targets.open_clip_target.OpenCLIPTarget`. The folder's own preprocessing is not used.
    layer : str
        "block k", k from 1 on: what the second linear layer of the perceptron of block k gives, ``shape`` (1 + n_patches, width
        of the image tower); or "embedding": pooled and projected, of its own length, ``shape`` (embed_dim,).
    size : int, optional
        Side of the square that pictures are brought to first, 8 bit and by Pillow's bicubic filter: that of the pictures which a
        search compares. By default they stay as they are.
    resampling : {"bicubic", "bilinear", "bicubic, antialiased", "bilinear, antialiased"}
        How they are then brought to the size that the network reads.
    normalise : {"ImageNet", "own"}
        Mean and deviation that are taken off greys of 0 to 1: those of ImageNet, or those of the model's folder.

    Raises
    ------
    InputError
        An option has another value, or the network has no such block.
    """

    name = "clip_layer"

    def __init__(
        self, model, preprocess, tokenizer, layer=EMBEDDING, size=None, resampling="bicubic", normalise="ImageNet"
    ):
        super().__init__(model, preprocess, tokenizer)
        self.size = check("size", size, Number(1, whole=True, optional=True, example=512))
        self.resampling = check("resampling", resampling, OneOf(*RESAMPLINGS))
        self.normalise = check("normalise", normalise, OneOf(*NORMALISATIONS))
        self.layer, blocks = layer, len(model.visual.transformer.resblocks)
        if layer not in (EMBEDDING, *map(block_name, range(1, blocks + 1))):
            raise InputError(
                f"layer is {layer!r}; expected {EMBEDDING!r} or one from 'block 1' to 'block {blocks}': pass layer='block 1'."
            )

    @property
    def shape(self):
        """Tokens, the class token first, and values per token; values alone of the embedding."""
        if self.layer == EMBEDDING:
            return (self.embed_dim,)
        return (1 + self.n_patches, self.model.visual.conv1.out_channels)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        mean, deviation = self._statistics
        return {
            "square": "as it is" if self.size is None else f"{self.size}, Pillow's bicubic, 8 bit",
            "resize": f"{list(self.model.visual.image_size)}, {self.resampling}",
            "mean": list(mean),
            "std": list(deviation),
            "layer": self.layer,
        }

    @property
    def _statistics(self):
        if self.normalise == "ImageNet":
            return _IMAGENET
        own = self.model.visual.preprocess_cfg
        return tuple(own["mean"]), tuple(own["std"])

    def seen(self, pictures):
        """Pictures, float (n, 3, height, width) of 0 to 1, as the network takes them; differentiable."""
        visual, (mean, deviation) = self.model.visual, self._statistics
        if tuple(pictures.shape[-2:]) != tuple(visual.image_size):
            kernel, antialias = RESAMPLINGS[self.resampling]
            pictures = interpolate(
                pictures, size=tuple(visual.image_size), mode=kernel, antialias=antialias, align_corners=False
            )
        mean, deviation = (pictures.new_tensor(values).view(1, 3, 1, 1) for values in (mean, deviation))
        return (pictures - mean) / deviation

    def _encode(self, images):
        if self.size is not None:
            images = [_square(image, self.size) for image in images]
        pictures = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).to(self.device).float() / 255
        return layers_of(self.model.visual, self.seen(pictures), (self.layer,))[self.layer]


def layers_of(visual, prepared, names):
    """Return layers of pictures, from one pass through the network; differentiable.

    Parameters
    ----------
    visual : open_clip.VisionTransformer
        That returns its tokens, too.
    prepared : float tensor of shape (n, 3, height, width)
        As `CLIPLayer.seen` gives them.
    names : sequence of str
        As `CLIPLayer` has them.

    Returns
    -------
    layers : dict of str to tensor
        (n, tokens, width), and (n, embed_dim) of the embedding.
    """
    found, handles = {}, []

    def keep(name):
        def hook(module, inputs, output):
            found[name] = output if visual.transformer.batch_first else output.transpose(0, 1)

        return hook

    try:
        for name in names:
            if number := re.fullmatch(r"block (\d+)", name):
                layer = visual.transformer.resblocks[int(number[1]) - 1].mlp.c_proj
                handles.append(layer.register_forward_hook(keep(name)))
        pooled, _ = visual(prepared)
    finally:
        for handle in handles:
            handle.remove()
    return {name: pooled if name == EMBEDDING else found[name] for name in names}


def _square(image, size):
    """A uint8 picture as a square of `size` pixels."""
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))
