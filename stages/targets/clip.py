"""What a picture means: the tokens of an open_clip model, for pictures and for captions.

Ozcelik and VanRullen, 2023 (Brain-Diffuser), predict every token of CLIP's last layer, projected into the
space that images and captions share and divided by the norm of the pooled token, as Versatile Diffusion takes
them. Any open_clip folder of that family serves: a vision transformer with a class token and a text transformer
pooled at its end token.

Other recipes predict other things of the same models: the pooled embedding (what IP-Adapter, Stable unCLIP and
Kandinsky take), or the patch tokens before they are projected (MindEye2).
"""

import numpy as np
import torch

from stages.ground.checks import Number, OneOf, check
from stages.ground.errors import InputError
from stages.targets.caption_target import CaptionTarget
from stages.targets.captions import kept_captions
from stages.targets.enlarged_pictures import enlarged
from stages.targets.open_clip_target import OpenCLIPImageTarget, OpenCLIPTarget


class CLIPImageTokens(OpenCLIPImageTarget):
    """Projected class token and patch tokens of a picture, divided by the norm of the class token.

    >>> from weights import store
    >>> target = CLIPImageTokens.from_pretrained(store.path("tiny-clip"))
    >>> pictures = np.zeros((2, 64, 64, 3), dtype=np.uint8)
    >>> target.encode(pictures).shape, target.shape
    ((2, 4160), (65, 64))

    With tokens :math:`x_i` after the last layer norm and projection :math:`P`, the target is
    :math:`x_i P / ||x_0 P||`, i = 0 .. n_patches: ``shape`` is (1 + n_patches, embed_dim).

    Parameters
    ----------
    model, preprocess, tokenizer
        As for `OpenCLIPTarget`.
    pictures : {"direct", "enlarged"}
        "enlarged" brings pictures to 512 pixels and cuts their greys off before the model's own preprocessing, as
        Brain-Diffuser's targets were made; see `stages.targets.enlarged_pictures`.
    """

    def __init__(self, model, preprocess, tokenizer, pictures="direct"):
        super().__init__(model, preprocess, tokenizer)
        check("pictures", pictures, OneOf("direct", "enlarged"))
        self.pictures = pictures

    @property
    def shape(self):
        """Tokens and values per token."""
        return (1 + self.n_patches, self.embed_dim)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        used = self._image_preprocessing() | {"tokens": "projected, divided by the norm of the class token"}
        return used if self.pictures == "direct" else used | {"before": "bilinear to 512 pixels, greys cut off"}

    def _prepared(self, images):
        return super()._prepared(images if self.pictures == "direct" else [enlarged(image) for image in images])

    def _encode(self, images):
        pooled, tokens = self._image_tokens(images)
        return tokens / pooled.norm(dim=-1)[:, None, None]


class CLIPPatchTokens(OpenCLIPImageTarget):
    """Patch tokens of a picture from the last block, not projected, without the class token.

    ``shape`` is (n_patches, width of the image tower); 256 x 1664 of ViT-bigG-14 is what MindEye2 (Scotti and others,
    2024) predicts: open_clip's output tokens. open_clip has changed what it means by them: up to 2.20 it returned them
    before the last layer norm, from 2.24 on, the version that MindEye2 pins, after it. MindEye2's own are moreover those of
    washed-out pictures, for it gives greys of 0 to 1 to an embedder that expects −1 to 1; here they are of the pictures.

    Parameters
    ----------
    model, preprocess, tokenizer
        As for `OpenCLIPTarget`.
    layer_norm : bool
        Whether the last layer norm is applied to each token, as open_clip does now.
    """

    def __init__(self, model, preprocess, tokenizer, layer_norm=True):
        super().__init__(model, preprocess, tokenizer)
        self.layer_norm = layer_norm

    @property
    def shape(self):
        """Tokens and values per token."""
        return (self.n_patches, self.model.visual.conv1.out_channels)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        norm = "after the last layer norm" if self.layer_norm else "before the last layer norm"
        return self._image_preprocessing() | {"tokens": f"patches from the last block, {norm}, not projected"}

    def _encode(self, images):
        visual = self.model.visual
        found = visual.forward_intermediates(
            self._prepared(images), indices=1, intermediates_only=True, output_fmt="NLC"
        )
        (tokens,) = found["image_intermediates"]
        return visual.ln_post(tokens) if self.layer_norm else tokens


