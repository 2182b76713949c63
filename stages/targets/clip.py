"""What a picture means: the tokens of an open_clip model, for pictures and for captions.

Ozcelik and VanRullen, 2023 (Brain-Diffuser), predict every token of CLIP's last layer, projected into the
space that images and captions share and divided by the norm of the pooled token, as Versatile Diffusion takes
them. Any open_clip folder of that family serves: a vision transformer with a class token and a text transformer
pooled at its end token.

Behind the end token the published recipe pads with further end tokens, open_clip with zeros; the tokens there
differ between the two, those up to the end token do not.
"""

import json
from dataclasses import fields

import numpy as np
import torch
from open_clip.transform import PreprocessCfg
from PIL import Image

from stages.errors import InputError
from stages.targets.open_clip_folder import load_open_clip


class OpenCLIPTarget:
    """An open_clip model with its preprocessing and tokenizer: what the targets below share.

    Parameters
    ----------
    model : open_clip.CustomTextCLIP
        In evaluation mode; both towers return their tokens too (``output_tokens``).
    preprocess : callable
        Pillow image to float32 tensor (3, height, width), by the folder's own configuration.
    tokenizer : callable
        List of str to int64 tensor (n, context_length).
    """

    def __init__(self, model, preprocess, tokenizer):
        self.model = model
        self._preprocess = preprocess
        self._tokenizer = tokenizer

    @classmethod
    def from_pretrained(cls, folder, device="cpu"):
        """Load an open_clip model's folder in float32.

        Parameters
        ----------
        folder : path-like
            Holds ``open_clip_config.json``, ``open_clip_model.safetensors`` and, where the configuration names
            a tokenizer, its files. Nothing is looked for elsewhere.
        device : str or torch.device

        Raises
        ------
        CheckpointError
            A file is missing or damaged, its weights do not fit the configuration exactly, or the model is of
            another family.
        """
        return cls(*load_open_clip(folder, device))

    @property
    def device(self):
        """Where the model computes."""
        return self.model.logit_scale.device

    @property
    def embed_dim(self):
        """Length of the space that images and captions share."""
        return self.model.visual.output_dim

    def _image_tokens(self, images):
        """Pooled (n, d) and all (n, tokens, d) projected image tokens of uint8 pictures."""
        batch = torch.stack([self._preprocess(Image.fromarray(image)) for image in images])
        pooled, patches = self.model.visual(batch.to(self.device))
        if self.model.visual.final_ln_after_pool:
            patches = self.model.visual.ln_post(patches)
        return pooled, torch.cat([pooled[:, None], patches @ self.model.visual.proj], dim=1)

    def _text_tokens(self, captions):
        """Pooled (n, d) and all (n, tokens, d) projected text tokens of a list of str."""
        pooled, tokens = self.model.text(self._tokenizer(captions).to(self.device))
        projection = self.model.text.text_projection
        projected = projection(tokens) if isinstance(projection, torch.nn.Module) else tokens @ projection
        return pooled, projected

    def _image_preprocessing(self):
        known = {field.name for field in fields(PreprocessCfg)}
        used = {key: value for key, value in self.model.visual.preprocess_cfg.items() if key in known}
        # Through JSON, so that tuples compare equal to what a store reads back.
        return json.loads(json.dumps(used))


class CLIPImageTokens(OpenCLIPTarget):
    """Projected class token and patch tokens of a picture, divided by the norm of the class token.

    With tokens :math:`x_i` after the last layer norm and projection :math:`P`, the target is
    :math:`x_i P / ||x_0 P||`, i = 0 .. n_patches: ``shape`` is (1 + n_patches, embed_dim).
    """

    name = "clip_image"
    takes = "images"

    @property
    def shape(self):
        """Tokens and values per token."""
        rows, columns = self.model.visual.grid_size
        return (1 + rows * columns, self.embed_dim)

    @property
    def n_targets(self):
        """Values per picture."""
        return int(np.prod(self.shape))

    @property
    def preprocessing(self):
        """What happens to a picture, as plain data; part of the feature store's key."""
        return self._image_preprocessing() | {"tokens": "projected, divided by the norm of the class token"}

    @torch.no_grad()
    def encode(self, items, batch_size=64):
        """Compute the tokens of pictures.

        Parameters
        ----------
        items : array of shape (n, height, width, 3), uint8
            Any size; resized once, by the model's own preprocessing.
        batch_size : int
            Changes the result by float rounding only.

        Returns
        -------
        values : array of shape (n, n_targets), float32
            Class token first, then patches row by row; the last axis of ``shape`` is the fastest.

        Raises
        ------
        InputError
            For anything but uint8 colour pictures.
        """
        values = np.empty((len(items), self.n_targets), dtype=np.float32)
        for start in range(0, len(items), batch_size):
            images = _checked(items[start : start + batch_size])
            pooled, tokens = self._image_tokens(images)
            scaled = tokens / pooled.norm(dim=-1)[:, None, None]
            values[start : start + len(images)] = scaled.flatten(1).cpu().numpy()
        return values