class CLIPClassToken(OpenCLIPImageTarget):
    """The class token of a picture from the last block, neither normalised nor projected: the first of transformers' last states.

    ``shape`` is (width of the image tower,), 768 for ViT-B-32, whose tokens SMALLCAP reads (Ramos et al. 2023).

    >>> from weights import store
    >>> target = CLIPClassToken.from_pretrained(store.path("tiny-clip"))
    >>> target.encode(np.zeros((2, 64, 64, 3), dtype=np.uint8)).shape == (2, *target.shape)
    True
    """

    @property
    def shape(self):
        """Values of the token."""
        return (self.model.visual.conv1.out_channels,)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        return self._image_preprocessing() | {"token": "class token from the last block, before the last layer norm"}

    def _encode(self, images):
        found = self.model.visual.forward_intermediates(
            self._prepared(images), indices=1, intermediates_only=True, output_fmt="NLC", output_extra_tokens=True
        )
        (extra,) = found["image_intermediates_prefix"]
        return extra[:, 0]


class CLIPImageVector(OpenCLIPImageTarget):
    """The pooled, projected embedding of a picture as a target: what generators under one vector take.

    With the class token :math:`x_0` after the last layer norm and projection :math:`P`, the target is :math:`x_0 P`:
    ``shape`` is (embed_dim,), 1024 for ViT-H-14 and 1280 for ViT-bigG-14.

    Parameters
    ----------
    model, preprocess, tokenizer
        As for `OpenCLIPTarget`.
    normalise : bool
        Whether the embedding is brought to unit length. Generators were trained on embeddings that are not.
    """

    def __init__(self, model, preprocess, tokenizer, normalise=False):
        super().__init__(model, preprocess, tokenizer)
        self.normalise = normalise

    @property
    def shape(self):
        """Values of the embedding."""
        return (self.embed_dim,)

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        length = "of unit length" if self.normalise else "of its own length"
        return self._image_preprocessing() | {"vector": f"pooled, projected, {length}"}

    def _encode(self, images):
        pooled, _ = self.model.visual(self._prepared(images))
        return torch.nn.functional.normalize(pooled, dim=-1) if self.normalise else pooled


class CLIPTextTokens(CaptionTarget, OpenCLIPTarget):
    """Projected tokens of captions, divided by the norm of the pooled token, averaged over captions.

    >>> from weights import store
    >>> target = CLIPTextTokens.from_pretrained(store.path("tiny-clip"))
    >>> captions = [["a red circle", "a round thing"], ["a blue square"]]
    >>> target.encode(captions).shape, target.shape
    ((2, 1536), (24, 64))

    With tokens :math:`x_i` after the last layer norm, projection :math:`P` and the end token at :math:`e`, a
    caption is :math:`x_i P / ||x_e P||`: ``shape`` is (context_length, embed_dim). Positions after the end
    token are kept, as they are in the published recipe.

    Parameters
    ----------
    model, preprocess, tokenizer
        As for `OpenCLIPTarget`.
    padding : {"zero", "end"}
        What stands after the end token. open_clip's tokenizer writes zeros; Versatile Diffusion was trained, and
        Brain-Diffuser's targets were made, with further end tokens. Tokens up to the end token are the same.
    n_captions : int, optional
        How many captions of a stimulus count, the first ones; all by default.
    caption : int, optional
        The one caption that counts, from 0; of a stimulus with fewer the first ones count again.
    """

    name = "clip_text"

    def __init__(self, model, preprocess, tokenizer, padding="zero", n_captions=None, caption=None):
        super().__init__(model, preprocess, tokenizer)
        self.n_captions = check("n_captions", n_captions, _N_CAPTIONS)
        self.caption = check("caption", caption, Number(0, whole=True, optional=True, example=0))
        if padding not in ("zero", "end"):
            raise InputError(f"padding is {padding!r}; expected 'zero' (open_clip's) or 'end' (Versatile Diffusion's).")
        self.padding = padding

    @property
    def shape(self):
        """Tokens and values per token."""
        return (self.model.text.context_length, self.embed_dim)

    @property
    def preprocessing(self):
        """What happens to captions, as plain data; part of the feature store's key."""
        used = {
            "context_length": self.model.text.context_length,
            "tokens": "projected, divided by the norm of the pooled token",
            "captions": _counted(self.n_captions)
            if self.caption is None
            else f"number {self.caption} of those not empty",
        }
        return used if self.padding == "zero" else used | {"padding": "end tokens"}

    def _encode(self, captions):
        pooled, tokens = self._text_tokens(captions)
        return tokens / pooled.norm(dim=-1)[:, None, None]

    def _text_numbers(self, captions):
        numbers = self._tokenizer(captions)
        if self.padding == "zero":
            return numbers
        text = self.model.text
        # As open_clip itself finds the token that it pools: the named one, or the largest number; the first of them.
        ends = numbers == text.eos_id if text.pool_type == "eos" else numbers == numbers.amax(1, keepdim=True)
        end = ends.int().argmax(1, keepdim=True)
        after = torch.arange(numbers.shape[1]) > end
        return torch.where(after, numbers.gather(1, end), numbers)


class CLIPTextVector(CaptionTarget, OpenCLIPTarget):
    """The pooled, projected embedding of captions, of its own length, averaged over captions: what kinds of texts are told by.

    >>> from weights import store
    >>> target = CLIPTextVector.from_pretrained(store.path("tiny-clip"), n_captions=1)
    >>> target.encode([["a red circle", "a round thing"], ["a blue square"]]).shape, target.shape
    ((2, 64), (64,))

    Parameters
    ----------
    model, preprocess, tokenizer
        As for `OpenCLIPTarget`.
    n_captions : int, optional
        How many captions of a stimulus count, the first ones; all by default.
    """

    name = "clip_text_vector"

    def __init__(self, model, preprocess, tokenizer, n_captions=None):
        super().__init__(model, preprocess, tokenizer)
        self.n_captions = check("n_captions", n_captions, _N_CAPTIONS)

    @property
    def shape(self):
        """Values of the embedding."""
        return (self.embed_dim,)

    @property
    def preprocessing(self):
        """What happens to captions, as plain data; part of the feature store's key."""
        return {"vector": "pooled, projected, of its own length", "captions": _counted(self.n_captions)}

    def _encode(self, captions):
        pooled, _ = self._text_tokens(captions)
        return pooled


def _counted(n_captions):
    """Which captions count, in words."""
    return f"mean over {'those' if n_captions is None else f'the first {n_captions}'} that are not empty"


_N_CAPTIONS = Number(1, whole=True, optional=True, example=1)


class CLIPImageEmbedding(OpenCLIPTarget):
    """The pooled embedding of a picture, of unit length: what identification and zero-shot choice compare."""

    @torch.no_grad()
    def embed(self, images, batch_size=64):
        """Embed pictures.

        Parameters
        ----------
        images : array of shape (n, height, width, 3), uint8
            Any size; resized once, by the model's own preprocessing.
        batch_size : int

        Returns
        -------
        embeddings : array of shape (n, embed_dim), float32
            Rows of unit length.

        Raises
        ------
        InputError
            For anything but uint8 colour pictures.
        """
        return self.embed_images(images, batch_size)


@torch.no_grad()
def choose_captions(model, images, candidates, batch_size=64):
    """Pick for each picture the candidate caption whose embedding has the largest cosine with its own.

    Zero-shot classification as in Radford and others, 2021, "Learning transferable visual models from natural
    language supervision", with the candidates as they stand for prompts.

    Parameters
    ----------
    model : OpenCLIPTarget
        Any of this module's.
    images : array of shape (n, height, width, 3), uint8
    candidates : sequence of str
        At least one.
    batch_size : int

    Returns
    -------
    captions : list of str, length n
        The first of equally close candidates.

    Raises
    ------
    InputError
        There is no candidate, or pictures are not uint8 colour pictures.
    """
    candidates = kept_captions(candidates, "The candidates")
    embeddings = model.embed_images(images, batch_size)
    texts = []
    for start in range(0, len(candidates), batch_size):
        pooled, _ = model._text_tokens(candidates[start : start + batch_size])
        texts.append(torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy())
    closest = (embeddings @ np.concatenate(texts).T).argmax(axis=1)
    return [candidates[index] for index in closest]