class CLIPTextTokens(OpenCLIPTarget):
    """Projected tokens of captions, divided by the norm of the pooled token, averaged over captions.

    With tokens :math:`x_i` after the last layer norm, projection :math:`P` and the end token at :math:`e`, a
    caption is :math:`x_i P / ||x_e P||`: ``shape`` is (context_length, embed_dim). Positions after the end
    token are kept, as they are in the published recipe.
    """

    name = "clip_text"
    takes = "captions"

    @property
    def shape(self):
        """Tokens and values per token."""
        return (self.model.text.context_length, self.embed_dim)

    @property
    def n_targets(self):
        """Values per stimulus."""
        return int(np.prod(self.shape))

    @property
    def preprocessing(self):
        """What happens to captions, as plain data; part of the feature store's key."""
        return {
            "context_length": self.model.text.context_length,
            "tokens": "projected, divided by the norm of the pooled token",
            "captions": "mean over those that are not empty",
        }

    @torch.no_grad()
    def encode(self, items, batch_size=64):
        """Compute the mean tokens of each stimulus' captions.

        Parameters
        ----------
        items : sequence of length n of sequences of str
            Captions per stimulus; blank ones do not count. Longer ones than the context are cut.
        batch_size : int
            Captions per batch; changes the result by float rounding only.

        Returns
        -------
        values : array of shape (n, n_targets), float32

        Raises
        ------
        InputError
            A stimulus has no caption, or a string in place of a list of strings.
        """
        items = [_captions(item, position) for position, item in enumerate(items)]
        owners = np.repeat(np.arange(len(items)), [len(item) for item in items])
        captions = [caption for item in items for caption in item]
        values = np.zeros((len(items), self.n_targets), dtype=np.float32)
        for start in range(0, len(captions), batch_size):
            part = captions[start : start + batch_size]
            pooled, tokens = self._text_tokens(part)
            scaled = (tokens / pooled.norm(dim=-1)[:, None, None]).flatten(1).cpu().numpy()
            np.add.at(values, owners[start : start + len(part)], scaled)
        counts = np.array([len(item) for item in items], dtype=np.float32)
        return values / counts[:, None]


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
        return _embed_images(self, images, batch_size)


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
    candidates = _captions(candidates, None)
    embeddings = _embed_images(model, images, batch_size)
    texts = []
    for start in range(0, len(candidates), batch_size):
        pooled, _ = model._text_tokens(candidates[start : start + batch_size])
        texts.append(torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy())
    closest = (embeddings @ np.concatenate(texts).T).argmax(axis=1)
    return [candidates[index] for index in closest]


def _embed_images(model, images, batch_size):
    embeddings = np.empty((len(images), model.embed_dim), dtype=np.float32)
    for start in range(0, len(images), batch_size):
        part = _checked(images[start : start + batch_size])
        pooled, _ = model._image_tokens(part)
        embeddings[start : start + len(part)] = torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy()
    return embeddings


def _checked(images):
    images = np.asarray(images)
    # Floats are refused: whether to divide them by 255 could only be guessed.
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise InputError(
            f"Images are {images.dtype} of shape {images.shape} but CLIP takes uint8 of shape "
            "(n, height, width, 3); convert them first."
        )
    return images


def _captions(item, position):
    where = "The candidates" if position is None else f"The captions of stimulus number {position}"
    if isinstance(item, str):
        raise InputError(f"{where} are one string, {item!r}; expected a list of strings. Pass [{item!r}].")
    kept = [caption for caption in item if caption and caption.strip()]
    if not kept:
        raise InputError(
            f"{where} are {list(item)!r} but one that is not empty is needed; add one, or drop the text context."
        )
    return kept
